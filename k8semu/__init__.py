"""k8semu: every frame of a Kubernetes cluster's network, on any machine.

Reading order, from the ground up (imports point down only):

    errors     what can be wrong with the user's input
    sim        simulated time and chance
    wire       bytes and headers; the only place that speaks Scapy
    trace      what happened to a packet, as values
    linux      one Linux network stack; its tree mirrors the kernel's
    cni kube   what programs a node: CNI plugins, kubelet, scheduler
    apps       programs that run in Pods and on nodes (ordinary asyncio)
    capture    taps, pcapng, comparison
    cluster    nodes, underlay and Pods, built from objects
    scenario   the file format and its runner
    lab        the same cluster in real network namespaces
    cli        the commands
"""

__version__ = "0.1.0"
