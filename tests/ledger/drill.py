"""The tamper drill: 50 ways to lie about the ledger, as an operator or as a node, each found and named by its rule.

An operator's lie is a history other than the one that happened, shown by a node that stands by it: rows altered before
they are checked. A contract's lie is state other than its events make. A node's lie is an answer altered on its way.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from liggare.payments.codec import Outcome

__all__ = ["LIES", "Lie", "find", "table"]

MALLORY = "0x" + "66" * 20
MONEY, ACCESS, REGISTRY, MARKET, ESCROW = "ZeroFeePayments", "RecordAccess", "CareRegistry", "EnergyMarket", "Escrow"
TOLD = "an event tells what was called for: {} of {}"
DONE = "what a call does is told"
CALLED = "each event comes of a call"
ORDER = "each event follows the one before it, once"
PLACE = "an event's transaction is on the chain, at this place and time, as its hash says"
SIGNED = "it was signed by whom it had to be"


@dataclass(frozen=True)
class Lie:
    """A lie by name, who tells it, and the rule that names it.

    `rows(rows, story)` returns the history told; `state(function, arguments, value)` what a view answers;
    `node(method, result)` what a node answers; `call(call)` what was called, where a contract that checks nothing
    would have told the same events.
    """

    name: str
    rule: str
    rows: Callable[[list, Any], list] | None = None
    state: Callable[[str, tuple, Any], Any] | None = None
    node: Callable[[str, Any], Any] | None = None
    call: Callable[[Any], Any] | None = None

    @property
    def teller(self) -> str:
        """Who tells it."""
        return "operator" if self.rows else "contract" if self.state or self.call else "node"


# ------------------------------------------------------------------ the operator's


def find(rows, contract, event, skip=0, **values):
    """Return where the event with these values is."""
    found = [
        number
        for number, row in enumerate(rows)
        if (row.contract, row.event) == (contract, event)
        and all(row.arguments[name] == value for name, value in values.items())
    ]
    return found[skip]


def alter(contract, event, skip=0, **values):
    """Tell other values of an event; a function is given the true one."""

    def told(rows, story):
        at = find(rows, contract, event, skip)
        had = rows[at].arguments
        fresh = {name: value(had[name]) if callable(value) else value for name, value in values.items()}
        return [*rows[:at], replace(rows[at], arguments={**had, **fresh}), *rows[at + 1 :]]

    return told


def drop(contract, event, skip=0, count=1):
    """Leave out an event, or some in a row."""

    def told(rows, story):
        at = find(rows, contract, event, skip)
        return [*rows[:at], *rows[at + count :]]

    return told


def double(contract, event, skip=0):
    """Tell an event twice."""

    def told(rows, story):
        at = find(rows, contract, event, skip)
        return [*rows[: at + 1], rows[at], *rows[at + 1 :]]

    return told


def swap(contract, event, skip=0):
    """Tell an event after the one that follows it, at each other's place."""

    def told(rows, story):
        at = find(rows, contract, event, skip)
        one, two = rows[at], rows[at + 1]
        places = (replace(two, log_index=one.log_index), replace(one, log_index=two.log_index))
        return [*rows[:at], *places, *rows[at + 2 :]]

    return told


def add(contract, event, skip=0, **values):
    """Tell one more event, right behind one of its kind, in its transaction."""

    def told(rows, story):
        at = find(rows, contract, event, skip)
        after = [row for row in rows[at + 1 :] if row.transaction == rows[at].transaction]
        last = at + len(after)
        more = replace(rows[last], event=event, contract=contract, log_index=rows[last].log_index + 1)
        more = replace(more, arguments={**rows[at].arguments, **values})
        return [*rows[: last + 1], more, *rows[last + 1 :]]

    return told


