"""The compiled contracts in the package are those of the sources, whichever compiler made them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import solcx
import yaml

from liggare.chain.artifacts import artifact
from scripts.bootstrap import BUNDLE, CHECKS, SOLCX, write_solcjs
from scripts.export_abi import FOLDER, exports
from tests.support import ROOT


def test_the_packages_contracts_are_current():
    fresh = exports()
    assert set(fresh) == {path.name for path in FOLDER.glob("*.json")}, "`make abi` writes them"
    for name, text in fresh.items():
        assert (FOLDER / name).read_text() == text, f"{name} is stale; `make abi` writes it"


METADATA = re.compile(r"a264697066735822.{68}64736f6c6343.{6}0033")
CONFIG = yaml.safe_load((ROOT / "brownie-config.yaml").read_text())["compiler"]["solc"]


def compiled(binary: Path) -> str:
    """The money's creation code by this compiler, through py-solc-x, without its metadata."""
    path = "contracts/payments/ZeroFeePayments.sol"
    document = {
        "language": "Solidity",
        "sources": {path: {"urls": [path]}},
        "settings": {
            "evmVersion": CONFIG["evm_version"],
            "optimizer": CONFIG["optimizer"],
            "remappings": CONFIG["remappings"],
            "outputSelection": {"*": {"*": ["evm.bytecode.object"]}},
        },
    }
    output = solcx.compile_standard(document, solc_binary=binary, allow_paths=str(ROOT))
    return METADATA.sub("", output["contracts"][path]["ZeroFeePayments"]["evm"]["bytecode"]["object"])


def test_npms_compiler_makes_the_packages_bytecode(tmp_path):
    write_solcjs(tmp_path / "solc", CONFIG["version"])
    assert compiled(tmp_path / "solc") == METADATA.sub("", artifact("ZeroFeePayments").bytecode.hex())


def test_the_native_compiler_makes_the_same():
    installed = SOLCX / f"solc-v{CONFIG['version']}"
    if installed.read_bytes()[:4] != b"\x7fELF":
        pytest.skip("the native solc's host can't be reached here: only npm's compiler is installed")
    assert compiled(installed) == METADATA.sub("", artifact("ZeroFeePayments").bytecode.hex())


def test_a_compiler_that_cannot_be_had_is_one_line(tmp_path):
    """Neither the native compiler's host nor npm's package: one line, exit 1, nothing half-written."""
    code = (
        "import scripts.bootstrap as b, pathlib, sys;"
        f"b.ROOT = pathlib.Path({str(tmp_path)!r});"
        f"b.write_solcjs(pathlib.Path({str(tmp_path / 'solc-v0.8.30')!r}), '0.8.30')"
    )
    environment = {"PATH": str(tmp_path), "HOME": os.environ.get("HOME", "/")}
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ran.returncode == 1
    assert "no Solidity compiler" in ran.stderr
    assert not list(tmp_path.iterdir())


def test_the_package_ships_every_file_that_it_reads():
    """What is beside the modules: ABIs, pages' templates, styles, scripts; the checks' sources are bundled into one."""
    package = ROOT / "liggare"
    assert BUNDLE.stat().st_size > 100_000, "`make setup` writes it"
    patterns = re.search(r"^liggare = (\[.*\])$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    shipped = {path for pattern in yaml.safe_load(patterns) for path in package.glob(pattern)}
    others = {path for path in package.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert BUNDLE in shipped
    assert {path for path in others - shipped if CHECKS not in path.parents} == set()
