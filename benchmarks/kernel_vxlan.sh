#!/usr/bin/env bash
# The same two nodes and three Pods as pod-cross-node-vxlan in kernel namespaces: build, capture on five
# interfaces, one HTTP call, tear down. Run inside `unshare -Urnm`.
set -e
mount -t tmpfs none /run
mkdir /run/netns
ip -b - <<BATCH
netns add underlay
netns add host1
netns add host2
netns add client
netns add other
netns add web
BATCH
python=$1
for n in underlay host1 host2 client other web; do
  ip netns exec "$n" sh -c 'echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6; echo 1 > /proc/sys/net/ipv4/ip_forward'
done
ip -n underlay -b - <<BATCH
link add br0 type bridge
link set br0 up
link add host1 type veth peer name eth0 netns host1
link set host1 master br0 up
link add host2 type veth peer name eth0 netns host2
link set host2 master br0 up
BATCH
node() {  # name, number, own subnet, other's number and subnet
  ip -n "$1" -b - <<BATCH
link set lo up
link set eth0 up
addr add 10.100.0.$2/24 dev eth0
link add docker0 address 02:42:ac:11:0$3:01 type bridge
addr add 172.17.$3.1/24 dev docker0
link set docker0 up
link add flannel.1 address 02:00:00:00:00:0$2 mtu 1450 type vxlan id 1 local 10.100.0.$2 dev eth0 dstport 8472 nolearning
addr add 172.17.$3.0/32 dev flannel.1
link set flannel.1 up
neigh add 172.17.$5.0 lladdr 02:00:00:00:00:0$4 dev flannel.1 nud permanent
route add 172.17.$5.0/24 via 172.17.$5.0 dev flannel.1 onlink
BATCH
  bridge -n "$1" fdb add 02:00:00:00:00:0"$4" dev flannel.1 dst 10.100.0."$4" self permanent
  ip netns exec "$1" iptables-restore <<RULES
*nat
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -s 172.17.$3.0/24 -d 172.17.0.0/16 -j RETURN
-A FLANNEL-POSTRTG -s 172.17.0.0/16 ! -d 224.0.0.0/4 -j MASQUERADE
COMMIT
RULES
}
pod() {  # node, name, address, gateway
  ip -n "$1" -b - <<BATCH
link add v$2 type veth peer name eth0 netns $2
link set v$2 master docker0 up
BATCH
  ip -n "$2" -b - <<BATCH
link set lo up
link set eth0 mtu 1450 up
addr add $3/24 dev eth0
route add default via $4
BATCH
}
node host1 2 0 3 1
node host2 3 1 2 0
pod host1 client 172.17.0.2 172.17.0.1
pod host2 other 172.17.1.2 172.17.1.1
pod host2 web 172.17.1.3 172.17.1.1
mkfifo /run/ready
exec 3<> /run/ready
"$python" -Ssc '
import ctypes, select, signal, socket, struct, sys, time
libc = ctypes.CDLL(None)
sockets = []
for point in sys.argv[2:]:
    netns, device = point.split("/")
    with open(f"/run/netns/{netns}") as file:
        assert libc.setns(file.fileno(), 0x40000000) == 0
    sockets.append(socket.socket(socket.AF_PACKET, socket.SOCK_RAW))
    sockets[-1].bind((device, 3))
end = []
signal.signal(signal.SIGTERM, lambda *_: end.append(1))
with open(sys.argv[1], "wb") as out:
    out.write(struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    print("captures", flush=True)
    while not end:
        for ready in select.select(sockets, [], [], 0.01)[0]:
            frame = ready.recv(65535)
            seconds, rest = divmod(time.time_ns(), 1_000_000_000)
            out.write(struct.pack("=IIII", seconds, rest // 1000, len(frame), len(frame)) + frame)
' /run/capture client/eth0 host1/docker0 host1/flannel.1 host1/eth0 host2/eth0 >&3 &
capture=$!
ip netns exec web "$python" -Ssc '
import socket
s = socket.create_server(("0.0.0.0", 80))
print("serves", flush=True)
c, _ = s.accept()
c.recv(4096)
c.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
c.close()' >&3 &
server=$!
read -rt 10 -u 3
read -rt 10 -u 3
ip netns exec client curl -sf --max-time 5 http://172.17.1.3/ > /dev/null
wait $server
kill $capture
wait $capture
[ "$(stat -c %s /run/capture)" -gt 1000 ]
ip -b - <<BATCH
netns del host1
netns del host2
netns del client
netns del other
netns del web
BATCH
# The kernel takes namespaces down by and by; when it has, the far ends of their cables are gone, too.
while [ -n "$(ip -n underlay -o link show type veth)" ]; do sleep 0.002; done
ip netns del underlay
