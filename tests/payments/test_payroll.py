"""The payroll: every bad line named, every row paid once, however often and wherever it is run."""

from __future__ import annotations

import contextlib
import io
import random
import re
import subprocess
import sys
import time

import pytest
from eth_account import Account

from liggare import accounts
from liggare.chain.sender import Sender
from liggare.errors import (
    ChainError,
    ContractRefused,
    PayrollChanged,
    PayrollInvalid,
    PayrollUncovered,
    TransactionUncertain,
    UsageError,
)
from liggare.payments.payroll import SIZE, Payroll, read
from tests.payments.conftest import KRONA
from tests.support import ROOT

pytestmark = pytest.mark.usefixtures("payments")
STAFF = [Account.from_key(bytes([9] * 31 + [number])).address for number in range(1, 8)]


@pytest.fixture
def file(tmp_path):
    """Write a payroll: `file((payee, amount, reference), …)` returns its path."""

    def file(*rows, header="payee,amount,reference"):
        path = tmp_path / "payroll.csv"
        path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
        return path

    return file


@pytest.fixture
def salaries(file):
    """Seven rows of 10, 11, … 16."""
    return file(*((payee, 10 + number, "November") for number, payee in enumerate(STAFF)))


@pytest.fixture
def payroll(w3, deployments, anna):
    """Anna's run of November, bundles of three."""
    return lambda run="2026-11", size=3: Payroll(w3, deployments, anna, run, size=size)


