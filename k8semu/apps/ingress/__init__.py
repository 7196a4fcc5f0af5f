"""An Ingress controller's reverse proxy: an asyncio program that serves over emulated and over real sockets.

    program        starts it: watches, listens, and keeps the configuration up to date
    conversation   one client's connection: request after request
    request        a request on it: its body as it comes, and its answer
    chunks         how long a body in chunks promises to be
    head           what of a request's head nginx refuses, before anybody reads it
    access         who may: limits, address lists, passwords
    auth_request   who may, by the word of another server
    balancing      which backend, and which of its endpoints: turns, cookies, hashes, canaries
    pace           how fast an answer goes out
    forward        one request on its way to a backend and back: tries, timeouts, streaming
    upstream       connections to backends, kept open for the next request
    tunnel         after an upgrade: bytes in both directions
    proxy_protocol who the client is, where a load balancer in front says it
    stream         asyncio's streams, told at once of their end
    pages          what the proxy says itself

What it does for whom is decided in `k8semu.kube.ingress`.
"""
