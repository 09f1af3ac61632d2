#!/usr/bin/env python3
"""Prints RELIABILITY.md from what the acceptance scripts last measured: ./acceptance/reliability.py > RELIABILITY.md

A figure that was not measured is printed as missing. A row is one line of TABLE: what, how its figure is made, the variable
that makes it bigger. `script` takes figures from the last run of a script; `command` runs a command and reads its output.
"""

import collections
import functools
import glob
import json
import os
import re
import subprocess

from harness import FIGURES, ROOT

MISSING = "**missing**"
Row = collections.namedtuple("Row", "what made_by figure bigger")

HEAD = """# Reliability

What was measured, by which command, and what was not measured yet. This page is printed by
`acceptance/reliability.py` from the last run of the scripts under `acceptance/`; `./test.sh` runs them all.
Each can be run alone, and made bigger by the variable named beside it.
"""

TAIL = """
What these figures mean: *kills* are `kill -9` of the mounting process while five kinds of writers work; a loss would
be any acknowledged `fsync`, rename or removal that is not there after the next mount. Unreadable bytes after a flipped byte
are counted in pages of 4 KiB over all files of the vault; everything else is compared and was right. The canary scan looks
for values, their BLAKE3, SHA-256 and SHA-1, raw and in hex, base32 and base64, in every byte and file name of store and
state. A *power cut* is a shutdown of the ext4 under store and state that forgets all it had not synced, in data=ordered and
data=writeback by turns; or one of a file system of our own below them, which keeps nothing but what was synced, or of the rest
a random choice of 512-byte sectors, pages, lengths and names. A *failing* sync loses what it should have kept, and the next one
hides that. Claims of POSIX run on ext4 first; where the mount differs on purpose, `acceptance/posix.py` says why. The case of
pjdfstest that is skipped asks libc for the most names of a file, which libc does not know of FUSE; `posix.py` has it.
"""


@functools.cache
def measured(name):
    """The figures of a script's last run."""
    try:
        with open(os.path.join(FIGURES, f"{name}.json")) as content:
            result = json.load(content)
    except (OSError, ValueError):
        return None
    values = {figure: entry["value"] for figure, entry in result["figures"].items()}
    values.setdefault("failures", len(result["failures"]))
    values["passed_claims"] = result["passed"]
    values["all_claims"] = result["passed"] + len(result["failures"])
    return {key: f"{value:,}" if isinstance(value, int) else value for key, value in values.items()}


def script(what, name, template, bigger=None):
    def figure():
        values = measured(name)
        try:
            return template.format(**values) if values else MISSING
        except KeyError:
            return MISSING

    return Row(what, f"`acceptance/{name}.py`", figure, bigger)


