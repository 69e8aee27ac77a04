"""Tokens that behave oddly: handled, or refused by name, with nothing taken, minted or burned."""

from __future__ import annotations

import pytest
from brownie import OddToken, StablecoinVault

from tests.payments.conftest import KRONA
from tests.payments.vault.bank import SALT, Mood, answer
from tests.support import FOREVER, refused

FALSE = bytes(32)


@pytest.fixture
def unchanged(bank, anna):
    """Check after the test that all is as before it."""
    before = (bank.standing(), bank.money.totalSupply(), bank.money.balanceOf(anna.address))
    yield
    assert (bank.standing(), bank.money.totalSupply(), bank.money.balanceOf(anna.address)) == before
    assert bank.token.balanceOf(anna.address) == 0


def test_a_token_that_returns_nothing_works_both_ways(bank, anna):
    bank.set_mood(Mood.RETURNS_NOTHING)
    bank.deposit(anna, KRONA)
    bank.withdraw(bank.wish(anna, 501 * KRONA))
    assert bank.token.balanceOf(anna.address) == 501 * 10**18


REFUSALS = {
    Mood.RETURNS_FALSE: ("VaultTokenRefused", FALSE),
    Mood.RETURNS_HALF_A_WORD: ("VaultTokenRefused", b"\xff" * 16),
    Mood.PAUSED: ("VaultTokenRefused", answer("TransfersPaused")),
    Mood.MOVES_NOTHING: ("VaultAmountDiffers", 100 * 10**18, 0),
    Mood.KEEPS_FROM_RECEIVER: ("VaultAmountDiffers", 100 * 10**18, 99 * 10**18),
}


def refusal(bank, mood):
    """The error by its name, and its values."""
    name, *values = REFUSALS[mood]
    first = [bank.token.address] if name == "VaultTokenRefused" else []
    return name, *first, *values


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("mood", REFUSALS)
def test_a_deposit_of_an_odd_token_is_refused_by_name(bank, anna, mood):
    bank.give(100 * KRONA)
    bank.set_mood(mood)
    with refused(StablecoinVault, *refusal(bank, mood)):
        bank.contract.deposit(anna.address, 100 * KRONA, {"from": bank.dan})
    assert bank.token.balanceOf(bank.dan) == 100 * 10**18


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("mood", REFUSALS)
def test_a_withdrawal_of_a_token_that_became_odd_is_refused_by_name(bank, anna, mood):
    bank.set_mood(mood)
    with refused(StablecoinVault, *refusal(bank, mood)):
        bank.withdraw(bank.wish(anna, 100 * KRONA))


def test_a_refused_withdrawal_works_once_the_token_has_come_to_reason(bank, anna):
    wish = bank.wish(anna, 100 * KRONA)
    bank.set_mood(Mood.PAUSED)
    with refused(StablecoinVault, *refusal(bank, Mood.PAUSED)):
        bank.withdraw(wish)
    bank.set_mood(Mood.PLAIN)
    bank.withdraw(wish)
    assert bank.token.balanceOf(anna.address) == 100 * 10**18


@pytest.mark.usefixtures("unchanged")
def test_a_token_that_takes_more_from_the_vault_than_was_sent_is_refused(bank, anna):
    """Else what is taken on top would be another depositor's."""
    bank.set_mood(Mood.TAKES_MORE_FROM_SENDER)
    with refused(StablecoinVault, "VaultAmountDiffers", 100 * 10**18, 101 * 10**18):
        bank.withdraw(bank.wish(anna, 100 * KRONA))


def test_one_who_is_blocked_names_another_and_loses_nothing(bank, anna, cia):
    bank.token.blockAccount(anna.address, {"from": bank.dan})
    why = answer("AccountBlocked", anna.address)
    with refused(StablecoinVault, "VaultTokenRefused", bank.token.address, why):
        bank.withdraw(bank.wish(anna, 100 * KRONA))
    assert bank.money.balanceOf(anna.address) == 500 * KRONA
    bank.withdraw(bank.wish(anna, 100 * KRONA, to=cia))
    assert bank.token.balanceOf(cia.address) == 100 * 10**18


@pytest.mark.usefixtures("unchanged")
def test_a_vault_that_is_blocked_burns_nothing(bank, anna):
    bank.token.blockAccount(bank.contract, {"from": bank.dan})
    with refused(
        StablecoinVault, "VaultTokenRefused", bank.token.address, answer("AccountBlocked", bank.contract.address)
    ):
        bank.withdraw(bank.wish(anna, 100 * KRONA))


@pytest.mark.parametrize("lost", [1, 300 * 10**18, 800 * 10**18])
def test_a_token_that_shrinks_stops_both_ways_until_it_is_covered_again(bank, anna, bo, lost):
    """Nobody is paid from another's deposit: neither the first to come, nor by who deposits next."""
    bank.token.shrink(bank.contract, lost, {"from": bank.dan})
    held = 800 * 10**18 - lost
    with refused(StablecoinVault, "VaultUncovered", held, 800 * 10**18):
        bank.withdraw(bank.wish(anna, 1))
    bank.give(KRONA)
    with refused(StablecoinVault, "VaultUncovered", held, 800 * 10**18):
        bank.contract.deposit(anna.address, KRONA, {"from": bank.dan})
    bank.token.mint(bank.contract, lost, {"from": bank.dan})
    bank.withdraw(bank.wish(anna, 500 * KRONA))
    bank.withdraw(bank.wish(bo, 300 * KRONA))
    assert bank.standing() == (0, 0, 0)


