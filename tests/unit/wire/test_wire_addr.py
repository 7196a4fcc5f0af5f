"""Addresses: packed and as text, they are the same address."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.wire.addr import (
    DEFAULT,
    Interface,
    Prefix,
    ip_aton,
    ip_is_loopback,
    ip_is_multicast,
    ip_ntoa,
    mac_aton,
    mac_ntoa,
    prefix_mask,
)
from k8semu.wire.scapy_layers import ARP, IP, Ether

ADDRESS = st.binary(min_size=4, max_size=4)
PLEN = st.integers(0, 32)


@given(ADDRESS)
def test_an_address_survives_packing_and_is_what_scapy_writes(addr: bytes) -> None:
    assert ip_aton(ip_ntoa(addr)) == addr
    assert bytes(IP(dst="0.0.0.0", src=ip_ntoa(addr)))[12:16] == addr


@given(st.binary(min_size=6, max_size=6))
def test_a_mac_survives_packing_and_is_what_scapy_writes(mac: bytes) -> None:
    assert mac_aton(mac_ntoa(mac)) == mac
    assert bytes(Ether(src=mac_ntoa(mac), dst="00:00:00:00:00:00", type=0x0806) / ARP())[6:12] == mac


@pytest.mark.parametrize("text", ["", "1.2.3", "1.2.3.4.5", "1.2.3.256", "01.2.3.4", "a.b.c.d", "::1", " 1.2.3.4"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        ip_aton(text)


@pytest.mark.parametrize("text", ["", "02:42", "02:42:ac:11:00:02:03", "02:42:ac:11:00:0g", "0242:ac:11:00:02"])
def test_what_is_no_mac_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        mac_aton(text)


@given(st.from_regex(r"\A[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9.]{0,15})?\Z") | st.text("0123456789./ ٣", max_size=20))
def test_text_is_read_as_the_standard_library_reads_it(text: str) -> None:
    for ours, theirs in ((Prefix.parse, ipaddress.IPv4Network), (Interface.parse, ipaddress.IPv4Interface)):
        try:
            expected = str(theirs(text))
        except ValueError:
            with pytest.raises(ValueError, match=r".+"):
                ours(text)
        else:
            assert str(ours(text)) == expected


@given(ADDRESS, PLEN, ADDRESS)
def test_a_prefix_holds_the_addresses_of_its_network(addr: bytes, plen: int, other: bytes) -> None:
    network = ipaddress.IPv4Network((addr, plen), strict=False)
    prefix = Prefix.of(addr, plen)
    assert str(prefix) == str(network)
    assert Prefix.parse(str(network)) == prefix
    assert (other in prefix) == (ipaddress.IPv4Address(other) in network)
    assert prefix.broadcast == network.broadcast_address.packed
    assert prefix_mask(plen) == int(network.netmask)


@given(ADDRESS, PLEN)
def test_an_interface_keeps_its_host_bits(addr: bytes, plen: int) -> None:
    text = f"{ip_ntoa(addr)}/{plen}"
    interface = Interface.parse(text)
    assert str(interface) == text
    assert addr in interface.network


def test_an_interface_without_length_is_a_host() -> None:
    assert Interface.parse("10.1.2.3").plen == 32


def test_a_prefix_with_host_bits_is_refused_and_default_is_everything() -> None:
    with pytest.raises(ValueError, match="host bits"):
        Prefix.parse("172.17.0.1/16")
    assert Prefix.parse("default") == DEFAULT
    assert b"\x08\x08\x08\x08" in DEFAULT


@given(ADDRESS)
def test_loopback_and_multicast_are_told_apart(addr: bytes) -> None:
    assert ip_is_loopback(addr) == ipaddress.IPv4Address(addr).is_loopback
    assert ip_is_multicast(addr) == ipaddress.IPv4Address(addr).is_multicast


@given(st.lists(ADDRESS))
def test_packed_addresses_sort_as_addresses_do(addrs: list[bytes]) -> None:
    assert sorted(addrs) == [a.packed for a in sorted(map(ipaddress.IPv4Address, addrs))]
