"""The real iptables, given the same lines, prints the same text and refuses in the same words."""

# ruff: noqa: E501 - a rule is one line
from __future__ import annotations

import shlex
import subprocess

import pytest

from k8semu.errors import CommandError
from k8semu.linux.core.net import Net
from k8semu.linux.netfilter.netfilter import Netfilter
from k8semu.sim.world import World

pytestmark = pytest.mark.kernel

FILTER = r"""
-s 10.0.0.0/8 ! -d 10.1.0.0/255.255.0.0 -i eth+ ! -o lo -p tcp -m tcp --sport 1:200 ! --dport 80 -m comment --comment "a \"b\" c" -j ACCEPT
-p tcp -m tcp --syn -j DROP
-p tcp -m tcp ! --syn -j DROP
-p tcp -m tcp --tcp-flags ALL NONE -j DROP
-p tcp --tcp-flags SYN,RST SYN,RST -j DROP
-p udp -m udp --dport 53 -m comment --comment simple -j REJECT
-p tcp -m tcp -j REJECT --reject-with tcp-reset
-p icmp --icmp-type echo-reply -j ACCEPT
-p icmp -m icmp --icmp-type 3/4 -j ACCEPT
-p icmp -m icmp --icmp-type any -j ACCEPT
-p tcp -m multiport --dports 80,443,1000:2000 -j ACCEPT
-p tcp -m multiport ! --sports 80,443 -j ACCEPT
-m conntrack --ctstate ESTABLISHED,RELATED,DNAT -j ACCEPT
-m conntrack ! --ctstate INVALID -j ACCEPT
-m conntrack --ctproto 6 --ctorigdst 1.2.3.4 --ctorigdstport 80 --ctdir ORIGINAL --ctstatus ASSURED,CONFIRMED --ctexpire 1:10
-m conntrack --ctorigsrc 1.2.3.0/24 --ctreplsrc 1.2.3.4 --ctrepldst 1.2.3.4 --ctorigsrcport 1:2 --ctreplsrcport 3 --ctrepldstport 4
-m state --state NEW,UNTRACKED -j ACCEPT
-m mark --mark 0x4000/0x4000 -j ACCEPT
-m mark ! --mark 5 -j ACCEPT
-m connmark --mark 0x1/0xff -j ACCEPT
-m addrtype ! --src-type LOCAL,UNICAST -j ACCEPT
-m addrtype --dst-type LOCAL --limit-iface-in -j ACCEPT
-m statistic --mode random --probability 0.3333333333 -j ACCEPT
-m statistic --mode random ! --probability 0.25 -j ACCEPT
-m statistic --mode nth --every 3 --packet 1 -j ACCEPT
-m recent --name X --rcheck --seconds 10800 --reap --mask 255.255.255.255 --rsource -j ACCEPT
-m recent --set --name Y -j ACCEPT
-m recent --update --seconds 60 --hitcount 4 --name Z --rdest -j ACCEPT
-m recent ! --rcheck --name Z --rttl --hitcount 3 -j ACCEPT
-m physdev ! --physdev-out veth+ --physdev-is-bridged -j ACCEPT
-m physdev --physdev-is-in --physdev-is-bridged -j ACCEPT
-m limit --limit 5/min --limit-burst 7 -j LOG --log-prefix "hello world: " --log-level 4
-m mark ! --mark 0x10000/0x10000 -j NFLOG --nflog-group 100 -m limit --limit 10/minute --limit-burst 10
-j NFLOG
-j NFLOG --nflog-prefix "a b" --nflog-group 0 --nflog-size 64 --nflog-threshold 5
-j LOG --log-prefix hi --log-level debug --log-tcp-options --log-uid --log-tcp-sequence --log-ip-options
-f -j ACCEPT
! -f -p udp
-p 50 -j ACCEPT
-p 253 -g FOO
! -p icmp
-j REJECT --reject-with icmp-host-prohibited
-s 1.2.3.4/0 -j RETURN
-p tcp --dport http -j RETURN
-s 255.255.255.0/255.0.255.0
-j FOO
-m iprange --src-range 10.0.0.1-10.0.0.5 ! --dst-range 1.1.1.1-2.2.2.2 -j DROP
-m iprange --dst-range 1.1.1.1 -j DROP
-m mac ! --mac-source 02:00:00:00:00:aB -j DROP
-m length --length 100:200 -j DROP
-m length ! --length 100 -j DROP
-m length --length 100: -j DROP
-m ttl --ttl-eq 1 -j DROP
-m ttl ! --ttl-eq 1 -j DROP
-m ttl --ttl-lt 5 -j DROP
-m ttl --ttl-gt 5 -j DROP
-m tos --tos 0x10 -j DROP
-m tos ! --tos 0x10/0x3f -j DROP
-m dscp ! --dscp 10 -j DROP
-m dscp --dscp-class EF -j DROP
-p tcp -m tcp --tcp-flags SYN,RST SYN -m tcpmss --mss 1400:1500 -j TCPMSS --set-mss 1360
-p tcp -m tcpmss ! --mss 1400 -j TCPMSS --clamp-mss-to-pmtu
"""
MANGLE = """
-j MARK --set-xmark 0x4000/0x4000
-j MARK --set-mark 1
-j MARK --or-mark 0x8000
-j MARK --and-mark 0xff
-j MARK --xor-mark 0xff
-j MARK --set-mark 0x1/0x3
-j CONNMARK --save-mark
-j CONNMARK --restore-mark --nfmask 0xff --ctmask 0xf0
-j CONNMARK --restore-mark --mask 0xff
-j CONNMARK --set-mark 0x3
-j CONNMARK --set-xmark 0x3/0x4
-j TTL --ttl-set 64
-j TTL --ttl-inc 1
-j TTL --ttl-dec 2
-j TOS --set-tos 0x10
-j DSCP --set-dscp 10
-j DSCP --set-dscp-class AF21
-j CHECKSUM --checksum-fill
-m rpfilter --loose --validmark --accept-local --invert -j DROP
"""
NAT_PRE = """
-p tcp -j DNAT --to-destination 1.2.3.4:80
-p tcp -j DNAT --to-destination 1.2.3.4-1.2.3.8:80-90 --random --persistent
-p tcp -j REDIRECT --to-ports 8080-8090 --random
-j DNAT --to-destination 1.2.3.4
-p tcp -j DNAT --to-destination :8080
-j REDIRECT
"""
NAT_POST = """
-j MASQUERADE
-j MASQUERADE --random-fully
-p tcp -j MASQUERADE --to-ports 1024-2000 --random
-p tcp -j SNAT --to-source 1.2.3.4:1-5 --random-fully --persistent
-p tcp -j SNAT --to-source 1.2.3.4-1.2.3.5
"""


