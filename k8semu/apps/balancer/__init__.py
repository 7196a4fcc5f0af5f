"""A load balancer for layer 4, on a machine of its own outside the cluster: what a cloud puts before node ports.

    client ─▶ address:port ─▶ choose a backend that is well ─▶ node:nodePort      (or by the machine's kernel)
                                       ▲
                     checks ───────────┘  up after so many passed, down after so many failed

Words: a *load balancer* is one public address with its *listeners* (a port and a protocol), its *backends* (nodes)
are those that it balances over. `model`: what it is told; `choose`: which backend is next; `check`: which are well;
`forward`: TCP and UDP; `proxy_protocol`: how a backend hears of the client; `main`: the program.
"""
