"""`liggare register`, `deposit`, `order`, `measure`, `clear`, `withdraw`: two homes and one slot, by hand."""

from __future__ import annotations

import json

import pytest
from brownie import EnergyMarket
from eth_account import Account

from liggare.energy.client import Energy
from tests.support import now, pass_time

KRONA = 10**6
METERS = {"anna": Account.from_key(b"\x61" * 32), "bo": Account.from_key(b"\x62" * 32)}


@pytest.fixture
def operator_file(key_file):
    """The key file of the operator, who registers homes too."""
    return key_file(Account.from_mnemonic("test test test test test test test test test test test junk"), "operator")


@pytest.fixture
def market(deployments, money, w3):
    """The market, as the package sees it."""
    assert EnergyMarket.at(deployments.contracts["EnergyMarket"].address).homeCount() == 0
    return Energy(w3, deployments)


@pytest.fixture
def homes(liggare, market, operator_file, anna, bo):
    """Anna's home is 1, Bo's is 2."""
    found = {}
    for name, owner in (("anna", anna), ("bo", bo)):
        words = ("register", owner.address, METERS[name].address, "--key", operator_file)
        code, out, _ = liggare(*words, "--json")
        assert code == 0
        found[name] = out["home"]
    return found


@pytest.fixture
def day(liggare, market, homes, anna_file, carrier_file, key_file, bo, tmp_path):
    """Anna buys up to 2.00 with 100 deposited, Bo sells from 1.00 on; the first slot of both has been metered."""
    carry = ("--carrier", carrier_file)
    assert liggare("deposit", "1", "100", "--key", anna_file, *carry)[0] == 0
    assert liggare("order", "1", "--buy", "2.00", "--cap", "3000", "--key", anna_file, *carry)[0] == 0
    assert liggare("order", "2", "--sell", "1.00", "--cap", "3000", "--key", key_file(bo, "bo"), *carry)[0] == 0
    first = market.next_slot()
    joined = market.current_slot() + 1
    pass_time(market.begins(joined + 1) + market.gate + 1 - now())
    readings = tmp_path / "readings.jsonl"
    for name, row in (("anna", "900,0"), ("bo", "0,400")):
        table = tmp_path / f"{name}.csv"
        idle = "0,0\n" * (joined - first)
        table.write_text(f"imported,exported\n{idle}{row}\n")
        meter = key_file(METERS[name], f"meter-{name}")
        words = ("measure", homes[name], table, "--key", meter, "--out", readings, "--first", joined)
        table.write_text(f"imported,exported\n{row}\n")
        assert liggare(*words)[0] == 0
    return readings


def test_a_slot_is_cleared_at_the_price_that_the_orders_imply(liggare, market, day, carrier_file):
    code, out, _ = liggare("clear", day, "--key", carrier_file, "--json")
    assert code == 0
    assert [(each["price"], each["volume"]) for each in out["slots"]] == [(2000, 400)]
    paid = 400 * 2000 + 500 * market.tariffs.retail
    assert market.balance(1) == 100 * KRONA - paid
    assert market.balance(2) == 400 * 2000


def test_a_cleared_slot_is_not_cleared_again(liggare, day, carrier_file):
    assert liggare("clear", day, "--key", carrier_file)[0] == 0
    code, out, _ = liggare("clear", day, "--key", carrier_file, "--json")
    assert (code, out["error"]) == (2, "InvalidReadings")


def test_a_forged_reading_is_refused_by_the_contract(liggare, day, carrier_file):
    lines = [json.loads(line) for line in day.read_text().splitlines()]
    lines[1]["deltas"] = "0x000000000190"[:-2] + "91"
    day.write_text("\n".join(map(json.dumps, lines)))
    code, out, _ = liggare("clear", day, "--key", carrier_file, "--json")
    assert (code, out["error"]) == (1, "EnergyForeignReading")


def test_verify_recomputes_the_clearing(liggare, day, carrier_file):
    assert liggare("clear", day, "--key", carrier_file)[0] == 0
    code, out, _ = liggare("verify", "--json")
    assert (code, out["checked"]["slots cleared"]) == (0, 1)


def test_a_seller_takes_the_money_out(liggare, day, money, carrier_file, key_file, bo):
    assert liggare("clear", day, "--key", carrier_file)[0] == 0
    words = ("withdraw", "2", "0.80", "--key", key_file(bo, "bo"), "--carrier", carrier_file)
    assert liggare(*words)[0] == 0
    assert money.balanceOf(bo.address) == 800_000
    code, out, _ = liggare(*words, "--json")
    assert (code, out["error"]) == (1, "EnergyInsufficientBalance")


@pytest.mark.parametrize("price", ["0", "-1", "1.0001", "x", "17000", "nan"])
def test_a_price_that_is_none_is_wrong_use(liggare, anna_file, price):
    assert liggare("order", "1", "--buy", price, "--cap", "1", "--key", anna_file)[0] == 2


def test_only_the_owner_orders(liggare, homes, key_file, bo, carrier_file):
    words = ("order", "1", "--buy", "1", "--cap", "1", "--key", key_file(bo, "bo"), "--carrier", carrier_file)
    code, out, _ = liggare(*words, "--json")
    assert (code, out["error"]) == (1, "EnergyInvalidSignature")


@pytest.mark.parametrize("text", ["x", "{}", '{"home": 1}'])
def test_a_file_that_holds_no_readings_is_one_line(liggare, homes, carrier_file, tmp_path, text):
    path = tmp_path / "readings.jsonl"
    path.write_text(text)
    code, out, err = liggare("clear", path, "--key", carrier_file, "--json")
    assert (code, out["error"]) == (1, "DataError")
    assert "line 1" in err


def test_a_table_that_is_none_is_one_line(liggare, homes, anna_file, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text("a,b\n1,2\n")
    words = ("measure", "1", table, "--key", anna_file, "--out", tmp_path / "out.jsonl")
    code, out, _ = liggare(*words, "--json")
    assert (code, out["error"]) == (1, "DataError")
    assert not (tmp_path / "out.jsonl").exists()
