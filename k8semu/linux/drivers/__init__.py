"""The device drivers of a node.

    loopback  lo
    veth      a cable with an end in each of two namespaces
    vxlan     Ethernet frames inside UDP between nodes; vxlan_fdb: behind which node is a MAC
    tun       IP packets to and from a program
    dummy     carries addresses, swallows frames

The bridge is a driver of its own weight: `linux.bridge`.
Linux: drivers/net/
"""
