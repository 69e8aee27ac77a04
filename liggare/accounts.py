"""Accounts in encrypted key files (Web3 Secret Storage, version 3), as every wallet reads them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress

from liggare.errors import InvalidAddress, KeyFileError, KeyFileMalformed, KeyFileMissing, UsageError, WrongPassword
from liggare.messages import address

__all__ = ["create", "export", "listed", "read", "write"]

LARGEST = 65_536
"""A key file has some 500 bytes; what is larger than this many is none and is not read."""


def create(path: Path, password: str, *, iterations: int | None = None) -> LocalAccount:
    """Make a new key, write it to `path` and return the account. An existing file is never replaced."""
    account: LocalAccount = Account.create()
    write(path, account, password, iterations=iterations)
    return account


def write(path: Path, account: LocalAccount, password: str, *, iterations: int | None = None) -> None:
    """Encrypt the account's key into `path` (mode 0600), whole or not at all.

    `iterations` is scrypt's n, a power of two; eth-account's default takes about a second on purpose.
    """
    if not password:
        raise UsageError("a key file needs a password")
    _place(path, json.dumps(Account.encrypt(account.key, password, iterations=iterations)))


def read(path: Path, password: str) -> LocalAccount:
    """Open the key file. Raises KeyFileMissing, KeyFileMalformed or WrongPassword."""
    document = _document(path)
    try:
        key = Account.decrypt(document, password)
    except ValueError as exc:
        if "MAC mismatch" in str(exc):
            raise WrongPassword(f"{path} does not open with this password") from None
        raise KeyFileMalformed(f"{path} is no key file: {exc}") from None
    except (KeyError, TypeError) as exc:
        raise KeyFileMalformed(f"{path} is no key file: {exc!r}") from None
    account: LocalAccount = Account.from_key(key)
    return account


def listed(folder: Path) -> dict[Path, ChecksumAddress | None]:
    """Return the key files of a folder, by name, each with the address that it tells; nothing is opened.

    A key file need not tell its address (then None), and one that does may be wrong: only `read` knows.
    Other files are left out. Raises KeyFileMissing where there is no such folder.
    """
    if not folder.is_dir():
        raise KeyFileMissing(f"no folder at {folder}")
    found: dict[Path, ChecksumAddress | None] = {}
    for path in sorted(each for each in folder.iterdir() if each.is_file()):
        try:
            told = _document(path).get("address")
            found[path] = address("0x" + str(told).removeprefix("0x")) if told else None
        except KeyFileError:
            continue
        except InvalidAddress:
            found[path] = None
    return found


def export(path: Path, password: str, target: Path, *, raw: bool = False) -> LocalAccount:
    """Write what a wallet imports to `target` (mode 0600, never over an existing file); return the account.

    That is the key file byte for byte, once it has been seen to open, or with `raw` the key itself in
    hexadecimal: whoever reads that file has the account's money.
    """
    account = read(path, password)
    _place(target, f"0x{bytes(account.key).hex()}\n" if raw else path.read_text())
    return account


def _document(path: Path) -> dict[str, Any]:
    """Return a key file's JSON, unopened. Raises KeyFileMissing or KeyFileMalformed."""
    try:
        if path.stat().st_size > LARGEST:
            raise KeyFileMalformed(f"{path} is no key file: it is too large for one")
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise KeyFileMissing(f"no key file at {path}") from None
    except (OSError, ValueError, RecursionError) as exc:
        raise KeyFileMalformed(f"{path} is no key file: {exc}") from None
    if not isinstance(document, dict) or document.get("version") != 3:
        raise KeyFileMalformed(f"{path} is no key file of version 3")
    return document


def _place(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all; an existing one is left as it is."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists():
            raise UsageError(f"{path} exists; a key file is never overwritten")
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as exc:
        raise KeyFileError(f"{path} can't be written: {exc.strerror}") from None
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        os.link(partial, path)  # unlike a rename, fails where the file exists
    except FileExistsError:
        raise UsageError(f"{path} exists; a key file is never overwritten") from None
    finally:
        partial.unlink()
