"""What every part of the stack stands on.

    skb       a packet on its way through
    dev       network devices; where frames enter and leave a namespace
    net       one network namespace's state, as the parts see it
    drop      every reason a packet can end for
    hooks     the five netfilter hooks, as places to register at
    sysctl    the settings of a namespace
    commands  what a node is told (seam 2), as values
    shell     the same, as a person would type it

Linux: net/core/, include/linux/skbuff.h, include/linux/netdevice.h
"""
