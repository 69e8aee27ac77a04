"""A day of a neighbourhood on a local Ganache chain: `make demo` (`make demo ARGS=--keep` leaves the chain up).

Starts Ganache, deploys the suite, and tells in words what happens: neighbours pay each other,
a patient lets a hospital and an insurer read, 17 real homes trade the sun of one day. Then
everything is replayed from the ledger alone, and three lies are told to show that they are found.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import secrets
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import requests
import uvicorn
from brownie import network, project
from brownie._config import CONFIG
from eth_account import Account
from eth_account.signers.local import LocalAccount
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table
from web3 import Web3

from liggare import accounts
from liggare.chain.connection import connect
from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender
from liggare.cli.ledger import all_rules
from liggare.energy.client import Energy
from liggare.energy.homes import HomeSeries, read, wheel
from liggare.energy.messages import UTILITY
from liggare.energy.meter import Meter
from liggare.energy.synthetic import make
from liggare.errors import (
    ChainUnreachable,
    ContractRefused,
    DataMissing,
    GatekeeperRefused,
    LiggareError,
    SettingsError,
    UsageError,
)
from liggare.ledger.reader import Reader
from liggare.ledger.rows import Row
from liggare.ledger.verify import ChainState, Report, verify
from liggare.payments.client import Payments, random_nonce, text
from liggare.records.audit import entry as logged_entry
from liggare.records.audit import opened
from liggare.records.categories import CATEGORIES
from liggare.records.client import Records
from liggare.records.fhir import parse
from liggare.records.keyring import MasterKey
from liggare.records.messages import Terms
from liggare.records.pseudonyms import Pseudonyms, new_phrase
from liggare.records.share import Share
from liggare.records.tree import canonical, leaf_hash
from liggare.records.visit import Gatekeeper, Visit
from liggare.web.gatekeeper import Service, application, assemble
from scripts.nodes import free_port

ROOT = Path(__file__).resolve().parent.parent
NETWORK = "ganache-cli"
KRONA = 10**6
CHARTS = ["Patient/f001", "Patient/example", "Patient/1", "Patient/pat1", "Patient/4"]
"""The invented patients of HL7's examples, whom the demo takes for one person."""
PURPOSE_OF = {"hospital": "TREAT", "insurer": "HPAYMT"}
"""What each reader's first sign-in is for; for another purpose it has to sign in anew."""
INSURER_TYPES = ["Claim", "Coverage", "ExplanationOfBenefit"]
DAY = 319
"""The day of the homes' year that is traded: 16 June."""
BATCH = 8
"""Slots cleared in one transaction: two hours."""


@dataclass
class World:
    """What the chapters share."""

    w3: Web3
    deployments: Deployments
    operator: Sender
    console: Console
    folder: Path
    money: Payments
    people: dict[str, LocalAccount] = field(default_factory=dict)
    summary: list[tuple[str, str]] = field(default_factory=list)

    def say(self, words: str) -> None:
        """Tell what happens."""
        self.console.print(words, highlight=False)

    def chapter(self, title: str) -> None:
        """Begin a part of the day."""
        self.console.rule(f"[bold]{title}", align="left")

    def person(self, name: str) -> LocalAccount:
        """Return somebody by name: a new key, kept in a key file for whoever goes on by hand."""
        if name not in self.people:
            account = Account.create()
            # a light scrypt: these keys guard play money and are made by the dozen
            accounts.write(self.folder / "keys" / f"{name}.json", account, "demo", iterations=2)
            self.people[name] = account
        return self.people[name]

    def give_ether(self, account: LocalAccount) -> None:
        """Let an organisation send transactions of its own; members never need to."""
        from brownie import accounts as brownie_accounts

        with contextlib.redirect_stdout(io.StringIO()):
            brownie_accounts[1].transfer(account.address, "1 ether")


