"""What a person would type on a node, answered from the emulated kernel in the real format.

    commands  which program answers, and what it answers
    ip        ip addr, link, route, neigh, rule
    bridge    bridge fdb, link
    ss        ss -tln, -uln, -tan
    system    sysctl, iptables-save, iptables, conntrack, hostname, cat, docker ps

Formats: iproute2 6.1, iptables 1.8.9, conntrack-tools 1.4.7, docker.
"""