@pytest.fixture
def balances(client):
    """What the staff has, in whole kronor."""
    return lambda: [client.balance(each) // KRONA for each in STAFF]


SALARIES = [10, 11, 12, 13, 14, 15, 16]


# ------------------------------------------------------------------ paying


def test_every_row_is_paid_and_has_its_receipt(payroll, salaries, carrier, balances, client, anna):
    rows = read(salaries)
    receipts = list(payroll().pay(rows, carrier))
    assert [each.row for each in receipts] == rows
    assert all(each.fresh for each in receipts)
    assert balances() == SALARIES
    assert len({each.transaction for each in receipts}) == len({each.id for each in receipts}) == 3
    assert client.balance(anna.address) == (1000 - sum(SALARIES)) * KRONA


def test_a_second_run_pays_nobody_and_tells_what_the_first_did(payroll, salaries, carrier, balances):
    rows = read(salaries)
    first = list(payroll().pay(rows, carrier))
    second = list(payroll().pay(rows, carrier))
    assert balances() == SALARIES
    assert not any(each.fresh for each in second)
    assert [(each.row, each.id, each.transaction, each.block) for each in second] == [
        (each.row, each.id, each.transaction, each.block) for each in first
    ]


def test_another_run_is_another_payroll(payroll, salaries, carrier, balances):
    rows = read(salaries)
    for run in ("2026-11", "2026-12"):
        assert all(each.fresh for each in payroll(run).pay(rows, carrier))
    assert balances() == [2 * each for each in SALARIES]


class Cut(Exception):
    """The power goes."""


class DyingSender(Sender):
    """Carries some transactions, then the power goes: before one is sent, or once it landed and nobody knows yet."""

    def __init__(self, carrier, carried, *, after):
        super().__init__(carrier.w3, carrier.account)
        self.left, self.after = carried, after

    def send(self, function, **words):
        if self.left == 0 and not self.after:
            raise Cut
        receipt = super().send(function, **words)
        if self.left == 0:
            raise Cut
        self.left -= 1
        return receipt


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("carried", [0, 1, 2])
def test_a_run_cut_off_anywhere_goes_on_and_pays_nobody_twice(payroll, salaries, carrier, balances, carried, after):
    rows = read(salaries)
    with pytest.raises(Cut):
        list(payroll().pay(rows, DyingSender(carrier, carried, after=after)))
    assert balances() != SALARIES or (carried, after) == (2, True)
    receipts = list(payroll().pay(rows, carrier))
    assert len(receipts) == len(rows)
    assert balances() == SALARIES


PROCESS = """
import sys
from pathlib import Path
from liggare import accounts
from liggare.chain.connection import connect
from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender
from liggare.payments.payroll import Payroll, read

url, folder, keys, file = sys.argv[1:]
w3 = connect(url)
payer, carrier = (accounts.read(Path(keys) / name, "pass") for name in ("payer.json", "carrier.json"))
payroll = Payroll(w3, Deployments.load(Path(folder), w3.eth.chain_id), payer, "2026-11", size=1)
for receipt in payroll.pay(read(Path(file)), Sender(w3, carrier)):
    print(receipt.row.line, receipt.fresh, flush=True)
"""


def test_a_process_killed_again_and_again_pays_every_row_once(
    file, anna, carrier, client, rpc_url, deployments_folder, tmp_path
):
    """kill -9 after a few payments and at a moment of chance, four times; then it may end."""
    payees = [Account.from_key(number.to_bytes(32, "big")).address for number in range(2000, 2040)]
    path = file(*((payee, 1 + number, "") for number, payee in enumerate(payees)))
    accounts.write(tmp_path / "payer.json", anna, "pass", iterations=2)
    accounts.write(tmp_path / "carrier.json", carrier.account, "pass", iterations=2)
    words = [sys.executable, "-c", PROCESS, rpc_url, str(deployments_folder), str(tmp_path), str(path)]
    chance = random.Random(402)
    for _ in range(4):
        with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
            fresh = 0
            while fresh < 3 and (line := process.stdout.readline()):
                fresh += "True" in line
            time.sleep(chance.uniform(0, 0.05))
            process.kill()
    assert 0 < sum(client.balance(payee) > 0 for payee in payees) < len(payees)
    ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert ran.stdout.count("\n") == len(payees)
    assert [client.balance(payee) // KRONA for payee in payees] == list(range(1, 41))


def test_a_run_cut_off_goes_on_in_bundles_of_another_size(payroll, salaries, carrier, balances):
    rows = read(salaries)
    with pytest.raises(Cut):
        list(payroll(size=2).pay(rows, DyingSender(carrier, 1, after=True)))
    list(payroll(size=5).pay(rows, carrier))
    assert balances() == SALARIES


def test_two_who_run_it_at_once_pay_nobody_twice(payroll, salaries, carrier, balances):
    """The other one carries everything between our look at the chain and our first bundle."""
    rows = read(salaries)
    ours, other = payroll(), payroll()

    class Overtaken(Sender):
        def send(self, function, **words):
            list(other.pay(rows, carrier))
            return super().send(function, **words)

    receipts = list(ours.pay(rows, Overtaken(carrier.w3, carrier.account)))
    assert {each.row for each in receipts} == set(rows)
    assert balances() == SALARIES


def test_rows_added_and_moved_after_a_first_try_are_paid_once(payroll, file, carrier, balances):
    lines = [(payee, 10 + number, "November") for number, payee in enumerate(STAFF)]
    list(payroll().pay(read(file(*lines[:4])), carrier))
    receipts = list(payroll().pay(read(file(*reversed(lines))), carrier))
    assert sum(each.fresh for each in receipts) == 3
    assert balances() == SALARIES


def test_equal_rows_with_two_references_are_both_paid_once(payroll, file, carrier, balances):
    path = file((STAFF[0], 10, "salary"), (STAFF[0], 10, "bonus"))
    for _ in range(2):
        list(payroll(size=1).pay(read(path), carrier))
    assert balances()[0] == 20


def test_a_bundle_given_up_by_the_payer_is_passed_over(payroll, salaries, carrier, balances, client, anna):
    run = payroll()
    client.carry_cancel(client.cancel(anna, run.nonce(0)), carrier)
    list(run.pay(read(salaries), carrier))
    assert balances() == SALARIES


def test_a_bundle_that_somebody_else_carried_counts(payroll, salaries, carrier, balances, client, anna, bo):
    """The first bundle landed in a batch beside another's payment, as a relayer carries it."""
    rows = read(salaries)
    run = payroll()
    ours = client.bundle(anna, [(row.payee, row.value) for row in rows[:3]], nonce=run.nonce(0))
    client.carry_batch([client.pay(bo, STAFF[0], KRONA), ours], carrier)
    receipts = list(run.pay(rows, carrier))
    assert [each.fresh for each in receipts] == [False] * 3 + [True] * 4
    assert receipts[0].id == ours.id.to_0x_hex()
    assert balances() == [11, *SALARIES[1:]]


def test_a_bundle_of_the_usual_size_takes_a_small_part_of_a_block(payroll, file, carrier, w3):
    """201 payees who never had money."""
    path = file(*((Account.from_key(number.to_bytes(32, "big")).address, 1, "") for number in range(1000, 1201)))
    receipts = list(payroll(size=SIZE).pay(read(path), carrier))
    transactions = list(dict.fromkeys(each.transaction for each in receipts))
    assert len(transactions) == 2
    assert w3.eth.get_transaction_receipt(transactions[0])["gasUsed"] < 30_000_000 // 4


# ------------------------------------------------------------------ refusals


def test_a_row_changed_after_it_was_paid_stops_the_run(payroll, file, salaries, carrier, balances):
    list(payroll().pay(read(salaries), carrier))
    lines = [(payee, 10 + number + (number == 2), "November") for number, payee in enumerate(STAFF)]
    with pytest.raises(PayrollChanged, match=r"paid 12\.00"):
        list(payroll().pay(read(file(*lines)), carrier))
    assert balances() == SALARIES


def test_nothing_is_paid_where_the_money_does_not_do_for_all(payroll, file, carrier, balances):
    path = file((STAFF[0], 600, ""), (STAFF[1], "400.000001", ""))
    with pytest.raises(PayrollUncovered, match=r"1000\.000001 are still to be paid, the payer has 1000\.00"):
        list(payroll(size=1).pay(read(path), carrier))
    assert balances()[:2] == [0, 0]


def test_money_spent_meanwhile_stops_the_run_and_what_was_paid_stays_paid(
    payroll, salaries, carrier, balances, client, anna, bo
):
    rows = read(salaries)
    receipts = payroll().pay(rows, carrier)
    told = [next(receipts) for _ in range(3)]
    client.carry(client.pay(anna, bo.address, client.balance(anna.address)), carrier)
    with pytest.raises(ContractRefused, match=r"PaymentSkipped.*INSUFFICIENT_BALANCE"):
        list(receipts)
    assert [each.row for each in told] == rows[:3]
    assert balances() == [10, 11, 12, 0, 0, 0, 0]


def test_all_bad_lines_are_named_and_nothing_is_paid(file, client):
    wrong = STAFF[0][:-1] + ("0" if STAFF[0][-1] != "0" else "1")
    path = file(
        (STAFF[0], 10, "good"),
        ("0x12", 10, "short"),
        (wrong, 10, "checksum"),
        (STAFF[1], "ten", "words"),
        (STAFF[1], 0, "nothing"),
        (STAFF[1], -1, "less"),
        (STAFF[1], "0.0000001", "fine"),
        (STAFF[1], 10**19, "too much"),
        (STAFF[1], 10),
        (STAFF[1], 10, "one", "more"),
        ("0x" + "00" * 20, 10, "nobody"),
        (STAFF[0], "10.00", "good"),
        ("", "", ""),
    )
    with pytest.raises(PayrollInvalid) as caught:
        read(path)
    assert [line for line, _ in caught.value.problems] == list(range(3, 14))
    assert "the same as line 2" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"payee,amount\n",
        b"payee,amount,reference\n",
        b"payee;amount;reference\n",
        b"payee,amount,reference\n\xff\xfe\n",
        b'payee,amount,reference\n0x,"open\n',
        b"payee,amount,reference\n\0,1,x\n",
    ],
)
def test_a_file_that_is_no_payroll_is_refused(tmp_path, data):
    path = tmp_path / "payroll.csv"
    path.write_bytes(data)
    with pytest.raises(PayrollInvalid, match="nothing of"):
        read(path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(PayrollInvalid, match="can't be read"):
        read(tmp_path / "none.csv")


def test_a_file_of_a_spreadsheet_is_read(tmp_path):
    """With a byte-order mark, CRLF, quotes, a line break inside them, and empty lines at the end."""
    path = tmp_path / "payroll.csv"
    lines = ["payee,amount,reference", f'{STAFF[0]}, 10.50 ,"November, late\nand more"', "", ",,", f"{STAFF[1]},1,"]
    path.write_bytes("\r\n".join(lines).encode("utf-8-sig"))
    rows = read(path)
    assert [(row.line, row.value, row.reference) for row in rows] == [
        (3, 10_500_000, "November, late\nand more"),
        (6, KRONA, ""),
    ]


def test_the_payer_and_the_moneys_contract_are_no_payees(payroll, file, carrier, anna, payments, balances):
    path = file((STAFF[0], 1, ""), (anna.address, 1, ""), (payments.address, 1, ""))
    with pytest.raises(PayrollInvalid) as caught:
        list(payroll().pay(read(path), carrier))
    assert [line for line, _ in caught.value.problems] == [3, 4]
    assert balances()[0] == 0


def test_a_run_without_a_name_is_refused(payroll):
    with pytest.raises(UsageError, match="needs a name"):
        payroll(" ")


def test_an_uncertain_transaction_is_told_and_the_next_try_finds_it(payroll, salaries, carrier, balances):
    """The receipt does not come: the sender says so, and the payment has landed."""

    class Hasty(Sender):
        def send(self, function, **words):
            super().send(function, **words)
            raise TransactionUncertain("0x", 0.0)

    rows = read(salaries)
    with pytest.raises(ChainError):
        list(payroll().pay(rows, Hasty(carrier.w3, carrier.account)))
    receipts = list(payroll().pay(rows, carrier))
    assert [each.fresh for each in receipts] == [False] * 3 + [True] * 4
    assert balances() == SALARIES


def test_the_nonces_tell_nobody_of_the_run_and_differ_by_run_number_and_payer(w3, deployments, anna, bo):
    made = {
        Payroll(w3, deployments, payer, run).nonce(number)
        for payer in (anna, bo)
        for run in ("2026-11", "2026-12", "1\0002026-11")
        for number in (0, 1, 11)
    }
    assert len(made) == 18
    assert all(int.from_bytes(each, "big") >= 2**64 for each in made)


# ------------------------------------------------------------------ the docs


def test_the_python_of_the_docs_pays(w3, deployments_folder, rpc_url, salaries, carrier, balances, anna, tmp_path):
    text = (ROOT / "docs" / "payroll.md").read_text()
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL)[1]
    accounts.write(tmp_path / "employer.json", anna, "demo", iterations=2)
    accounts.write(tmp_path / "operator.json", carrier.account, "demo", iterations=2)
    for docs, here in (
        ("http://127.0.0.1:8555", rpc_url),
        ("demo/deployments", str(deployments_folder)),
        ("demo/keys/operator.json", str(tmp_path / "operator.json")),
        ('"employer.json"', repr(str(tmp_path / "employer.json"))),
        ('"payroll.csv"', repr(str(salaries))),
    ):
        assert docs in code
        code = code.replace(docs, here)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "payroll.md", "exec"), {})
    assert said.getvalue().count("paid now") == 7
    assert balances() == SALARIES
    steps = [line for line in code.splitlines() if line and not line.startswith(("from", "import"))]
    assert len(steps) <= 10