def skip_good(rows, story):
    """Tell a payment that was made in a batch as skipped for want of money."""
    skipped = find(rows, MONEY, "PaymentSkipped")
    here = rows[skipped].transaction
    at = next(i for i, row in enumerate(rows) if row.transaction == here and row.event == "AuthorizationUsed")
    number = sum(row.event in ("AuthorizationUsed", "PaymentSkipped") for row in rows[:at] if row.transaction == here)
    values = rows[at].arguments
    told = {"from": values["authorizer"], "nonce": values["nonce"], "item": number}
    lie = replace(rows[at], event="PaymentSkipped", arguments={**told, "outcome": Outcome.INSUFFICIENT_BALANCE})
    end = at + 1
    while rows[end].event == "Transfer" and rows[end].transaction == here:
        end += 1
    return [*rows[:at], lie, *rows[end:]]


def skip_good_grant(rows, story):
    """Tell a grant that was made in a batch as skipped for its version."""
    here = rows[find(rows, ACCESS, "Skipped")].transaction
    at = next(i for i, row in enumerate(rows) if row.transaction == here and row.event == "Granted")
    reason = rows[find(rows, ACCESS, "Skipped", 1)].arguments["reason"]
    lie = replace(rows[at], event="Skipped", arguments={"index": 0, "id": rows[at].arguments["id"], "reason": reason})
    return [*rows[:at], lie, *rows[at + 1 :]]


def sent_elsewhere(rows, story):
    """Tell a payment as of another transaction, one that never was."""
    at = find(rows, MONEY, "AuthorizationUsed")
    return [
        replace(row, transaction="0x" + "77" * 32) if row.transaction == rows[at].transaction else row for row in rows
    ]


def moved(**values):
    """Tell a transaction at another place or time."""

    def told(rows, story):
        here = rows[find(rows, MONEY, "AuthorizationUsed")].transaction
        return [
            replace(row, **{name: value(getattr(row, name)) for name, value in values.items()})
            if row.transaction == here
            else row
            for row in rows
        ]

    return told


def flipped(word: bytes) -> bytes:
    return bytes([word[0] ^ 1]) + word[1:]


def more(value: int) -> int:
    return value + 1


# ------------------------------------------------------------------ a contract's, a node's


def other(function, change, *arguments):
    """A view answers something else."""
    return lambda asked, words, value: (
        change(value) if asked == function and words[: len(arguments)] == arguments else value
    )


def answers(method, change, *, only=lambda result: True):
    """A node answers something else."""
    return lambda asked, result: change(result) if asked == method and result and only(result) else result


def edit(result, **values):
    return {**result, **{name: value(result[name]) if callable(value) else value for name, value in values.items()}}


def hexed(change):
    return lambda text: "0x" + change(bytes.fromhex(text[2:])).hex()


def first_log(**values):
    return lambda receipt: {**receipt, "logs": [edit(receipt["logs"][0], **values), *receipt["logs"][1:]]}


def with_logs(receipt):
    return isinstance(receipt, dict) and bool(receipt.get("logs"))


def with_transactions(block):
    return bool(block.get("transactions")) and isinstance(block["transactions"][0], dict)


def rewritten(block):
    """Alter the calldata of a block's first transaction."""
    one, *rest = block["transactions"]
    return {
        **block,
        "transactions": [edit(one, input=lambda text: text[:-2] + ("00" if text[-2:] != "00" else "01")), *rest],
    }


def asked(function, change):
    """Something else was called: other arguments, or by another caller."""
    return lambda call: change(call) if call.function == function else call


def given(**values):
    """Other arguments, each made from the true one."""

    def change(call):
        fresh = {name: value(call.arguments[name]) for name, value in values.items()}
        return replace(call, arguments={**call.arguments, **fresh})

    return change


def by_mallory(call):
    return replace(call, caller=MALLORY)


def other_signature(signature: bytes) -> bytes:
    return flipped(signature)


def forged_item(batch: bytes) -> bytes:
    """Alter the last byte of a batch: of its last payment's signature, or of its last bundle's value."""
    return batch[:-1] + bytes([batch[-1] ^ 1])


