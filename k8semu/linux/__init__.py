"""One Linux network stack. The tree mirrors the kernel's, so who knows one knows the other.

    core/       skb, devices, sysctl, drop reasons, the commands a node understands (seam 2)
    drivers/    loopback, veth, vxlan, tun                     Linux: drivers/net/
    bridge/     bridge ports, FDB, forwarding                  Linux: net/bridge/
    netfilter/  hooks, tables, conntrack, NAT, ipset, ipvs     Linux: net/netfilter/, net/ipv4/netfilter/
    ipv4/       ARP, routes, input, forward, output, ICMP      Linux: net/ipv4/
    sock/       UDP, ICMP and TCP sockets, asyncio transports  Linux: net/ipv4/{udp,ping,tcp*}.c
    rtnetlink.py what `ip` and `bridge` tell a namespace     Linux: net/core/rtnetlink.c
    netns.py    a network namespace: all of it together

Inside, imports point down only: netns > rtnetlink > sock > ipv4 > bridge, drivers, netfilter > core.
Nothing here knows what a Service or a Pod is.
"""