def start_chain(console: Console) -> str:
    """Launch Ganache by Brownie and return its URL. Refuses a port that something else listens on."""
    loaded = project.load(ROOT)
    loaded.load_config()
    loaded._add_to_main_namespace()
    settings = CONFIG.networks[NETWORK]["cmd_settings"]
    given = os.environ.get("LIGGARE_PORT", str(settings["port"]))
    if not (given.isascii() and given.isdigit() and 0 < int(given) < 2**16):
        raise SettingsError(f"LIGGARE_PORT must be a port, 1 to 65535, not {given!r}")
    port = settings["port"] = int(given)
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", port)) == 0:
            raise LiggareError(f"port {port} is taken by another program; stop it, or set LIGGARE_PORT to a free port")
    console.print("starting Ganache …")
    with contextlib.redirect_stdout(io.StringIO()):
        network.connect(NETWORK)
    return f"http://127.0.0.1:{port}"


def open_world(console: Console, folder: Path) -> World:
    """Start the chain, deploy, and make the operator; all that is written goes to `folder`, made anew."""
    if folder.exists() and not (folder / "password").exists():
        raise UsageError(f"{folder} holds something else; name another folder by --folder")
    url = start_chain(console)
    # only now: Brownie names the contracts when the project is loaded
    from brownie import accounts as brownie_accounts

    from scripts.deploy import deploy

    w3 = connect(url)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "password").write_text("demo\n")
    with contextlib.redirect_stdout(io.StringIO()):
        deployments = deploy(brownie_accounts[0], folder / "deployments")
    deployments.check(w3)
    for name, item in deployments.contracts.items():
        console.print(f"  {name:16} {item.address}", highlight=False)
    # Ganache's own first account: its seed phrase is public, and its ether worth nothing elsewhere
    operator = Account.from_mnemonic(CONFIG.networks[NETWORK]["cmd_settings"]["mnemonic"])
    accounts.write(folder / "keys" / "operator.json", operator, "demo", iterations=2)
    return World(w3, deployments, Sender(w3, operator), console, folder, Payments(w3, deployments))


# ------------------------------------------------------------------ payments


def payments_chapter(world: World) -> None:
    """Members pay each other; the operator carries and pays the gas."""
    world.chapter("Payments: at no cost to anyone who pays or is paid")
    anna, bo, cia = (world.person(name) for name in ("anna", "bo", "cia"))
    for member in (anna, bo, cia):
        world.money.mint(member.address, 1000 * KRONA, world.operator)
    world.say("Anna, Bo and Cia have 1,000.00 kr each and no ether at all.")
    gas = 0
    errands = [(anna, bo, 120, "a ladder"), (bo, cia, 45, "two jars of honey"), (cia, anna, 80, "a lesson")]
    for payer, payee, kronor, what in errands:
        signed = world.money.pay(payer, payee.address, kronor * KRONA)
        receipt = world.money.carry(signed, world.operator)
        gas += receipt["gasUsed"]
        world.say(f"  {kronor:>4}.00 kr for {what}; id {signed.id.to_0x_hex()[:14]}…, it arrived whole")
    held = [world.w3.eth.get_balance(member.address) for member in (anna, bo, cia)]
    world.say(f"Ether that the three hold or spent: {sum(held)}. Gas the operator paid: {gas:,}.")
    invoice = world.money.pay(anna, bo.address, 10 * KRONA, nonce=random_nonce())
    world.money.carry(invoice, world.operator)
    try:
        world.money.carry(invoice, world.operator)
    except ContractRefused as refusal:
        world.say(f"  somebody carries the same message again: {refusal}")
    balances = [text(world.money.balance(member.address)) for member in (anna, bo, cia)]
    world.say(f"They now have {', '.join(balances)}: what went out came in, to the unit.")
    world.summary.append(
        ("payments", f"{len(errands) + 1} carried, fee to members 0, {gas // len(errands):,} gas each")
    )


# ------------------------------------------------------------------ records


