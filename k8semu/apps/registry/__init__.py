"""Service registries, and the programs that use them: how a client found a service before Kubernetes had Services.

    instance ── register, heartbeat ──▶ registry ◀── fetch ── client ── balances ──▶ instance

    http.py          HTTP/1.1 for all of them: a server and a client
    clock.py         what a registry takes for the time of day
    eureka.py        Eureka's leases and statuses; eureka_codec.py its XML and JSON, eureka_server.py its REST API
    consul.py        Consul's services and checks; consul_server.py its HTTP API, consul_dns.py its DNS interface
    nacos.py         Nacos' instances and beats; nacos_server.py its naming API (v1)
    protocols.py     the clients' side of each: register, heartbeat, leave, fetch
    instance.py      an instance: an HTTP echo that registers itself and keeps itself alive
    balancer.py      Ribbon: which instance is next, and what to do when it fails
    client.py        a client that discovers and calls

All are ordinary asyncio programs: they run in Pods, in the kernel twin, and on any machine. Their only
clock is the event loop's.
"""
