#!/usr/bin/env python3
"""How fast: the same work on this machine's own file system, on keepfs and, where it is installed, on gocryptfs.

The three take turns, KEEPFS_SPEED_ROUNDS (default 3) times, and the medians are printed; figures of different runs say
little, since machines are shared. Fails when keepfs is slower than gocryptfs on a row by more than a quarter, or gives
wrong bytes.
"""

import os
import random
import shutil
import statistics
import subprocess
import time

import tree
from harness import MIB, PASSWORD, detach, drop_caches, number_from_environment, run_script

ROUNDS = number_from_environment("KEEPFS_SPEED_ROUNDS", 3)
BIG = 256 * MIB
FILES = 5_000
RANDOM_CALLS = 4_000
APPENDS = 1_000
SLOWER_MAX = 0.75


class Plain:
    """A folder on the file system that everything else stands on."""

    name = "plain"

    def __init__(self, report):
        self.path = report.path("plain")
        os.makedirs(self.path, exist_ok=True)

    def cold(self):
        drop_caches()

    def end(self):
        shutil.rmtree(self.path)


class Keepfs:
    name = "keepfs"

    def __init__(self, report):
        self.vault = report.vault(f"speed-{time.monotonic_ns()}")
        self.vault.init()
        self.vault.mount()
        self.path = self.vault.mountpoint

    def cold(self):
        self.vault.unmount("--wait")
        drop_caches()
        self.vault.mount()

    def end(self):
        self.vault.unmount()
        shutil.rmtree(self.vault.store)


