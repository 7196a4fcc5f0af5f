"""The bridge: a switch inside the kernel.

    port ─▶ learn source ─▶ look destination up ─▶ one port, all ports, or the node itself

    fdb      which port is a MAC address behind
    bridge   ports, forwarding, flooding, and the bridge's own device

Linux: net/bridge/
"""
