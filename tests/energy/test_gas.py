"""Gas by name: a street of identical size and keys in each run, so every figure is exact."""

from __future__ import annotations

import pytest

from liggare.energy.meter import Meter
from tests.energy.street import FIRST, KRONA, Street, key
from tests.support import FOREVER

MINTER = 0xFFFF


def settle_in(street: Street, homes: int) -> None:
    """Register homes, a third with sun; give all orders with limits of their own and money.

    Hundreds of transactions: sent past Brownie, which would take ten times as long.
    """
    sender = {"from": street.operator.address, "gas": 1_000_000}
    market = street.energy.contract.functions
    mint = street.energy.w3.eth.contract(street.money.address, abi=street.money.abi).functions.mint
    mint(key(MINTER).address, 1_000_000 * KRONA).transact(sender)
    deposits = {0: 10_000 * KRONA}
    for home in range(1, homes + 1):
        street.owners[home] = key(home)
        street.meters[home] = Meter(key(0x1000 + home), home, street.domain)
        market.registerHome(key(home).address, street.meters[home].address, 0, 0).transact(sender)
        limits = {"sell_limit": 700 + 7 * home % 500, "buy_limit": 1_500} if home % 3 == 0 else {}
        signed = street.wish(home, **({"buy_limit": 1_000 + 13 * home % 900} | limits)).sign(key(home))
        market.placeOrder(tuple(signed.message.values().values()), signed.signature).transact(sender)
        deposits[home] = 100 * KRONA
    for home, value in deposits.items():
        paid = street.payment(home, key(MINTER), value)
        terms = (key(MINTER).address, value, 0, FOREVER, bytes(32))
        market.deposit(home, *terms, paid.signature).transact(sender)
    assert len(street.energy.homes()) == homes


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


@pytest.mark.gas
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_slot_of_a_thousand_homes(empty_street, gas):
    settle_in(empty_street, 1000)
    cleared(empty_street, 1000, 1)
    receipt = cleared(empty_street, 1000, 1, FIRST + 1)
    gas("energy.slot.n1000.total", receipt.gas_used)


@pytest.mark.gas
def test_what_a_home_does_by_itself(trading, gas, bo, cia):
    """Each measured once there has been one before, as for all but the first time."""
    gas("energy.order.place", trading.place(2, seq=2, from_slot=FIRST + 1, buy_limit=1_900).gas_used)
    gas("energy.deposit", trading.pay_in(2, bo, 30 * KRONA, b"\1" * 32).gas_used)
    signed = trading.energy.withdrawal(bo, 2, 20 * KRONA, valid_before=FOREVER, nonce=b"\2" * 32)
    values = tuple(signed.message.values().values())
    receipt = trading.market.withdraw(values, signed.signature, {"from": trading.operator})
    gas("energy.withdraw", receipt.gas_used)
    receipt = trading.market.registerHome(cia.address, key(9).address, 0, 0, {"from": trading.operator})
    gas("energy.register", receipt.gas_used)