def _lines(chain: str, text: str) -> str:
    return "".join(f"-A {chain} {line}\n" for line in text.strip().split("\n"))


TEXT = (
    "*mangle\n" + _lines("PREROUTING", MANGLE) + "COMMIT\n*raw\n-A PREROUTING -j NOTRACK\n-A OUTPUT -j CT --notrack\n"
    "COMMIT\n*filter\n:FORWARD DROP [5:6]\n:FOO - [0:0]\n[3:4] -A INPUT -s 9.9.9.9\n" + _lines("FORWARD", FILTER)
    + "COMMIT\n*nat\n:B - [0:0]\n:A - [0:0]\n" + _lines("PREROUTING", NAT_PRE) + _lines("POSTROUTING", NAT_POST)
    + "-A B -j RETURN\n-A A -j RETURN\nCOMMIT\n"
)  # fmt: skip


def kernel(script: str, stdin: str = "") -> str:
    """What a script prints in a network namespace of its own; its errors too."""
    return subprocess.run(
        ["unshare", "-Urnm", "bash", "-c", script], input=stdin, capture_output=True, text=True, check=False
    ).stdout


def emulated(text: str = "") -> Netfilter:
    net = Net(World(1), "n")
    net.netfilter = Netfilter(net)
    if text:
        net.netfilter.restore(text, False, {})
    return net.netfilter


def _rules(text: str) -> list[str]:
    return [line for line in text.splitlines() if not line.startswith("#")]


def test_iptables_save_prints_the_same() -> None:
    real = kernel("iptables-restore -c && iptables-save -c", TEXT)
    assert _rules(emulated(TEXT).save(counters=True)) == _rules(real)


def test_the_kernel_takes_what_we_print() -> None:
    saved = emulated(TEXT).save(counters=True)
    assert _rules(kernel("iptables-restore -c && iptables-save -c", saved)) == _rules(saved)


