"""Rules that take turns instead of drawing."""

from __future__ import annotations

from k8semu.cluster.cluster import Cluster
from k8semu.lab.chance import NEIGHBOURS, lasting_neighbours, without_chance
from k8semu.linux.core.commands import DummyAdd, IptablesRestore, LinkSet, NftApply


def test_three_endpoints_take_turns() -> None:
    chances = (("0.3333333333", "A"), ("0.5000000000", "B"))
    rules = [f"-A KUBE-SVC-X -m statistic --mode random --probability {p} -j {c}" for p, c in chances]
    text = "\n".join(["*nat", *rules, "COMMIT", ""])
    command = IptablesRestore(text=text, origins=((rules[0], "Service default/web"),))
    told = without_chance(command)
    assert isinstance(told, IptablesRestore)
    assert "-m statistic --mode nth --every 3 --packet 0 -j A" in told.text
    assert "-m statistic --mode nth --every 2 --packet 0 -j B" in told.text
    assert told.origins[0][0] in told.text


def test_a_verdict_map_is_gone_through_in_turn() -> None:
    text = "add rule ip kube-proxy s numgen random mod 2 vmap { 0 : goto a , 1 : goto b }\n"
    told = without_chance(NftApply(text=text))
    assert isinstance(told, NftApply)
    assert told.text == text.replace("random", "inc")


def test_other_commands_stay_as_they_are() -> None:
    for command in (LinkSet(name="eth0", up=True), IptablesRestore(text="*filter\n-A INPUT -j ACCEPT\nCOMMIT\n")):
        assert without_chance(command) is command


def test_devices_of_a_comparison_keep_their_neighbours() -> None:
    cluster = Cluster()
    cluster.on_netns.append(lasting_neighbours)
    net = cluster.add_netns("n")
    cluster.tell("n", DummyAdd(name="dummy0", address="02:00:00:00:00:01"))
    for key, value in NEIGHBOURS.items():
        assert getattr(net.devs["dummy0"].neigh_conf, key) == value
    assert cluster.world.clock.now == 0
    cluster.close()
