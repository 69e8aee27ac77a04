"""Starts services quickly: everything is imported once, each start is a fork of it that runs the real command.

Reads `{"words": […], "environment": {…}, "log": "path"}` by line, answers with the new process' number.
"""

from __future__ import annotations

import json
import os
import signal
import sys

import uvicorn  # noqa: F401  imported for those who are forked

import liggare.web.relay  # noqa: F401
from liggare.cli.main import main


def become(order) -> None:
    """Run the command in this process, as if it had been started by a shell."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.environ.update(order["environment"])
    sys.argv = ["liggare", *order["words"]]
    try:
        main()
    except SystemExit as exc:
        sys.stdout.flush()
        os._exit(exc.code if isinstance(exc.code, int) else 1)
    os._exit(0)


def serve() -> None:
    """Fork for each order."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the dead leave at once
    for line in sys.stdin:
        order = json.loads(line)
        child = os.fork()
        if child == 0:
            become(order)
        print(child, flush=True)


if __name__ == "__main__":
    serve()
