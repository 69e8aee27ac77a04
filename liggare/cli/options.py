"""What the commands share: options, the connection, key files, and how results are told."""

from __future__ import annotations

import getpass
import json
import os
import sys
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from eth_account.signers.local import LocalAccount
from web3 import Web3
from web3.types import TxReceipt

from liggare import accounts
from liggare.chain.connection import connect
from liggare.chain.deployments import Deployments
from liggare.chain.sender import Sender
from liggare.energy.messages import NEVER_SELL
from liggare.errors import DataError, InvalidAmount, SettingsError, UsageError
from liggare.settings import Settings

__all__ = [
    "LAST",
    "Carrier",
    "Json",
    "Key",
    "RelayUrl",
    "Session",
    "carried",
    "note",
    "price",
    "private",
    "tell",
    "when",
    "write_private",
]

Key = Annotated[Path, typer.Option("--key", help="Key file of who signs.")]
Carrier = Annotated[
    Path | None,
    typer.Option("--carrier", help="Key file of who carries the message and pays the gas; without it the signer does."),
]
RelayUrl = Annotated[
    str | None, typer.Option("--relay", help="A relayer that carries the message and pays the gas. [LIGGARE_RELAY_URL]")
]
LAST = 253_402_300_799
"""The last second of the year 9999."""

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object, for machines.")]


@dataclass
class Session:
    """One run of a command: its settings and, when first asked for, its connection."""

    settings: Settings

    @cached_property
    def w3(self) -> Web3:
        """The chain. Raises ChainUnreachable or WrongChain."""
        return connect(self.settings.rpc_url, self.settings.chain_id)

    @cached_property
    def deployments(self) -> Deployments:
        """The contracts, checked against the chain. Raises DeploymentMissing or DeploymentMismatch."""
        record = Deployments.load(self.settings.deployments, self.w3.eth.chain_id)
        record.check(self.w3)
        return record

    def account(self, path: Path) -> LocalAccount:
        """Open a key file with the password from the password file, or ask for it."""
        return accounts.read(path, self.password(path))

    def sender(self, signer: LocalAccount, carrier: Path | None) -> Sender:
        """Return who carries: the account of the `carrier` key file, or the signer."""
        return Sender(self.w3, self.account(carrier) if carrier else signer)

    def database(self, given: str | None) -> str:
        """Return a service's database: the URL of the option, else of LIGGARE_DATABASE_URL.

        Refuses a password among the arguments, where every user of the machine reads it.
        """
        if given is not None and urlsplit(given).password is not None:
            words = "a password among the arguments can be read by others: give the URL by LIGGARE_DATABASE_URL"
            raise UsageError(words)
        return self.settings.database_url if given is None else given

    def password(self, path: Path, *, new: bool = False) -> str:
        """Return the password for a key file; for a `new` one a person types it twice."""
        if self.settings.password_file:
            try:
                return self.settings.password_file.read_text().splitlines()[0]
            except (OSError, IndexError):
                raise SettingsError(f"LIGGARE_PASSWORD_FILE {self.settings.password_file} has no first line") from None
        if not sys.stdin.isatty():
            raise UsageError("no terminal to ask for a password; name a file by --password-file")
        password = getpass.getpass(f"Password for {path}: ")
        if new and getpass.getpass("Once more: ") != password:
            raise UsageError("the two passwords differ")
        return password


def session(rpc: str | None, deployments: Path | None, chain_id: int | None, password_file: Path | None) -> Session:
    """Return the session of these options, over what the environment says."""
    given = {"rpc_url": rpc, "deployments": deployments, "chain_id": chain_id, "password_file": password_file}
    changes: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    return Session(replace(Settings.from_environment(), **changes))


def tell(result: dict[str, Any], words: str, *, as_json: bool) -> None:
    """Print the result: as one JSON object, or in words."""
    typer.echo(json.dumps(result, default=_plain) if as_json else words)


def note(words: str) -> None:
    """Say something beside the result, to a person."""
    typer.echo(f"liggare: note: {words}", err=True)


def when(time: int) -> str:
    """Return a point of time in words; one after the year 9999 as no end."""
    if time > LAST:
        return "for ever"
    return datetime.fromtimestamp(time, timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC").replace(":00 UTC", " UTC")


def private() -> None:
    """Let only this process's owner read what it writes from now on."""
    os.umask(0o077)


def write_private(path: Path, text: str) -> None:
    """Write a file whole or not at all, which only its owner may read. Raises DataError."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600, exist_ok=False)
        partial.write_text(text)
        partial.replace(path)
    except OSError as exc:
        raise DataError(f"{path} can't be written: {exc.strerror}") from None


def _plain(value: Any) -> str:
    return "0x" + value.hex() if isinstance(value, bytes) else str(value)


def carried(receipt: TxReceipt) -> dict[str, Any]:
    """Return what a receipt says, for a command's result."""
    return {
        "transaction": receipt["transactionHash"].to_0x_hex(),
        "block": receipt["blockNumber"],
        "gas": receipt["gasUsed"],
        "carrier": receipt["from"],
    }


def price(words: str) -> int:
    """Return a price given in the currency per kWh ("1.25") in thousandths; nothing is rounded."""
    try:
        thousandths = Decimal(words) * 1000
    except InvalidOperation:
        raise InvalidAmount(f"{words!r} is no price, such as 1.25") from None
    if (
        not thousandths.is_finite()
        or thousandths != thousandths.to_integral_value()
        or not 0 < thousandths < NEVER_SELL
    ):
        raise InvalidAmount(f"{words!r} is no price: above 0, three decimals at most, below {NEVER_SELL / 1000}")
    return int(thousandths)
