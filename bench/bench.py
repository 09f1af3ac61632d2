#!/usr/bin/env python3
"""How fast keepfs is beside others, on the same disk in the same run.

Systems take turns row by row, KEEPFS_BENCH_ROUNDS (default 3) times; medians, spreads and ratios are printed. All that was
read is compared with what was written. Needs root, because it makes the kernel forget what it has cached; bench/run.sh
installs and builds what is needed first. Sizes: KEEPFS_BENCH_MIB (256), KEEPFS_BENCH_FILES (5000), KEEPFS_BENCH_CALLS (4000),
KEEPFS_BENCH_APPENDS (1000). rclone and cryfs are slow: they are measured once, beside keepfs, with an eighth of that.
KEEPFS_BINARY is the keepfs that is measured. Figures go to target/bench/bench.json.
"""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.join(HERE, "..", "acceptance"))

import backup
import report as show
import rows
import systems
from harness import BINARY, MIB, ROOT, TARGET, Report, number_from_environment, run_script

SIZES = rows.Sizes(
    bytes=number_from_environment("KEEPFS_BENCH_MIB", 256) * MIB,
    files=number_from_environment("KEEPFS_BENCH_FILES", 5_000),
    calls=number_from_environment("KEEPFS_BENCH_CALLS", 4_000),
    appends=number_from_environment("KEEPFS_BENCH_APPENDS", 1_000),
)
ROUNDS = number_from_environment("KEEPFS_BENCH_ROUNDS", 3)
SMOKE_SIZES = rows.Sizes(bytes=8 * MIB, files=300, calls=200, appends=50)
PEER_SHARE = 8
RESULT = os.path.join(TARGET, "bench", "bench.json")
SCALE = os.path.join(TARGET, "bench", "scale.json")
TEMPLATE = os.path.join(HERE, "performance.template.md")
PAGE = os.path.join(ROOT, "docs", "performance.md")
PICTURE = os.path.join(ROOT, "docs", "performance.svg")
# What is measured when nothing else is asked for.
SYSTEMS = ["ext4", "keepfs", "gocryptfs", "ceiling", "rclone", "cryfs"]
ROWS = [*rows.NAMES, "backup"]


def listed(known):
    """A type of argparse: names of `known`, separated by commas."""

    def parse(text):
        names = text.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}, but {','.join(known)}")
        return names

    return parse


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", metavar="SYSTEMS", type=listed(SYSTEMS), help=f"of {','.join(SYSTEMS)}")
    parser.add_argument("--rows", metavar="ROWS", type=listed(ROWS), default=ROWS, help=f"of {','.join(ROWS)}")
    parser.add_argument("--before", metavar="BINARY", help="another keepfs, measured in the same run as `before`")
    parser.add_argument("--document", action="store_true", help="write docs/performance.md and .svg from what was measured, here, by scale.py and by cargo bench")
    parser.add_argument("--smoke", action="store_true", help="one round of ext4 and keepfs with tiny sizes: is everything read as written?")
    parser.add_argument("--from", dest="kept", metavar="JSON", help="show what an earlier run kept, and measure nothing")
    return parser.parse_args()


def rate_until_stored(bench, system, row, rate):
    """Waits until what was written at this rate is on the store; gives the rate with that wait."""
    length = (bench.text_bytes if row.name == "text" else bench.sizes.bytes) / MIB
    started = time.monotonic()
    system.publish()
    seconds = time.monotonic() - started
    system.resume()
    return length / (length / rate + seconds)


def one_round(bench, kinds, wanted, tag):
    """Gives {row: {system: rate}} and {system: {what: cost}}."""
    running = [kind(bench.report, tag) for kind in kinds]
    rates, costs = {}, {system.name: {} for system in running}
    for system in running:
        system.done = set()
    for row in rows.closure(wanted):
        for system in running:
            if row.is_cold:
                system.cold()
            system.settle()
            before = system.cpu_seconds()
            rate = row.action(bench, system)
            if row.name in rows.STORED:
                # What a system puts off is part of what writing costs.
                stored = rate_until_stored(bench, system, row, rate)
                if row.name in wanted and bench.name == "peers":
                    rates.setdefault(rows.STORED[row.name].name, {})[system.name] = stored
            costs[system.name][row.name] = system.cpu_seconds() - before
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


def measure(bench, names, wanted, rounds):
    """Gives {row: {system: [rate]}} and {system: {what: [cost]}}."""
    kinds = [systems.KINDS[name] for name in names]
    rates, costs = {}, {}
    for number in range(rounds):
        tag = f"{bench.name}-{number}"
        rates_once, costs_once = one_round(bench, kinds, wanted, tag)
        for all_of_them, once in ((rates, rates_once), (costs, costs_once)):
            for name, values in once.items():
                for key, value in values.items():
                    all_of_them.setdefault(name, {}).setdefault(key, []).append(value)
        bench.report.say(f"{', '.join(names)}: round {number + 1} of {rounds} done")
    return rates, costs


