"""Controllers: each looks at what is asked for and at what there is, and writes what is missing.

    controller      what all have in common: which events concern which key, and the writes as values
    plane           runs them over a registry, in one order, until nothing is left to do
    remote          runs them over HTTP; kube-controller-manager and kube-scheduler as programs
    deployment      Deployments make ReplicaSets: rolling update, recreate
    replicaset      ReplicaSets make Pods
    statefulset     StatefulSets make Pods in order
    daemonset       DaemonSets make a Pod per node
    scheduler       Pods get nodes
    endpointslice   Services get their endpoints
    mirroring       Endpoints made by hand become EndpointSlices
    node            nodes that are silent are not ready; their Pods leave
    garbage         what is owned goes with its owner

    cache ─▶ sync(key) ─▶ Create, Update, Delete, Bind, After

A controller reads caches and returns writes; it neither waits nor calls. So the same controller
runs in the API server's process and over HTTP.

Kubernetes: pkg/controller, pkg/scheduler
"""
