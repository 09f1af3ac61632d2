"""The rows: what is done, what must have been done before, what is checked afterwards, and what we aim at.

A row that is wanted brings the rows it needs along; those are done and not shown.
"""

import json
import os
import subprocess
import time
from dataclasses import dataclass, field
from typing import Callable

import tree
from harness import MIB
from systems import WORKER

# Every tree of sources has it, few files do.
PATTERN = "unsafe"


@dataclass
class Sizes:
    """How much each row does."""

    bytes: int
    files: int
    calls: int
    appends: int


class Bench:
    """What the rows work with: sizes, a source tree, its archive, its text."""

    def __init__(self, report, sizes, name):
        self.report = report
        self.sizes = sizes
        self.name = name
        self.source = report.path(f"{name}-source")
        self.files, self.source_bytes = tree.gather(self.source, sizes.files)
        # Not every peer has them.
        subprocess.run(["find", self.source, "-type", "l", "-delete"], check=True)
        self.archive = report.path(f"{name}-source.tar")
        subprocess.run(["tar", "-C", self.source, "-cf", self.archive, "."], check=True)
        self.text = report.path(f"{name}-source.text")
        self.text_bytes = gather_text(self.source, self.text, sizes.bytes // 4)
        self.counts = sorted(grep(self.source))

    def worker(self, system, row, *sizes):
        """Runs one row of the worker; gives its rate. What it prints on failure is the reason."""
        command = [WORKER, row, system.path, *sizes]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        claim = f"{system.name}: {row}"
        self.report.need(result.returncode == 0, claim, f"{' '.join(command)}\n{result.stderr}")
        return json.loads(result.stdout)["rate"]

    def same_tree(self, name, folder, *leniency):
        """Needs a folder to hold what the source tree holds; modes=0 and times=0 forgive those."""
        command = [WORKER, "check-tree", folder, f"from={self.source}", *leniency]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        self.report.need(result.returncode == 0, f"{name}: the tree is that of the source", result.stderr)

    def big(self):
        return f"bytes={self.sizes.bytes}", f"calls={self.sizes.calls}"

    def small(self):
        return (f"files={self.sizes.files}",)


def gather_text(source, destination, length):
    """Joins the files of a tree that are text to one of at most so many bytes; gives how many there are."""
    written = 0
    with open(destination, "wb") as out:
        for folder, names, files in os.walk(source):
            names.sort()
            for path in (os.path.join(folder, name) for name in sorted(files)):
                if os.path.islink(path) or written >= length:
                    continue
                with open(path, "rb") as content:
                    data = content.read(length - written)
                if b"\0" not in data:
                    written += out.write(data)
    return written


def run(command, **options):
    """Runs a program that has to succeed; gives its output and its seconds."""
    started = time.monotonic()
    result = subprocess.run(command, check=True, capture_output=True, text=True, errors="replace", **options)
    return result.stdout, time.monotonic() - started


def grep(folder):
    """Lines that hold the pattern, of each file."""
    output, _ = run(["grep", "-rc", "-e", PATTERN, "."], cwd=folder, env={**os.environ, "LC_ALL": "C"})
    return output.splitlines()


def write(bench, system):
    return bench.worker(system, "write", *bench.big())


def write_text(bench, system):
    return bench.worker(system, "write-text", f"from={bench.text}")


def read(bench, system):
    return bench.worker(system, "read", "check=0", *bench.big())


def read_warm(bench, system):
    return bench.worker(system, "read-warm", "check=0", *bench.big())


def check_big(bench, system):
    bench.worker(system, "check-big", *bench.big())


def check_big_and_text(bench, system):
    check_big(bench, system)
    if "text" in system.done:
        bench.worker(system, "check-text", f"from={bench.text}")


def random_read(bench, system):
    return bench.worker(system, "random-read", *bench.big())


def overwrite(bench, system):
    return bench.worker(system, "overwrite", *bench.big())


def append(bench, system):
    return bench.worker(system, "append", f"calls={bench.sizes.appends}")


def create(bench, system):
    return bench.worker(system, "create", *bench.small())


def find(bench, system):
    # A file of 4 KiB is the only one that takes four units of 1 KiB.
    output, seconds = run(["find", f"{system.path}/small", "-type", "f", "-size", "4k"])
    found = output.count("\n")
    bench.report.need(found == bench.sizes.files, f"{system.name}: find finds every file", found)
    return found / seconds


def check_cold(bench, system):
    """Everything that was written, as the store has it."""
    bench.worker(system, "check-small", *bench.small())
    if "overwrite" in system.done:
        bench.worker(system, "check-overwritten", *bench.big())
    if "append" in system.done:
        bench.worker(system, "check-log", f"calls={bench.sizes.appends}")


def unlink(bench, system):
    return bench.worker(system, "unlink", *bench.small())


def untar(bench, system):
    os.mkdir(f"{system.path}/tree")
    modes = [] if "modes=0" not in system.forgets else ["--no-same-permissions", "--no-same-owner"]
    _, seconds = run(["tar", "-C", f"{system.path}/tree", *modes, "-xf", bench.archive])
    return bench.files / seconds


def grep_cold(bench, system):
    started = time.monotonic()
    counts = grep(f"{system.path}/tree")
    seconds = time.monotonic() - started
    bench.report.need(sorted(counts) == bench.counts, f"{system.name}: grep counts what it counts in the source")
    return bench.files / seconds


def check_tree(bench, system):
    bench.same_tree(system.name, f"{system.path}/tree", *system.forgets)


def remove(bench, system):
    _, seconds = run(["rm", "-rf", f"{system.path}/tree"])
    bench.report.need(not os.path.exists(f"{system.path}/tree"), f"{system.name}: the tree is gone")
    return bench.files / seconds


@dataclass
class Row:
    """One line of the table. Rates: larger is better."""

    name: str
    title: str
    unit: str
    action: Callable
    # Least multiples of gocryptfs and of ext4 in the same run.
    targets: tuple
    needs: list = field(default_factory=list)
    is_cold: bool = False
    check: Callable = None


ROWS = [
    Row("write", "sequential write + fsync", "MiB/s", write, (1.3, 0.7)),
    Row("text", "the same, source text", "MiB/s", write_text, (1.3, 0.9)),
    Row("read", "sequential read, cold", "MiB/s", read, (1.8, 0.5), ["write"], True, check_big_and_text),
    Row("warm", "sequential read, warm", "MiB/s", read_warm, (5, 0.3), ["write"], False, check_big),
    Row("random", "4 KiB random read, cold", "/s", random_read, (1.2, 0.7), ["write"], True),
    Row("overwrite", "4 KiB random overwrite, one fsync", "/s", overwrite, (8, 0.5), ["write"]),
    Row("append", "append 4 KiB + fsync each", "/s", append, (2, 1.0)),
    Row("create", "create + 4 KiB + close", "/s", create, (1.7, 0.3)),
    Row("find", "find -size, cold", "files/s", find, (1.0, 0.55), ["create"], True, check_cold),
    Row("unlink", "unlink", "/s", unlink, (2, 1.2), ["create"]),
    Row("untar", "untar a source tree", "files/s", untar, (3.3, 0.35)),
    Row("grep", "grep -r over it, cold", "files/s", grep_cold, (3, 0.85), ["untar"], True, check_tree),
    Row("rm", "rm -rf of it", "files/s", remove, (3.5, 1.0), ["untar"]),
]
NAMES = [row.name for row in ROWS]
# What peers whose fsync waits for nothing are compared by: the same writes, until they are durable on the store.
STORED = {
    "write": Row("write-stored", "write until it is on the store", "MiB/s", None, ()),
    "text": Row("text-stored", "the same, source text", "MiB/s", None, ()),
}


def closure(names):
    """The wanted rows and those they need, in the order of the table."""
    wanted = set(names)
    for row in reversed(ROWS):
        if row.name in wanted:
            wanted.update(row.needs)
    return [row for row in ROWS if row.name in wanted]

