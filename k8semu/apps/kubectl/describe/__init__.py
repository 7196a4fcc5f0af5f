"""`kubectl describe`: an object, what belongs to it, and what was said of it, as text.

    command    which objects: names, prefixes of names, selectors
    writer     lines of cells, and columns as wide as their cells
    parts      labels, annotations, conditions, tolerations, events: what many kinds have
    containers containers, volumes and Pod templates
    pods       Pods and what makes Pods: Deployment, ReplicaSet, StatefulSet, DaemonSet
    network    Service, Endpoints, EndpointSlice, Ingress, IngressClass, NetworkPolicy
    cluster    Node, Namespace, ConfigMap, Secret, ServiceAccount
    plain      any other kind: its fields as they are
    quantity   sums of CPU and memory

Kubernetes: staging/src/k8s.io/kubectl/pkg/describe/describe.go
Differs: a Node that states no capacity is described with 0%, as kubectl does on arm64; on amd64 it divides by zero
         and prints a number of nineteen digits.
Not modelled: PersistentVolumes, Jobs and other kinds that the API server has not; the quotas and limits of a Namespace
"""