RECEIPTS = "the receipts of block"
HEADER = "the header of block"
BLOCK = "the transactions of block"
HASH = "has another hash than the one asked for"

LIES = [
    # payments
    Lie(
        "a payment's amount is one unit off", TOLD.format("value", "Transfer"), alter(MONEY, "Transfer", 6, value=more)
    ),
    Lie("a payment goes to another", TOLD.format("to", "Transfer"), alter(MONEY, "Transfer", 6, to=MALLORY)),
    Lie(
        "a payment comes from another",
        TOLD.format("from", "Transfer"),
        alter(MONEY, "Transfer", 6, **{"from": MALLORY}),
    ),
    Lie(
        "a used nonce is told as another's",
        TOLD.format("authorizer", "AuthorizationUsed"),
        alter(MONEY, "AuthorizationUsed", authorizer=MALLORY),
    ),
    Lie(
        "another nonce is told as used",
        TOLD.format("nonce", "AuthorizationUsed"),
        alter(MONEY, "AuthorizationUsed", nonce=flipped),
    ),
    Lie(
        "a given-up nonce is told as another",
        TOLD.format("nonce", "AuthorizationCanceled"),
        alter(MONEY, "AuthorizationCanceled", nonce=flipped),
    ),
    Lie("the use of a random nonce is left out", DONE, drop(MONEY, "AuthorizationUsed")),
    Lie("a payment is left out of a batch", DONE, drop(MONEY, "AuthorizationUsed", 6, 2)),
    Lie("a payment is told twice", ORDER, double(MONEY, "Transfer", 6)),
    Lie("a payment is told before its authorization", DONE, swap(MONEY, "AuthorizationUsed")),
    Lie("a payment that nobody signed is added", CALLED, add(MONEY, "Transfer", 6, value=7)),
    Lie(
        "a payment is of a transaction that never was",
        PLACE,
        sent_elsewhere,
    ),
    Lie("a payment is dated to another time", PLACE, moved(timestamp=lambda had: had - 1)),
    Lie("a payment is told as of another block", PLACE, moved(block_hash=lambda had: "0x" + "01" * 32)),
    Lie("an item that was payable is skipped", "only what can't be paid is skipped", skip_good),
    Lie(
        "an item is skipped for another reason",
        "an item is skipped for the first reason that holds",
        alter(MONEY, "PaymentSkipped", outcome=lambda had: had % 6 + 1),
    ),
    Lie(
        "a skipped item is another's",
        TOLD.format("from", "PaymentSkipped"),
        alter(MONEY, "PaymentSkipped", **{"from": MALLORY}),
    ),
    Lie("an allowance is higher than given", TOLD.format("value", "Approval"), alter(MONEY, "Approval", value=more)),
    Lie(
        "money is minted without being told",
        "the supply is what was minted less what was burned",
        drop(MONEY, "Transfer"),
    ),
    Lie(
        "the issuing role goes to another",
        TOLD.format("newIssuer", "IssuerChanged"),
        alter(MONEY, "IssuerChanged", newIssuer=MALLORY),
    ),
    # purchases
    Lie(
        "a purchase has another seller",
        TOLD.format("seller", "PurchaseFunded"),
        alter(ESCROW, "PurchaseFunded", seller=MALLORY),
    ),
    Lie("a purchase's end is left out", DONE, drop(ESCROW, "PurchaseReleased")),
    # records
    Lie("a grant has other terms", TOLD.format("slot", "Granted"), alter(ACCESS, "Granted", slot=flipped)),
    Lie("a grant is to another", TOLD.format("blinded", "Granted"), alter(ACCESS, "Granted", blinded=flipped)),
    Lie("a grant is of another patient", TOLD.format("patient", "Granted"), alter(ACCESS, "Granted", patient=MALLORY)),
    Lie("a grant that nobody signed is added", CALLED, add(ACCESS, "Granted", id=b"\x07" * 32)),
    Lie("a revoke is left out", "it is as its last message says", drop(ACCESS, "Revoked", 1)),
    Lie("a grant that could be carried out is skipped", "only what can't be carried out is skipped", skip_good_grant),
    Lie(
        "a guardian has one right more",
        TOLD.format("rights", "GuardianAppointed"),
        alter(ACCESS, "GuardianAppointed", 1, rights=3),
    ),
    Lie(
        "a recovery has another successor",
        TOLD.format("successor", "RecoveryStarted"),
        alter(ACCESS, "RecoveryStarted", successor=MALLORY),
    ),
    Lie(
        "the glass was broken for longer", TOLD.format("until", "GlassBroken"), alter(ACCESS, "GlassBroken", until=more)
    ),
    Lie("a log head is forged", TOLD.format("head", "LogHeadPosted"), alter(ACCESS, "LogHeadPosted", 1, head=flipped)),
    Lie(
        "a log head names another predecessor",
        "a log head names the one before it",
        alter(ACCESS, "LogHeadPosted", 1, predecessor=flipped),
    ),
    Lie(
        "a record is anchored by another",
        TOLD.format("custodian", "RecordAnchored"),
        alter(ACCESS, "RecordAnchored", custodian=MALLORY),
    ),
    Lie(
        "an organisation has more categories",
        TOLD.format("slot", "Accredited"),
        alter(REGISTRY, "Accredited", 1, slot=flipped),
    ),
    # energy
    Lie(
        "a slot's price is a thousandth off",
        "price is what orders and readings imply",
        alter(MARKET, "SlotCleared", -1, price=more),
    ),
    Lie(
        "a slot's volume is one Wh off",
        "volume is what orders and readings imply",
        alter(MARKET, "SlotCleared", -1, volume=more),
    ),
    Lie(
        "an order has a better limit",
        TOLD.format("buyLimit", "OrderPlaced"),
        alter(MARKET, "OrderPlaced", buyLimit=more),
    ),
    Lie(
        "a reading is altered",
        TOLD.format("readings", "ReadingsTaken"),
        alter(MARKET, "ReadingsTaken", -1, readings=lambda had: had[:-1] + bytes([had[-1] ^ 1])),
    ),
    Lie("a slot is left out of a clearing", "each slot is told", drop(MARKET, "SlotCleared", -1)),
    Lie("a withdrawal goes to another", TOLD.format("to", "Withdrawn"), alter(MARKET, "Withdrawn", to=MALLORY)),
    Lie(
        "a new meter starts at another counter",
        TOLD.format("counters", "MeterReplaced"),
        alter(MARKET, "MeterReplaced", counters=more),
    ),
    # state that is not what the events make
    Lie(
        "a balance has a unit more",
        "the balance is what its payments make",
        state=other("balanceOf", lambda value: value + 1),
    ),
    Lie(
        "there is more money than was minted",
        "the supply is what was minted less what was burned",
        state=other("totalSupply", more),
    ),
    Lie(
        "a nonce is used that no event tells",
        "the nonces used are those told",
        state=other("nonceState", lambda value: (value[0], value[1] | 1 << 63)),
    ),
    Lie(
        "a grant stands with other terms",
        "it is as its last message says",
        state=other("grantsBy", lambda value: (flipped(value[0]), *value[1:])),
    ),
    Lie(
        "a home's fill is moved to its account",
        "the balance is what was settled",
        state=other("balanceOf", lambda value: value - 1, 1),
    ),
    # calls that a contract should not have obeyed
    Lie(
        "a payment is not signed by its payer",
        SIGNED,
        call=asked("transferWithAuthorization", given(signature=other_signature)),
    ),
    Lie("a payment of a batch is not signed by its payer", SIGNED, call=asked("payBatch", given(batch=forged_item))),
    Lie("a nonce is given up by another", SIGNED, call=asked("cancelAuthorization", given(signature=other_signature))),
    Lie("a grant is not signed by the patient", SIGNED, call=asked("grant", given(r=other_signature))),
    Lie("a guardian is appointed by nobody", SIGNED, call=asked("appoint", given(signature=other_signature))),
    Lie(
        "an order is not signed by the home's owner", SIGNED, call=asked("placeOrder", given(signature=other_signature))
    ),
    Lie(
        "a withdrawal is not signed by the home's owner",
        SIGNED,
        call=asked("withdraw", given(signature=other_signature)),
    ),
    Lie(
        "posted readings are not signed by the meter",
        SIGNED,
        call=asked("postReadings", given(signature=other_signature)),
    ),
    Lie(
        "a purchase is released by another than the buyer",
        SIGNED,
        call=asked("release", given(signature=other_signature)),
    ),
    Lie("another than the issuer mints", "only the issuer or a vault calls this", call=asked("mint", by_mallory)),
    Lie("another than the accreditor accredits", "only the accreditor calls this", call=asked("accredit", by_mallory)),
    Lie(
        "another's money is moved beyond its allowance",
        "another's money is moved within an allowance",
        call=asked("transferFrom", by_mallory),
    ),
    Lie(
        "a payment is made after its time",
        "a payment is made within its time",
        call=asked("transferWithAuthorization", given(validBefore=lambda had: 5)),
    ),
    # a node
    Lie(
        "a log is altered in its receipt",
        RECEIPTS,
        node=answers(
            "eth_getTransactionReceipt",
            first_log(data=lambda text: text[:-1] + ("0" if text[-1] != "0" else "1") if len(text) > 2 else "0x01"),
            only=with_logs,
        ),
    ),
    Lie(
        "a log is left out of its receipt",
        RECEIPTS,
        node=answers(
            "eth_getTransactionReceipt", lambda receipt: {**receipt, "logs": receipt["logs"][1:]}, only=with_logs
        ),
    ),
    Lie(
        "a block's filter hides its logs",
        HEADER,
        node=answers(
            "eth_getBlockByNumber",
            lambda block: {**block, "logsBloom": "0x" + "00" * 256},
            only=lambda block: int(block["logsBloom"], 16) > 0,
        ),
    ),
    Lie(
        "a block's transaction asks for something else",
        HASH,
        node=answers("eth_getBlockByNumber", rewritten, only=with_transactions),
    ),
    Lie(
        "a block's time is moved",
        HEADER,
        node=answers("eth_getBlockByNumber", lambda block: edit(block, timestamp=lambda text: hex(int(text, 16) - 60))),
    ),
    Lie(
        "a transaction is left out of its block",
        BLOCK,
        node=answers("eth_getBlockByNumber", lambda block: {**block, "transactions": []}, only=with_transactions),
    ),
    Lie(
        "a transaction has another sender's signature",
        PLACE,
        node=answers("eth_getTransactionByHash", lambda found: edit(found, s=lambda text: hex(int(text, 16) ^ 1))),
    ),
    Lie(
        "other code is at an address",
        "the code at the address is what the sources compile to",
        node=answers(
            "eth_getCode",
            hexed(lambda code: code[:100] + bytes([code[100] ^ 1]) + code[101:]),
            only=lambda text: len(text) > 300,
        ),
    ),
]


class LyingState:
    """The chain's state, but for one view."""

    def __init__(self, state, lie):
        self.state, self.lie, self.block = state, lie, state.block

    def call(self, contract, function, *arguments):
        return self.lie(function, arguments, self.state.call(contract, function, *arguments))


def table(lies=LIES) -> str:
    """Return the drill as docs/verify.md has it."""
    lines = ["| who lies | the lie | what finds it |", "|---|---|---|"]
    lines += [f"| {lie.teller} | {lie.name} | {lie.rule} |" for lie in lies]
    return "\n".join(lines)