@contextlib.contextmanager
def serve_gatekeeper(world: World, custodian: LocalAccount) -> Iterator[tuple[Service, str]]:
    """Run a custodian's gatekeeper on a free port, with HL7's examples in it; what it keeps lies in the folder."""
    master = MasterKey.new(world.folder / "master.key")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        database, sender = f"sqlite:///{world.folder / 'records.db'}", Sender(world.w3, custodian)
        keyring = world.folder / "keyring"
        service = assemble(world.w3, world.deployments, sender, url, database, keyring, master, seconds=3600)
        for path in sorted((ROOT / "scripts" / "data" / "fhir").glob("*.json")):
            service.desk.archive.put(parse(path.read_bytes()))
        server = uvicorn.Server(uvicorn.Config(application(service), log_config=None, timeout_graceful_shutdown=3))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield service, url
        finally:
            server.should_exit = True
            thread.join()
            service.close()


def records_chapter(world: World) -> tuple[list[bytes], bytes]:
    """A patient lets a hospital and an insurer read; the custodian's gatekeeper obeys the ledger.

    Return the custodian's access log as lines, and the one that a dishonest custodian would have written.
    """
    world.chapter("Records: the patient decides who reads what")
    records = Records(world.w3, world.deployments)
    archive, hospital, insurer = (world.person(name) for name in ("archive", "hospital", "insurer"))
    year = records.now() + 365 * 86_400
    everything = list(CATEGORIES)
    records.accredit(world.operator, archive.address, ["provider"], everything, 0, year)
    records.accredit(world.operator, hospital.address, ["provider"], everything, 0, year)
    records.accredit(world.operator, insurer.address, ["insurer"], INSURER_TYPES, 0, year)
    world.say("An archive, a hospital and an insurer are accredited; the insurer for claims and coverage at most.")
    world.give_ether(archive)

    phrase = world.folder / "keys" / "patient.phrase"
    phrase.touch(mode=0o600)
    phrase.write_text(new_phrase() + "\n")
    patient = Pseudonyms(phrase.read_text())
    shares: dict[str, Share] = {}
    refused = 0
    with serve_gatekeeper(world, archive) as (service, url), Gatekeeper(url, archive.address, records) as gate:
        world.say("The archive's gatekeeper serves FHIR R4; its records and its log are sealed at rest.")
        for name, reader, kinds, purpose in (
            ("hospital", hospital, ["Patient", "Observation", "Condition"], "TREAT"),
            ("insurer", insurer, ["Claim", "ExplanationOfBenefit"], "HPAYMT"),
        ):
            known_as = patient.relationship(reader.address)
            service.desk.archive.link(known_as.patient, *CHARTS)
            terms = Terms.of(kinds, [purpose], 0, year)
            signed, shares[name] = records.grant(known_as.account, reader.address, known_as.salt(), terms)
            receipt = records.carry(signed, world.operator)
            (world.folder / f"share-{name}.json").write_text(shares[name].to_json())
            world.say(f"  The patient grants the {name} {', '.join(kinds)} for {purpose}: {receipt['gasUsed']:,} gas,")
            world.say(
                f"    on the chain only {signed.message.blinded.hex()[:16]}… under the pseudonym {known_as.patient}"
            )

        visits: dict[str, Visit] = {}

        def ask(name: str, reader: LocalAccount, record: str, purpose: str) -> None:
            nonlocal refused
            try:
                if name not in visits or purpose != PURPOSE_OF[name]:
                    visits[name] = gate.sign_in(reader, purpose, ["patient/*.rs"], shares=[shares[name]])
                resource = visits[name].read(record)
            except GatekeeperRefused as refusal:
                refused += 1
                world.say(f"  The {name} asks for {record}: [red]refused[/red], {refusal}")
            else:
                kind = resource["resourceType"]
                world.say(f"  The {name} asks for {record}: [green]released[/green] ({kind}), logged before release")

        ask("hospital", hospital, "Observation/f001", "TREAT")
        ask("insurer", insurer, "Claim/100150", "HPAYMT")
        ask("insurer", insurer, "Observation/f001", "HPAYMT")
        ask("hospital", hospital, "Observation/f001", "HRESCH")
        known_as = patient.relationship(insurer.address)
        receipt = records.carry(records.revoke(known_as.account, insurer.address, known_as.salt()), world.operator)
        world.say(f"  The patient revokes the insurer's grant: {receipt['gasUsed']:,} gas.")
        ask("insurer", insurer, "Claim/100150", "HPAYMT")
        service.poster.post()
        lines = list(service.desk.book.lines())
        service.desk.book.export(world.folder / "access.jsonl")
        world.say(f"The archive posts the head of its access log: {len(lines)} entries, none can be rewritten now.")
        uncovered = canonical(_uncovered(json.loads(lines[1]), records))
        own = gate.sign_in(known_as.account, "PATRQT", ["patient/*.rs"], patient=known_as.patient)
        seen = own.accesses(known_as.patient)
        told = ", ".join(f"{access.records[0]} for {access.purpose}" for access in seen.accesses)
        world.say(f"  The patient asks who read as the insurer's patient: {told}; proven against the chain.")
    world.summary.append(
        ("records", f"2 grants, {len(lines) - 1} reads released, {refused} refused, 1 revoke; cost to the patient 0")
    )
    return lines, uncovered


