"""Why the operator does not take a batch of readings or a message: stable names, each with its HTTP status.

A name never changes its meaning; whoever sends may compare it.
"""

from __future__ import annotations

__all__ = ["REFUSALS"]

REFUSALS: dict[str, tuple[int, str]] = {
    # of the request
    "Malformed": (400, "the request is not of the form that the manual describes"),
    "TooLarge": (413, "the request is too long"),
    "TooMany": (413, "the request holds more batches than one may"),
    "NotServed": (404, "there is no such route, or not with this method"),
    "MessageUnknown": (404, "the operator was never given such a message"),
    "SlotUnknown": (404, "the slot has not begun"),
    # of whatever is signed
    "WrongChain": (422, "it is for another chain"),
    "WrongContract": (422, "it is for another market"),
    "HomeUnknown": (404, "no home has this number"),
    # of a batch of readings, in this order
    "Future": (422, "the batch tells of a slot that has not ended"),
    "HomeAbsent": (422, "the home takes no part in some slot of the batch: it joins later, or has moved out"),
    "AcrossChange": (422, "the home's meter changes inside the batch: it must end there"),
    "ForeignMeter": (422, "the signature is not of exactly this batch by the meter that measures the home"),
    "CounterTooHigh": (422, "the counters are beyond what the market takes"),
    "Contradiction": (409, "another batch of the meter says otherwise of the same slots; both are kept as evidence"),
    "CounterBack": (409, "a counter goes back, measured by an earlier or a later batch, or by the chain"),
    "CounterGap": (409, "the counters do not go on from the batch right before, or to the one right after"),
    "SlotsSettled": (409, "all slots of the batch, or its first ones, are settled"),
    # of a message, in this order
    "QuotaExceeded": (429, "the home, or the payer, has had its messages of the day"),
    "DepositTooSmall": (422, "the deposit is smaller than what the operator carries"),
    "WrongSigner": (422, "the signature is not of exactly this message by the one who must sign it"),
    "NotCarriable": (422, "the contract would not carry it out; `word` is its name for why"),
    # of the operator
    "ChainUnavailable": (503, "the operator's node does not answer"),
    "MarketUnavailable": (503, "the operator's database does not answer"),
    "Faulty": (500, "the operator failed; the fault is in its log"),
}
