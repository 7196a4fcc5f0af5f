"""What a person would type on a node, answered from the emulated kernel in the real format.

    commands   which program answers, and what it answers; `machine`: where it runs
    ip         ip addr, link, route, neigh, rule: ip_words, ip_link, ip_details, ip_route
    bridge     bridge fdb, link
    ss         ss -tln, -uln, -tan
    iptables   iptables, iptables-save
    conntrack  conntrack -L, -C, -D
    nft        nft list ruleset
    sysctl, docker, files (cat)
    itself     env, printenv, hostname, uname
    sh         sh -c: ; && ||, and variables

    network    commands that send packets, as programs: ping, curl, traceroute; `words`: getopt

A program is one file. One that only looks gets a row in `commands.PROGRAMS`, one that sends packets a
row in `network`. Every word is understood, or refused in the program's own words.

Formats: iproute2 6.1, iptables 1.8.9, conntrack-tools 1.4.7, iputils 20221126, curl 7.88, traceroute 2.1, docker 24.
"""
