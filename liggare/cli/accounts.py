"""`liggare account`: keys in encrypted files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from liggare import accounts
from liggare.cli.options import Json, Session, tell
from liggare.payments.client import Payments, text

__all__ = ["register"]

account = typer.Typer(help="Accounts in encrypted key files.", no_args_is_help=True)

KeyFile = Annotated[Path, typer.Argument(help="The key file.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands."""
    app.add_typer(account, name="account")


@account.command()
def new(
    context: typer.Context,
    path: Annotated[Path, typer.Argument(help="The key file to write; an existing one is never replaced.")],
    as_json: Json = False,
) -> None:
    """Make a key and write it, encrypted, to a key file."""
    session: Session = context.obj
    made = accounts.create(path, session.password(path, new=True))
    tell({"address": made.address, "path": path}, f"{made.address} in {path}", as_json=as_json)


@account.command("list")
def list_(
    folder: Annotated[Path, typer.Argument(help="The folder to look in; not in those below it.")] = Path(),
    as_json: Json = False,
) -> None:
    """List the key files of a folder with the addresses they tell. Needs no password; `show` opens one."""
    found = accounts.listed(folder)
    lines = [f"{told or 'tells no address; `account show` opens it':42}  {path}" for path, told in found.items()]
    result = {"accounts": [{"address": told, "path": str(path)} for path, told in found.items()]}
    tell(result, "\n".join(lines) or f"no key files in {folder}", as_json=as_json)


@account.command()
def show(context: typer.Context, path: KeyFile, as_json: Json = False) -> None:
    """Open a key file and show its address and its money."""
    session: Session = context.obj
    found = session.account(path)
    payments = Payments(session.w3, session.deployments)
    balance = payments.balance(found.address)
    words = f"{found.address} has {text(balance)} {payments.symbol}"
    tell({"address": found.address, "balance": balance}, words, as_json=as_json)


@account.command()
def export(
    context: typer.Context,
    path: KeyFile,
    out: Annotated[
        Path, typer.Option("--out", help="The file to write, mode 0600; an existing one is never replaced.")
    ],
    raw: Annotated[
        bool, typer.Option("--raw", help="The bare private key: whoever reads the file has the account.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write what a wallet imports: the key file, still encrypted, once it has been seen to open."""
    session: Session = context.obj
    found = accounts.export(path, session.password(path), out, raw=raw)
    words = f"{found.address} in {out}, " + ("UNENCRYPTED: import it, then delete it" if raw else "encrypted as it was")
    tell({"address": found.address, "path": out, "raw": raw}, words, as_json=as_json)
