"""Bytes and headers: the only place that speaks Scapy.

    addr      addresses as packed bytes (the datapath's form) and as text (everybody else's)
    checksum  the Internet checksum, whole (RFC 1071) and incremental (RFC 1624)
    header    where each field lies in a frame, and patching it in place
    build     frames and headers as Scapy lays them out
    walk      which header lies where in a frame, however deep
    dissect   headers as Scapy reads them, field by field; which checksums hold
    summary   one line about a frame, for listings and explanations

A frame always has 14 bytes of link header in front of its IP header, also where the device has
none (a tun device adds and strips them at its edge), so every offset is a constant.
"""
