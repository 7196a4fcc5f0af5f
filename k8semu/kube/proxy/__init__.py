"""kube-proxy: how a node's kernel is told about Services. One set of decisions, four ways of telling.

    Services, EndpointSlices ─▶ decisions ─▶ ProxyState ─▶ iptables | ipvs | nftables | userspace ─▶ Commands

    model          what a proxy knows and decides, as values
    decisions      which endpoints take which traffic on this node
    conntrack      UDP flows to endpoints that are gone are forgotten
    iptables       a sync: whole or partial, as one text for iptables-restore
      _names         chains are named by hashes       _fixed    jumps, marks, what does not depend on Services
      _port          the rules of one service port    _text     the text while it grows
      _chances       which endpoint gets a connection, with what probability
    nftables       a sync as one text for `nft -f -`; _names, _fixed, _port, _text as for iptables
    ipvs           virtual servers of the kernel; _servers (and their real ones), _sets (ipsets), _rules
    userspace      rules that lead to a program (`k8semu.apps.userspace_proxy`)
    healthcheck    what load balancers ask a node

Kubernetes: pkg/proxy/
"""
