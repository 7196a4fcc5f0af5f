"""The real nft, given the same text, prints the same, refuses in the same words, and reads what we print."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/netfilter"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/linux/netfilter/nft"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit/kube/proxy"))

from nf_fakes import FakeNet
from nft_random import rule_sets
from nft_rules import BEFORE_REFUSAL, REFUSED, whole
from proxy_cases import CASES, large

from k8semu.errors import CommandError
from k8semu.kube.proxy.model import ProxyState
from k8semu.kube.proxy.nftables import Nftables
from k8semu.linux.core.commands import NftApply

pytestmark = pytest.mark.kernel

LIST = "nft list ruleset; echo ==="


def kernel(lines: list[str]) -> list[str]:
    """What is printed up to each ===, in a network namespace of its own."""
    run = subprocess.run(
        ["unshare", "-nm", "bash"], input="\n".join(lines), capture_output=True, text=True, check=False, timeout=120
    )
    assert run.returncode == 0, run.stderr
    return run.stdout.split("===\n")[:-1]


def loaded(text: str) -> str:
    return f"nft -f - <<'EOF' 2>&1\n{text}EOF"


def ours(*texts: str) -> str:
    nft = FakeNet().netfilter.nft
    for text in texts:
        nft.apply(text)
    return timeless(nft.list(["ruleset"]))


def timeless(text: str) -> str:
    """Without the time that elements have left: in the kernel some has passed."""
    return re.sub(r" expires [\w]+", "", text)


def test_every_form_of_rule_and_set_is_printed_alike() -> None:
    (real,) = kernel([loaded(whole()), LIST])
    assert ours(whole()).splitlines() == timeless(real).splitlines()


def test_the_real_nft_reads_what_we_print_and_prints_it_back() -> None:
    printed = ours(whole())
    (real,) = kernel([loaded(printed), LIST])
    assert printed.splitlines() == timeless(real).splitlines()


def test_what_is_refused_is_refused_in_the_same_words() -> None:
    wanted = REFUSED.splitlines()
    script = ["set +e"]
    for refused in wanted:
        script += [loaded("flush ruleset\n" + BEFORE_REFUSAL), loaded(f"{refused}\n"), "echo ==="]
    real = kernel(script)
    said = []
    for refused in wanted:
        nft = FakeNet().netfilter.nft
        nft.apply(BEFORE_REFUSAL)
        with pytest.raises(CommandError) as caught:
            nft.apply(f"{refused}\n")
        said.append(f"{caught.value.what}\n")
    assert dict(zip(wanted, said, strict=True)) == dict(zip(wanted, map(plain, real), strict=True))


def plain(said: str) -> str:
    """Without nft's guess at what was meant, which takes the place of other words."""
    return re.sub(r"Error: (No such file or directory); did you mean .*", r"Error: Could not process rule: \1", said)


def follow(states: list[ProxyState]) -> None:
    """A node that goes through `states` has the same table after each, emulated and real."""
    proxy, net = Nftables(("10.96.0.0/12",)), FakeNet()
    script, emulated = ["set -e"], []
    for state in states:
        net.wait(1.5)
        for command in proxy.sync(state, net.clock.now):
            if isinstance(command, NftApply):
                net.netfilter.nft.apply(command.text, dict(command.origins))
                script.append(loaded(command.text))
        script.append(LIST)
        emulated.append(net.netfilter.nft.list(["ruleset"]).splitlines())
    assert emulated == [part.splitlines() for part in kernel(script)]


@pytest.mark.parametrize("name", ["nothing", "external-local", "affinity", "no-endpoints", "udp-sctp", "source-ranges"])
def test_a_node_that_starts_with_these_services_has_the_same_table(name: str) -> None:
    follow([CASES[name]])


def test_a_node_that_goes_from_case_to_case_has_the_same_table_after_each() -> None:
    follow(list(CASES.values()))


def test_a_large_cluster_is_the_same() -> None:
    follow([large(3, 400), large(2, 600), large(3, 10)])


def test_random_rule_sets_are_printed_alike() -> None:
    texts: list[str] = []

    @settings(
        max_examples=40, phases=(Phase.generate,), suppress_health_check=list(HealthCheck), derandomize=True,
        deadline=None, database=None,
    )  # fmt: skip
    @given(rule_sets())
    def collect(text: str) -> None:
        texts.append(text)

    collect()
    script = [part for text in texts for part in (loaded("flush ruleset\n" + text), LIST)]
    real = kernel(script)
    assert [ours(text).splitlines() for text in texts] == [timeless(part).splitlines() for part in real]