@functools.cache
def output(line):
    """What a command prints if it succeeds."""
    result = subprocess.run(line.split(), cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout if result.returncode == 0 else None


def command(what, line, read, bigger=None):
    def figure():
        text = output(line)
        return MISSING if text is None else read(text) or MISSING

    return Row(what, f"`{line}`", figure, bigger)


def not_yet(what):
    return Row(what, "not yet", lambda: MISSING, None)


def crashes(text):
    """The crash tests print what they did, and fail at the first violation."""
    found = re.findall(r"(\d+) sequences, (\d+) crashes, 0 violations", text)
    sequences, count = (sum(int(pair[at]) for pair in found) for at in (0, 1))
    return f"{sequences:,} sequences, {count:,} crashes, 0 violations" if found else None


def every(pattern):
    """All matches of a pattern, so that several tests of one kind are all told."""
    return lambda text: re.sub(r"\d{4,}", lambda number: f"{int(number[0]):,}", "; ".join(re.findall(pattern, text)))


def first(pattern):
    """The first match of a pattern, as the figure."""
    return lambda text: next(iter(re.findall(pattern, text)), None)


def vectors(_text):
    """Vectors whose test has just passed."""
    accepted = refused = 0
    for path in glob.glob(f"{ROOT}/crates/keepfs-format/tests/vectors/**/*.txt", recursive=True):
        with open(path) as content:
            outcomes = re.findall(r"^outcome: (accepted|refused)", content.read(), re.MULTILINE)
        accepted += outcomes.count("accepted")
        refused += outcomes.count("refused")
    return f"{accepted + refused:,}, {refused:,} of them refused"


def mutants():
    """What became of each mutant of the list, in its order, as far as it was tried."""
    try:
        with open(os.path.join(FIGURES, "mutants.json")) as content:
            found = json.load(content)
        with open(os.path.join(ROOT, "acceptance", "mutants.json")) as content:
            return {mutant["name"]: found.get(mutant["name"], "not tried") for mutant in json.load(content)}
    except (OSError, ValueError):
        return {}


def caught_mutants():
    outcomes = mutants()
    caught = sum(outcome.startswith("caught") for outcome in outcomes.values())
    return f"{caught} of {len(outcomes)}" if outcomes else MISSING


def fuzzed():
    """What all runs at the decoders did; a run in which one breaks a promise is not counted and stops there."""
    try:
        with open(os.path.join(FIGURES, "fuzz.json")) as content:
            counts = {door: count["executions"] for door, count in json.load(content).items()}
    except (OSError, ValueError):
        return MISSING
    least, most = (of(counts, key=counts.get) for of in (min, max))
    return f"{sum(counts.values()):,} executions at {len(counts)} decoders, 0 broken promises; least {counts[least]:,} ({least}), most {counts[most]:,} ({most})"


SOURCE = "cargo test --release -p keepfs-sim --test tidy figures -- --nocapture"
CRASHES = "cargo test --release -p keepfs-fs --test claims crash:: -- --nocapture"
WORLDS = "cargo test --release -p keepfs-sim --test world -- --nocapture"
SWEEP = "cargo test --release -p keepfs-sim --test sweep -- --nocapture"
CORPUS = "cargo test --release -p keepfs-sim --test corpus -- --nocapture"
VECTORS = "cargo test --release -p keepfs-format --test format"
SEALING = "cargo test --release -p keepfs-vault --lib seal::"

TABLE = {
    "The code": [
        command("assertions that live in release builds: asserts, and `expect`s with their proof", SOURCE, first(r"(\d+) assertions")),
        command("functions longer than 70 lines", SOURCE, first(r"(\d+ of \d+) functions")),
    ],
    "Load held": [
        script("POSIX cases of pjdfstest 0.2.2", "pjdfstest", "{passed} passed, {failed} failed, {skipped} skipped"),
        script("POSIX claims beyond it with the same answer as ext4 (mmap, direct I/O, locks, times, names, rights, access lists, holes, limits); differences with a reason", "posix", "{claims_like_ext4}; {differences}"),
        script("fsx operations without divergence (mmap, truncate, holes, copy_file_range)", "fsx", "{operations} over {seeds} seeds", "KEEPFS_FSX_OPERATIONS"),
        script("stress-ng file system stressors that verify; not applicable", "stress", "{stressors_passed}; {stressors_not_applicable}", "KEEPFS_STRESS_SECONDS"),
        script("random calls with the same answer and tree as on ext4, remounts, kills and joins between them", "model", "{calls}", "KEEPFS_MODEL_CALLS"),
        script("real tree through tar, diff, loss of the machine, join, diff", "main_job", "{tree_files} files, {tree_bytes} bytes", "KEEPFS_FILES"),
        script("join and mount with nothing but store and password", "main_job", "{join_and_mount_seconds} s"),
        not_yet("parallel build on the mount, checksums after a remount"),
        not_yet("sustained writers: minutes, slowest of a hundred, memory"),
        script("entries in one folder; create, cold list with stat, unlink a second", "scale", "{entries}; {create_per_second}, {list_and_stat_cold_per_second}, {unlink_per_second}", "KEEPFS_ENTRIES"),
        script("last tenths against the first: create, unlink", "scale", "{create_slowdown}×, {unlink_slowdown}×", "KEEPFS_ENTRIES"),
        script("mount of a tree with that folder", "scale", "{mount_seconds} s", "KEEPFS_ENTRIES"),
        not_yet("10⁶ files in a tree"),
        script("peak memory of the daemon, large file written, read, patched", "memory", "{peak} MiB", "KEEPFS_GIB"),
        script("growth of the store by a copy of a tree, in parts of the tree", "dedup", "{growth_by_copy} %"),
        script("objects for 10,000 files of 1 KiB", "dedup", "{objects_for_small_files}"),
        script("growth by a byte inserted at the front of 100 MiB", "dedup", "{growth_by_inserted_byte} bytes"),
        script("claims of an ordinary user that hold: README's commands, dead mounts, refusals", "user", "{passed_claims} of {all_claims}"),
    ],
    "Faults survived": [
        command("crash at every call of disk and store, in every pair of calls over a tiny tree and around checkpoints", CRASHES, crashes),
        script("`kill -9` under load: rounds, rounds with loss, acknowledgements looked for", "kill9", "{rounds}, {rounds_with_loss} lost, {acknowledgements}", "KEEPFS_ROUNDS`, `KEEPFS_SECONDS"),
        script("slowest mount after a kill", "kill9", "{slowest_mount_after_kill} s"),
        script("power cuts of an ext4 below store and state, under load", "powercut", "{cuts}, {cuts_with_loss} lost", "KEEPFS_CUTS"),
        script("power cuts of a disk that drops or tears what was not synced, under load; acknowledgements looked for", "lossydisk", "{cuts}, {cuts_with_loss} lost, {acknowledgements}", "KEEPFS_LOSSY_CUTS"),
        script("failing syncs, writes and names of that disk, each with a power cut after it: a later success that vouched for lost bytes", "lossydisk", "{faults} faults, {failures} such successes", "KEEPFS_LOSSY_FAULTS"),
        script("claims of the bad days that hold (full store, full disk, read-only, gone, damaged)", "bad_input", "{passed_claims} of {all_claims}"),
        script("claims that hold on real servers: S3 (s3s-fs), WebDAV (nginx), SFTP (OpenSSH)", "stores", "{passed_claims} of {all_claims}"),
        script("requests or connections to them that were spoiled; reads refused, reads wrong", "stores", "{s3_faults} + {webdav_faults} + {sftp_faults}; {s3_reads_refused_under_faults} + {webdav_reads_refused_under_faults} + {sftp_reads_refused_under_faults}, {wrong_reads_under_faults}", "KEEPFS_FAULT_SECONDS"),
        script("claims that hold on a cluster of three garage nodes, one killed during a copy and one during writes", "garage", "{passed_claims} of {all_claims}, {nodes_killed} kills", "KEEPFS_FILES"),
        script("refusals by real servers that are told in one clear sentence (TLS, clocks, tokens, quotas, broken answers, giants)", "refusals", "{passed_claims} of {all_claims}"),
        script("written while the store was away for long, until the disk here was full; then all of it there", "stores", "{webdav_written_while_away} MiB"),
        script("requests to S3 for a mount, a new file of 1 KiB until it is there, a cold byte", "stores", "{s3_requests_of_a_mount}, {s3_requests_of_a_small_file}, {s3_requests_of_a_cold_byte}"),
        script("objects to them and back, compared, against curl or sftp", "stores", "S3 {s3_copy_rate} / {s3_client_rate} MiB/s, WebDAV {webdav_copy_rate} / {webdav_client_rate}, SFTP {sftp_copy_rate} / {sftp_client_rate}", "KEEPFS_SPEED_MIB"),
        script("Telegram as a store, against the local server: kills during uploads, completed documents sent twice", "telegram", "{kills}, {documents_sent_twice}", "KEEPFS_ROUNDS"),
        script("objects to Telegram's local server against bare senders", "telegram", "{store_rate} / {bare_rate} MiB/s"),
        script("claims about Telegram as a store that hold (login, floods, stalls, broken connections, lost machine)", "telegram", "{passed_claims} of {all_claims}"),
        script("ways in which other stores lost data, each as a test of this one", "stories", "{stories}, {failures} claims fail"),
        command("simulated worlds: disks and stores that fail by chance, deaths at any call, lost machines, judged by a model", WORLDS, every(r"(\d+ worlds, \d+ calls, \d+ failed calls, \d+ deaths, \d+ of them within a call, \d+ lost machines, 0 wrong)"), "KEEPFS_SEEDS"),
        command("a disk call fails, at each of a small history", WORLDS, every(r"(\d+ histories with a failed disk call at each of \d+, \d+ in which calls failed, \d+ that stopped writing, 0 wrong)")),
        command("a write to the store fails, before, within and after its effect, at each of them", WORLDS, every(r"(\d+ histories with a failed write at each of \d+, \d+ in which calls failed, \d+ that stopped writing, 0 wrong)")),
        command("no room on disk or store, from each call on", WORLDS, every(r"(\d+ histories without room from each of .* 0 wrong)")),
        command("disk and store die together at every call, in every pair of calls over a tiny tree", WORLDS, every(r"(\d+ sequences, \d+ crashes, 0 violations)")),
    ],
    "Bad inputs tried": [
        script("unreadable after one flipped byte in a pack", "bad_input", "{unreadable_after_flipped_byte} bytes, 0 wrong"),
        script("small objects flipped or removed, one at a time", "bad_input", "{metadata_harms}"),
        script("small objects emptied, zeroed or halved, one at a time: a tree with a part missing", "stories", "{damaged_pointers}, 0 such trees"),
        command("bytes flipped in every kind of object and local file, each with a join and a mount after it", SWEEP, every(r"(\d+) bytes flipped, 0 wrong"), "KEEPFS_SWEEP_BYTES"),
        command("the same cut, extended, emptied, replaced, copied, deleted, and any two exchanged", SWEEP, every(r"(\d+) times cut, .*, 0 wrong"), "KEEPFS_SWEEP_BYTES"),
        command("all of these together: the right tree, or an error, and never much memory", SWEEP, every(r"(\d+ harms to \d+ .* at most)")),
        command("format vectors", VECTORS, vectors),
        command("damage between compressor and sealing is noticed while the plaintext is there: tests", SEALING, first(r"(\d+ passed)")),
        script("wrong passwords through the binary, refused", "passwords", "{guesses_refused} of {guesses}", "KEEPFS_GUESSES"),
        script("forged costs of a guess, refused; most memory that one took", "passwords", "{forged_costs}; {memory_of_a_refusal} MiB"),
        script("canaries, bytes of the store scanned, leaks", "canary", "{canaries}, {store_bytes_scanned}, {failures} leaks"),
        command("bytes by chance at every decoder, in every change: panics, or bytes that decode and do not encode back", CORPUS, every(r"(\d+ executions at \d+ decoders, 0 broken promises)"), "KEEPFS_EXECUTIONS"),
        Row("the same by hand, all runs together", "`acceptance/fuzz.py`", fuzzed, "KEEPFS_SECONDS"),
        Row("deliberate mutants that a test noticed (listed below)", "`acceptance/mutants.py`", caught_mutants, None),
        not_yet("pjdfstest, the C suite (8,789 cases)"),
    ],
}


def main():
    print(HEAD, end="")
    for section, rows in TABLE.items():
        print(f"\n## {section}\n\n| what | figure | made by |\n|---|---|---|")
        for row in rows:
            made_by = f"{row.made_by} (`{row.bigger}`)" if row.bigger else row.made_by
            print(f"| {row.what} | {row.figure()} | {made_by} |")
    print(TAIL, end="")
    outcomes = mutants()
    if outcomes:
        print("\nMutants, each one line of the sources made wrong on purpose, and what became of it:\n")
        for name, outcome in outcomes.items():
            print(f"- {name}: {outcome}")


if __name__ == "__main__":
    main()
