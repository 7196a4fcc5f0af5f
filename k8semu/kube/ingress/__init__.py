"""An Ingress controller's decisions: what a reverse proxy is to do, without a socket.

    Ingress, IngressClass, Service, EndpointSlice, Secret, ConfigMap
        │ state       kept up to date by watch events
        ▼
    configure         hosts, their paths, and whom each leads to; what is wrong with an Ingress
        │             config: all of that as values
        ▼
    matching          which host and path a request means
        ▼
    settings          what annotations and the controller's ConfigMap ask for
    headers           what the backend is told of the client
    choosing          which of two backends, and whom a cookie or a hash is for

    glossary
    server            a host and its locations, as nginx calls them; `_` takes every other host
    location          a path of a host
    backend           a Service's port, as its ClusterIP or as its endpoints
    upstream          the address that a connection to a backend goes to

The program that does it is `k8semu.apps.ingress`.

Kubernetes: https://kubernetes.io/docs/concepts/services-networking/ingress, ingress-nginx internal/ingress/controller
"""
