#!/usr/bin/env python3
"""Prints RELIABILITY.md from what the acceptance scripts last measured: ./acceptance/reliability.py > RELIABILITY.md

A figure that was not measured is printed as missing.
"""

import json
import os
import re
import subprocess

from harness import FIGURES

HEAD = """# Reliability

What was measured, by which command, and what was not measured yet. This page is printed by
`acceptance/reliability.py` from the last run of the scripts under `acceptance/`; `./test.sh` runs them all.
Each can be run alone, and made bigger by the variable named beside it.

| what | figure | made by |
|---|---|---|
"""

TAIL = """
What these figures mean: *kills* are `kill -9` of the mounting process while five kinds of writers work; a loss would
be any acknowledged `fsync`, rename or removal that is not there after the next mount. Unreadable bytes after a flipped byte
are counted in pages of 4 KiB over all files of the vault; everything else is compared and was right. The canary scan looks
for values, their BLAKE3, SHA-256 and SHA-1, raw and in hex, base32 and base64, in every byte and file name of store and
state. A *power cut* is a shutdown of the ext4 under store and state that forgets all it had not synced, in data=ordered and
data=writeback by turns; a disk that reorders or tears what it was told to sync is not simulated here.
"""

CRASHES = "cargo test --release -p keepfs-fs --test claims crash:: -- --nocapture"

# What, the script, its figures with {name}, and how it is made bigger.
ROWS = [
    ("POSIX cases of pjdfstest 0.2.2", "pjdfstest", "{passed} passed, {failed} failed, {skipped} skipped", None),
    ("fsx operations without divergence (mmap, truncate, holes, copy_file_range)", "fsx", "{operations}", "KEEPFS_FSX_OPERATIONS"),
    ("`kill -9` under load: rounds, rounds with loss", "kill9", "{rounds}, {rounds_with_loss} lost", "KEEPFS_ROUNDS"),
    ("acknowledgements looked for after the kills", "kill9", "{acknowledgements}", "KEEPFS_ROUNDS"),
    ("slowest mount after a kill", "kill9", "{slowest_mount_after_kill} s", None),
    ("power cuts of the disk below store and state, under load", "powercut", "{cuts}, {cuts_with_loss} lost", "KEEPFS_CUTS"),
    ("random calls with the same answer and tree as on ext4, remounts, kills and joins between them", "model", "{calls}", "KEEPFS_MODEL_CALLS"),
    ("real tree through tar, diff, loss of the machine, join, diff", "main_job", "{tree_files} files, {tree_bytes} bytes", "KEEPFS_FILES"),
    ("join and mount with nothing but store and password", "main_job", "{join_and_mount_seconds} s", None),
    ("canaries, bytes of the store scanned, leaks", "canary", "{canaries}, {store_bytes_scanned}, {failures} leaks", None),
    ("unreadable after one flipped byte in a pack", "bad_input", "{unreadable_after_flipped_byte} bytes, 0 wrong", None),
    ("small objects flipped or removed, one at a time", "bad_input", "{metadata_harms}", None),
    ("claims of the bad days that hold (full store, full disk, read-only, gone, damaged)", "bad_input", "{passed_claims} of {all_claims}", None),
    ("growth of the store by a copy of a tree, in parts of the tree", "dedup", "{growth_by_copy} %", None),
    ("objects for 10,000 files of 1 KiB", "dedup", "{objects_for_small_files}", None),
    ("growth by a byte inserted at the front of 100 MiB", "dedup", "{growth_by_inserted_byte} bytes", None),
    ("peak memory of the daemon, large file written, read, patched", "memory", "{peak} MiB", "KEEPFS_GIB"),
    ("stress-ng file system stressors that verify; not applicable", "stress", "{stressors_passed}; {stressors_not_applicable}", "KEEPFS_STRESS_SECONDS"),
    ("entries in one folder; create, cold list with stat, unlink a second", "scale", "{entries}; {create_per_second}, {list_and_stat_cold_per_second}, {unlink_per_second}", "KEEPFS_ENTRIES"),
    ("last tenths against the first: create, unlink", "scale", "{create_slowdown}×, {unlink_slowdown}×", "KEEPFS_ENTRIES"),
    ("mount of a tree with that folder", "scale", "{mount_seconds} s", "KEEPFS_ENTRIES"),
    ("Telegram as a store, against the local server: kills during uploads, completed documents sent twice", "telegram", "{kills}, {documents_sent_twice}", "KEEPFS_ROUNDS"),
    ("claims about Telegram as a store that hold (login, floods, stalls, broken connections, lost machine)", "telegram", "{passed_claims} of {all_claims}", None),
    ("crash at every call of disk and store, in every pair of calls over a tiny tree and around checkpoints", CRASHES, None, None),
    ("pjdfstest, the C suite (8,789 cases)", None, None, None),
    ("fuzz executions per decoder", None, None, None),
    ("mutants killed in format, log and vault", None, None, None),
    ("10⁶ files in a tree", None, None, None),
]


def load(script):
    try:
        with open(os.path.join(FIGURES, f"{script}.json")) as content:
            return json.load(content)
    except (OSError, ValueError):
        return None


def crashes():
    """Runs the crash tests; they print what they did, and fail at the first violation."""
    result = subprocess.run(CRASHES.split(), capture_output=True, text=True, check=False)
    found = re.findall(r"(\d+) sequences, (\d+) crashes, 0 violations", result.stdout)
    if result.returncode != 0 or not found:
        return "**missing**"
    sequences, count = (sum(int(pair[at]) for pair in found) for at in (0, 1))
    return f"{sequences:,} sequences, {count:,} crashes, 0 violations"


def show(script, template):
    if script == CRASHES:
        return crashes()
    result = load(script) if script else None
    if result is None:
        return "**missing**"
    values = {name: figure["value"] for name, figure in result["figures"].items()}
    values.setdefault("failures", len(result["failures"]))
    values["passed_claims"] = result["passed"]
    values["all_claims"] = result["passed"] + len(result["failures"])
    for name, value in values.items():
        if isinstance(value, int):
            values[name] = f"{value:,}"
    try:
        return template.format(**values)
    except KeyError:
        return "**missing**"


def main():
    print(HEAD, end="")
    for what, script, template, variable in ROWS:
        command = f"`acceptance/{script}.py`" if script else "not yet"
        if script == CRASHES:
            command = f"`{CRASHES}`"
        if variable:
            command += f" (`{variable}`)"
        print(f"| {what} | {show(script, template)} | {command} |")
    print(TAIL, end="")


if __name__ == "__main__":
    main()
