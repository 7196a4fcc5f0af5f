"""Kubernetes objects, and what decides about them.

    objects    the objects as `kubectl apply` takes them, as far as the network needs them
    images     what a container runs
    services   Services and EndpointSlices, as the network needs them
    kinds      as what each kind is read, and which have an effect on the network
    api/       the API server: what is asked for, checked, kept, and told to who watches
    controllers/  what is asked for becomes Pods on nodes, and Services get their endpoints
    pod_status what a kubelet reports of its Pods
    proxy/     kube-proxy
    dns/       cluster DNS
"""