def _uncovered(entry: dict[str, Any], records: Records) -> dict[str, Any]:
    """Return an entry as if the insurer had read once more, now that its grant is revoked."""
    block = records.newest()
    release = opened(entry).release
    later = replace(release, block=block["number"], block_hash=block["hash"].to_0x_hex(), time=int(block["timestamp"]))
    return logged_entry(later, 2, leaf_hash(canonical(entry)))


# ------------------------------------------------------------------ energy


def energy_chapter(world: World, slots: int) -> None:
    """17 real homes trade a day of sun; every slot is cleared and settled on the chain."""
    world.chapter("Energy: a day of 17 homes")
    homes, which = neighbourhood()
    energy = Energy(world.w3, world.deployments)
    meters: dict[int, Meter] = {}
    owners: dict[int, LocalAccount] = {}
    draw = random.Random(2016)  # noqa: S311 wishes, the same in each run
    for home in homes:
        owner, key = world.person(home.name.lower()), Account.create()
        number = energy.register(owner.address, key.address, world.operator)
        meters[number], owners[number] = Meter(key, number, energy.domain), owner
    world.say(f"{len(homes)} homes {which}.")
    for number, owner in owners.items():
        world.money.mint(owner.address, 200 * KRONA, world.operator)
        pay_in(world, energy, owner, number, 200 * KRONA)
        wish = energy.order(owner, number, buy=draw.randrange(1200, 2400), sell=draw.randrange(700, 1600), cap=20_000)
        energy.carry_order(wish, world.operator)
    operator = world.operator.account
    world.money.mint(operator.address, 5000 * KRONA, world.operator)
    pay_in(world, energy, operator, UTILITY, 5000 * KRONA)
    retail, feed_in = energy.tariffs.retail, energy.tariffs.feed_in
    world.say(f"Each has 200 kr on the market and one standing order. The grid sells at {retail / 1000:.2f} kr/kWh")
    world.say(f"and takes at {feed_in / 1000:.2f}; a price between them serves both who buys and who sells.")

    day = {number: home.day(DAY)[:slots] for number, home in zip(meters, homes, strict=True)}
    before = {number: energy.balance(number) for number in meters}
    gas, cleared = 0, []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=world.console, transient=True) as bar:
        task = bar.add_task("clearing slots", total=slots)
        for start in range(0, slots, BATCH):
            count = min(BATCH, slots - start)
            due = energy.next_slot()
            pass_until(world, energy.begins(due + count) + energy.gate + 1)
            readings = {n: meters[n].read(due, day[n][start : start + count]) for n in meters}
            proposal = energy.propose(readings, count)
            gas += energy.carry_clearing(proposal, world.operator)["gasUsed"]
            cleared += [each.clearing for each in proposal.slots]
            bar.update(task, completed=start + count)
    volume = sum(each.volume for each in cleared)
    prices = [each.price for each in cleared if each.volume]
    table = Table(
        "home", "took kWh", "gave kWh", "with the market kr", "without kr", "better by kr", title=f"{slots} slots"
    )
    for column in table.columns[1:]:
        column.justify = "right"
    better = 0
    for number, home in zip(meters, homes, strict=True):
        took, gave = (sum(each[side] for each in day[number]) for side in (0, 1))
        paid = before[number] - energy.balance(number)
        alone = took * retail - gave * feed_in
        better += alone - paid
        sums = (
            f"{took / 1000:.2f}",
            f"{gave / 1000:.2f}",
            *(f"{units / KRONA:.2f}" for units in (paid, alone, alone - paid)),
        )
        table.add_row(home.name.replace("_", " "), *sums)
    world.console.print(table)
    if prices:
        world.say(
            f"{volume / 1000:.1f} kWh changed hands at {min(prices) / 1000:.2f} to {max(prices) / 1000:.2f} kr/kWh;"
            f" together the homes are {better / KRONA:.2f} kr better off."
        )
    world.summary.append(
        (
            "energy",
            f"{slots} slots, {volume / 1000:.1f} kWh traded; {gas // slots // len(homes):,} gas per home and slot",
        )
    )


