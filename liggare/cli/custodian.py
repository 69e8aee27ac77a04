"""`liggare custodian …`: the records of a custodian at rest, whose they are, and their end.

These commands open the database and the keyring themselves; a gatekeeper may run on both meanwhile.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liggare.cli.options import Json, Session, note, private, tell
from liggare.errors import DataError, ResourceInvalid, UsageError
from liggare.messages import address
from liggare.records.keyring import Keyring, MasterKey

if TYPE_CHECKING:
    from liggare.records.store import Store

__all__ = ["Database", "KeyringFolder", "Master", "master_of", "register"]

Database = Annotated[
    str | None, typer.Option(help="Where records and log are kept, no password in it. [LIGGARE_DATABASE_URL]")
]
KeyringFolder = Annotated[Path, typer.Option(help="Folder of the keys to the records; never in the database.")]
Master = Annotated[
    Path | None, typer.Option(help="File with the key to the keyring, mode 600. [LIGGARE_MASTER_KEY: the key]")
]

custodian = typer.Typer(
    help="A custodian's records: bring them in, say whose they are, end them.", no_args_is_help=True
)


def register(app: typer.Typer) -> None:
    """Add the group."""
    app.add_typer(custodian, name="custodian")


@custodian.callback()
def at_rest() -> None:
    """Bring records in, say whose they are, end them."""
    private()  # the access log tells who reads whom


def master_of(path: Path | None) -> MasterKey:
    """Return the key to the keyring: of the file, else of LIGGARE_MASTER_KEY. Raises MasterKeyRefused."""
    return MasterKey.from_environment("LIGGARE_MASTER_KEY") if path is None else MasterKey.read(path)


@contextmanager
def opened(session: Session, database: str | None, keyring: Path, master: Path | None) -> Iterator[Store]:
    """Open the store for one command."""
    from liggare.records.store import Store  # here: every other command would start half a second later

    with closing(Store(session.database(database), Keyring(keyring, master_of(master)))) as store:
        yield store


@custodian.command()
def key(
    path: Annotated[Path, typer.Argument(help="The file to write; an existing one is never replaced.")],
    as_json: Json = False,
) -> None:
    """Make the master key of a keyring. Keep a copy apart from the database's backups: without it nothing opens."""
    MasterKey.new(path)
    tell({"path": path}, f"a master key in {path}; who has it and the keyring has the records", as_json=as_json)


@custodian.command("import")
def import_(
    context: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="FHIR R4 resources as JSON, one a file; or folders of them.")],
    database: Database = None,
    keyring: KeyringFolder = Path("keyring"),
    master_key: Master = None,
    as_json: Json = False,
) -> None:
    """Bring FHIR resources in under their own ids. All are checked first: if one is off, none is taken.

    One that is there already, and says the same, is left as it is; one that says something else becomes the next
    version.
    """
    session: Session = context.obj
    resources = [_resource(path) for path in _files(files)]
    kept = same = 0
    shown = typer.progressbar(resources, label="keeping", hidden=as_json or not sys.stderr.isatty(), file=sys.stderr)
    with opened(session, database, keyring, master_key) as store, shown as each_in_turn:
        for resource in each_in_turn:
            if store.holds(resource):
                same += 1
            else:
                store.put(resource)
                kept += 1
    result = {"kept": kept, "same": same}
    tell(result, f"kept {kept} resources" + (f"; {same} were there already" if same else ""), as_json=as_json)


