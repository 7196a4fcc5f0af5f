"""The pages of help of `ip` and `bridge`: what can be asked here. A scenario's steps change a machine."""

from __future__ import annotations

USAGES = {
    "ip": """Usage: ip [ OPTIONS ] OBJECT { COMMAND | help }
where  OBJECT := { address | link | neighbour | route | rule }
       OPTIONS := { -V[ersion] | -s[tatistics] | -d[etails] | -br[ief] | -o[neline] |
                    -j[son] | -p[retty] | -f[amily] { inet | inet6 } | -4 | -6 }""",
    "ip address": """Usage: ip address [ show [ dev IFNAME ] [ scope SCOPE-ID ] [ master DEVICE ] [ type TYPE ]
                         [ to PREFIX ] [ label LABEL ] [ up ] ]
SCOPE-ID := [ host | link | global ]""",
    "ip link": "Usage: ip link show [ DEVICE ] [ up ] [ master DEV ] [ type TYPE ]",
    "ip route": """Usage: ip route list SELECTOR
       ip route get ADDRESS [ from ADDRESS iif STRING ]
SELECTOR := [ root PREFIX ] [ match PREFIX ] [ exact PREFIX ] [ dev STRING ] [ via ADDRESS ]
            [ table TABLE_ID ] [ proto RTPROTO ] [ type TYPE ] [ scope SCOPE ]""",
    "ip neigh": """Usage: ip neigh show [ to PREFIX ] [ dev DEV ] [ nud STATE ]
       ip neigh get ADDR dev DEV""",
    "ip rule": "Usage: ip rule [ list [ table TABLE_ID ] ]",
    "bridge": """Usage: bridge [ OPTIONS ] OBJECT { COMMAND | help }
where  OBJECT := { link | fdb }
       OPTIONS := { -V[ersion] | -s[tatistics] | -d[etails] | -o[neline] }""",
    "bridge fdb": "Usage: bridge fdb show [ br BRDEV ] [ brport DEV ] [ dynamic ] [ state STATE ]",
    "bridge link": "Usage: bridge link show [ dev DEV ]",
}
