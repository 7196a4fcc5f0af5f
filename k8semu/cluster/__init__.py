"""A cluster out of objects: machines, the network between them, Pods on them.

    journal    everything that was done, in order: what the kernel twin replays
    cluster    network namespaces, programs in them, and the one way to tell them something
    addresses  the scheme by which machines get MAC addresses
    underlay   switches and the router between machines
    node       a machine of the cluster: kernel settings, container runtime, CNI
    kubelet    brings Pods up and down on its node
    build      a whole cluster from a scenario's specification
"""
