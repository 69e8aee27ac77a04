"""Settings, typed, read once from the environment; a bad value is refused by its name.

| variable | meaning | default |
|---|---|---|
| `LIGGARE_RPC_URL` | the Ethereum node | `http://127.0.0.1:8555` |
| `LIGGARE_CHAIN_ID` | refuse any other chain | (the node's own) |
| `LIGGARE_DEPLOYMENTS` | folder of `<chain id>.json` | `deployments` |
| `LIGGARE_PASSWORD_FILE` | file whose first line opens the key files | (asked for) |
| `LIGGARE_RELAY_URL` | the relayer that `pay` hands payments to | (none: the payer or `--carrier` sends) |
| `LIGGARE_DATABASE_URL` | a service's database; may hold a password | `sqlite:///relay.db` |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlparse

from liggare.errors import SettingsError

__all__ = ["Settings"]


@dataclass(frozen=True)
class Settings:
    """What every command and service needs to know before it starts."""

    rpc_url: str = "http://127.0.0.1:8555"
    chain_id: int | None = None
    deployments: Path = Path("deployments")
    password_file: Path | None = None
    relay_url: str | None = None
    database_url: str = field(default="sqlite:///relay.db", repr=False)

    def __post_init__(self) -> None:
        if urlparse(self.rpc_url).scheme not in ("http", "https"):
            raise SettingsError(f"LIGGARE_RPC_URL must be an http(s) URL, not {self.rpc_url!r}")
        if self.relay_url is not None and urlparse(self.relay_url).scheme not in ("http", "https"):
            raise SettingsError(f"LIGGARE_RELAY_URL must be an http(s) URL, not {self.relay_url!r}")
        if self.chain_id is not None and self.chain_id <= 0:
            raise SettingsError(f"LIGGARE_CHAIN_ID must be positive, not {self.chain_id}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the variables. Raises SettingsError naming the one that is off."""
        chain = environment.get("LIGGARE_CHAIN_ID")
        if chain is not None and not (chain.isascii() and chain.isdigit()):
            raise SettingsError(f"LIGGARE_CHAIN_ID must be a number, not {chain!r}")
        password = environment.get("LIGGARE_PASSWORD_FILE")
        return cls(
            rpc_url=environment.get("LIGGARE_RPC_URL", cls.rpc_url),
            chain_id=int(chain) if chain is not None else None,
            deployments=Path(environment.get("LIGGARE_DEPLOYMENTS", str(cls.deployments))),
            password_file=Path(password) if password else None,
            relay_url=environment.get("LIGGARE_RELAY_URL") or None,
            database_url=environment.get("LIGGARE_DATABASE_URL") or cls.database_url,
        )
