"""Why the relayer does not take a message: stable names, from cheap to costly, each with its HTTP status.

A name never changes its meaning; whoever sends messages may compare it.
"""

from __future__ import annotations

__all__ = ["REFUSALS"]

REFUSALS: dict[str, tuple[int, str]] = {
    # of the request
    "Malformed": (400, "the request is not of the form that the manual describes"),
    "TooLarge": (413, "the request is too long"),
    "WrongChecksum": (422, "the address fails its checksum (ERC-55)"),
    "TooMany": (413, "the request holds more messages than one may"),
    "PaymentUnknown": (404, "the relayer was never given such a payment"),
    "RecordUnknown": (404, "the relayer was never given such a message of the records"),
    "NotOffered": (403, "the operator gives no gas for messages of the records"),
    # of a message, in this order
    "WrongChain": (422, "the message is for another chain"),
    "WrongContract": (422, "the message is for another contract"),
    "Expired": (422, "the message has expired, or will before it can land"),
    "NotYetValid": (422, "the message is not valid yet"),
    "QuotaExceeded": (429, "the account has had its messages of the day"),
    "BudgetSpent": (503, "what the sponsor gives for a day is given"),
    "WrongSigner": (422, "the signature is not of exactly this message by the one who must sign it"),
    "NonceUsed": (409, "the nonce was used or canceled, or has fallen out of the window"),
    "NonceQueued": (409, "another message of the account with this nonce (or version) is on its way"),
    "NonceApart": (
        409,
        "the nonce is more than 63 apart from another that is on its way: one would shut the other out",
    ),
    "BalanceShort": (422, "the payer's money, less what is on its way, does not suffice"),
    "NotPayable": (422, "the contract would not carry it out"),
    "OutOfTurn": (409, "the version or epoch is not the next one: used, superseded, or ahead of what is on its way"),
    "NotCarriable": (422, "the contract would not carry out this message of the records"),
    "NewcomersExceeded": (429, "the account has paid as many new accounts today as it may"),
    # of the relayer
    "ChainUnavailable": (503, "the relayer's node does not answer"),
    "OutboxUnavailable": (503, "the relayer's database does not answer"),
    "Faulty": (500, "the relayer failed; the fault is in its log"),
}
