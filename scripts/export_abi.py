"""Write `liggare/abi/<Contract>.json` from Brownie's build: `make abi`, or `brownie run export_abi`.

The package speaks web3.py and starts without Brownie; these files are all that it needs of a build.
"""

import hashlib
import json
from pathlib import Path

from brownie import project

FOLDER = Path(__file__).resolve().parent.parent / "liggare" / "abi"


def sources(build: dict) -> str:
    """Return the SHA-256 over the contract's own and its imports' sources, by path."""
    root = FOLDER.parent.parent
    digest = hashlib.sha256()
    for path in sorted(build["allSourcePaths"].values()):
        digest.update(path.encode() + b"\0" + (root / path).read_bytes() + b"\0")
    return digest.hexdigest()


def exports() -> dict[str, str]:
    """Return the files by name, as they should be."""
    loaded = project.get_loaded_projects()[0]
    files = {}
    for name, build in loaded._build.items():
        path = build.get("sourcePath", "")  # interfaces have none
        if build.get("type") != "contract" or not path.startswith("contracts/") or "/testing/" in path:
            continue
        if not build["bytecode"]:  # abstract: a part of another
            continue
        document = {"sourceHash": sources(build), "bytecode": build["bytecode"], "abi": build["abi"]}
        files[f"{name}.json"] = json.dumps(document, indent=1) + "\n"
    return files


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    files = exports()
    for stale in {path.name for path in FOLDER.glob("*.json")} - set(files):
        (FOLDER / stale).unlink()
    for name, text in files.items():
        (FOLDER / name).write_text(text)
    print(f"wrote {len(files)} contracts to liggare/abi")
