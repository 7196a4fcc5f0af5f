"""host-local: which address, in which order, and what it writes down."""

from __future__ import annotations

from typing import Any

import pytest
from cni_node import Rig, args

from k8semu.cni.host_local import STORE, HostLocal, range_sets
from k8semu.cni.spec import Args, Code
from k8semu.errors import CniError


def allocator(*ranges: dict[str, Any], rig: Rig | None = None) -> HostLocal:
    return HostLocal((rig or Rig()).node, "net", range_sets({"type": "host-local", "ranges": [list(ranges)]}))


def give(ipam: HostLocal, *containers: str) -> list[str]:
    return [ipam.add(args(name))[0].address for name in containers]


SMALL = {"subnet": "10.0.0.0/29"}


def test_addresses_are_given_one_after_the_other_and_the_gateways_never() -> None:
    assert give(allocator(SMALL), "a", "b", "c") == ["10.0.0.2/29", "10.0.0.3/29", "10.0.0.4/29"]


def test_another_gateway_is_passed_over_and_the_first_address_is_given_then() -> None:
    assert give(allocator({**SMALL, "gateway": "10.0.0.3"}), "a", "b", "c") == [
        "10.0.0.1/29", "10.0.0.2/29", "10.0.0.4/29",
    ]  # fmt: skip


def test_a_freed_address_rests_until_the_range_has_been_gone_round() -> None:
    ipam = allocator(SMALL)
    give(ipam, "a", "b")
    ipam.delete(args("a"))
    assert give(ipam, "c", "d", "e") == ["10.0.0.4/29", "10.0.0.5/29", "10.0.0.6/29"]
    assert give(ipam, "f") == ["10.0.0.2/29"]


def test_an_exhausted_range_is_an_error_that_names_it_and_a_release_helps() -> None:
    ipam = allocator(SMALL)
    give(ipam, "a", "b", "c", "d", "e")
    with pytest.raises(CniError, match=r"no IP addresses available in range set: 10\.0\.0\.1-10\.0\.0\.6") as caught:
        give(ipam, "f")
    assert caught.value.code == Code.INTERNAL
    ipam.delete(args("d"))
    assert give(ipam, "f") == ["10.0.0.5/29"]


def test_what_is_promised_beforehand_is_what_is_given_later() -> None:
    ipam = allocator({**SMALL, "gateway": "10.0.0.3"})
    give(ipam, "a")
    promised = [ipam.promise() for _ in range(4)]
    with pytest.raises(CniError, match=r"failed to allocate for range 0: no IP addresses available in range set"):
        ipam.promise()
    assert [address.partition("/")[0] for address in give(ipam, "b", "c", "d", "e")] == promised


def test_a_range_may_be_a_part_of_its_subnet() -> None:
    ipam = allocator({"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.10", "rangeEnd": "10.0.0.11"})
    assert give(ipam, "a", "b") == ["10.0.0.10/24", "10.0.0.11/24"]
    with pytest.raises(CniError, match=r"10\.0\.0\.10-10\.0\.0\.11"):
        give(ipam, "c")


def test_a_set_of_two_ranges_gives_the_second_after_the_first_and_then_the_first_again() -> None:
    ipam = allocator({"subnet": "10.0.0.0/30"}, {"subnet": "10.0.1.0/30"})
    assert give(ipam, "a", "b") == ["10.0.0.2/30", "10.0.1.2/30"]
    ipam.delete(args("a"))
    assert give(ipam, "c") == ["10.0.0.2/30"]


def test_two_sets_give_an_address_each_and_none_where_one_has_none() -> None:
    rig = Rig()
    sets = range_sets({"ranges": [[{"subnet": "10.0.0.0/29"}], [{"subnet": "10.0.1.0/30"}]]})
    ipam = HostLocal(rig.node, "net", sets)
    assert [one.address for one in ipam.add(args("a"))] == ["10.0.0.2/29", "10.0.1.2/30"]
    with pytest.raises(CniError, match="failed to allocate for range 1"):
        ipam.add(args("b"))
    assert ipam.held(args("b")) == []


def test_a_container_gets_no_second_address_for_one_interface_but_one_for_another() -> None:
    ipam = allocator(SMALL)
    give(ipam, "a")
    with pytest.raises(CniError, match=r"10\.0\.0\.2 has been allocated to a, duplicate allocation"):
        give(ipam, "a")
    assert ipam.add(Args("a", "a", "eth1"))[0].address == "10.0.0.3/29"
    ipam.delete(args("a"))
    assert ipam.held(Args("a", "a", "eth1")) == ["10.0.0.3"]


def test_the_store_holds_a_file_per_address_and_the_last_that_was_given() -> None:
    rig = Rig()
    ipam = allocator(SMALL, rig=rig)
    give(ipam, "a", "b")
    ipam.delete(args("b"))
    assert rig.node.cni_files == {
        f"{STORE}/net/lock": "", f"{STORE}/net/10.0.0.2": "a\r\neth0", f"{STORE}/net/last_reserved_ip.0": "10.0.0.3",
    }  # fmt: skip


def test_giving_back_twice_is_no_error_and_check_finds_what_is_not_held() -> None:
    ipam = allocator(SMALL)
    give(ipam, "a")
    ipam.check(args("a"))
    ipam.delete(args("a"))
    ipam.delete(args("a"))
    with pytest.raises(CniError, match="Failed to find address added by container a"):
        ipam.check(args("a"))


@pytest.mark.parametrize(("first_end", "clash"), [("10.0.0.19", False), ("10.0.0.20", True), ("10.0.0.255", True)])
def test_ranges_of_a_set_that_share_an_address_are_refused(first_end: str, clash: bool) -> None:
    subnet = "10.0.0.0/24" if first_end != "10.0.0.255" else "10.0.0.0/16"
    first = {"subnet": subnet, "rangeStart": "10.0.0.10", "rangeEnd": first_end}
    second = {"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.20", "rangeEnd": "10.0.0.30"}
    for ranges in ([first, second], [second, first]):
        if clash:
            with pytest.raises(CniError, match="overlap"):
                allocator(*ranges)
        else:
            assert allocator(*ranges)
