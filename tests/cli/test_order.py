"""`liggare register`, `deposit`, `order`, `measure`, `clear`, `withdraw`: two homes and one slot, by hand."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import KRONA


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
