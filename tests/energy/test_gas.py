"""Gas by name: a street of identical size and keys in each run, so every figure is exact."""

from __future__ import annotations

import pytest

from tests.energy.street import FIRST, KRONA, Street, key

MINTER = 0xFFFF


def settle_in(street: Street, homes: int) -> None:
    """Register homes, a third with sun; give all orders with limits of their own, and half of them money."""
    for number in range(1, homes + 1):
        street.move_in(key(number))
    street.pay_in(0, key(MINTER), 10_000 * KRONA)
    for home in range(1, homes + 1):
        if home % 3 == 0:
            street.place(home, sell_limit=700 + 7 * home % 500, buy_limit=1_500)
        else:
            street.place(home, buy_limit=1_000 + 13 * home % 900)
        street.pay_in(home, key(MINTER), 100 * KRONA, home.to_bytes(32, "big"))


def measured(homes: int, slot: int) -> dict[int, tuple[int, int]]:
    """What the meters count in a slot: made up, deterministic, a third of the homes with sun."""
    counts = {}
    for home in range(1, homes + 1):
        load, sun = 100 + (home * 37 + slot * 11) % 400, 300 + (home * 53 + slot * 29) % 900
        counts[home] = (max(load - sun, 0), max(sun - load, 0)) if home % 3 == 0 else (load, 0)
    return counts


def cleared(street: Street, homes: int, count: int, slot: int = FIRST):
    """Clear `count` slots; return the receipt."""
    street.end_of(slot + count - 1)
    return street.clear(street.read(slot, *(measured(homes, slot + t) for t in range(count))), count)


@pytest.mark.gas
def test_a_slot_of_seventeen_homes(empty_street, gas):
    settle_in(empty_street, 17)
    cleared(empty_street, 17, 1)  # the first slot of all writes words that were zero
    receipt = cleared(empty_street, 17, 1, FIRST + 1)
    assert receipt.events["SlotCleared"]["volume"] > 0
    gas("energy.slot.n17.k1", receipt.gas_used // 17)
    receipt = cleared(empty_street, 17, 16, FIRST + 2)
    gas("energy.slot.n17.k16", receipt.gas_used // 17 // 16)


@pytest.mark.gas
def test_slots_of_a_hundred_homes(empty_street, gas):
    settle_in(empty_street, 100)
    cleared(empty_street, 100, 1)
    gas("energy.slot.n100.k1", cleared(empty_street, 100, 1, FIRST + 1).gas_used // 100)
    gas("energy.slot.n100.k16", cleared(empty_street, 100, 16, FIRST + 2).gas_used // 1600)
