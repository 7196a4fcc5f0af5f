"""The same packets through a real router and through ours: `conntrack -L` prints the same.

    p (172.17.0.2) ── router: masquerade, DNAT of 10.96.0.1 ── q (10.0.0.9)
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "linux" / "netfilter"))

from nf_fakes import FakeNet, echo, tcp, udp

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(shutil.which("conntrack") is None, reason="conntrack is not installed (Debian: conntrack)"),
]

RULES = """*nat
-A POSTROUTING -s 172.17.0.0/24 -o {out} -j MASQUERADE
-A PREROUTING -d 10.96.0.1 -p tcp --dport 80 -j DNAT --to-destination 10.0.0.9:8080
-A PREROUTING -d 10.96.0.1 -p udp -j DNAT --to-destination 10.0.0.9:5353
COMMIT
"""

SCRIPT = r"""
mount -t tmpfs none /run
ip netns add p; ip netns add q; ip link set lo up
ip link add v0 type veth peer name e0 netns p; ip link add w0 type veth peer name e0 netns q
ip addr add 172.17.0.1/24 dev v0; ip addr add 10.0.0.1/24 dev w0; ip link set v0 up; ip link set w0 up
ip -n p addr add 172.17.0.2/24 dev e0; ip -n p link set e0 up; ip -n p route add default via 172.17.0.1
ip -n q addr add 10.0.0.9/24 dev e0; ip -n q link set e0 up; ip -n q route add default via 10.0.0.1
sysctl -qw net.ipv4.ip_forward=1
iptables-restore
ip netns exec q python3 -c "
import socket
s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(('', 8080)); s.listen()
u = socket.socket(2, 2); u.bind(('', 5353))
print('ready', flush=True)
c, _ = s.accept(); d, a = u.recvfrom(9); u.sendto(d, a); e, _ = s.accept(); c.recv(9); c.close(); u.recvfrom(9)
e.recv(9)
" > /run/ready &
until grep -q ready /run/ready; do sleep 0.02; done
ip netns exec p python3 -c "
import socket, subprocess
def client(kind, port, peer):
    s = socket.socket(2, kind); s.setsockopt(1, 2, 1); s.bind(('', port)); s.connect(peer); return s
c = client(1, 40000, ('10.96.0.1', 80))
u = client(2, 5000, ('10.96.0.1', 53)); u.send(b'x'); u.recv(9)
e = client(1, 40002, ('10.96.0.1', 80))
for kind, port in ((1, 40001), (2, 5001)):
    try: s = client(kind, port, ('10.0.0.9', 81)); s.send(b'x'); s.recv(9)
    except ConnectionRefusedError: pass
c.shutdown(1); c.recv(9)
v = client(2, 5002, ('10.0.0.9', 5353)); v.send(b'x')
subprocess.run(['ping', '-c1', '-q', '10.0.0.9'], stdout=subprocess.DEVNULL)
open('/run/done', 'w').close()
import time; time.sleep(3)
" &
until [ -e /run/done ]; do sleep 0.02; done
sleep 0.1
conntrack -L
kill %1 %2
"""


def ours() -> str:
    net = FakeNet()
    eth0 = net.devs["eth0"].addresses[0]
    eth0.iface = type(eth0.iface).parse("10.0.0.1/24")
    net.netfilter.restore(RULES.format(out="eth0"), True, {})
    client, gate = "172.17.0.2", "10.0.0.1"

    def out(frame: bytearray) -> None:
        net.forward(frame)

    def back(frame: bytearray) -> None:
        net.forward(frame, "eth0", "docker0")

    for port in (40000, 40002):
        out(tcp(f"{client}:{port}", "10.96.0.1:80"))
        back(tcp("10.0.0.9:8080", f"{gate}:{port}", "SA"))
        out(tcp(f"{client}:{port}", "10.96.0.1:80", "A"))
    out(udp(f"{client}:5000", "10.96.0.1:53"))
    back(udp("10.0.0.9:5353", f"{gate}:5000"))
    out(tcp(f"{client}:40001", "10.0.0.9:81"))
    back(tcp("10.0.0.9:81", f"{gate}:40001", "RA"))
    out(udp(f"{client}:5001", "10.0.0.9:81"))
    out(tcp(f"{client}:40000", "10.96.0.1:80", "FA"))
    back(tcp("10.0.0.9:8080", f"{gate}:40000", "FA"))
    out(tcp(f"{client}:40000", "10.96.0.1:80", "A"))
    out(udp(f"{client}:5002", "10.0.0.9:5353"))
    out(echo(client, "10.0.0.9", 7))
    back(echo("10.0.0.9", gate, 7, reply=True))
    return net.netfilter.conntrack.list()


def comparable(text: str) -> list[str]:
    """Without the ICMP identifier that ping chose, and the timeout to the nearest ten seconds."""
    lines = [re.sub(r"\bid=\d+", "id=N", line.strip()) for line in text.splitlines()]
    return sorted(re.sub(r"^(\w+ +\d+) (\d+)", lambda m: f"{m[1]} {round(int(m[2]), -1)}", line) for line in lines)


def test_conntrack_lists_the_same_connections() -> None:
    done = subprocess.run(
        ["unshare", "-Urnm", "bash", "-c", SCRIPT], input=RULES.format(out="w0"), capture_output=True, text=True,
        check=False, timeout=30,
    )  # fmt: skip
    real = "\n".join(line for line in done.stdout.splitlines() if "src=" in line)
    assert real, done.stderr
    assert comparable(ours()) == comparable(real)
