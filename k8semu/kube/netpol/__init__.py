"""Who enforces NetworkPolicies: kube-router's network policy controller, one on every node, as k3s runs it.

    policy  what a NetworkPolicy asks for: Pods it isolates, and who may talk with them    as addresses
    sets    those addresses as ipsets                KUBE-SRC-…, KUBE-DST-…
    rules   a chain per policy                       KUBE-NWPLCY-…   marks what it allows
            a chain per Pod of the node              KUBE-POD-FW-…   refuses what nothing marked
    fixed   how packets come to those chains         KUBE-ROUTER-INPUT, -FORWARD, -OUTPUT
    router  the whole, each time that something changes

A packet from Pod to Pod meets the chains of both: that of the sender asks who may be called, that of the
receiver who may call. Both have to let it pass.

    FORWARD ─▶ KUBE-ROUTER-FORWARD ─▶ KUBE-POD-FW-… ─▶ COMMON: of a known connection, or ICMP: accepted
                                                     ├▶ from the node itself: accepted
                                                     ├▶ KUBE-NWPLCY-…: mark 0x10000 for what a policy allows
                                                     ├▶ not marked: NFLOG, REJECT
                                                     └▶ mark 0x20000, and accepted at the end of FORWARD

Kubernetes: cloudnativelabs/kube-router pkg/controllers/netpol; k3s-io/k3s pkg/agent/netpol
"""