def neighbourhood() -> tuple[list[HomeSeries], str]:
    """Return the measured homes, or made ones where those can't be had, and what to say of them."""
    try:
        return read(wheel(ROOT / ".toolchain" / "data")), "of the CityLearn 2022 challenge, as measured in Fontana"
    except DataMissing as exc:
        return make(), f"of standard load under a clear sky, since the measured ones can't be had ({exc})"


def pay_in(world: World, energy: Energy, payer: LocalAccount, number: int, value: int) -> None:
    """Deposit a payer's money in an account of the market by one signature."""
    salt = secrets.token_bytes(32)
    signed = world.money.receive(
        payer, energy.contract.address, value, nonce=energy.deposit_nonce(number, salt), valid_before=2**48 - 1
    )
    energy.deposit(number, salt, signed, world.operator)


def pass_until(world: World, moment: int) -> None:
    """Let Ganache's clock run to a unix time that is still to come; a day takes seconds here."""
    seconds = moment - world.w3.eth.get_block("latest")["timestamp"]
    for method, words in (("evm_increaseTime", [seconds]), ("evm_mine", [])):
        answer = world.w3.provider.make_request(method, words)
        if "error" in answer:
            raise LiggareError(f"Ganache refused {method}: {answer['error']}")


# ------------------------------------------------------------------ checking


def verify_chapter(world: World, log: list[bytes], uncovered: bytes) -> None:
    """Replay everything from the ledger; then tell three lies and see each of them found."""
    world.chapter("Verify: anyone can check all of it")
    reader = Reader(world.w3, world.deployments)
    rows = list(reader.rows())
    state = ChainState(world.w3, world.deployments, world.w3.eth.block_number)
    archive = world.people["archive"].address

    def check(what: list[Row], lines: list[bytes]) -> Report:
        return verify(what, all_rules(world.w3, world.deployments, {archive: lines}), state)

    report = check(rows, log)
    for what, count in sorted(report.checked.items()):
        world.say(f"  {count:>7,}  {what}")
    if not report.ok:
        raise LiggareError(f"the ledger is off: {report.findings[0]}")
    world.say(f"[green]{report.rows:,} events replayed: nothing is off.[/green] Now three lies:")
    lies = {
        "a payment's amount is altered": (altered(rows, "Transfer", 3, "value", 1), log),
        "a slot's price is a thousandth off": (altered(rows, "SlotCleared", -1, "price", 1), log),
        "a read that no grant covers": (rows, [*log, uncovered]),
    }
    for lie, (told, lines) in lies.items():
        findings = check(told, lines).findings
        if not findings:
            raise LiggareError(f"this lie was not found: {lie}")
        world.say(f"  {lie}: [red]found[/red]\n      {findings[0]}")
    world.summary.append(("verify", f"{report.rows:,} events replayed, nothing off; 3 of 3 lies found"))


