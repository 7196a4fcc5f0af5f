"""Kubernetes objects, and what decides about them.

    objects    the objects as `kubectl apply` takes them, as far as the network needs them
    images     what a container runs
    workloads  Deployments, ReplicaSets, StatefulSets and DaemonSets become Pods
    scheduler  which node a Pod goes to
    store      what was applied, and which Pods come and go for it
"""
