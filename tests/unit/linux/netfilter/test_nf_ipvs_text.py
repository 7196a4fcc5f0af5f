"""The words of ipvsadm, in and out."""

from __future__ import annotations

import pytest
from nf_fakes import FakeNet

from k8semu.errors import CommandError

RULES = """\
-A -t 1.2.3.4:80 -s rr
-a -t 1.2.3.4:80 -r 10.0.0.1:8080 -m -w 1
-a -t 1.2.3.4:80 -r 10.0.0.2:8080 -m -w 3
-A -t 1.2.3.10:80 -s wlc -p 360
-A -u 1.2.3.4:53 -s sh -p 100 -M 255.255.255.0
-a -u 1.2.3.4:53 -r 10.0.0.1:53 -m -w 0
-A --sctp-service 1.2.3.4:3868 -s rr
-A -f 7 -s lc
"""


def node(text: str = RULES) -> FakeNet:
    net = FakeNet()
    net.netfilter.ipvs.run(["-R"], text)
    return net


def show(net: FakeNet, *args: str) -> str:
    return net.netfilter.ipvs.run(list(args))


def test_what_is_saved_is_what_was_restored() -> None:
    assert show(node(), "-S", "-n") == RULES


def test_virtual_servers_are_listed_with_their_real_servers() -> None:
    assert show(node(), "-Ln").split("\n") == [
        "IP Virtual Server version 1.2.1 (size=4096)",
        "Prot LocalAddress:Port Scheduler Flags",
        "  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn",
        "TCP  1.2.3.4:80 rr",
        "  -> 10.0.0.1:8080                Masq    1      0          0         ",
        "  -> 10.0.0.2:8080                Masq    3      0          0         ",
        "TCP  1.2.3.10:80 wlc persistent 360",
        "UDP  1.2.3.4:53 sh persistent 100 mask 255.255.255.0",
        "  -> 10.0.0.1:53                  Masq    0      0          0         ",
        "SCTP 1.2.3.4:3868 rr",
        "FWM  7 lc",
        "",
    ]
    assert show(node(), "-L", "-n", "-u", "1.2.3.4:53").count("\n") == 4
    assert show(node(), "-L", "--timeout") == "Timeout (tcp tcpfin udp): 900 120 300\n"
    assert show(node(), "-Lnc") == (
        "IPVS connection entries\npro expire state       source             virtual            destination\n"
    )


def test_addresses_more_than_half_of_all_apart_stand_the_other_way_round() -> None:
    net = node("".join(f"-A -t {ip}:80 -s rr\n" for ip in ("10.96.0.1", "172.17.0.1", "10.96.0.10")))
    assert [line.split()[2] for line in show(net, "-S").splitlines()] == [
        "172.17.0.1:80", "10.96.0.1:80", "10.96.0.10:80"
    ]


def test_servers_are_changed_and_go() -> None:
    net = node()
    show(net, "-e", "-t", "1.2.3.4:80", "-r", "10.0.0.1:8080", "-m", "-w", "9")
    show(net, "-d", "-t", "1.2.3.4:80", "-r", "10.0.0.2:8080")
    show(net, "-E", "-t", "1.2.3.10:80", "-s", "rr")
    show(net, "-D", "-f", "7")
    assert show(net, "-S").splitlines()[:3] == [
        "-A -t 1.2.3.4:80 -s rr", "-a -t 1.2.3.4:80 -r 10.0.0.1:8080 -m -w 9", "-A -t 1.2.3.10:80 -s rr"
    ]
    show(net, "--set", "100", "0", "200")
    assert show(net, "-L", "--timeout") == "Timeout (tcp tcpfin udp): 100 120 200\n"
    show(net, "-C")
    assert show(net, "-S") == ""


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("-A -t 1.2.3.4:80", "Service already exists"),
        ("-D -t 9.9.9.9:80", "No such service"),
        ("-E -t 9.9.9.9:80", "No such service"),
        ("-L -t 9.9.9.9:80", "No such service"),
        ("-a -t 9.9.9.9:80 -r 1.1.1.1", "Service not defined"),
        ("-a -t 1.2.3.4:80 -r 10.0.0.1:8080", "Destination already exists"),
        ("-d -t 1.2.3.4:80 -r 1.1.1.1:80", "No such destination"),
        ("-A -t 9.9.9.9:80 -s foo", "Scheduler or persistence engine not found"),
        ("-A -t 9.9.9.9", "Zero port specified for non-persistent service"),
        ("-A", "You need to supply the 'service-address' option for the 'add-service' command"),
        ("-a -t 1.2.3.4:80", "You need to supply the 'real-server' option for the 'add-server' command"),
        ("-A -D -t 1.2.3.4:80", "multiple commands specified"),
        ("-A -t foo:80", "illegal virtual server address[:port] specified"),
        ("-A -t 1.2.3.4:99999", "illegal real server address[:port] specified"),
        ("-a -t 1.2.3.4:80 -r 1.1.1.1 -w x", "invalid weight `x' specified"),
        ("-a -t 1.2.3.4:80 -r 1.1.1.1 -g", "-g is not modelled"),
        ("-A -t", "missing argument"),
        ("foo", "unexpected argument foo"),
        ("--foo", "unknown option"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(call: str, words: str) -> None:
    net = node()
    with pytest.raises(CommandError) as caught:
        show(net, *call.split())
    assert words in caught.value.what
    assert show(net, "-S") == RULES


def test_a_restore_that_fails_names_its_line_and_what_came_before_stays() -> None:
    net = node("")
    with pytest.raises(CommandError) as caught:
        net.netfilter.ipvs.run(["-R"], "-A -t 1.2.3.4:80 -s rr\n-a -t 1.2.3.5:80 -r 1.1.1.1 -m\n")
    assert str(caught.value) == "Service not defined (line 2: -a -t 1.2.3.5:80 -r 1.1.1.1 -m)"
    assert show(net, "-S") == "-A -t 1.2.3.4:80 -s rr\n"
