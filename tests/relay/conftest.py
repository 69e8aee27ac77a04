"""A relayer at hand's pace: the test ticks it, and may stop the world between two steps."""

from __future__ import annotations

import itertools
import time

import pytest

from liggare.chain.sender import Sender
from liggare.payments.cargo import PaymentCargo
from liggare.payments.client import Payments
from liggare.payments.messages import PaymentBundle, TransferWithAuthorization, counter
from liggare.payments.wire import document
from liggare.records import wire
from liggare.records.cargo import RecordCargo
from liggare.records.client import Records
from liggare.records.messages import Terms
from liggare.relay.intake import Intake
from liggare.relay.outbox import Outbox, Row
from liggare.relay.relayer import Relayer
from liggare.relay.terms import Limits, Pace
from tests.nodes import KRONA, Postgres, funded, node, wallet
from tests.relay.load import RelayProcess, Spawner

NOW = Pace(wait=0, fresh=0)
HOSPITAL = 500
"""Members by number: the hospital, and patients from 600 on."""
PATIENT = 600
RECORD_LIMITS = Limits(per_account=20, budget=10**18)


@pytest.fixture(autouse=True)
def isolation():
    """The chains here are the tests' own: Brownie's is left alone."""


@pytest.fixture(scope="session")
def anvil_node():
    """One Anvil for all tests of a worker, set back after each; the hospital is an emergency service, 5 times a day."""
    with node("anvil") as made:
        made.record = made.deploy(records=True)
        accreditor, hospital = Sender(made.w3, funded(0)), wallet(HOSPITAL).address
        registry = Records(made.w3, made.record)
        registry.accredit(accreditor, hospital, ["provider", "emergency"], ["Observation"], 0, 2**40, 5)
        money = made.record.contract(made.w3, "ZeroFeePayments")
        for number in range(4):
            made.w3.eth.wait_for_transaction_receipt(
                money.functions.mint(wallet(number).address, 1000 * KRONA).transact({"from": funded(0).address})
            )
        yield made


@pytest.fixture
def anvil(anvil_node):
    """An Anvil where the four members have 1,000 each."""
    mark = anvil_node.rpc("evm_snapshot")
    yield anvil_node
    anvil_node.rpc("anvil_setAutomine", True)
    anvil_node.rpc("evm_revert", mark)


@pytest.fixture
def client(anvil):
    """The money there."""
    return Payments(anvil.w3, anvil.record)


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL of the tests' own."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(scope="session")
def spawner():
    """Starts services quickly."""
    made = Spawner()
    yield made
    made.close()


@pytest.fixture
def start_relay(spawner):
    """Start a relayer in a process of its own: `start_relay(town, database, sponsor, "--confirmations", "3")`."""
    started = []

    def start_relay(*arguments):
        started.append(RelayProcess(spawner, *arguments))
        return started[-1]

    yield start_relay
    for each in started:
        each.close()


_names = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    """The URL of an empty database, of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/relay.db"
    return request.getfixturevalue("postgres").database(f"relay{next(_names)}")


@pytest.fixture
def records(anvil):
    """The records there."""
    return Records(anvil.w3, anvil.record)


@pytest.fixture
def record_cargo(records):
    """The records' messages as cargo."""
    return RecordCargo(records)


@pytest.fixture
def hospital():
    """A provider and emergency service, which may break the glass five times a day."""
    return wallet(HOSPITAL)


@pytest.fixture
def outbox(tmp_path):
    """An empty outbox."""
    made = Outbox(f"sqlite:///{tmp_path}/relay.db")
    yield made
    made.close()


@pytest.fixture
def cargo(client):
    """The payments as cargo."""
    return PaymentCargo(client)


class Clock:
    """A clock that the test turns on."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead


@pytest.fixture
def clock():
    """The relayer's clock."""
    return Clock()


@pytest.fixture
def relayer(anvil, outbox, cargo, record_cargo, clock):
    """The relayer of payments and records, sponsored by the second funded account."""
    return Relayer(anvil.w3, funded(1), outbox, [cargo, record_cargo], NOW, clock=clock)


@pytest.fixture
def hand_over(outbox, record_cargo, relayer, clock):
    """Take messages of the records in: `hand_over(signed, …)`; `limits=` sets quotas."""

    def hand_over(*items, limits=None):
        intake = Intake(outbox, record_cargo, limits or RECORD_LIMITS, relayer.price, clock)
        return intake.accept([wire.document(item) for item in items])

    return hand_over


@pytest.fixture
def grant(records):
    """Sign that patient number so may be read by grantee number so: `grant(0, 1, version=2)`."""

    def grant(patient, grantee, version=1, salt=b"\1" * 32, **changes):
        who = wallet(PATIENT + patient)
        terms = Terms(1, 1, 0, 2**40)
        return records.grant(who, wallet(grantee).address, salt, terms, version=version, **changes)[0]

    return grant


@pytest.fixture
def revoke(records):
    """Sign that such a grant ends: `revoke(0, 1, version=2)`."""

    def revoke(patient, grantee, version=1, salt=b"\1" * 32, **changes):
        who = wallet(PATIENT + patient)
        return records.revoke(who, wallet(grantee).address, salt, version=version, **changes)

    return revoke


@pytest.fixture
def accept(outbox, cargo, relayer, clock):
    """Take payments in: `accept(signed, …)` returns what was decided of each; `limits=` sets quotas."""

    def accept(*items, limits=None):
        intake = Intake(outbox, cargo, limits or Limits(), relayer.price, clock)
        return intake.accept([document(item) for item in items])

    return accept


@pytest.fixture
def pay(client):
    """Sign a payment by member numbers: `pay(0, 1, 5, nonce=3)` pays 5.00 by counter nonce 3."""

    def pay(payer, payee, value, nonce=0, **changes):
        members = {
            "domain": client.domain,
            "from_": wallet(payer).address,
            "to": wallet(payee).address,
            "value": int(value * KRONA),
            "valid_after": 0,
            "valid_before": 2**32 - 1,
            "nonce": counter(nonce) if isinstance(nonce, int) else nonce,
        }
        return TransferWithAuthorization(**{**members, **changes}).sign(wallet(payer))

    return pay


@pytest.fixture
def bundle(client):
    """Sign a bundle: `bundle(0, [(1, 5), (2, 7)], nonce=3)`."""

    def bundle(payer, payments, nonce=0):
        rows = tuple({"to": wallet(to).address, "value": int(value * KRONA)} for to, value in payments)
        nonce = counter(nonce) if isinstance(nonce, int) else nonce
        message = PaymentBundle(client.domain, wallet(payer).address, rows, 0, 2**32 - 1, nonce)
        return message.sign(wallet(payer))

    return bundle


def run(relayer, ticks: int = 8) -> None:
    """Tick until nothing changes any more; a batch that was sent needs a tick to land."""
    for _ in range(ticks):
        relayer.tick()


def status(outbox, *items) -> list[str]:
    """Return `status` or `status:reason` of each payment."""
    rows = [outbox.get(item.id.to_0x_hex()) for item in items]
    assert all(isinstance(row, Row) for row in rows)
    return [row.status.value + (f":{row.reason}" if row.reason else "") for row in rows]