def test_a_token_that_grows_leaves_what_is_more_as_cover(bank, anna):
    bank.token.mint(bank.contract, 5 * 10**18, {"from": bank.dan})
    bank.token.shrink(bank.contract, 5 * 10**18, {"from": bank.dan})
    bank.withdraw(bank.wish(anna, 500 * KRONA))
    assert bank.token.balanceOf(anna.address) == 500 * 10**18


# ---------------------------------------------------------------------- re-entrance, as by ERC-777's hooks


def deposit_call(bank, to, value):
    return bank.contract.deposit.encode_input(to.address, value)


def withdraw_call(bank, wish):
    message = wish.signed.message
    return bank.contract.withdraw.encode_input(
        message.from_, wish.to, message.value, 0, FOREVER, wish.salt, wish.signed.signature
    )


@pytest.mark.parametrize("call", ["deposit", "withdraw"])
@pytest.mark.parametrize("during", ["deposit", "withdraw"])
@pytest.mark.parametrize("must_succeed", [True, False], ids=["loud", "quiet"])
def test_who_is_called_on_the_way_cannot_act_in_the_vault(bank, anna, bo, call, during, must_succeed):
    inner = deposit_call(bank, anna, 0) if call == "deposit" else withdraw_call(bank, bank.wish(bo, 300 * KRONA))
    bank.give(100 * KRONA)
    bank.token.hook(bank.contract, inner, must_succeed, {"from": bank.dan})
    busy = answer("VaultBusy", bank.token.address, container=StablecoinVault)

    def act():
        if during == "deposit":
            bank.contract.deposit(anna.address, 100 * KRONA, {"from": bank.dan})
        else:
            bank.withdraw(bank.wish(anna, 100 * KRONA))

    if must_succeed:
        with refused(StablecoinVault, "VaultTokenRefused", bank.token.address, busy):
            act()
        assert bank.standing() == (800 * KRONA, 800 * KRONA, 0)
    else:
        act()
        assert bytes(bank.token.hookAnswer()) == busy
        expected = 900 * KRONA if during == "deposit" else 700 * KRONA
        assert bank.standing() == (expected, expected, 0)
        assert bank.money.balanceOf(bo.address) == 300 * KRONA


def test_a_hook_that_feeds_the_vault_during_a_deposit_gets_nothing_for_it(bank, anna):
    """The attacker's own token counts more than was asked as come: refused, rather than minted."""
    gift = bank.token.mint.encode_input(bank.contract, 10**18)
    bank.give(100 * KRONA)
    bank.token.hook(bank.token, gift, True, {"from": bank.dan})
    with refused(StablecoinVault, "VaultAmountDiffers", 100 * 10**18, 101 * 10**18):
        bank.contract.deposit(anna.address, 100 * KRONA, {"from": bank.dan})


# ---------------------------------------------------------------------- which tokens there can be a vault of


@pytest.mark.parametrize(("decimals", "scale"), [(6, 1), (8, 100), (18, 10**12), (24, 10**18)])
def test_amounts_are_exact_whatever_the_decimals(bank, operator, anna, decimals, scale):
    token = OddToken.deploy(decimals, {"from": operator})
    contract = StablecoinVault.deploy(bank.money, token, {"from": operator})
    bank.money.addVault(contract, {"from": operator})
    token.mint(bank.dan, 7 * scale, {"from": operator})
    token.approve(contract, 7 * scale, {"from": bank.dan})
    contract.deposit(anna.address, 7, {"from": bank.dan})
    assert (contract.scale(), token.balanceOf(contract), contract.issued()) == (scale, 7 * scale, 7)
    signed = bank.vault.payments.receive(
        anna, contract.address, 7, nonce=bytes(contract.nonceOf(anna.address, SALT)), valid_before=FOREVER
    )
    contract.withdraw(anna.address, anna.address, 7, 0, FOREVER, SALT, signed.signature, {"from": operator})
    assert token.balanceOf(anna.address) == 7 * scale


@pytest.mark.parametrize("decimals", [0, 2, 5, 25, 255])
def test_a_token_whose_amounts_would_not_be_exact_gets_no_vault(bank, operator, decimals):
    token = OddToken.deploy(decimals, {"from": operator})
    with refused(StablecoinVault, "VaultInvalidDecimals", token.address, decimals):
        StablecoinVault.deploy(bank.money, token, {"from": operator})


def test_a_token_that_tells_no_decimals_gets_no_vault(bank, operator, BareToken):
    token = BareToken.deploy({"from": operator})
    with refused(StablecoinVault, "VaultInvalidDecimals", token.address, 0):
        StablecoinVault.deploy(bank.money, token, {"from": operator})


def test_no_contract_and_our_own_money_get_no_vault(bank, operator, anna):
    for token in (anna.address, bank.money.address):
        with refused(StablecoinVault, "VaultInvalidToken", token):
            StablecoinVault.deploy(bank.money, token, {"from": operator})
