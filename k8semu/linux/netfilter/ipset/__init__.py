"""ipset: sets of addresses and ports that one rule asks for at once.

    types   what an element is, how it is written, and what of a packet is looked up
    sets    one set; all sets of a namespace
    text    the words of `ipset`: create, add, del, swap, …, save and restore

A rule names a set (``-m set --match-set NAME dst,dst,src``): `matches.memory.SetMatch`.

Linux: net/netfilter/ipset/ip_set_core.c
"""
