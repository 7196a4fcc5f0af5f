"""The CNI plugins do on a node what Debian's real bridge, host-local and portmap plugins do on Linux."""

from __future__ import annotations

import pytest

from k8semu.cni.spec import ConfigList
from k8semu.lab import cni_plugins
from k8semu.lab.cni_plugins import COMPARED, Call, bridge_network, compare_plugins, refusal, why_not


def skip_without_plugins(config: ConfigList) -> None:
    reason = why_not(config)
    if reason:
        pytest.skip(reason)


@pytest.mark.kernel
@pytest.mark.parametrize("name", COMPARED)
def test_the_plugins_do_what_the_real_ones_do(name: str) -> None:
    config, calls = COMPARED[name]
    skip_without_plugins(config)
    report = compare_plugins(config, calls)
    assert report.same, report.text
    assert report.calls == len(calls)
    assert report.values > 10 * len(calls)


@pytest.mark.kernel
def test_a_new_container_announces_its_address_to_the_bridge_port_alone_as_with_the_real_plugin() -> None:
    config = bridge_network()
    skip_without_plugins(config)
    calls = [Call("ADD", "a"), Call("ADD", "b")]
    real = cni_plugins.real_calls(config, calls)
    ours, runs, living = cni_plugins.emulated_calls(config, calls)
    replayed = cni_plugins.real_lines(runs, living)
    for number, address in enumerate(("ac110002", "ac110003")):
        said = [f"veth… in 0001080006040001MAC{address}{'00' * 6}{address}"]
        for world in (real, ours, replayed):
            assert cni_plugins.normal(world[number]["state"]["heard"]) == said


REFUSED = {
    "hairpin and promiscuous": bridge_network(hairpinMode=True, promiscMode=True),
    "too small": bridge_network(ipam={"type": "host-local", "ranges": [[{"subnet": "10.0.0.0/31"}]]}),
    "start outside": bridge_network(ipam={"type": "host-local", "subnet": "10.0.0.0/24", "rangeStart": "10.0.1.1"}),
    "end outside": bridge_network(ipam={"type": "host-local", "subnet": "10.0.0.0/24", "rangeEnd": "10.0.1.1"}),
    "sets overlap": bridge_network(
        ipam={"type": "host-local", "ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "10.0.0.128/25"}]]}
    ),
    "ranges overlap": bridge_network(
        ipam={"type": "host-local", "ranges": [[{"subnet": "10.0.0.0/24"}, {"subnet": "10.0.0.128/25"}]]}
    ),
    "no ranges": bridge_network(ipam={"type": "host-local", "ranges": []}),
}


@pytest.mark.kernel
@pytest.mark.parametrize("name", REFUSED)
def test_a_configuration_is_refused_in_the_real_plugins_words(name: str) -> None:
    config = REFUSED[name]
    skip_without_plugins(config)
    ours, real = refusal(config)
    assert real["code"] != 0
    assert ours == real


@pytest.mark.kernel
def test_the_comparison_notices_what_differs() -> None:
    config = bridge_network()
    skip_without_plugins(config)
    promised = compare_plugins(config, [Call("ADD", "a")])
    assert promised.same, promised.text
    other = bridge_network(mtu=1400)
    real = cni_plugins.real_calls(other, [Call("ADD", "a")])
    ours, runs, living = cni_plugins.emulated_calls(config, [Call("ADD", "a")])
    replayed = cni_plugins.real_lines(runs, living)
    report = cni_plugins.compare_answers([Call("ADD", "a")], real, ours, replayed)
    assert not report.same
    assert any("1400" in row for row in report.differences)
