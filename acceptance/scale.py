#!/usr/bin/env python3
"""How the work grows: many entries in one folder, a deep tree, and what stays flat.

KEEPFS_ENTRIES (default 100000) files in one folder. The last tenth must not be made, listed or removed much more
slowly than the first; mounting must not wait for the tree.
"""

import os
import time

from harness import MIB, drop_caches, number_from_environment, run_script

ENTRIES = number_from_environment("KEEPFS_ENTRIES", 100_000)
TENTH = ENTRIES // 10
DEPTH = 1_000
# Between two tenths of the same work on a shared machine.
SLOWDOWN_MAX = 4.0


def timed_tenths(action):
    """Runs action(number) for every entry; gives the seconds of each tenth."""
    seconds = []
    for tenth in range(10):
        started = time.monotonic()
        for number in range(tenth * TENTH, (tenth + 1) * TENTH):
            action(number)
        seconds.append(time.monotonic() - started)
    return seconds


def grown(report, what, seconds):
    report.figure(f"{what}_per_second", round(ENTRIES / sum(seconds)), "/s")
    slowdown = max(seconds[-3:]) / max(min(seconds[:3]), 1e-9)
    report.figure(f"{what}_slowdown", round(slowdown, 2))
    report.check(slowdown < SLOWDOWN_MAX, f"{what}: the last tenths cost about as much as the first", [round(s, 2) for s in seconds])


def deep(report, root):
    folder = os.open(root, os.O_RDONLY)
    for level in range(DEPTH):
        os.mkdir(f"d{level % 10}", dir_fd=folder)
        below = os.open(f"d{level % 10}", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    file = os.open("bottom", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=folder)
    os.write(file, b"bottom")
    os.close(file)
    os.close(folder)
    report.check(True, f"a tree of {DEPTH} levels can be made")


def walk_down(root):
    folder = os.open(root, os.O_RDONLY)
    for level in range(DEPTH):
        below = os.open(f"d{level % 10}", os.O_RDONLY, dir_fd=folder)
        os.close(folder)
        folder = below
    file = os.open("bottom", os.O_RDONLY, dir_fd=folder)
    content = os.read(file, 100)
    os.close(file)
    os.close(folder)
    return content


def body(report):
    vault = report.vault()
    vault.init()
    vault.mount()
    folder = f"{vault.mountpoint}/many"
    os.mkdir(folder)
    report.figure("entries", ENTRIES)
    grown(report, "create", timed_tenths(lambda n: os.close(os.open(f"{folder}/entry {n:07}", os.O_WRONLY | os.O_CREAT, 0o644))))
    os.mkdir(f"{vault.mountpoint}/deep")
    deep(report, f"{vault.mountpoint}/deep")
    vault.sync()
    report.figure("store_bytes_per_entry", round(vault.store_bytes() / ENTRIES))
    vault.unmount("--wait")
    drop_caches()
    started = time.monotonic()
    vault.mount()
    seconds = time.monotonic() - started
    report.figure("mount_seconds", round(seconds, 2), "s")
    report.check(seconds < 5, "mounting does not wait for the tree", f"{seconds:.1f} s")
    started = time.monotonic()
    names = sorted(entry.name for entry in os.scandir(folder) if entry.stat().st_size == 0)
    report.figure("list_and_stat_cold_per_second", round(ENTRIES / (time.monotonic() - started)), "/s")
    report.check(names == [f"entry {n:07}" for n in range(ENTRIES)], "every entry is listed once", len(names))
    report.check(walk_down(f"{vault.mountpoint}/deep") == b"bottom", "the deep tree can be walked down")
    before = vault.store_bytes()
    with open(f"{folder}/one more", "w") as out:
        out.write("x")
    vault.sync()
    growth = vault.store_bytes() - before
    report.figure("store_growth_by_one_more_entry", growth, "bytes")
    report.check(growth < MIB, "one more entry costs what it is, not what the folder is", growth)
    grown(report, "unlink", timed_tenths(lambda n: os.unlink(f"{folder}/entry {n:07}")))
    report.check(os.listdir(folder) == ["one more"], "all but one are gone")
    report.figure("daemon_memory_peak", round(vault.memory_peak() / MIB, 1), "MiB")
    report.check(not vault.panics(), "nothing panicked", vault.panics())
    vault.unmount()


if __name__ == "__main__":
    run_script("scale", body)
