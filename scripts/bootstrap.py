#!/usr/bin/env python3
"""Set this checkout up, then run one job: `python3 scripts/bootstrap.py JOB [arguments]`.

Standard library only, so it runs on a bare machine (Python 3.10-3.13, Node 18+).
Everything lands inside the checkout (.venv, node_modules, .toolchain); a second run
skips what has not changed and then needs no network. JOBS below lists the jobs;
any other word is run as a command of the environment.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PYTHON = BIN / "python"
TOOLS = ROOT / ".toolchain"
SOLCX = TOOLS / "solcx"
ANVIL = "@foundry-rs/anvil@1.7.1"
SCHEMATHESIS = "schemathesis==4.32.5"
"""Wants a newer Hypothesis than Brownie's, so it has an environment of its own."""
ANVIL_BIN = TOOLS / "anvil" / "node_modules" / ".bin"
NODE_BIN = ROOT / "node_modules" / ".bin"
CHECKS = ROOT / "liggare" / "web" / "checks"
BUNDLE = ROOT / "liggare" / "web" / "static" / "check.js"
PATHS = os.pathsep.join(map(str, [BIN, NODE_BIN, ANVIL_BIN]))

SOLIDITY = ["contracts/**/*.sol", "interfaces/**/*.sol"]
BROWSER = ["liggare/web/checks/*.js", "liggare/web/static/*.css"]
LINT = [
    ["ruff", "check", "."],
    ["ruff", "format", "--check", "."],
    ["mypy"],
    ["solhint", "--max-warnings", "0", "--noPoster", *SOLIDITY],
    ["prettier", "--log-level", "warn", "--check", *SOLIDITY, *BROWSER],
]
FORMAT = [
    ["ruff", "check", "--fix", "."],
    ["ruff", "format", "."],
    ["prettier", "--log-level", "warn", "--write", *SOLIDITY, *BROWSER],
]
# apart and first: two workers beside a process that has just compiled would disagree with it on what was built
COMPILE = ["brownie", "compile"]
WORKERS = ["-n", "2", "--dist", "loadfile"]
JOBS = {
    "setup": [],
    "demo": [["python", "-m", "scripts.demo"]],
    "test": [*LINT, COMPILE, ["pytest", *WORKERS]],
    "test-anvil": [COMPILE, ["pytest", "--network", "anvil", *WORKERS]],
    "lint": LINT,
    "format": FORMAT,
    "gas": [["pytest", "--write-gas", "-m", "gas"]],
    # whole: Brownie does not see that an imported file of free functions changed
    "abi": [["brownie", "compile", "--all"], ["brownie", "run", "export_abi"]],
    "coverage": [["pytest", "--network", "anvil", "--coverage"]],
}


def fail(reason: str) -> None:
    """End with one line for the reader and exit code 1."""
    sys.exit(f"bootstrap: {reason}")


def run(*cmd, **kwargs) -> None:
    """Run a set-up step, naming it first; raise CalledProcessError if it fails."""
    print("+", *(str(word).replace(f"{ROOT}/", "") for word in cmd), file=sys.stderr, flush=True)
    subprocess.run(list(map(str, cmd)), check=True, **{"cwd": ROOT, **kwargs})


def changed(name: str, *inputs: str):
    """Tell whether an input file changed since the last `done()`; return that recorder as well."""
    digest = hashlib.sha256(b"".join((ROOT / i).read_bytes() for i in inputs)).hexdigest()
    stamp = TOOLS / f"{name}.stamp"
    stale = not stamp.exists() or stamp.read_text() != digest

    def done() -> None:
        TOOLS.mkdir(exist_ok=True)
        stamp.write_text(digest)

    return stale, done


