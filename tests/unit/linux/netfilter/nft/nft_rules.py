"""Rules, and what nft prints of them: every form that is read. Used here and against the real nft."""

# ruff: noqa: E501 - a rule is one line
from __future__ import annotations

START = """\
add table ip t { comment "a table" ; }
add chain ip t in { type filter hook input priority 0 ; }
add chain ip t pre { type nat hook prerouting priority -100 ; }
add chain ip t post { type nat hook postrouting priority 100 ; }
add chain ip t other
add chain ip t c { comment "rules go here" ; }
add set ip t addrs { type ipv4_addr ; comment "some" ; }
add set ip t seen { type ipv4_addr ; flags dynamic,timeout ; timeout 10800s ; }
add set ip t pairs { type ipv4_addr . ipv4_addr . inet_proto . inet_service ; }
add map ip t services { type ipv4_addr . inet_proto . inet_service : verdict ; }
add map ip t ports { type inet_proto . inet_service : verdict ; }
add map ip t nets { type ipv4_addr : verdict ; flags interval ; }
"""

RULES = """\
ct state new jump other
ct state established,related accept
ct state new,established,untracked accept
ct state { new, invalid } accept
ct state != invalid accept
ct state vmap { new : accept, established : drop }
ct status dnat,snat accept
ct direction original accept
ct mark 7 accept
ct mark set meta mark
ct mark set 1
meta mark set ct mark
mark set mark or 0x4000
mark and 0x4000 == 0 return
mark set mark xor 0x004000
mark xor 0x5 7 accept
mark 1 accept
mark { 1, 2 } accept
mark != 0x1-0x5 accept
meta mark & 0xff != 1 drop
meta mark set meta mark & 0xff
meta mark set 0x10
ip daddr @addrs reject comment "Reject traffic to invalid ports of ClusterIPs"
ip daddr { 172.30.0.0/16 } drop comment "alone, it loses its braces"
ip daddr { 172.30.0.0/16, 10.0.0.0/12 } drop
ip saddr != { 203.0.113.0/25 } drop
ip saddr != { 10.0.0.0/8, 10.1.0.0/16, 11.0.0.0/8, 1.2.3.4 } drop
ip saddr { 1.2.3.4 } drop
ip saddr { 1.2.3.5, 1.2.3.4 } drop
ip saddr { 1.2.3.5, 1.2.3.4, 10.0.0.0/30 } drop
ip saddr 0.0.0.0/0 accept
ip saddr 1.2.3.4/32 accept
ip saddr 1.2.3.4/8 accept
ip saddr 1.2.3.4-1.2.3.9 accept
ip saddr != 1.2.3.4-1.2.3.9 accept
ip saddr @seen goto other
ip daddr . meta l4proto . th dport vmap @services
ip daddr @addrs meta l4proto . th dport vmap @ports
fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap @ports
fib daddr type != local accept
fib daddr type { local, broadcast } accept
fib saddr type local jump other comment "masquerade local traffic"
ip saddr . ip daddr . meta l4proto . th dport @pairs accept
ip daddr vmap @nets
ip daddr vmap { 10.0.0.0/8 : accept, 1.2.3.4 : drop }
ip saddr . tcp dport { 1.2.3.5 . 81, 1.2.3.4 . 80 } accept
ip daddr . meta l4proto . th dport { 1.2.3.4 . tcp . 80 } accept
th sport . ip saddr . ct state . meta mark { 5 . 1.2.3.4 . new . 0x7 } accept
numgen random mod 3 vmap { 0 : goto other , 1 : drop , 2 : jump other }
numgen random mod 1 vmap { 0 : accept }
numgen inc mod 3 vmap { 0 : accept, 1 : drop }
numgen random mod 3 offset 5 vmap { 5 : accept }
numgen random mod 10 < 3 accept
jhash ip saddr mod 2 seed 0x1 vmap { 0 : accept, 1 : drop }
jhash ip saddr . th sport mod 24 seed 0xdeadbeef vmap { 0 : goto other, 23 : accept }
jhash ip saddr . tcp sport . ip daddr . tcp dport mod 3 seed 0x7 offset 5 vmap { 5 : drop }
tcp dport 80 jhash ip saddr . tcp sport mod 4 seed 0x0 < 2 accept
jhash th sport mod 4 seed 0x9 0 drop
jhash ip saddr mod 24 seed 0x6b3873 vmap { 0-11 : goto other, 12-23 : drop }
jhash ip saddr mod 2000 seed 0x6b3873 vmap { 255-256 : goto other, 1-7 : drop, 300 : accept, 1024-1999 : drop }
update @seen { ip saddr }
update @seen { ip saddr timeout 1h } drop
add @seen { ip saddr timeout 5s }
iifname "eth0" counter accept
iifname != "eth*" oifname "x" accept
iifname { "eth0", "lo" } accept
tcp dport 80 accept
tcp dport { 80, 443 } accept
tcp dport { 1-5, 6, 9 } drop
tcp dport http accept
tcp dport vmap { 80 : accept, 443 : drop }
udp dport 80-90 accept
udp dport 53 udp sport 53 accept
th dport 80 accept
meta l4proto tcp tcp dport 80 accept
meta l4proto tcp th dport 80 accept
ip protocol tcp tcp dport 80 accept
ip protocol icmp accept
meta l4proto { tcp, udp } th dport 80 accept
ip saddr 1.2.3.0/24 meta l4proto 77 accept
ip daddr 1.2.3.4 tcp dport 80 ip saddr != 10.0.0.0/8 jump other
ip daddr 1.2.3.4 ip saddr 5.6.7.8 accept
ip ttl 5 accept
icmp type echo-request accept
icmp type { echo-request, echo-reply } accept
reject with icmp type host-unreachable
reject with icmp admin-prohibited
reject with icmp port-unreachable
meta l4proto tcp reject with tcp reset
counter
counter packets 5 bytes 7 drop
meta l4proto tcp ip daddr . meta l4proto . th dport vmap @services
meta l4proto tcp ip daddr . meta l4proto . th dport { 1.1.1.1 . tcp . 80 } drop
tcp dport 81 ip daddr . meta l4proto . th dport vmap @services
tcp dport 81 th sport 5
tcp dport != 81 th sport 5
tcp dport {1,2} th sport 5
tcp dport {1,2} ip saddr 1.1.1.1 th sport 5
ip protocol tcp ip saddr 1.1.1.1 tcp dport 80
meta l4proto tcp ip saddr 1.1.1.1 tcp dport 80
meta l4proto tcp ip saddr 1.1.1.1 th dport 80
meta l4proto tcp counter tcp dport 80
meta l4proto tcp tcp dport { 80, 81 }
meta l4proto tcp tcp dport vmap { 80 : drop }
meta l4proto tcp th dport vmap { 80 : drop }
meta l4proto tcp th dport { 80, 81 } drop
meta l4proto tcp ip saddr 1.1.1.1 reject with tcp reset
tcp dport 80 reject with tcp reset
ip protocol tcp reject with tcp reset
ip saddr . tcp dport { 1.2.3.4 . 80 } accept
meta l4proto tcp ip saddr . tcp dport { 1.2.3.4 . 80 } accept
meta l4proto tcp meta mark 1 tcp dport 80 accept
meta l4proto tcp meta mark set 1 tcp dport 80 accept
meta l4proto != tcp th dport 80 accept
ip daddr 1.1.1.1 meta l4proto tcp tcp dport 80 dnat to 1.2.3.4:80
meta l4proto icmp icmp type echo-request accept
meta l4proto tcp tcp sport 1 tcp dport 80 accept
tcp sport 1 tcp dport 80 accept
tcp dport 1 tcp sport {80,81} accept
tcp dport 1-5 tcp sport 80 accept
tcp sport 7 tcp dport 1 tcp sport 80 accept
jump other
goto other
return
continue
drop
"""

