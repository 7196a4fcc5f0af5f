"""IP virtual servers: new connections to one address are shared over many, in the kernel.

    virtual server    an address, protocol and port (or a firewall mark) that nobody listens on
    real server       one that answers in its place, with a weight; 0: it gets nothing new
    scheduler         which real server a new connection gets: rr, wrr, lc, …
    connection        where a client's packets go, and what its answers are to look like
    template          with persistence: where a client's next connections go

    in    LOCAL_IN, LOCAL_OUT   daddr := the real server ─▶ LOCAL_OUT ─▶ POSTROUTING ─▶ out
    out   FORWARD, LOCAL_IN     saddr := the virtual server

    service   virtual and real servers                sched     who is chosen
    conn      connections, templates, their states    core      the hooks
    xmit      a packet is sent to a real server       text      the words of `ipvsadm`
    show      what `ipvsadm -Ln` prints

Linux: net/netfilter/ipvs/
Not modelled: forwarding by tunnel and direct routing, SCTP packets, application helpers, the sync daemon,
              thresholds, persistence engines, one-packet scheduling.
"""
