"""kube-proxy: how a node's kernel is told about Services. One set of decisions, four ways of telling.

    Services, EndpointSlices ─▶ decisions ─▶ ProxyState ─▶ iptables | ipvs | nftables | userspace ─▶ Commands

    model       what a proxy knows and decides, as values
    decisions   which endpoints take which traffic on this node

Kubernetes: pkg/proxy/
"""
