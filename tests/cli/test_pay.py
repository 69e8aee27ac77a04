"""`liggare pay`, `mint`."""

from __future__ import annotations

import pytest

from tests.cli.conftest import KRONA


def test_pay_moves_the_amount_whole(liggare, money, anna_file, carrier_file, bo):
    code, out, _ = liggare("pay", bo.address, "12.50", "--key", anna_file, "--carrier", carrier_file)
    assert code == 0
    assert "paid 12.50 LKR" in out
    assert money.balanceOf(bo.address) == 12_500_000


def test_pay_tells_machines_the_id_and_who_paid_the_gas(liggare, money, anna_file, carrier_file, carrier, anna, bo):
    code, out, _ = liggare("pay", bo.address, "1", "--key", anna_file, "--carrier", carrier_file, "--json")
    assert code == 0
    assert out["from"] == anna.address
    assert out["value"] == KRONA
    assert out["carrier"] == carrier.account.address
    assert len(out["id"]) == 66


def test_two_payments_in_a_row_use_two_counters(liggare, money, anna_file, carrier_file, anna, bo):
    for _ in range(2):
        assert liggare("pay", bo.address, "1", "--key", anna_file, "--carrier", carrier_file)[0] == 0
    assert money.nonceState(anna.address) == (1, 3)


def test_a_random_nonce_leaves_the_counter_alone(liggare, money, anna_file, carrier_file, anna, bo):
    words = ("pay", bo.address, "1", "--key", anna_file, "--carrier", carrier_file, "--no-in-order")
    assert liggare(*words)[0] == 0
    assert money.nonceState(anna.address) == (0, 0)


def test_a_member_with_ether_can_carry_alone(liggare, money, anna_file, anna, bo, ether):
    ether(anna)
    assert liggare("pay", bo.address, "3", "--key", anna_file)[0] == 0
    assert money.balanceOf(bo.address) == 3 * KRONA


def test_paying_more_than_one_has_fails_by_name_and_moves_nothing(liggare, money, anna_file, carrier_file, bo):
    code, out, err = liggare("pay", bo.address, "1000.01", "--key", anna_file, "--carrier", carrier_file, "--json")
    assert code == 1
    assert out["error"] == "PaymentsInsufficientBalance"
    assert err.count("\n") == 1
    assert money.balanceOf(bo.address) == 0


@pytest.mark.parametrize("words", [("0x12", "1"), ("bo", "1"), ("{bo}", "x"), ("{bo}", "0.0000001"), ("{bo}", "nan")])
def test_words_that_make_no_sense_are_wrong_use(liggare, anna_file, bo, words):
    to, sum_ = (word.replace("{bo}", bo.address) for word in words)
    code, _, err = liggare("pay", to, sum_, "--key", anna_file)
    assert code == 2
    assert err.startswith("liggare: ")
    assert err.count("\n") == 1


def test_only_the_issuer_mints(liggare, money, carrier_file, bo):
    code, out, _ = liggare("mint", bo.address, "5", "--key", carrier_file, "--json")
    assert (code, out["error"]) == (1, "PaymentsCallerNotIssuer")
