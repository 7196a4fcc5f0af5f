"""Values between processes."""

from __future__ import annotations

import threading

import pytest

from k8semu.errors import CommandError
from k8semu.lab.channel import Channel, Gone


def test_values_arrive_whole_and_in_order() -> None:
    one, other = Channel.pair()
    values = [("build", [1, 2]), "x" * 1_000_000, None]
    sender = threading.Thread(target=lambda: [one.send(value) for value in values])
    sender.start()
    assert [other.receive() for _ in values] == values
    sender.join()
    one.close()
    other.close()


def test_the_end_of_the_other_side_is_noticed() -> None:
    one, other = Channel.pair()
    other.close()
    with pytest.raises(Gone):
        one.receive()
    with pytest.raises(Gone):
        one.send("anybody?")
    one.close()


def test_an_error_that_is_answered_is_raised_with_all_it_says() -> None:
    one, other = Channel.pair()
    other.send(CommandError("RTNETLINK answers: File exists", path="host1", hint="ip link add"))
    with pytest.raises(CommandError) as caught:
        one.ask("build", [])
    assert str(caught.value) == "host1: RTNETLINK answers: File exists (ip link add)"
    one.close()
    other.close()
