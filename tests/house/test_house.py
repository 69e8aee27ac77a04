"""The house rules that can be checked: lists that would drift, and what must never be in the tree."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import re
import subprocess

import pytest

import liggare
from tests.support import GAS, ROOT


def tracked(*patterns: str) -> list[str]:
    listed = subprocess.run(["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("no git checkout here")
    return listed.stdout.split()


def test_every_name_of_the_gas_book_is_measured_and_every_measured_name_is_in_it():
    sources = [path.read_text() for path in (ROOT / "tests").rglob("test_*.py")]
    measured = {name for text in sources for name in re.findall(r'\bgas\(\s*f?"([\w.]+)"', text)}
    assert measured == set(json.loads(GAS.read_text()))


def modules() -> list[str]:
    found = pkgutil.walk_packages(liggare.__path__, "liggare.")
    return [module.name for module in found if not module.ispkg]


@pytest.mark.parametrize("name", modules())
def test_a_module_says_what_it_is_and_exports_what_it_has(name):
    module = importlib.import_module(name)
    assert module.__doc__, f"{name} has no docstring"
    for exported in getattr(module, "__all__", []):
        item = getattr(module, exported)
        if inspect.isclass(item) or inspect.isfunction(item):
            assert item.__doc__, f"{name}.{exported}"


SHARED = {"liggare.chain", "liggare.ledger", "liggare.relay"}
DOMAINS = {"liggare.payments", "liggare.records", "liggare.energy"}


@pytest.mark.parametrize("name", modules())
def test_shared_parts_import_no_domain_and_domains_not_each_other(name):
    home = ".".join(name.split(".")[:2])
    if home in ("liggare.cli", "liggare.web"):
        return
    tree = ast.parse((ROOT / (name.replace(".", "/") + ".py")).read_text())
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    imported |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    homes = {".".join(module.split(".")[:2]) for module in imported if module.startswith("liggare")}
    forbidden = (DOMAINS - {home}) | {"liggare.cli", "liggare.web"}
    assert not homes & forbidden


def test_the_error_tree_at_the_head_of_errors_is_the_real_one():
    from liggare import errors

    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__))
    real = {name for name, item in vars(errors).items() if isinstance(item, type) and issubclass(item, Exception)}
    assert drawn == real - {"LiggareError"}


def test_every_function_event_error_and_struct_of_the_interfaces_is_documented():
    for path in (ROOT / "interfaces").glob("*.sol"):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines):
            if re.match(r"\s{4}(function|event|error|struct|enum)\s", line):
                above = [text for text in lines[max(0, number - 30) : number] if "solhint-disable" not in text]
                assert above[-1].strip().startswith("///"), f"{path.name}:{number + 1}: {line.strip()}"


def test_the_tree_names_no_machine_and_no_registry():
    bad = re.compile(r'(^|[^A-Za-z0-9_.-])/(work|farm|root)/[A-Za-z.]|"resolved": *"http|--(extra-)?index-url')
    for name in tracked():
        if name.endswith((".json", ".py", ".md", ".sol", ".yaml", ".toml", ".txt", ".mjs", ".js")) or "." not in name:
            text = (ROOT / name).read_text()
            hits = [line for line in text.splitlines() if bad.search(line) and "re.compile" not in line]
            assert not hits, f"{name}: {hits[0][:80]}"


def test_every_test_file_asserts_or_expects_something():
    for path in (ROOT / "tests").rglob("test_*.py"):
        tree = ast.parse(path.read_text())
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                body = ast.unparse(node)
                checks = re.search(
                    r"\bassert\b|\braises\(|\b(refused\w*|\w*refusal|shut)\(|\bgas\(|run_state_machine_as_test|\.check\(",
                    body,
                )
                assert checks, f"{path.name}: {node.name} checks nothing"
