"""What the docs say is so: links lead somewhere, named tests and jobs exist, the Python of the README runs."""

from __future__ import annotations

import re

import pytest

from liggare.energy.refusals import REFUSALS as MARKET_REFUSALS
from liggare.relay.refusals import REFUSALS
from scripts.bootstrap import JOBS
from tests.support import ROOT

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(path):
    for target in re.findall(r"\]\(([^)#]+?)\)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize(("name", "entry"), [("promises", r"^\d+\. .*"), ("attacks", r"^\| (?!attack |---).*")])
def test_every_promise_and_every_attack_names_tests_that_exist(name, entry):
    entries = re.findall(entry, (ROOT / "docs" / f"{name}.md").read_text(), re.MULTILINE)
    assert len(entries) > 15
    for line in entries:
        named = re.findall(r"`([\w/]+\.py)::(\w+)`", line)
        assert named, f"no test named: {line[:60]}"
        for file, test in named:
            assert f"def {test}(" in (ROOT / "tests" / file).read_text(), f"{file}::{test}"


def test_every_make_target_of_the_docs_is_a_job():
    for path in DOCS:
        for target in re.findall(r"`?make (\w[\w-]*)", path.read_text()):
            assert target in {*JOBS, "clean", "calls"} or not re.search(rf"`make {target}", path.read_text()), target


def test_the_readmes_tree_names_what_is_there():
    tree = (ROOT / "README.md").read_text().split("## The tree")[1].split("```")[1]
    for folder in re.findall(r"^(\w+)/", tree, re.MULTILINE):
        assert (ROOT / folder).is_dir(), folder


def test_the_readmes_python_imports_what_there_is():
    code = re.search(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)[1]
    imports = "\n".join(line for line in code.splitlines() if line.startswith(("from", "import")))
    names: dict = {}
    exec(imports, names)
    compile(code, "README.md", "exec")
    assert {"Payments", "Deployments", "Sender", "connect", "amount"} <= set(names)


def test_the_relayers_refusals_are_those_of_its_manual():
    told = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+) \|$", (ROOT / "docs" / "relay.md").read_text(), re.MULTILINE)
    assert told == [(name, str(status), title) for name, (status, title) in REFUSALS.items()]


def test_the_markets_refusals_are_those_of_its_manual():
    told = re.findall(r"^\| `(\w+)` \| (\d+) \| (.+) \|$", (ROOT / "docs" / "market.md").read_text(), re.MULTILINE)
    assert told == [(name, str(status), title) for name, (status, title) in MARKET_REFUSALS.items()]
