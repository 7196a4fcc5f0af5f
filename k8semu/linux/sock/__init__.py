"""Sockets of one network namespace, and asyncio on top of them.

    program ─ asyncio ─▶ endpoints ─▶ transports ─▶ UdpSock, PingSock, TcpSock ─▶ net.ipv4.local_out
    program ◀─ asyncio ──────────── transports ◀─ udp, ping, tcp ◀─ net.ipv4.protocols

    sockets      all of a namespace: `net.sockets`, what `ss` lists
    dgram        what UDP and ping sockets share: options, queue, errors    Linux: net/ipv4/datagram.c
    udp          ports, datagrams, checksums                                 Linux: net/ipv4/udp.c
    ping         ICMP echo sockets                                           Linux: net/ipv4/ping.c
    tcp/         streams                                                     Linux: net/ipv4/tcp*.c
    packet       the ends of tun devices, and frames off a device            Linux: drivers/net/tun.c, net/packet
    owner        what TCP tells the transport
    endpoints    loop.create_connection, create_server, create_datagram_endpoint
    transports, datagram, server     the asyncio side of a stream, a datagram socket, a listener
    names        getaddrinfo, getnameinfo, the hosts file
"""