class Gocryptfs:
    name = "gocryptfs"

    def __init__(self, report):
        self.store = report.path(f"gocryptfs-{time.monotonic_ns()}")
        self.path = self.store + "-mount"
        os.makedirs(self.store)
        os.makedirs(self.path)
        self.run("-init", "-scryptn", "10", self.store)
        self.run(self.store, self.path)
        report.on_exit(lambda: os.path.ismount(self.path) and detach(self.path))

    def run(self, *arguments):
        command = ["gocryptfs", "-q", "-extpass", f"echo {PASSWORD}", *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def cold(self):
        subprocess.run(["umount", self.path], check=True)
        drop_caches()
        self.run(self.store, self.path)

    def end(self):
        subprocess.run(["umount", self.path], check=True)
        shutil.rmtree(self.store)


class Work:
    """The rows. Each returns a rate: larger is better."""

    def __init__(self, report):
        self.noise = tree.noise("speed", BIG)
        self.source = report.path("source")
        tree.gather(self.source, FILES)
        self.archive = report.path("source.tar")
        subprocess.run(["tar", "-C", self.source, "-cf", self.archive, "."], check=True)
        with open(self.archive, "rb") as content:
            self.text = content.read(68 * MIB)

    def rows(self):
        return [
            ("sequential write + fsync, MiB/s", lambda s: self.write(s, "big", self.noise)),
            ("the same, source text, MiB/s", lambda s: self.write(s, "text", self.text)),
            ("sequential read cold, MiB/s", self.read_cold),
            ("sequential read warm, MiB/s", self.read),
            ("4 KiB random read cold, /s", self.random_read),
            ("4 KiB random overwrite + fsync, /s", self.random_overwrite),
            ("append 4 KiB + fsync each, /s", self.append),
            ("create + 4 KiB + close, /s", self.create),
            ("find with stat cold, /s", self.find),
            ("unlink, /s", self.unlink),
            ("untar, files/s", self.untar),
            ("grep -r cold, files/s", self.grep),
            ("rm -rf, files/s", self.remove),
        ]

    def write(self, system, name, data):
        started = time.monotonic()
        with open(f"{system.path}/{name}", "wb", buffering=0) as out:
            for at in range(0, len(data), MIB):
                out.write(data[at : at + MIB])
            os.fsync(out.fileno())
        return len(data) / MIB / (time.monotonic() - started)

    def read_cold(self, system):
        system.cold()
        return self.read(system)

    def read(self, system):
        piece = bytearray(MIB)
        started = time.monotonic()
        with open(f"{system.path}/big", "rb", buffering=0) as content:
            while content.readinto(piece):
                pass
        seconds = time.monotonic() - started
        with open(f"{system.path}/big", "rb") as content:
            if content.read() != self.noise:
                raise ValueError(f"{system.name} reads wrong bytes")
        return BIG / MIB / seconds

    def random_read(self, system):
        system.cold()
        rng = random.Random(1)
        file = os.open(f"{system.path}/big", os.O_RDONLY)
        started = time.monotonic()
        for _ in range(RANDOM_CALLS):
            os.pread(file, 4096, rng.randrange(BIG // 4096) * 4096)
        seconds = time.monotonic() - started
        os.close(file)
        return RANDOM_CALLS / seconds

    def random_overwrite(self, system):
        rng = random.Random(2)
        file = os.open(f"{system.path}/big", os.O_RDWR)
        page = self.noise[:4096]
        started = time.monotonic()
        for _ in range(RANDOM_CALLS):
            os.pwrite(file, page, rng.randrange(BIG // 4096) * 4096)
        os.fsync(file)
        seconds = time.monotonic() - started
        os.close(file)
        return RANDOM_CALLS / seconds

    def append(self, system):
        file = os.open(f"{system.path}/log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        started = time.monotonic()
        for number in range(APPENDS):
            os.write(file, self.noise[number * 4096 : number * 4096 + 4096])
            os.fsync(file)
        seconds = time.monotonic() - started
        os.close(file)
        return APPENDS / seconds

    def create(self, system):
        os.mkdir(f"{system.path}/small")
        started = time.monotonic()
        for number in range(FILES):
            file = os.open(f"{system.path}/small/{number}", os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(file, self.noise[number * 4096 : number * 4096 + 4096])
            os.close(file)
        return FILES / (time.monotonic() - started)

    def find(self, system):
        system.cold()
        started = time.monotonic()
        result = subprocess.run(["find", f"{system.path}/small", "-type", "f", "-size", "+100k"], check=True, capture_output=True)
        if result.stdout:
            raise ValueError("find found what is not there")
        return FILES / (time.monotonic() - started)

    def unlink(self, system):
        started = time.monotonic()
        for number in range(FILES):
            os.unlink(f"{system.path}/small/{number}")
        return FILES / (time.monotonic() - started)

    def untar(self, system):
        os.mkdir(f"{system.path}/tree")
        started = time.monotonic()
        subprocess.run(["tar", "-C", f"{system.path}/tree", "-xf", self.archive], check=True)
        return FILES / (time.monotonic() - started)

    def grep(self, system):
        system.cold()
        started = time.monotonic()
        subprocess.run(["grep", "-rc", "no such words anywhere at all", f"{system.path}/tree"], check=False, stdout=subprocess.DEVNULL)
        return FILES / (time.monotonic() - started)

    def remove(self, system):
        started = time.monotonic()
        subprocess.run(["rm", "-rf", f"{system.path}/tree"], check=True)
        return FILES / (time.monotonic() - started)


def body(report):
    report.need(os.geteuid() == 0, "this script drops the kernel's caches, so it runs as root")
    work = Work(report)
    kinds = [Plain, Keepfs] + ([Gocryptfs] if shutil.which("gocryptfs") else [])
    rates = {}
    for number in range(ROUNDS):
        systems = [kind(report) for kind in kinds]
        for row, action in work.rows():
            for system in systems:
                os.sync()
                rates.setdefault(row, {}).setdefault(system.name, []).append(action(system))
        for system in systems:
            system.end()
        report.say(f"round {number + 1} of {ROUNDS} done")
    print(f"{'row':38} {'plain':>9} {'keepfs':>9} {'gocryptfs':>9}  x gocryptfs  x plain")
    for row, by_system in rates.items():
        median = {name: statistics.median(values) for name, values in by_system.items()}
        ours, plain, other = median["keepfs"], median["plain"], median.get("gocryptfs")
        print(f"{row:38} {plain:9.0f} {ours:9.0f} {other or 0:9.0f}  {ours / other if other else 0:11.2f}  {ours / plain:7.2f}")
        report.figures[row] = {"value": round(ours), "unit": f"plain {plain:.0f}, gocryptfs {other or 0:.0f}"}
        if other:
            report.check(ours / other >= SLOWER_MAX, f"{row}: not behind gocryptfs", f"{ours:.0f} against {other:.0f}")


if __name__ == "__main__":
    run_script("speed", body)
