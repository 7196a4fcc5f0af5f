"""The cluster's DNS, as CoreDNS answers it: pure functions and values; the server is `k8semu.apps.coredns`.

    names        a name is its labels; text and back
    message      the wire: bytes ⇄ Message, any bytes
    rdata        what stands in a record, as text and as bytes
    state        Services, endpoints, Pods and namespaces, indexed for questions
    records      what the cluster's zone answers (the plugin `kubernetes`)
    plugins      what stands around it: cache, loadbalance, forward, loop
    resolv_conf  what the kubelet writes into a Pod's /etc/resolv.conf

Kubernetes: the DNS specification (kubernetes/dns, docs/specification.md); CoreDNS plugin/kubernetes
"""