def python_packages() -> None:
    """Make .venv hold requirements.txt and this package, with Brownie run from its sources."""
    stale, done = changed("python", "requirements.txt", "pyproject.toml", "scripts/bootstrap.py")
    if not stale and PYTHON.exists():
        return
    venv.create(VENV, with_pip=True, clear=VENV.exists())
    pip = [PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    try:  # uv installs this set about four times faster than pip; pip is the fallback
        run(*pip, "uv")
        uv = [PYTHON, "-m", "uv", "pip", "install", "-q", "--system-certs", "--python", PYTHON]
        run(*uv, "-r", "requirements.txt")
    except subprocess.CalledProcessError:
        print("bootstrap: uv can't; pip takes a minute or two longer", file=sys.stderr)
        run(*pip, "-r", "requirements.txt")
    # Brownie's mypyc-compiled wheel raises TypeError for `networks.default` and for `--coverage`;
    # the same release installed from source and left interpreted does neither.
    brownie = next(
        line.split()[0]
        for line in (ROOT / "requirements.txt").read_text().splitlines()
        if line.startswith("eth-brownie==")
    )
    source = ["--no-deps", "--no-build-isolation", "--no-binary", "eth-brownie", "--force-reinstall"]
    run(*pip, *source, brownie, env={**os.environ, "BROWNIE_NOCOMPILE": "1"})
    run(*pip, "--no-deps", "--no-build-isolation", "--editable", ".")
    site = next(VENV.glob("lib/python*/site-packages"))
    # Every command of this environment (brownie, pytest, python) finds our solc and node tools.
    (site / "checkout.pth").write_text(
        f"{ROOT}\n"
        f"import os; os.environ.setdefault('SOLCX_BINARY_PATH', {str(SOLCX)!r}); "
        f"os.environ['PATH'] = {PATHS!r} + os.pathsep + os.environ.get('PATH', '')\n"
    )
    done()


def node_packages() -> None:
    """Make node_modules hold package-lock.json."""
    stale, done = changed("node", "package-lock.json")
    if not stale and NODE_BIN.exists():
        return
    if shutil.which("npm") is None:
        fail("npm is not on the PATH; install Node 18 or newer")
    flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
    run("npm", "ci", *flags, stdout=sys.stderr)
    done()


def checks_bundle() -> None:
    """Bundle what the explorer's visitors run, and the libraries within it, into one file that ships."""
    sources = sorted(str(path.relative_to(ROOT)) for path in CHECKS.glob("*.js"))
    stale, done = changed("checks", "package-lock.json", *sources)
    if not stale and BUNDLE.exists():
        return
    flags = ["--bundle", "--minify", "--format=iife", "--target=es2022", "--log-level=warning"]
    run("esbuild", CHECKS / "main.js", *flags, f"--outfile={BUNDLE}")
    done()


def anvil(*, needed: bool) -> None:
    """Fetch the second EVM; outside the lock file because its binaries exist for some platforms only."""
    if (ANVIL_BIN / "anvil").exists():
        return
    home = TOOLS / "anvil"
    home.mkdir(parents=True, exist_ok=True)
    (home / "package.json").write_text("{}\n")  # a root of its own; `--prefix` would hide npm's global settings
    try:
        flags = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        run("npm", "install", *flags, ANVIL, cwd=home, stdout=sys.stderr)
    except subprocess.CalledProcessError:
        if needed:
            raise
        print("bootstrap: Anvil can't be had here; what needs it will be skipped", file=sys.stderr)


def schemathesis() -> None:
    """Fetch what tests the services by their OpenAPI documents."""
    home = TOOLS / "schemathesis"
    if (home / "bin" / "schemathesis").exists():
        return
    try:
        venv.create(home, with_pip=False, clear=True)
        uv = [PYTHON, "-m", "uv", "pip", "install", "-q", "--system-certs"]
        run(*uv, "--python", home / "bin" / "python", SCHEMATHESIS)
    except subprocess.CalledProcessError:
        shutil.rmtree(home, ignore_errors=True)
        print("bootstrap: schemathesis can't be had here; what needs it will be skipped", file=sys.stderr)


def solidity_compiler() -> None:
    """Provide solc to py-solc-x: native where its host answers, else npm's solc behind a wrapper.

    `SOLC=npm` in the environment takes the wrapper without asking the host.
    """
    lines = (ROOT / "brownie-config.yaml").read_text().splitlines()
    version = next(line.split(":")[1].strip() for line in lines if line.strip().startswith("version:"))
    target = SOLCX / f"solc-v{version}"
    if target.exists():
        return
    SOLCX.mkdir(parents=True, exist_ok=True)
    if os.environ.get("SOLC") != "npm":
        try:
            socket.create_connection(("binaries.soliditylang.org", 443), timeout=5).close()
            run(PYTHON, "-c", f"import solcx; solcx.install_solc({version!r})", timeout=300)
            return
        except (OSError, subprocess.SubprocessError):
            target.unlink(missing_ok=True)
            print("bootstrap: the native solc can't be had here; using npm's", file=sys.stderr)
    write_solcjs(target, version)


def write_solcjs(target: Path, version: str) -> None:
    """Write an executable that answers like `solc` and compiles with npm's `solc` package."""
    try:
        script = "console.log(require('solc').version())"
        banner = subprocess.check_output(["node", "-e", script], cwd=ROOT, text=True).strip()
    except (OSError, subprocess.CalledProcessError):
        fail(f"no Solidity compiler: neither the native solc {version} nor npm's can be had")
    if not banner.startswith(f"{version}+"):
        fail(f"brownie-config.yaml wants solc {version}, package-lock.json has {banner}")
    partial = target.with_suffix(".partial")
    partial.write_text(
        "#!/usr/bin/env node\n"
        # py-solc-x asks for the version many times: answer without loading 9 MB of wasm
        "if (process.argv.includes('--version'))\n"
        f"  console.log('solc, the solidity compiler\\nVersion: {banner}');\n"
        f"else require({str(ROOT / 'scripts' / 'solcjs.js')!r});\n"
    )
    partial.chmod(0o755)
    partial.rename(target)


def main() -> None:
    job, *rest = sys.argv[1:] or ["demo"]
    if job in ("-h", "--help"):
        sys.exit(f"{__doc__}\nJobs: {', '.join(JOBS)}")
    os.environ["PATH"] = PATHS + os.pathsep + os.environ.get("PATH", "")
    try:
        python_packages()
        node_packages()
        checks_bundle()
        solidity_compiler()
        commands = JOBS.get(job, [[job]])
        schemathesis()
        anvil(needed="anvil" in [*rest, *(word for command in commands for word in command)])
    except subprocess.CalledProcessError as exc:
        fail(f"set-up stopped at `{' '.join(map(str, exc.cmd))}` (exit {exc.returncode})")
    for number, command in enumerate(commands):
        exe = BIN / command[0]
        last = number == len(commands) - 1
        words = [str(exe) if exe.exists() else command[0], *command[1:], *(rest if last else [])]
        try:
            code = subprocess.call(words, cwd=ROOT)
        except FileNotFoundError:
            fail(f"no job and no command is named {job!r}; jobs: {', '.join(JOBS)}")
        except KeyboardInterrupt:
            code = 130
        if code:
            sys.exit(code)


if __name__ == "__main__":
    main()
