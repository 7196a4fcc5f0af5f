"""What programs write into their data that a comparison passes over."""

from __future__ import annotations

import dns.edns
import dns.message
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k8semu.capture.payload import steady_ttls, without_proxied_port


def answer(ttl: int) -> bytes:
    message = dns.message.make_response(dns.message.make_query("web.default.svc.cluster.local.", "A", use_edns=0))
    message.id = 7
    message.answer = [dns.rrset.from_text("web.default.svc.cluster.local.", ttl, "IN", "A", "10.96.0.20")]
    message.authority = [dns.rrset.from_text("cluster.local.", ttl, "IN", "NS", "ns.dns.cluster.local.")]
    return message.to_wire()


@pytest.mark.parametrize("left", [30, 29, 26])
def test_a_ttl_that_has_counted_down_for_a_moment_is_the_same(left: int) -> None:
    assert steady_ttls(answer(left)) == answer(30)


def test_a_ttl_of_its_own_is_not() -> None:
    assert steady_ttls(answer(25)) == answer(25) != answer(30)


@given(st.binary(max_size=80))
def test_what_is_no_message_stays_as_it_is_or_is_as_long(data: bytes) -> None:
    assert len(steady_ttls(data)) == len(data)
    assert steady_ttls(answer(29)[:-1]) == answer(29)[:-1]


def test_the_callers_port_in_a_proxy_header_is_passed_over() -> None:
    begun = b"PROXY TCP4 1.2.3.4 5.6.7.8 42390 80\r\nGET /"
    assert without_proxied_port(begun) == begun.replace(b"42390", b"#")
