#!/usr/bin/env python3
"""How fast keepfs is beside others on the same disk in the same run: bench/bench.py --help

Systems take turns row by row, KEEPFS_BENCH_ROUNDS (default 3) times; medians, spreads and ratios are printed. What was
read is compared with what was written. Needs root, because it makes the kernel forget. Sizes: KEEPFS_BENCH_MIB,
KEEPFS_BENCH_FILES, KEEPFS_BENCH_CALLS, KEEPFS_BENCH_APPENDS. KEEPFS_BINARY is the keepfs that is measured.
"""

import argparse
import os
import statistics
import sys

sys.path.insert(1, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "acceptance"))

import rows
import systems
from harness import MIB, Report, number_from_environment, run_script

SIZES = rows.Sizes(
    bytes=number_from_environment("KEEPFS_BENCH_MIB", 256) * MIB,
    files=number_from_environment("KEEPFS_BENCH_FILES", 5_000),
    calls=number_from_environment("KEEPFS_BENCH_CALLS", 4_000),
    appends=number_from_environment("KEEPFS_BENCH_APPENDS", 1_000),
)
ROUNDS = number_from_environment("KEEPFS_BENCH_ROUNDS", 3)


def listed(known):
    """A type of argparse: names of `known`, separated by commas."""

    def parse(text):
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"no such name: {', '.join(unknown)}; there are {', '.join(known)}")
        return names

    return parse


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="SYSTEMS", type=listed(list(systems.KINDS)), help=f"of {','.join(systems.KINDS)}")
    parser.add_argument("--rows", metavar="ROWS", type=listed(rows.NAMES), default=rows.NAMES, help=f"of {','.join(rows.NAMES)}")
    parser.add_argument("--before", metavar="BINARY", help="another keepfs, measured in the same run as `before`")
    return parser.parse_args()


def one_round(bench, kinds, wanted, tag):
    """Gives {row: {system: rate}} and what else the systems told."""
    running = [kind(bench.report, tag) for kind in kinds]
    rates, costs = {}, {}
    for system in running:
        system.done = set()
    for row in rows.closure(wanted):
        for system in running:
            if row.is_cold:
                system.cold()
            system.settle()
            before = system.cpu_seconds()
            rate = row.action(bench, system)
            if row.name == "write":
                system.settle()
            costs.setdefault(system.name, {})[row.name] = system.cpu_seconds() - before
            system.done.add(row.name)
            if row.name in wanted:
                rates.setdefault(row.name, {})[system.name] = rate
            if row.check:
                row.check(bench, system)
            system.settle()
    for system in running:
        system.end()
        costs[system.name].update(memory_idle=system.memory_idle, memory_peak=system.memory_peak)
    return rates, costs


def measure(bench, kinds, wanted, rounds):
    """Gives {row: {system: [rate]}} and {system: {cost: [value]}}."""
    rates, costs = {}, {}
    for number in range(rounds):
        rates_once, costs_once = one_round(bench, kinds, wanted, number)
        for all_of_them, once in ((rates, rates_once), (costs, costs_once)):
            for name, values in once.items():
                for key, value in values.items():
                    all_of_them.setdefault(name, {}).setdefault(key, []).append(value)
        bench.report.say(f"round {number + 1} of {rounds} done")
    return rates, costs


def print_table(rates, names):
    shown = [row for row in rows.ROWS if row.name in rates]
    ratios = [(over, under) for over in ("keepfs",) for under in names if under != over and over in names]
    print(f"\n{'row':34}{'unit':>8}" + "".join(f"{name:>12}{'±':>6}" for name in names) + "".join(f"{'x ' + u:>14}" for _, u in ratios))
    for row in shown:
        median = {name: statistics.median(values) for name, values in rates[row.name].items()}
        line = f"{row.title:34}{row.unit:>8}"
        line += "".join(f"{median[name]:12.0f}{rows.spread(rates[row.name][name]) * 100:5.0f}%" for name in names)
        line += "".join(f"{median[over] / median[under]:14.2f}" for over, under in ratios)
        print(line + verdict(row, median))


def verdict(row, median):
    """The targets that the row misses."""
    missed = [
        f"< {target} x {other}"
        for target, other in zip(row.targets, ("gocryptfs", "ext4"))
        if other in median and "keepfs" in median and median["keepfs"] < target * median[other]
    ]
    return "  misses " + ", ".join(missed) if missed else ""


def print_costs(costs, names):
    for name in names:
        cost = {key: statistics.median(values) for key, values in costs[name].items()}
        if not cost["memory_peak"]:
            continue
        gigabytes = SIZES.bytes / 1e9
        parts = [f"{title} {cost[row] / gigabytes:.2f} CPU s/GB" for row, title in (("write", "write"), ("read", "cold read")) if row in cost]
        parts += [f"memory {cost['memory_idle'] / MIB:.0f} MiB idle, {cost['memory_peak'] / MIB:.0f} MiB at most"]
        print(f"{name}: " + ", ".join(parts))


class Quiet(Report):
    """A report that mentions claims only when they fail."""

    def check(self, holds, claim, detail=""):
        if holds:
            self.passed += 1
            return True
        return super().check(holds, claim, detail)


def main():
    chosen = arguments()

    def body(report):
        report.need(os.geteuid() == 0, "this script drops the kernel's caches, so it runs as root")
        report.need(os.access(systems.WORKER, os.X_OK), f"{systems.WORKER} is there: cargo build --release -p keepfs-sim")
        names = chosen.only or [name for name in systems.KINDS if name != "before" and not systems.missing(name)]
        if chosen.before:
            systems.KeepfsBefore.binary = os.path.realpath(chosen.before)
            names = names if "before" in names else [*names, "before"]
        report.need("before" not in names or chosen.before, "`before` is given by --before BINARY")
        bench = rows.Bench(report, SIZES)
        rates, costs = measure(bench, [systems.KINDS[name] for name in names], chosen.rows, ROUNDS)
        print_table(rates, names)
        print_costs(costs, names)

    run_script("bench", body, Quiet)


if __name__ == "__main__":
    main()