@pytest.mark.parametrize("options", ["-L -n -v", "-L -n", "-L -n -v --line-numbers", "-S", "-S -v"])
@pytest.mark.parametrize("table", ["filter", "nat", "mangle", "raw"])
def test_listings_are_the_same(options: str, table: str) -> None:
    real = kernel(f"iptables-restore -c && iptables -t {table} {options}", TEXT)
    assert emulated(TEXT).iptables(["-t", table, *options.split()]).splitlines() == real.splitlines()


CALLS = """
-t nat -N KUBE-X
-t nat -N KUBE-X
-t nat -A KUBE-X -s 10.0.0.1 -j MASQUERADE
-t nat -A POSTROUTING -j KUBE-X
-t nat -X KUBE-X
-t nat -X NOPE
-t nat -F NOPE
-t nat -D POSTROUTING 7
-t nat -D POSTROUTING -j ACCEPT
-t nat -C POSTROUTING -j ACCEPT
-t nat -A NOPE -j ACCEPT
-t nat -A POSTROUTING -j NOPE
-t nat -A POSTROUTING -m nope -j ACCEPT
-t nat -A POSTROUTING --nope -j ACCEPT
-t nat -A POSTROUTING -p tcp --dport abc -j ACCEPT
-t nat -A POSTROUTING -s 1.2.3.400 -j ACCEPT
-t nope -A POSTROUTING -j ACCEPT
-t nat -P POSTROUTING REJECT
-P KUBE-X DROP
-P FORWARD DROP
-t nat -E KUBE-X KUBE-Y
-t nat -I POSTROUTING 2 -p udp -j RETURN
-t nat -I POSTROUTING 9 -p udp -j RETURN
-N X
-A X -j X
-A FORWARD -j X
-A FORWARD -m set --match-set NOPE src -j DROP
-A FORWARD -p tcp --sports 1
-A FORWARD -s 1.2.3.4,5.6.7.8 -j ACCEPT
-A FORWARD -m comment -j ACCEPT
-A FORWARD -m conntrack -j ACCEPT
-A FORWARD -m mark -j ACCEPT
-A FORWARD -j MARK
-A FORWARD -m statistic --mode random -j ACCEPT
-A FORWARD -m multiport --dports 80 -j ACCEPT
-A FORWARD -p tcp -m udp --dport 80 -j ACCEPT
-A FORWARD -m tcp --dport 80 -j ACCEPT
-A FORWARD -m addrtype --dst-type FOO -j ACCEPT
-A FORWARD -m state -j ACCEPT
-A FORWARD -p icmp --icmp-type foo
-A FORWARD -m addrtype -j ACCEPT
-A FORWARD -d 1.2.3.4 -d 1.2.3.5
-A FORWARD -p tcp --dport 80 --dport 90
-A FORWARD -m recent -j ACCEPT
-A FORWARD -m physdev -j ACCEPT
-A FORWARD hello
-A FORWARD -i abcdefghijklmnopqrst
-A FORWARD -j ACCEPT -j DROP
-A FORWARD -m conntrack --ctstate NEW -m conntrack --ctstate INVALID
-t nat -A POSTROUTING -j SNAT --to-source foo
-t nat -A POSTROUTING -j SNAT --to-source 1.2.3.4:80
-t nat -A POSTROUTING -j MASQUERADE --to-ports 80
-t filter -A FORWARD -j REJECT --reject-with tcp-reset
-t mangle -A FORWARD -j MARK --set-mark foo
-t mangle -A FORWARD -m mark --mark foo
-A FORWARD -j NFLOG --nflog-group 65536
-A FORWARD -j NFLOG --nflog-group x
-A FORWARD -j NFLOG --nflog-threshold 70000
-A FORWARD -j NFLOG --nflog-size x
-A FORWARD -m iprange -j DROP
-A FORWARD -m iprange --src-range x-1.1.1.1 -j DROP
-A FORWARD -m mac -j DROP
-A FORWARD -m mac --mac-source xx -j DROP
-A FORWARD -m length -j DROP
-A FORWARD -m length --length 70000 -j DROP
-A FORWARD -m ttl -j DROP
-A FORWARD -m ttl --ttl-eq 300 -j DROP
-A FORWARD -m tos --tos 0x100 -j DROP
-A FORWARD -m dscp -j DROP
-A FORWARD -m dscp --dscp 64 -j DROP
-A FORWARD -m dscp --dscp-class ZZ -j DROP
-A OUTPUT -m owner -j DROP
-A FORWARD -p tcp -m tcpmss -j DROP
-t mangle -A FORWARD -j TCPMSS --set-mss 1000
-t mangle -A FORWARD -p tcp --syn -j TCPMSS
-t mangle -A FORWARD -p tcp --syn -j TCPMSS --set-mss 70000
-t mangle -A FORWARD -j TTL
-t mangle -A FORWARD -j TTL --ttl-set 256
-t mangle -A FORWARD -j TOS
-t mangle -A FORWARD -j DSCP
-t mangle -A FORWARD -j DSCP --set-dscp 64
-t mangle -A FORWARD -j CHECKSUM
-A OUTPUT -m owner ! --uid-owner root -j RETURN
-A INPUT -o eth0
-A OUTPUT -i eth0
-A
-A FORWARD -j DNAT --to-destination 1.2.3.4
"""


