#!/usr/bin/env python3
"""Bytes by chance at every decoder, for as long as is wished: sudo is not needed.

    acceptance/fuzz.py             every door of keepfs-sim
    acceptance/fuzz.py header slot these

KEEPFS_SECONDS (default 10) at each. Inputs are those of fuzz/corpus, changed by chance that follows from the seed; the seed
differs from run to run and is printed. A decoder that breaks a promise (a panic, or bytes that decode and do not encode back)
fails the run with its input. Executions of all runs are added up in the figures; it is run by hand.
"""

import json
import os
import re
import subprocess
import sys
import time

from harness import FIGURES, ROOT, number_from_environment

FIGURE = os.path.join(FIGURES, "fuzz.json")
COMMAND = ["cargo", "test", "--release", "--quiet", "-p", "keepfs-sim", "--test", "corpus", "every_door", "--", "--nocapture"]
LINE = re.compile(r"^(\w+): \d+ inputs, \d+ accepted; (\d+) by chance of seed \d+, (\d+) accepted$", re.MULTILINE)


def before():
    try:
        with open(FIGURE) as content:
            return json.load(content)
    except (OSError, ValueError):
        return {}


def record(found):
    """Adds what a run did to what was done before."""
    os.makedirs(FIGURES, exist_ok=True)
    counts = before()
    for door, executions, accepted in found:
        known = counts.setdefault(door, {"executions": 0, "accepted": 0})
        known["executions"] += int(executions)
        known["accepted"] += int(accepted)
    with open(FIGURE, "w") as out:
        json.dump(counts, out, indent=1)


def main():
    seed = str(int(time.time()))
    for door in sys.argv[1:] or [None]:
        settings = {"KEEPFS_SEED": seed, "KEEPFS_SECONDS": str(number_from_environment("KEEPFS_SECONDS", 10))}
        if door:
            settings["KEEPFS_DOOR"] = door
        result = subprocess.run(COMMAND, cwd=ROOT, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
        found = LINE.findall(result.stdout)
        for name, executions, accepted in found:
            print(f"{name}: {int(executions):,} executions, {int(accepted):,} accepted, seed {seed}")
        if result.returncode != 0:
            print(result.stdout[-4000:], result.stderr[-4000:], sep="\n")
            return 1
        record(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
