"""Connection tracking: which packets belong together, and where each stands in its connection.

    tuples   both directions of a connection as 13-byte keys
    entry    one connection
    tcp      TCP's states, and how long each is remembered
    window   whether a TCP segment is within the window
    core     the table: look up, make, confirm, expire; `conntrack -L`
    delete   `conntrack -D`

Linux: net/netfilter/nf_conntrack_core.c, nf_conntrack_proto_*.c
"""
