"""`liggare`: the command. Exit code 0 done, 1 failed or something is off, 2 wrong use."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import requests
import typer

from liggare import __version__
from liggare.cli import accounts, custodian, energy, invoices, ledger, options, payments, purchases, records, serve
from liggare.errors import ChainUnreachable, LiggareError

__all__ = ["app", "main"]

app = typer.Typer(
    help="Payments at no cost, records under the patient's key, a neighbourhood's energy market:"
    " on one ledger that anyone can check.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def common(
    context: typer.Context,
    rpc: Annotated[str | None, typer.Option(help="The Ethereum node. [LIGGARE_RPC_URL]")] = None,
    deployments: Annotated[
        Path | None, typer.Option(help="Folder of deployment records. [LIGGARE_DEPLOYMENTS]")
    ] = None,
    chain_id: Annotated[int | None, typer.Option(help="Refuse any other chain. [LIGGARE_CHAIN_ID]")] = None,
    password_file: Annotated[
        Path | None, typer.Option(help="Its first line opens the key files. [LIGGARE_PASSWORD_FILE]")
    ] = None,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Read the options that every command shares."""
    context.obj = options.session(rpc, deployments, chain_id, password_file)


for _domain in (accounts, payments, invoices, purchases, records, custodian, energy, ledger, serve):
    _domain.register(app)


def main() -> None:
    """Run the command; an error is one line on stderr (with --json one object on stdout)."""
    try:
        app(prog_name="liggare")
    except LiggareError as exc:
        _fail(exc)
    except requests.RequestException as exc:
        _fail(ChainUnreachable("its URL any more", type(exc).__name__))


def _fail(error: LiggareError) -> None:
    if "--json" in sys.argv:
        typer.echo(json.dumps({"error": error.name, "message": str(error)}))
    typer.echo(f"liggare: {error}", err=True)
    sys.exit(error.exit_code)
