"""Accounts in encrypted key files (Web3 Secret Storage, version 3), as every wallet reads them."""

from __future__ import annotations

import json
import os
from pathlib import Path

from eth_account import Account
from eth_account.signers.local import LocalAccount

from liggare.errors import KeyFileMalformed, KeyFileMissing, UsageError, WrongPassword

__all__ = ["create", "read", "write"]


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
    document = Account.encrypt(account.key, password, iterations=iterations)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            json.dump(document, file)
        os.link(partial, path)  # unlike a rename, fails where the file exists
    except FileExistsError:
        raise UsageError(f"{path} exists; a key file is never overwritten") from None
    finally:
        partial.unlink()


def read(path: Path, password: str) -> LocalAccount:
    """Open the key file. Raises KeyFileMissing, KeyFileMalformed or WrongPassword."""
    try:
        document = json.loads(path.read_text())
    except FileNotFoundError:
        raise KeyFileMissing(f"no key file at {path}") from None
    except (OSError, ValueError) as exc:
        raise KeyFileMalformed(f"{path} is no key file: {exc}") from None
    if not isinstance(document, dict) or document.get("version") != 3:
        raise KeyFileMalformed(f"{path} is no key file of version 3")
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
