#!/usr/bin/env python3
"""How the cost of a call grows with the tree: from a thousand files to KEEPFS_BENCH_FILES_MAX (default a million).

One vault grows by tens. At each size: what calls cost, near each other and scattered over all
of it when nothing was read yet; what a mount costs; and what publishing 1,000 changes costs, in
seconds and bytes, near each other and scattered over the tree. At the end: a folder of 100,000 entries and a sparse file of
100 GB. Figures go to target/bench/scale.json and, with --document, to docs/scale.svg.
"""

import argparse
import html
import json
import math
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(1, os.path.join(HERE, "..", "acceptance"))

import systems
from harness import MIB, ROOT, TARGET, drop_caches, number_from_environment, run_script

FILES_MAX = number_from_environment("KEEPFS_BENCH_FILES_MAX", 1_000_000)
ENTRIES = number_from_environment("KEEPFS_BENCH_ENTRIES", 100_000)
SPARSE_BYTES = 100_000_000_000
CALLS = 1_000
# Eleven times a thousand changes: among them is the checkpoint that is due after every 10,000.
BATCHES = 11
MEMORY_MAX = 500 * MIB
MOUNT_SECONDS_MAX = 1.0
LIST_SECONDS_MAX = 1.0
# A call, and the publishing of 1,000 changes, may cost so many times what it costs with ten thousand files: with fewer, a
# thousand random calls meet the same files and blocks again and again.
GROWTH_MAX = 3.0
# Below this a difference is noise, in seconds.
PUBLISH_SECONDS_MIN = 0.1
RESULT = os.path.join(TARGET, "bench", "scale.json")
PICTURE = os.path.join(ROOT, "docs", "scale.svg")


def work(report, vault, row, *sizes):
    """Runs a row of the worker; gives its rate."""
    result = subprocess.run([systems.WORKER, row, vault.mountpoint, *sizes], capture_output=True, text=True, check=False)
    report.need(result.returncode == 0, f"{row} {' '.join(sizes)}", result.stderr)
    return json.loads(result.stdout)["rate"]


def seconds_of(action):
    started = time.monotonic()
    action()
    return time.monotonic() - started


def publishing(report, vault, files, near):
    """Seconds and bytes of putting each batch of changes on the store."""
    seconds, grown = [], []
    for batch in range(BATCHES):
        work(report, vault, "touch", f"files={files}", f"calls={CALLS}", f"seed={files + batch}", f"near={near}")
        before = vault.store_bytes()
        seconds.append(seconds_of(vault.sync))
        grown.append(vault.store_bytes() - before)
    return {
        "seconds": statistics.median(seconds),
        "bytes": statistics.median(grown),
        "seconds_most": max(seconds),
        "bytes_most": max(grown),
    }


def mounted_again(vault):
    """Seconds that a mount takes when the kernel has cached nothing."""
    vault.unmount("--wait")
    drop_caches()
    return seconds_of(vault.mount)


def step(report, vault, before, files):
    """Grows the tree to so many files, and measures there; microseconds a call."""
    grown = work(report, vault, "grow", f"first={before}", f"files={files}")
    report.say(f"{files:,} files, the last of them at {grown:,.0f} a second")
    vault.sync()
    figures = {"files": files, "grow": 1e6 / grown, "mount_seconds": mounted_again(vault)}
    figures["memory_idle"] = vault.memory_peak()
    # Scattered calls come first and one after the other, when nobody has read any of it yet.
    for place, near in (("scattered", 0), ("near", 1)):
        for seed, row in enumerate(("stat", "open", "touch", "rename")):
            sizes = (f"files={files}", f"calls={CALLS}", f"seed={seed}", f"near={near}")
            figures[f"{row} {place}"] = 1e6 / work(report, vault, row, *sizes)
    for row, call in (("grow", "create"), ("shrink", "unlink")):
        figures[call] = 1e6 / work(report, vault, row, "into=more", f"files={CALLS}")
    vault.sync()
    figures["near"] = publishing(report, vault, files, 1)
    figures["scattered"] = publishing(report, vault, files, 0)
    figures["memory_peak"] = vault.memory_peak()
    said = ", ".join(f"{name} {figures[name]:.0f} µs" for name in CALLS_SHOWN)
    report.say(f"{files:,} files: mount {figures['mount_seconds']:.2f} s, {said}")
    for place in ("near", "scattered"):
        cost = figures[place]
        report.say(
            f"{files:,} files, 1,000 changes {place}: {cost['seconds']:.2f} s and {cost['bytes'] / 1024:,.0f} KiB, "
            f"with the checkpoint {cost['seconds_most']:.2f} s and {cost['bytes_most'] / 1024:,.0f} KiB"
        )
    return figures


CALLS_SHOWN = ("stat near", "open near", "touch near", "rename near", "create", "unlink", "stat scattered", "open scattered")


def many_entries(report, vault):
    work(report, vault, "grow", "into=many", f"per={ENTRIES}", f"files={ENTRIES}")
    report.figure("mount_seconds_most_files", round(mounted_again(vault), 2), "s")
    folder = f"{vault.mountpoint}/many/00000"
    for name in ("cold", "warm"):
        started = time.monotonic()
        listing = subprocess.run(["ls", folder], check=True, capture_output=True, env={**os.environ, "LC_ALL": "C"})
        seconds = time.monotonic() - started
        report.need(listing.stdout.count(b"\n") == ENTRIES, f"ls lists {ENTRIES:,} entries")
        report.figure(f"ls_{name}", round(seconds, 3), "s")
        report.check(seconds < LIST_SECONDS_MAX, f"ls of {ENTRIES:,} entries, {name}, takes less than {LIST_SECONDS_MAX:g} s", f"{seconds:.2f} s")


