"""What the docs say is so: links lead somewhere, named tests and jobs exist, the Python of the README runs."""

from __future__ import annotations

import re
import shlex

import pytest
from typer.main import get_command

from liggare.cli.main import app
from liggare.records.states import Refusal
from liggare.relay.refusals import REFUSALS
from scripts.bootstrap import JOBS
from tests.support import ROOT

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", DOCS, ids=lambda path: path.name)
def test_every_link_leads_to_a_file(path):
    for target in re.findall(r"\]\(([^)#]+?)\)", path.read_text()):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("promises", r"^\d+\. .*"),
        ("attacks", r"^\| (?!attack |---).*"),
        ("consent", r"^\| (?!use case |---).*"),
    ],
)
def test_every_promise_attack_and_use_case_names_tests_that_exist(name, entry):
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


def test_the_gatekeepers_manual_names_every_refusal_and_no_other():
    """The ledger's by the enum, those of desk, sign-in and routes as the sources raise them, errors by class."""
    text = (ROOT / "docs" / "gatekeeper.md").read_text().split("## Refusals")[1].split("## What can")[0]
    told = set(re.findall(r"`([A-Z]\w+)`", text))
    raised = {"WrongDomain", "WrongUri", "WrongChain", "WrongCustodian"}  # by one loop
    for path in [*(ROOT / "liggare" / "records").glob("*.py"), *(ROOT / "liggare" / "web").glob("*.py")]:
        if path.name != "relay.py":
            raised |= set(re.findall(r'(?:SignInRefused\(|AccessRefused\(|\bRefused\(\d+, )"(\w+)"', path.read_text()))
    of_the_ledger = {refusal.solidity for refusal in Refusal if refusal is not Refusal.NOTHING}
    classes = {"SessionEnded", "RecordUnavailable", "VersionConflict", "ResourceInvalid", "LedgerUnavailable"}
    classes |= {"StoreUnavailable", "SessionsUnavailable", "LogUnavailable", "SearchInvalid", "TooLarge"}
    assert told == raised | of_the_ledger | classes


def command_line(line):
    """Return the command that a line types, and the options in it. Fails where there is no such command."""
    found, words, options = get_command(app), shlex.split(line)[1:], []
    while words:
        word = words.pop(0)
        if word == "…":
            break
        if word.startswith("--"):
            options.append((found, word.partition("=")[0]))
        elif word in getattr(found, "commands", {}):
            found = found.commands[word]
        elif getattr(found, "commands", None) and not (options and options[-1][0] is found):
            pytest.fail(f"there is no command {word!r} in {line!r}")
    return found, options


@pytest.mark.parametrize("name", ["records"])
def test_every_command_and_option_of_a_manual_exists(name):
    text = (ROOT / "docs" / f"{name}.md").read_text()
    blocks = re.findall(r"^```\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    typed = [line for block in blocks for line in block.splitlines()] + re.findall(r"`(liggare [^`]+)`", text)
    lines = [line for line in typed if line.startswith("liggare ")]
    assert len(lines) > 30
    for line in lines:
        found, options = command_line(line)
        for where, option in options:
            known = {word for parameter in where.params for word in parameter.opts}
            assert option in known, f"{option} in {line!r}"
        given = {option for where, option in options if where is found}
        if "…" not in line and line.count(" ") > 4:  # a whole line, not a mention
            wanted = {parameter.opts[0] for parameter in found.params if parameter.required and parameter.opts}
            missing = {word for word in wanted if word.startswith("--")} - given
            assert not missing, f"{missing} in {line!r}"


def test_every_command_of_the_records_is_in_their_manual():
    text = (ROOT / "docs" / "records.md").read_text()
    top = get_command(app).commands

    def leaves(found, path):
        if not hasattr(found, "commands"):
            return [path]
        return [leaf for name, each in found.commands.items() for leaf in leaves(each, f"{path} {name}")]

    for path in [*leaves(top["records"], "records"), *leaves(top["custodian"], "custodian")]:
        assert f"liggare {path}" in text, path


def test_the_refusals_that_the_records_manual_names_are_the_contracts_and_the_desks():
    text = (ROOT / "docs" / "records.md").read_text()
    table = text.split("| name | means |")[1].split("\n\n")[0]
    named = re.findall(
        r"`(\w+)`", " ".join(line.split("|")[1] for line in table.splitlines() if line.startswith("| `"))
    )
    code = "".join(path.read_text() for path in (ROOT / "liggare" / "records").glob("*.py"))
    known = {refusal.solidity for refusal in Refusal} | set(re.findall(r'"([A-Z]\w+)"', code)) | {"RecordUnavailable"}
    assert len(named) > 12
    assert set(named) <= known
