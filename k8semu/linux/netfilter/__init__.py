"""Netfilter: rules, connection tracking, address translation.

    hook ─▶ raw ─▶ conntrack ─▶ mangle ─▶ nat (dst) ─▶ filter ─▶ nat (src) ─▶ conntrack confirm

    rule       a rule as a value: matches, target, text; the packet as rules see it
    matches/   one small type per match        targets/   one small type per target
    parse      an iptables command line -> rule
    tables     a namespace's tables, chains, counters
    walk       a packet through a chain; dispatch: straight to the rules that can match
    restore, save, iptables, listing           the text, in and out
    nft/       nf_tables as `nft` programs them
    ipset/     sets that rules ask             ipvs/      virtual servers and their connections
    conntrack/ which packets belong together   nat, manip addresses and ports, decided once
    reject     the answer of REJECT            br_netfilter  bridged frames through the same hooks
    netfilter  all of it together, registered at the hooks

A *rule* is a value that every namespace may share; its counters and its memory (`recent`,
`statistic --mode nth`, `limit`) belong to one namespace.

Linux: net/netfilter/, net/ipv4/netfilter/, net/bridge/br_netfilter_hooks.c
"""
