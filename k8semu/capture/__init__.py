"""Captures: what was seen on every interface, and why.

    frame         one frame of a capture
    whole         files and folders that appear whole or not at all
    pcapng        the capture format with names, reasons and packet ids
    pcap          classic captures, one file per interface, as tcpdump on each would write
    reader        any capture, whatever its format
    tap           capture points on the devices of a run
    listing       one line of text per frame, for people and for review
    flows         connections as an interface sees them: who called
    normal_frame  one frame without what Linux chooses freely
    normal        all of a capture so, by flow; what carries much, as a stream of bytes
    align         which frame of one capture stands against which of the other
    difference    how two frames differ, field by field
    same          are two files the same bytes, but for what TLS makes of chance?
    compare       are two captures the same conversation?
"""
