#!/usr/bin/env python3
"""Shows what `cargo bench -p keepfs-fs` measured: GB/s or calls a second, and each stage's share of the whole write.

A share is a stage's time for one byte of one thread as a part of the time that the whole takes for a byte; stages run beside each
other, so that shares may add up to more than one.
"""

import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.join(HERE, "..", "acceptance"))

from harness import TARGET

ESTIMATES = os.path.join(TARGET, "criterion")
WHOLE = {"noise": "whole write + fsync noise", "text": "whole write + fsync text"}


def estimates(group):
    """Gives {stage: (nanoseconds of a round, what a round is)}."""
    found = {}
    for folder in sorted(os.listdir(os.path.join(ESTIMATES, group))):
        place = os.path.join(ESTIMATES, group, folder, "new")
        if not os.path.isfile(os.path.join(place, "estimates.json")):
            continue
        with open(os.path.join(place, "estimates.json")) as content:
            nanoseconds = json.load(content)["median"]["point_estimate"]
        with open(os.path.join(place, "benchmark.json")) as content:
            about = json.load(content)
        found[about["function_id"]] = (nanoseconds, about["throughput"])
    return found


def lines():
    """The table: stage, rate, share of the whole."""
    stages = estimates("bytes")
    for name, (nanoseconds, throughput) in sorted(stages.items(), key=lambda item: item[1][0]):
        whole = stages.get(WHOLE["text" if "text" in name else "noise"])
        is_part = whole and "read" not in name and "open" not in name and "whole" not in name
        share = f"{nanoseconds / whole[0] * 100:.0f} %" if is_part else ""
        yield name, f"{throughput['Bytes'] / nanoseconds:.2f} GB/s", share
    for name, (nanoseconds, throughput) in sorted(estimates("calls").items()):
        yield name, f"{throughput['Elements'] / nanoseconds * 1e9:,.0f} /s", ""


def markdown():
    """The table as the page shows it."""
    head = ["| stage, one thread | rate | share of the whole write |", "|---|---|---|"]
    return "\n".join(head + [f"| {name} | {rate} | {share} |" for name, rate, share in lines()])


if __name__ == "__main__":
    for name, rate, share in lines():
        print(f"{name:32} {rate:>14} {share:>8}")
