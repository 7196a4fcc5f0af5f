"""IPv4 of one network namespace.

    frame ─▶ ip_input ─▶ PREROUTING ─▶ route ─▶ LOCAL_IN ─▶ protocol
                                         └────▶ ip_forward ─▶ FORWARD ─┐
    socket ─▶ ip_output.local_out ─▶ LOCAL_OUT ────────────────────────┴▶ POSTROUTING ─▶ neighbour ─▶ device

    fib         tables, rules, longest prefix match           Linux: net/ipv4/fib_*.c
    route       what to do with a packet to or from here       Linux: net/ipv4/route.c
    devinet     addresses and the routes they bring            Linux: net/ipv4/devinet.c, fib_frontend.c
    arp         who has an address                             Linux: net/ipv4/arp.c
    ip_input ip_forward ip_output ip_fragment icmp             Linux: files of the same names
    stack       the parts together: `net.ipv4`
"""