def output(*command):
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return (result.stdout or result.stderr).strip()


def machine(scratch):
    with open("/proc/cpuinfo") as cpuinfo:
        models = [line.split(":", 1)[1].strip() for line in cpuinfo if line.startswith("model name")]
    versions = {"keepfs": output(BINARY, "--version").split()[-1]}
    for name, question in (("gocryptfs", "-version"), ("rclone", "version"), ("cryfs", "--version"), ("restic", "version"), ("borg", "--version")):
        if not systems.missing_program(name):
            words = output(name, question).replace(";", " ").split()
            versions[name] = next(word.lstrip("v") for word in words if any(letter.isdigit() for letter in word))
    return {
        "processors": os.cpu_count(),
        "processor": models[0] if models else "processor",
        "kernel": ".".join(os.uname().release.split(".")[:2]),
        "disk": output("findmnt", "-no", "FSTYPE", "-T", scratch),
        "versions": versions,
    }


def sizes_of(bench):
    more = {"text_bytes": bench.text_bytes, "tree_files": bench.files, "tree_bytes": bench.source_bytes}
    return {**dataclasses.asdict(bench.sizes), **more}


def print_table(report, rates, names, wanted):
    table = show.text_table(rates, names)
    print("\n" + table, flush=True)
    measured = [values for row in rates.values() for values in row.values()]
    is_whole = len(measured) == len(rates) * len(names) and len(rates) >= len(wanted) and all(rate > 0 for rates in measured for rate in rates)
    report.check(is_whole and table.count("\n") == len(rates), "every row of every system is in the table", table)


def measure_all(report, chosen):
    wanted = [name for name in chosen.rows if name != "backup"]
    sizes, rounds = (SMOKE_SIZES, 1) if chosen.smoke else (SIZES, ROUNDS)
    names = [name for name in chosen.only or SYSTEMS if not systems.missing(name)]
    names = ["ext4", "keepfs"] if chosen.smoke else names
    fast = [name for name in names if name not in systems.SLOW]
    slow = [name for name in names if name in systems.SLOW]
    if chosen.before:
        systems.KeepfsBefore.binary = os.path.realpath(chosen.before)
        fast.append("before")
    bench = rows.Bench(report, sizes, "main")
    result = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "rounds": rounds, "machine": machine(report.scratch)}
    result.update(sizes=sizes_of(bench), systems=fast, rates={}, costs={}, peers={}, peer_systems=[], backup={})
    if wanted and fast:
        result["rates"], result["costs"] = measure(bench, fast, wanted, rounds)
        print_table(report, result["rates"], fast, wanted)
    if wanted and slow:
        small = rows.Sizes(**{name: value // PEER_SHARE for name, value in dataclasses.asdict(sizes).items()})
        result["peer_systems"] = ["keepfs", *slow]
        result["peers"], _ = measure(rows.Bench(report, small, "peers"), result["peer_systems"], wanted, 1)
        print_table(report, result["peers"], result["peer_systems"], wanted)
    if "backup" in chosen.rows:
        result["backup"] = backup.measure(bench, rounds, [backup.Copied] if chosen.smoke else backup.KINDS)
    print(show.text_rest(result), flush=True)
    return result


class Quiet(Report):
    """A report that mentions claims only when they fail."""

    def check(self, holds, claim, detail=""):
        if holds:
            self.passed += 1
            return True
        return super().check(holds, claim, detail)


def write_page(result):
    with open(TEMPLATE) as template, open(SCALE) as scale:
        text = show.page(template.read(), result, json.load(scale))
    for path, content in ((PAGE, text), (PICTURE, show.picture(result))):
        with open(path, "w") as out:
            out.write(content)


def body_of(chosen):
    def body(report):
        report.need(os.geteuid() == 0, "this script drops the kernel's caches, so it runs as root")
        report.need(os.access(systems.WORKER, os.X_OK), f"{systems.WORKER} is there: cargo build --release")
        result = measure_all(report, chosen)
        if chosen.smoke:
            return
        os.makedirs(os.path.dirname(RESULT), exist_ok=True)
        with open(RESULT, "w") as out:
            json.dump(result, out, indent=1)
        if chosen.document:
            write_page(result)

    return body


def main():
    chosen = arguments()
    if not chosen.kept:
        run_script("bench", body_of(chosen), Quiet)
    with open(chosen.kept) as kept:
        result = json.load(kept)
    for rates, names in ((result["rates"], result["systems"]), (result["peers"], result["peer_systems"])):
        if rates:
            print(show.text_table(rates, names) + "\n")
    print(show.text_rest(result))
    if chosen.document:
        write_page(result)


if __name__ == "__main__":
    main()
