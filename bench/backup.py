"""Putting a source tree on a store so that it is durable there: copied into keepfs and synced, or backed up by restic
or borg into a repository that is already there. What lies on the store is brought back and compared, outside the time.
"""

import os
import shutil
import subprocess
import time

from harness import PASSWORD
from systems import Keepfs


def bytes_below(folder):
    total = 0
    for path, _, names in os.walk(folder):
        total += sum(os.lstat(os.path.join(path, name)).st_size for name in names)
    return total


class Program:
    """A backup program with its repository and its local state under one folder."""

    def __init__(self, report, tag):
        self.base = report.path(f"backup-{self.name}-{tag}")
        self.store = os.path.join(self.base, "store")
        self.back = os.path.join(self.base, "back")
        os.makedirs(self.back)
        self.prepare()

    def run(self, *command, **options):
        settings = {
            "RESTIC_PASSWORD": PASSWORD,
            "RESTIC_REPOSITORY": self.store,
            "RESTIC_CACHE_DIR": os.path.join(self.base, "state"),
            "BORG_PASSPHRASE": PASSWORD,
            "BORG_REPO": self.store,
            "BORG_BASE_DIR": os.path.join(self.base, "state"),
        }
        subprocess.run(command, check=True, env={**os.environ, **settings}, capture_output=True, **options)

    def end(self):
        shutil.rmtree(self.base)


class Restic(Program):
    name = "restic"

    def prepare(self):
        self.run("restic", "init")

    def put(self, source):
        self.run("restic", "backup", ".", cwd=source)

    def get(self):
        self.run("restic", "restore", "latest", "--target", self.back)
        return self.back


class Borg(Program):
    name = "borg"

    def prepare(self):
        self.run("borg", "init", "--encryption", "repokey-blake2")

    def put(self, source):
        self.run("borg", "create", "::tree", ".", cwd=source)

    def get(self):
        self.run("borg", "extract", "::tree", cwd=self.back)
        return self.back


class Copied:
    """A mounted vault into which the tree is copied."""

    name = "keepfs"

    def __init__(self, report, tag):
        self.system = Keepfs(report, f"backup-{tag}")
        self.store = self.system.vault.store

    def put(self, source):
        subprocess.run(["cp", "-a", f"{source}/.", f"{self.system.path}/tree"], check=True)
        self.system.vault.sync()

    def get(self):
        self.system.cold()
        return f"{self.system.path}/tree"

    def end(self):
        self.system.end()


KINDS = [Copied, Restic, Borg]


def measure(bench, rounds, kinds):
    """Gives {program: {"seconds": [...], "bytes": [...]}}; those that are not installed are left out."""
    result = {}
    for number in range(rounds):
        for kind in kinds:
            if kind is not Copied and not shutil.which(kind.name):
                continue
            program = kind(bench.report, number)
            os.sync()
            before = bytes_below(program.store)
            started = time.monotonic()
            program.put(bench.source)
            seconds = time.monotonic() - started
            figures = result.setdefault(program.name, {"seconds": [], "bytes": []})
            figures["seconds"].append(seconds)
            figures["bytes"].append(bytes_below(program.store) - before)
            if number == rounds - 1:
                bench.same_tree(program.name, program.get())
            program.end()
    return result
