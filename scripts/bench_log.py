"""Releases written down per second, each on the disk before its caller goes on: `python -m scripts.bench_log`.

On SQLite in a temporary folder, or on a database that `--database` names, which should be empty. One thread, then many
that share transactions. The disk decides; ratios count.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count

from eth_account import Account
from sqlalchemy.engine import make_url

from liggare.messages import Domain
from liggare.records.audit import Release
from liggare.records.log import AccessLog
from liggare.records.messages import Terms
from liggare.records.share import Share

ACCOUNTS = [Account.from_key((number + 1).to_bytes(32, "big")).address for number in range(53)]
CUSTODIAN, READER, CONTRACT, *PATIENTS = ACCOUNTS
DOMAIN = Domain("Liggare Records", "1", 1337, CONTRACT)
TERMS = Terms.of(["Observation"], ["TREAT"], 0, 2**40)


def release(number: int) -> Release:
    """Return a search of one of fifty patients that found five records, on a sign-in of a usual length."""
    patient = PATIENTS[number % len(PATIENTS)]
    return Release(
        CUSTODIAN,
        "https://hospital.example",
        "192.0.2.7",
        READER,
        patient,
        "TREAT",
        "search",
        f"Observation?code={number}",
        tuple(f"Observation/{number}-{each}" for each in range(5)),
        1_796_000_000 + number,
        7,
        "0x" + "77" * 32,
        "m" * 800,
        bytes(65),
        (Share(1337, CONTRACT, patient, READER, bytes(32), TERMS),),
    )


def measure(log: AccessLog, threads: int, seconds: float) -> float:
    """Return how many releases a second so many threads write down."""
    numbers, end = count(), time.monotonic() + seconds

    def work() -> int:
        done = 0
        while time.monotonic() < end:
            log.append([release(next(numbers))])
            done += 1
        return done

    with ThreadPoolExecutor(threads) as pool:
        return sum(each.result() for each in [pool.submit(work) for _ in range(threads)]) / seconds


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", help="such as postgresql://liggare@127.0.0.1/bench; SQLite without it")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--seconds", type=float, default=5.0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        url = arguments.database or f"sqlite:///{folder}/log.db"
        with AccessLog(url, CUSTODIAN, DOMAIN, bytes(32)) as log:
            for threads in arguments.threads:
                rate = measure(log, threads, arguments.seconds)
                print(f"{make_url(url).get_backend_name():<12}{threads:>4} threads{rate:>10,.0f} releases/s")


if __name__ == "__main__":
    main()
