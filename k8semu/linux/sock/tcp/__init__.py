"""TCP: a reliable stream of bytes over packets.

    table       who gets a segment: connections, listeners, ports, TIME_WAIT
    sock        what a program may do with a socket, and what it is told
    tcb         what a connection is made of
    minisocks   what is less than a socket: a handshake not done yet, a connection in TIME_WAIT
    passive     the connection that comes of a handshake, and its way to the program
    input       a segment came in: is it acceptable, and what state follows
    ack         what its acknowledgement says: round trip, SACK scoreboard
    recovery    what was lost, and sending it again
    data        its bytes in order, out of order, and the FIN
    output      segments leave: windows, Nagle, PSH, FIN, RST
    xmit        one segment, laid out and sent
    frame       SYNs, and answers on behalf of nobody
    timer       what happens when nothing comes
    cong        how much may be in flight (CUBIC)
    window      how much the receiver offers
    errors      what ICMP says about a connection
    sockopt     setsockopt(2)
    options, segment, states   the wire's words

Sequence numbers inside are plain integers that never wrap; `segment.unwrap` and a mask stand at
the border to the wire.

Linux: net/ipv4/tcp*.c
RFC: 9293, 7323 (timestamps, window scale), 2018 (SACK), 6298 (RTO), 6675, 6937 (recovery), 9438 (CUBIC)
Differs: loss is detected by counting SACKed segments and by a simple RACK; there is no F-RTO, no undo
of a mistaken recovery, no pacing, no HyStart, no SYN cookies, no MTU probing.
Not modelled: urgent data, ECN, Fast Open, MD5/AO.
"""
