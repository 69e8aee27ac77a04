"""Where the money keeps what a payment touches, and the access list (EIP-2930) by which a batch reaches it for less."""

from __future__ import annotations

from collections.abc import Sequence

from eth_typing import ChecksumAddress, HexStr
from eth_utils.crypto import keccak
from web3.types import AccessList, AccessListEntry

from liggare.payments.codec import Item, accounts

__all__ = ["access_list", "account_slot", "nonce_slot"]

USED_NONCES = 2
"""The number of the variable `_usedNonces`."""
COUNTER = 2**64
FEWEST = 25
"""The list costs 2,400 gas for the contract that has the storage, and each place in it saves 100."""


def account_slot(who: int) -> int:
    """Return the storage slot of an account: its address, every bit turned (contracts/payments/Account.sol)."""
    return 2**256 - 1 - who


def nonce_slot(payer: str, nonce: bytes) -> int:
    """Return the storage slot of a random nonce: _usedNonces[payer][nonce]."""
    of_payer = keccak(int(payer, 16).to_bytes(32, "big") + USED_NONCES.to_bytes(32, "big"))
    return int.from_bytes(keccak(nonce + of_payer), "big")


def access_list(contract: ChecksumAddress, items: Sequence[Item]) -> AccessList | None:
    """Return the access list of a batch of these items, or None where it would cost more than it saves."""
    slots = [account_slot(who) for who in accounts(items)]
    payers = [(item.message.from_, item.message.nonce) for item in items]
    slots += {nonce_slot(*each) for each in payers if int.from_bytes(each[1], "big") >= COUNTER}
    if len(slots) < FEWEST:
        return None
    keys = [HexStr(f"0x{slot:064x}") for slot in slots]
    return AccessList([AccessListEntry(address=contract, storageKeys=keys)])