def altered(rows: list[Row], event: str, place: int, name: str, by: int) -> list[Row]:
    """Return a copy of the ledger in which one value of one event is off."""
    index = [number for number, row in enumerate(rows) if row.event == event][place]
    row = rows[index]
    lie = replace(row, arguments={**row.arguments, name: row.arguments[name] + by})
    return [*rows[:index], lie, *rows[index + 1 :]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keep", action="store_true", help="leave the chain running until Ctrl-C")
    parser.add_argument(
        "--slots", type=int, default=96, choices=range(1, 97), metavar="1..96", help="how much of the day"
    )
    parser.add_argument("--folder", type=Path, default=ROOT / "demo", help="where keys, shares and the log go")
    options = parser.parse_args()
    console = Console()
    started = time.monotonic()
    try:
        world = open_world(console, options.folder)
        payments_chapter(world)
        log, uncovered = records_chapter(world)
        energy_chapter(world, options.slots)
        verify_chapter(world, log, uncovered)
        finish(world, time.monotonic() - started, keep=options.keep)
    except (requests.RequestException, ChainUnreachable):
        sys.exit("demo: Ganache went away half way through; run it again")
    except LiggareError as exc:
        print(f"demo: {exc}", file=sys.stderr)
        sys.exit(exc.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        if network.is_connected():
            with contextlib.redirect_stdout(io.StringIO()):
                network.disconnect()


def finish(world: World, seconds: float, *, keep: bool) -> None:
    """Close with a table; on request leave the chain up and say what to type."""
    table = Table("", "", show_header=False, title="The day")
    for row in world.summary:
        table.add_row(*row)
    world.console.print(table)
    world.say(f"{seconds:.0f} s.")
    if not keep:
        world.say("`make demo ARGS=--keep` leaves the chain up, to go on by hand.")
        return
    url = world.w3.provider.endpoint_uri
    anna, bo = world.people["anna"].address, world.people["bo"].address
    archive = world.people["archive"].address
    here, port, shown_at = os.path.relpath(world.folder), free_port(), free_port()
    common = f".venv/bin/liggare --rpc {url} --deployments {here}/deployments --password-file {here}/password"
    lines = [
        f"The chain stays at {url} until Ctrl-C. In another terminal:",
        f"  {common} status {anna}",
        f"  {common} pay {bo} 12.50 --key {here}/keys/anna.json --carrier {here}/keys/operator.json",
        f"  {common} verify --log {archive}={here}/access.jsonl",
        f"The day as pages, for anyone who looks at http://127.0.0.1:{shown_at} while it runs:",
        f"  {common} serve explorer --database sqlite:///{here}/ledger.db --port {shown_at}",
        "The archive's gatekeeper, and in a third terminal the hospital at its door:",
        f"  {common} serve gatekeeper --key {here}/keys/archive.json --database sqlite:///{here}/records.db"
        f" --keyring {here}/keyring --master-key {here}/master.key --port {port}",
        f"  {common} records read Observation/f001 --key {here}/keys/hospital.json --share {here}/share-hospital.json"
        f" --purpose TREAT --gatekeeper http://127.0.0.1:{port} --custodian {archive}",
    ]
    world.console.print("\n".join(lines), soft_wrap=True, highlight=False)
    signal.pause()


if __name__ == "__main__":
    main()