def _files(given: list[Path]) -> list[Path]:
    found = [each for path in given for each in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not found:
        raise UsageError("there is no JSON file to bring in")
    return found


def _resource(path: Path) -> dict[str, object]:
    from liggare.records.fhir import parse

    try:
        return dict(parse(path.read_bytes()))
    except OSError as exc:
        raise DataError(f"{path} can't be read: {exc.strerror}") from None
    except ResourceInvalid as exc:
        raise DataError(f"{path} is no resource that can be kept: {exc}; nothing was brought in") from None


@custodian.command()
def link(
    context: typer.Context,
    pseudonym: Annotated[str, typer.Argument(help="What an organisation knows the patient by.")],
    charts: Annotated[list[str], typer.Argument(help="Charts of this patient, such as Patient/f001.")],
    database: Database = None,
    keyring: KeyringFolder = Path("keyring"),
    master_key: Master = None,
    as_json: Json = False,
) -> None:
    """Say that a pseudonym is the patient of these charts: what it grants is granted of them."""
    session: Session = context.obj
    with opened(session, database, keyring, master_key) as store:
        store.link(address(pseudonym), *charts)
        found = sorted(store.charts(address(pseudonym)))
        for chart in charts:
            kind, _, identity = chart.partition("/")
            if store.get(chart, kind, identity) is None:
                note(f"there is no {chart} here yet; is that the chart? `liggare custodian unlink` takes it back")
    tell({"pseudonym": address(pseudonym), "charts": found}, f"{pseudonym}: {', '.join(found)}", as_json=as_json)


@custodian.command()
def unlink(
    context: typer.Context,
    pseudonym: Annotated[str, typer.Argument(help="What an organisation knows the patient by.")],
    charts: Annotated[list[str], typer.Argument(help="Charts that are not this patient's.")],
    database: Database = None,
    keyring: KeyringFolder = Path("keyring"),
    master_key: Master = None,
    as_json: Json = False,
) -> None:
    """Take back that a pseudonym is the patient of these charts."""
    session: Session = context.obj
    with opened(session, database, keyring, master_key) as store:
        store.unlink(address(pseudonym), *charts)
        found = sorted(store.charts(address(pseudonym)))
    told = ", ".join(found) or "no chart any more"
    tell({"pseudonym": address(pseudonym), "charts": found}, f"{pseudonym}: {told}", as_json=as_json)


@custodian.command("charts")
def charts_of(
    context: typer.Context,
    pseudonym: Annotated[str, typer.Argument(help="What an organisation knows the patient by.")],
    database: Database = None,
    keyring: KeyringFolder = Path("keyring"),
    master_key: Master = None,
    as_json: Json = False,
) -> None:
    """Tell which charts a pseudonym is the patient of."""
    session: Session = context.obj
    with opened(session, database, keyring, master_key) as store:
        found = sorted(store.charts(address(pseudonym)))
    told = ", ".join(found) or "no chart"
    tell({"pseudonym": address(pseudonym), "charts": found}, f"{pseudonym}: {told}", as_json=as_json)


@custodian.command()
def rotate(
    context: typer.Context,
    chart: Annotated[str, typer.Argument(help="The chart, such as Patient/f001.")],
    categories: Annotated[list[str] | None, typer.Argument(help="FHIR types; without them all of the chart.")] = None,
    database: Database = None,
    keyring: KeyringFolder = Path("keyring"),
    master_key: Master = None,
    as_json: Json = False,
) -> None:
    """Seal a chart's records with new keys and destroy the old ones. A gatekeeper does it by itself at each revoke."""
    session: Session = context.obj
    with opened(session, database, keyring, master_key) as store:
        done = store.rotate_all(chart, categories)
    tell({"chart": chart, "types": done}, f"new keys for {len(done)} types of {chart}", as_json=as_json)


@custodian.command()
def erase(
    context: typer.Context,
    chart: Annotated[str, typer.Argument(help="The chart, such as Patient/f001.")],
    confirm: Annotated[str, typer.Option("--yes", help="The chart once more: what is erased never comes back.")],
    database: Database = None,
    keyring: KeyringFolder = Path("keyring"),
    master_key: Master = None,
    as_json: Json = False,
) -> None:
    """Destroy a chart's keys, and with them its records, here and in every backup of the database."""
    session: Session = context.obj
    if confirm != chart:
        raise UsageError(f"--yes {confirm} is not the chart to erase, {chart}: nothing was erased")
    with opened(session, database, keyring, master_key) as store:
        had = store.keyring.open(chart) is not None
        store.erase(chart)
    words = f"erased: no key to {chart} is left" if had else f"there was no key to {chart}"
    tell({"chart": chart, "had": had}, words, as_json=as_json)


@custodian.command("export-log")
def export_log(
    context: typer.Context,
    custodian_address: Annotated[str, typer.Argument(metavar="CUSTODIAN", help="The custodian's address.")],
    path: Annotated[Path, typer.Argument(help="The file to write, for `liggare verify --log CUSTODIAN=FILE`.")],
    database: Database = None,
    master_key: Master = None,
    as_json: Json = False,
) -> None:
    """Write the access log to a file, one entry a line. It tells who reads whom: for an auditor, not for the public."""
    from liggare.records.client import Records
    from liggare.records.log import AccessLog

    session: Session = context.obj
    url, secret = session.database(database), master_of(master_key).key
    domain = Records(session.w3, session.deployments).domain
    with AccessLog(url, address(custodian_address), domain, secret) as log:
        try:
            count = log.export(path)
        except OSError as exc:
            raise DataError(f"{path} can't be written: {exc.strerror}") from None
    tell({"entries": count, "path": path}, f"wrote {count:,} entries to {path}", as_json=as_json)
