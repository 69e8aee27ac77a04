"""`scripts/pay.py`: the payroll as people run it, its receipts and its one-line refusals."""

from __future__ import annotations

import csv

import pytest
from brownie import ZeroFeePayments

from liggare import accounts
from scripts import pay

KRONA = 10**6
STAFF = ["0x" + f"{number:040x}" for number in range(1001, 1004)]


@pytest.fixture
def money(deployments, operator, anna):
    """The money; Anna has 100."""
    contract = ZeroFeePayments.at(deployments.contracts["ZeroFeePayments"].address)
    contract.mint(anna.address, 100 * KRONA, {"from": operator})
    return contract


@pytest.fixture
def run(tmp_path, anna, carrier, deployments_folder, monkeypatch, capsys, money):
    """Run the script on `payroll.csv` with Anna's key: `code, out, err = run()`."""
    accounts.write(tmp_path / "anna.json", anna, "secret", iterations=2)
    accounts.write(tmp_path / "carrier.json", carrier.account, "secret", iterations=2)
    (tmp_path / "password").write_text("secret\n")
    monkeypatch.setenv("LIGGARE_PASSWORD_FILE", str(tmp_path / "password"))
    monkeypatch.setenv("LIGGARE_DEPLOYMENTS", str(deployments_folder))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words):
        words = words or (tmp_path / "payroll.csv", "2026-11", tmp_path / "anna.json", tmp_path / "carrier.json")
        capsys.readouterr()
        try:
            pay.main(*map(str, words))
            code = 0
        except SystemExit as exc:
            code = exc.code
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture
def payroll(tmp_path):
    """Write `payroll.csv`: three rows of 10, 11 and 12 unless told."""

    def payroll(*rows):
        rows = rows or [f"{payee},{10 + number},no. {number}" for number, payee in enumerate(STAFF)]
        (tmp_path / "payroll.csv").write_text("\n".join(["payee,amount,reference", *rows]))

    payroll()
    return payroll


def receipts(folder):
    with (folder / "payroll.csv.receipt.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_a_payroll_is_paid_once_and_has_receipts(run, payroll, money, tmp_path, w3):
    code, out, _ = run()
    assert (code, out.count("\n")) == (0, 1)
    assert "paid 33.00 LKR in 3 of 3 rows" in out
    first = receipts(tmp_path)
    assert [row["status"] for row in first] == ["paid now"] * 3
    assert [row["reference"] for row in first] == ["no. 0", "no. 1", "no. 2"]
    landed = w3.eth.get_transaction_receipt(first[0]["transaction"])
    assert str(landed["blockNumber"]) == first[0]["block"]
    code, out, _ = run()
    assert code == 0
    assert "paid 0.00 LKR in 0 of 3 rows; 3 were paid before" in out
    second = receipts(tmp_path)
    assert [row["status"] for row in second] == ["paid before"] * 3
    assert [row["id"] for row in second] == [row["id"] for row in first]
    assert [money.balanceOf(payee) // KRONA for payee in STAFF] == [10, 11, 12]


def test_bad_lines_are_named_line_by_line_and_nothing_is_paid(run, payroll, money, tmp_path):
    payroll(f"{STAFF[0]},10,good", "bo,10,", f"{STAFF[1]},x,")
    code, out, err = run()
    assert (code, out) == (2, "")
    assert [line.split(":")[1] for line in err.splitlines()[:2]] == [" line 3", " line 4"]
    assert err.splitlines()[-1] == "pay: nothing was paid"
    assert money.balanceOf(STAFF[0]) == 0
    assert not (tmp_path / "payroll.csv.receipt.csv").exists()


def test_too_little_money_is_one_line_and_nothing_is_paid(run, payroll, money):
    payroll(f"{STAFF[0]},60,", f"{STAFF[1]},60,")
    code, _, err = run()
    assert (code, err.count("\n")) == (1, 1)
    assert "120.00 are still to be paid, the payer has 100.00" in err
    assert money.balanceOf(STAFF[0]) == 0


def test_a_changed_row_is_one_line(run, payroll):
    run()
    payroll(f"{STAFF[0]},99,no. 0")
    code, _, err = run()
    assert (code, err.count("\n")) == (1, 1)
    assert "does not hold" in err


@pytest.mark.parametrize("missing", range(3))
def test_words_left_out_are_wrong_use(run, payroll, missing):
    words = ["payroll.csv", "2026-11", "anna.json"]
    words[missing] = ""
    code, _, err = run(*words)
    assert (code, err.count("\n")) == (2, 1)
    assert "usage: brownie run pay" in err


def test_a_wrong_password_is_one_line_and_not_told(run, payroll, money, tmp_path):
    (tmp_path / "password").write_text("guess\n")
    code, out, err = run()
    assert (code, err.count("\n")) == (1, 1)
    assert "guess" not in out + err
    assert money.balanceOf(STAFF[0]) == 0


def test_receipts_that_cannot_be_written_are_told_and_the_next_run_writes_them(run, payroll, money, tmp_path):
    target = tmp_path / "payroll.csv.receipt.csv"
    target.mkdir()
    code, _, err = run()
    assert (code, err.count("\n")) == (1, 1)
    assert "can't be written" in err
    target.rmdir()
    assert run()[0] == 0
    assert [row["status"] for row in receipts(tmp_path)] == ["paid before"] * 3
    assert money.balanceOf(STAFF[0]) == 10 * KRONA
