"""The Container Network Interface: how a kubelet has Pods plugged in, whatever the network is.

    spec        configurations, results and errors of CNI 1.1.0
    node        what plugins see of a node, and how they tell its kernel something
    runtime     what a container runtime does: chain the plugins, remember results
    bridge      a bridge on the node, a veth to each Pod            (/opt/cni/bin/bridge)
    host_local  addresses from the node's own range                  (/opt/cni/bin/host-local)
    portmap     ports of the node that lead to a Pod                 (/opt/cni/bin/portmap)
    flannel     routes and tunnels between nodes                     (flanneld, /opt/cni/bin/flannel)
    weave       one flat layer 2 over all nodes                      (weaver)

Kubernetes: containernetworking/cni SPEC.md 1.1.0, containernetworking/plugins
"""
