"""`liggare energy bill`, `prices`, `readings`: what the chain's events say, to the unit."""

from __future__ import annotations

import csv

from liggare.cli.study import _price_words
from liggare.energy.bills import Price
from tests.cli.conftest import KRONA, METERS


def test_a_bill_is_what_the_balance_went_down_by(liggare, settled, market):
    code, out, _ = liggare("energy", "bill", 1, "--json")
    assert code == 0
    assert out["cost"] == 100 * KRONA - market.balance(1) == 400 * 2_000 + 500 * 2_500
    assert (out["bought"], out["from_grid"], out["alone"]) == (400, 500, 900 * 2_500)
    assert out["saved"] == 400 * 500
    code, out, _ = liggare("energy", "bill", 2, "--json")
    assert (out["cost"], out["alone"], out["saved"]) == (-400 * 2_000, -400 * 600, 400 * 1_400)


def test_a_bill_in_words_adds_up(liggare, settled):
    code, out, _ = liggare("energy", "bill", 1)
    assert code == 0
    rows = {line[:24].strip(): line[24:].split() for line in out.splitlines()}
    assert rows["from neighbours"] == ["0.400", "kWh", "0.80"]
    assert rows["from the grid"] == ["0.500", "kWh", "1.25"]
    assert (rows["cost"], rows["without the market"], rows["saved"]) == (["2.05"], ["2.25"], ["0.20"])


def test_a_bill_of_another_period_is_empty(liggare, settled):
    code, out, _ = liggare("energy", "bill", 1, "--from", settled + 1, "--json")
    assert (code, out["cost"], out["slots"]) == (0, 0, 0)
    code, out, _ = liggare("energy", "bill", 1, "--until", "2001-01-01T00:15", "--from", "2001-01-01", "--json")
    assert (code, out["error"]) == (2, "UsageError")  # long before slot 0


def test_a_bill_is_written_line_by_line(liggare, settled, tmp_path):
    path = tmp_path / "bill.csv"
    assert liggare("energy", "bill", 1, "--out", path)[0] == 0
    (line,) = csv.DictReader(path.read_text().splitlines())
    assert (line["slot"], line["imported"], line["traded"], line["price"]) == (str(settled), "900", "400", "2000")


def test_an_unknown_home_and_an_unknown_form_are_wrong_use(liggare, settled, tmp_path):
    for words in ((3,), (1, "--out", tmp_path / "bill.xls"), (1, "--from", "noon")):
        code, out, _ = liggare("energy", "bill", *words, "--json")
        assert (code, out["error"]) == (2, "UsageError")


def test_prices_are_told_and_written_and_drawn(liggare, settled, tmp_path):
    table, plot = tmp_path / "prices.parquet", tmp_path / "prices.svg"
    code, out, _ = liggare("energy", "prices", "--out", table, "--out", plot, "--json")
    assert code == 0
    assert [(each["slot"], each["price"], each["volume_wh"]) for each in out["slots"]] == [(settled, 2_000, 400)]
    assert (out["volumeWh"], out["meanPrice"]) == (400, 2_000)
    assert table.read_bytes()[:4] == b"PAR1"
    assert "Price, where there was trade" in plot.read_text()
    code, out, _ = liggare("energy", "prices")
    assert f"slot {settled}" in out
    assert "1 slots: 0.400 kWh at 2.000 per kWh on the average" in out


def test_prices_of_a_period_without_any_are_none(liggare, settled, tmp_path):
    code, out, _ = liggare("energy", "prices", "--from", settled + 1)
    assert (code, out.strip()) == (0, "0 slots: nothing was traded")
    code, out, _ = liggare("energy", "prices", "--from", settled + 1, "--out", tmp_path / "p.png", "--json")
    assert (code, out["error"]) == (2, "UsageError")


def test_many_slots_are_told_by_day():
    """Three days from midnight: 10 Wh in each slot, at a price that rises by the slot."""
    slots = [Price(n, 86_400 * 20_000 + n * 900, 1_000 + n, 1_000, 1_000, 10) for n in range(288)]
    *days, last = _price_words(slots, 2_880, 1_143.5).splitlines()
    assert [line.split() for line in days] == [
        [f"2024-10-0{4 + day}", "0.960", "kWh", mean, "per", "kWh"]
        for day, mean in enumerate(["1.048", "1.143", "1.240"])
    ]
    assert last == "288 slots: 2.880 kWh at 1.143 per kWh on the average"


def test_readings_that_are_due_are_told(liggare, market, day):
    code, out, _ = liggare("energy", "readings", "--json")
    assert code == 0
    assert (out["firstSlot"], out["count"]) == (market.next_slot(), market.current_slot() - market.next_slot())
    assert 1 <= out["clearable"] <= out["count"]
    assert [(each["home"], each["imported"], each["posted"]) for each in out["homes"]] == [(1, 0, False), (2, 0, False)]
    code, out, _ = liggare("energy", "readings", 2)
    assert "home 2: settled up to 0 Wh in and 0 Wh out" in out
    assert "home 1" not in out
    assert liggare("energy", "readings", 9)[0] == 2


def test_a_meters_table_is_signed(liggare, market, day, carrier_file, key_file, tmp_path):
    """As `measure` does; then cleared by the group's own word."""
    table, out = tmp_path / "table.csv", tmp_path / "again.jsonl"
    for home, name, row in ((1, "anna", "900,0"), (2, "bo", "0,400")):
        table.write_text(f"imported,exported\n{row}\n")
        meter = key_file(METERS[name], f"meter-{name}")
        assert liggare("energy", "readings", home, table, "--key", meter, "--out", out)[0] == 0
    assert out.read_text() == day.read_text()
    code, told, _ = liggare("energy", "clear", out, "--key", carrier_file, "--json")
    assert (code, told["slots"][0]["volume"]) == (0, 400)


def test_a_table_without_a_key_is_wrong_use(liggare, homes, tmp_path):
    code, out, _ = liggare("energy", "readings", 1, tmp_path / "table.csv", "--json")
    assert (code, out["error"]) == (2, "UsageError")