def test_a_series_of_calls_is_answered_in_the_same_words() -> None:
    """Errors are compared by their first line; the state after all of them by iptables-save."""
    calls = CALLS.strip().split("\n")
    script = "".join(f"iptables {call} 2>&1 | head -1; echo ---\n" for call in calls) + "iptables-save | grep -v '^#'"
    real = kernel(script).split("---\n")
    nf = emulated()
    mine = []
    for call in calls:
        try:
            nf.iptables(shlex.split(call))
            mine.append("")
        except CommandError as error:
            mine.append(error.what.split("\n")[0] + "\n")
    assert dict(zip(calls, mine, strict=True)) == dict(zip(calls, real[:-1], strict=True))
    assert _rules(nf.save()) == real[-1].splitlines()


RESTORES = [
    "*nat\n:X - [0:0]\n-A X -m nope -j ACCEPT\nCOMMIT\n",
    "*nat\n-A X -j ACCEPT\nCOMMIT\n",
    "*nat\n-A PREROUTING -j ACCEPT\n",
    "*nat\n-A PREROUTING -j NOPE\nCOMMIT\n",
    "*nope\n-A PREROUTING -j NOPE\nCOMMIT\n",
    "*filter\n-A FORWARD --foo x -j ACCEPT\nCOMMIT\n",
    "*filter\nhello\nCOMMIT\n",
    "*filter\n-X NOPE\nCOMMIT\n",
    "*filter\n:FORWARD BAD [0:0]\nCOMMIT\n",
    "*filter\n:Z - [0:0]\n-A INPUT -j Z\n-A Z -j Z\nCOMMIT\n",
    "*filter\n-A FORWARD -j REJECT --reject-with foo\nCOMMIT\n",
    "*filter\n-A FORWARD -j DNAT --to-destination 1.2.3.4\nCOMMIT\n",
    "*filter\n-A INPUT -j REJECT --reject-with tcp-reset\nCOMMIT\n",
    "*nat\n-A PREROUTING -j DNAT\nCOMMIT\n",
    "*filter\n:A-23456789012345678901234567890 - [0:0]\nCOMMIT\n",
    "*filter\n-A INPUT -p tcp -m tcp --dport\nCOMMIT\n",
    "*filter\n-A INPUT -s 3.3.3.3\nCOMMIT\n*nat\n-A POSTROUTING --foo\nCOMMIT\n",
]


@pytest.mark.parametrize("text", RESTORES)
def test_a_restore_that_fails_says_the_same_and_leaves_the_same(text: str) -> None:
    before = "*filter\n:FOO - [0:0]\n-A INPUT -j FOO\nCOMMIT\n"
    script = f"iptables-restore <<< {shlex.quote(before)}; iptables-restore --noflush 2>&1; echo ---; iptables-save"
    said, _, left = kernel(script, text).partition("---\n")
    nf = emulated(before)
    with pytest.raises(CommandError) as caught:
        nf.restore(text, True, {})
    assert caught.value.what.split() == said.split("Try `")[0].split()
    mine = [line for line in _rules(nf.save()) if not line.startswith(("*nat", ":P", ":O", "COMMIT"))]
    real = [line for line in _rules(left) if not line.startswith(("*nat", ":P", ":O", "COMMIT"))]
    assert mine == [line for line in real if line != ":INPUT ACCEPT [0:0]" or line in mine]