def sparse_file(report, vault):
    before = vault.store_bytes()
    report.figure("sparse_writes", round(work(report, vault, "scatter", f"bytes={SPARSE_BYTES}")), "/s")
    vault.sync()
    mounted_again(vault)
    report.figure("sparse_reads", round(work(report, vault, "gather", f"bytes={SPARSE_BYTES}")), "/s")
    grown = vault.store_bytes() - before
    report.check(grown < 64 * MIB, "2,000 pages in a hole of 100 GB take less than 64 MiB on the store", f"{grown / MIB:.1f} MiB")


def judge(report, steps):
    first, last = steps[min(1, len(steps) - 1)], steps[-1]
    for name in CALLS_SHOWN:
        growth = last[name] / first[name]
        report.check(growth < GROWTH_MAX, f"{name} does not grow with the tree", f"{first[name]:.1f} to {last[name]:.1f} µs")
    for place in ("near", "scattered"):
        for what, least in (("seconds", PUBLISH_SECONDS_MIN), ("bytes", 0)):
            for name in (what, f"{what}_most"):
                most = max(first[place][name] * GROWTH_MAX, least)
                claim = f"publishing 1,000 changes {place}: {name.replace('_', ', ')} does not grow with the tree"
                report.check(last[place][name] <= most, claim, f"{first[place][name]:.2f} to {last[place][name]:.2f}")
    seconds = max(figures["mount_seconds"] for figures in steps)
    report.check(seconds < MOUNT_SECONDS_MAX, f"a mount, key derivation and all, takes less than {MOUNT_SECONDS_MAX:g} s", f"{seconds:.2f} s")


WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 760, 380, 70, 60, 320
COLOURS = ("#1f5fbf", "#c76b00", "#2e7d32", "#8e24aa", "#b00020", "#00838f", "#5d4037", "#546e7a")


def picture(steps):
    """Microseconds a call over files in the tree, both logarithmic."""
    low, high = 1.0, 10 ** math.ceil(math.log10(max(step[name] for step in steps for name in CALLS_SHOWN)))
    right = WIDTH - 170

    def x_of(files):
        share = math.log10(files / steps[0]["files"]) / max(math.log10(steps[-1]["files"] / steps[0]["files"]), 1e-9)
        return LEFT + share * (right - LEFT)

    def y_of(value):
        return BOTTOM - math.log10(max(value, low) / low) / math.log10(high / low) * (BOTTOM - TOP)

    def words(x, y, text, extra=""):
        return f'<text x="{x:.1f}" y="{y:.1f}" {extra}>{html.escape(text)}</text>'

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="13" fill="#222">',
        "<title>Cost of a call by the number of files</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        words(12, 28, "Microseconds a call, by the number of files in the tree", 'font-size="16"'),
    ]
    value = low
    while value <= high:
        out.append(f'<line x1="{LEFT}" y1="{y_of(value):.1f}" x2="{right}" y2="{y_of(value):.1f}" stroke="#ddd"/>')
        out.append(words(LEFT - 8, y_of(value) + 4, f"{value:,.0f} µs", 'text-anchor="end"'))
        value *= 10
    for figures in steps:
        out.append(words(x_of(figures["files"]), BOTTOM + 22, f"{figures['files']:,}", 'text-anchor="middle"'))
    labels = sorted(range(len(CALLS_SHOWN)), key=lambda number: -steps[-1][CALLS_SHOWN[number]])
    label_y = TOP - 14
    for number in labels:
        name, colour = CALLS_SHOWN[number], COLOURS[number]
        dashes = ' stroke-dasharray="5 4"' if "scattered" in name else ""
        points = " ".join(f"{x_of(figures['files']):.1f},{y_of(figures[name]):.1f}" for figures in steps)
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
        label_y = max(label_y + 16, y_of(steps[-1][name]) + 4)
        out.append(words(right + 10, label_y, f"{name} {steps[-1][name]:.0f}", f'fill="{colour}"'))
    return "\n".join([*out, "</svg>"]) + "\n"


def keep(steps, report, is_document):
    """Writes down what is known so far."""
    figures = {name: figure["value"] for name, figure in report.figures.items()}
    result = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "calls": CALLS_SHOWN, "steps": steps}
    result.update(figures=figures, misses=report.failures)
    os.makedirs(os.path.dirname(RESULT), exist_ok=True)
    with open(RESULT, "w") as out:
        json.dump(result, out, indent=1)
    if is_document:
        with open(PICTURE, "w") as out:
            out.write(picture(steps))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--document", action="store_true", help="write docs/scale.svg")
    chosen = parser.parse_args()

    def body(report):
        vault = report.vault()
        vault.init()
        vault.mount()
        steps, files, before = [], 1_000, 0
        while files <= FILES_MAX:
            steps.append(step(report, vault, before, files))
            before, files = files, files * 10
            keep(steps, report, chosen.document)
        memory = max(figures["memory_peak"] for figures in steps)
        many_entries(report, vault)
        sparse_file(report, vault)
        memory = max(memory, vault.memory_peak())
        report.figure("memory_peak", round(memory / MIB), "MiB")
        report.check(memory < MEMORY_MAX, f"the daemon never had {MEMORY_MAX // MIB} MiB", f"{memory / MIB:.0f} MiB")
        judge(report, steps)
        report.check(not vault.panics(), "nothing panicked", vault.panics())
        keep(steps, report, chosen.document)
        vault.unmount()

    run_script("scale-of-trees", body)


if __name__ == "__main__":
    main()
