"""A journal whose disk is another process's."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from harness.load.crew.shipping import AGAIN_S, Shipping
from harness.load.crew.words import Shipment


class Clock:
    """Goes when it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_piece_is_kept_until_it_is_acknowledged() -> None:
    """And sent again, with its number, when that takes too long."""
    sent: list[Shipment] = []
    clock = Clock()
    shipping = Shipping(sent.append, clock)
    assert shipping.drained(0.0)
    assert shipping.write(b"one\n") == 4
    clock.now = 1.0
    shipping.write(b"two\n")
    assert (shipping.unheard_s(), shipping.drained(0.0)) == (1.0, False)
    clock.now = AGAIN_S
    shipping.send_again()
    assert [(each.number, each.lines) for each in sent] == [(1, b"one\n"), (2, b"two\n"), (1, b"one\n")]
    shipping.acknowledged(1)
    clock.now = 2 * AGAIN_S
    shipping.send_again()
    assert [each.number for each in sent] == [1, 2, 1, 2]
    shipping.acknowledged(2)
    assert shipping.drained(0.0)
    assert shipping.unheard_s() == 0.0


@given(st.lists(st.sampled_from(["write", "lost", "again", "heard"]), max_size=40))
def test_every_piece_arrives_once_and_in_turn_over_a_way_that_loses(steps: list[str]) -> None:
    """The receiver takes each number once, the next one only, and acknowledges what it has."""
    clock, way, taken = Clock(), list[Shipment](), list[bytes]()
    shipping = Shipping(way.append, clock)

    def hear() -> None:
        while way:
            shipment = way.pop(0)
            if shipment.number == len(taken) + 1:
                taken.append(shipment.lines)
            if shipment.number <= len(taken):
                shipping.acknowledged(shipment.number)

    written = 0
    for step in steps:
        clock.now += AGAIN_S
        if step == "write":
            written += 1
            shipping.write(b"%d\n" % written)
        elif step == "lost" and way:
            way.pop(0)
        elif step == "again":
            shipping.send_again()
        else:
            hear()
    while not shipping.drained(0.0):
        clock.now += AGAIN_S
        shipping.send_again()
        hear()
    assert taken == [b"%d\n" % n for n in range(1, written + 1)]