NAT = """\
pre tcp dport 80 redirect to :8080
pre redirect
pre ip saddr 1.1.1.1 tcp dport 80 dnat to 1.2.3.4-1.2.3.9:80-90
pre tcp dport 80 dnat to 1.2.3.4:80-90 persistent
pre dnat to 1.2.3.4 random,persistent
pre meta l4proto tcp dnat to 10.180.0.1:80
pre meta l4proto { tcp, udp } dnat to 1.2.3.4:53
pre dnat to ip saddr map { 1.1.1.1 : 2.2.2.2 }
pre meta l4proto tcp dnat ip to numgen random mod 2 map { 0 : 10.244.0.10 . 9898, 1 : 10.244.0.8 . 9898 }
pre meta l4proto udp dnat ip addr . port to numgen random mod 1 map { 0 : 10.244.0.10 . 53 }
post masquerade
post masquerade random,persistent
post meta l4proto tcp snat to 1.2.3.4:1000-2000 fully-random
post mark and 0x4000 != 0 mark set mark xor 0x4000 masquerade fully-random
post ct status dnat ip saddr . ip daddr . meta l4proto . th dport @pairs masquerade fully-random
"""

ELEMENTS = """\
add element ip t addrs { 10.96.0.10, 10.96.0.1, 10.100.192.23, 1.1.1.1 comment "hi" }
add element ip t seen { 10.1.1.9 timeout 2d }
add element ip t pairs { 10.244.0.8 . 10.244.0.8 . tcp . 9898, 10.244.0.10 . 10.244.0.10 . udp . 9898, 10.244.0.10 . 10.244.0.10 . tcp . 9898 }
add element ip t services { 172.30.0.41 . tcp . 80 : goto other, 172.30.0.42 . udp . 53 comment "ns/svc:p80" : drop }
add element ip t services { 1.2.3.4 . sctp . 81 : jump other, 1.2.3.4 . icmp . 0 : accept, 1.2.3.4 . 77 . 0 : return }
add element ip t ports { tcp . 3001 : drop, udp . 22 : accept }
add element ip t nets { 10.0.0.0/8 : accept, 11.0.0.0/8 : drop, 1.2.3.4 : jump other }
"""

