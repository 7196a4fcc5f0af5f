"""What happened to a packet, as typed values; rendering is apart and late.

    Trace   all that happened to one packet id: hops
    Hop     one pass through one network namespace: steps
    Step    one thing a part of the kernel did or decided, with its place and its reason

A hop starts with `Receive` or `Originate` and ends with `Transmit`, `Deliver` or `Drop`
(`Consume` where the kernel itself used the frame up, as it does with ARP). Steps that say the
same thing again (the same route, the same FDB entry) are made once and shared, which is what
makes tracing cheap: a step on the packet path is one append to a list.

    steps    the step types
    hop      hops and traces, and who listens
    state    what a machine knew at any moment, rebuilt from its changes
    render   the text of a trace, at three depths
"""