SETS = """\
add set ip t marks { type mark ; flags interval ; auto-merge ; comment "c" ; }
add element ip t marks { 1-5, 0x10, 7 ,8, 0x11, 100, 200, 300, 400, 401 }
add set ip t names { type ifname ; }
add element ip t names { "eth0", "eth1", "lo", "aaaaaaaaaa" }
add set ip t protocols { type inet_proto ; }
add element ip t protocols { tcp, udp, icmp, 200, 33, 132, 58 }
add set ip t numbers { type inet_service ; size 100 ; }
add element ip t numbers { 80, 443, 8080, 1, 2, 3, 4, 5, 6, 7, 8 , 22 }
add map ip t to { type inet_service : ipv4_addr ; }
add element ip t to { 80 : 1.2.3.4, 81 : 1.2.3.5 }
add set ip t ranges { type ipv4_addr ; flags interval ; }
add element ip t ranges { 10.0.0.0/8, 1.2.3.4, 1.2.4.0-1.2.4.9 }
add set ip t both { type ipv4_addr . inet_service ; flags interval ; }
add element ip t both { 10.0.0.0/8 . 80-90, 1.2.3.4 . 5 , 2.0.0.0-2.0.0.5 . 7 }
add set ip t slow { type ipv4_addr ; size 100 ; flags timeout ; timeout 1m ; gc-interval 5s ; comment "all of it" ; }
"""

CHAINS = """\
add chain ip t b1 { type filter hook prerouting priority -95 ; policy drop ; }
add chain ip t b2 { type filter hook forward priority mangle ; }
add chain ip t b3 { type filter hook prerouting priority raw + 10 ; }
add chain ip t b4 { type filter hook prerouting priority -289 ; }
add chain ip t b5 { type filter hook forward priority 60 ; }
add chain ip t b6 { type filter hook postrouting priority 300 ; comment "hello" ; }
add chain ip t b7 { type filter hook output priority -100 ; }
add chain ip t b8 { type filter hook prerouting priority dstnat - 10 ; }
"""


def whole() -> str:
    """All of the above as one text."""
    rules = "".join(f"add rule ip t c {rule}\n" for rule in RULES.splitlines())
    nat = "".join(f"add rule ip t {rule}\n" for rule in NAT.splitlines())
    return START + rules + nat + ELEMENTS + SETS + CHAINS


REFUSED = """\
foo bar
add rule ip t c foo
add rule ip t nope accept
add rule ip t c ip saddr @nope accept
add rule ip t c tcp dport 99999 accept
add rule ip t c tcp dport
add rule ip t c dnat to 1.2.3.4:80
add rule ip t c accept accept
add rule ip t c accept drop
add rule ip t c ip saddr 1.2.3.4 accept extra
add chain ip t d { type filter hook nope priority 0 ; }
add chain ip t d { type foo hook input priority 0 ; }
add chain ip t d { type nat hook forward priority 0 ; }
add chain ip t d { type nat hook input priority -300 ; }
add chain ip t d { type filter hook input priority bar ; }
add chain ip t in { type filter hook input priority 5 ; }
create table ip t
create chain ip t c
create set ip t addrs { type ipv4_addr ; }
create element ip t addrs { 1.1.1.1 }
add element ip t nope { 1.1.1.1 }
add element ip t addrs { 1.1.1.0/24 }
add element ip t services { 1.1.1.1 . tcp . 80 : goto nope }
add element ip t services { 1.1.1.1 . tcp . 80 : drop }
add element ip t services { 1.1.1.1 . tcp . 81 }
add element ip t services { 1.1.1.1 . tcp : drop }
add element ip t services { 1.1.1.2 . foo . 80 : drop }
delete element ip t addrs { 9.9.9.9 }
delete element ip t nope { 9.9.9.9 }
delete table ip nope
delete chain ip t nope
delete chain ip t other
delete set ip t nope
delete map ip t nope
flush chain ip t nope
flush set ip t nope
flush map ip t nope
add set ip t addrs { type ipv4_addr ; flags interval ; }
add set ip t x { flags interval ; }
add rule ip t in masquerade
add rule ip t c ct state foo accept
add rule ip t c comment "x"
add rule ip t c ip saddr . tcp dport vmap @services
add rule ip t c ip daddr vmap @services
add rule ip t c ip daddr @services accept
add rule ip t c numgen random mod 0 vmap { 0 : accept }
add rule ip t c numgen random mod 2 vmap { 0 : accept, 0 : drop }
flush table ip nope
add rule ip t c fib daddr type nope accept
add rule ip t c meta l4proto udp tcp dport 80 accept
"""

BEFORE_REFUSAL = START + """\
add element ip t addrs { 1.1.1.1, 7.7.7.7 }
add element ip t ports { tcp . 80 : drop }
add rule ip t c jump other
add chain ip t spare
add rule ip t spare ip saddr @addrs accept
add element ip t services { 1.1.1.1 . tcp . 80 : goto other }
"""
