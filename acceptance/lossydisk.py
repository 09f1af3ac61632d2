#!/usr/bin/env python3
"""A disk that drops, reorders and tears what was not synced, and fails calls, below store and state of the real binary.

Cuts under load: odd ones let a random part of the unsynced sectors, lengths and names survive. Then every Nth sync and
write fails: no later success vouches for what was lost, and the vault says so. KEEPFS_LOSSY_CUTS (default 12),
KEEPFS_LOSSY_FAULTS (default 4: places of the failing call tried for each kind), KEEPFS_SEED.
"""

import errno
import os
import random
import subprocess
import time

from disk import LossyDisk
from harness import BINARY, detach, number_from_environment, run_script
from load import Load, fsync_folder, is_whole, record

CUTS = number_from_environment("KEEPFS_LOSSY_CUTS", 12)
FAULTS = number_from_environment("KEEPFS_LOSSY_FAULTS", 4)
SEED = number_from_environment("KEEPFS_SEED", 1)
FILES_MAX = 60
FILE_LENGTHS = (300, 5_000, 300_000)


def self_test(report, disk):
    """A cut really forgets, or surviving it says nothing."""
    for name, is_synced in (("synced", True), ("nameless", False)):
        with open(f"{disk.path}/{name}", "wb", buffering=0) as out:
            out.write(b"kept")
            os.fsync(out.fileno())
        if is_synced:
            fsync_folder(disk.path)
    with open(f"{disk.path}/synced", "ab", buffering=0) as out:
        out.write(b" and lost")
    disk.cut()
    disk.on()
    with open(f"{disk.path}/synced", "rb") as content:
        kept = content.read() == b"kept"
    report.need(kept and not os.path.exists(f"{disk.path}/nameless"), "a cut forgets what was not synced, and nothing else")
    disk.fail("-", "sync", 1, "EIO")
    with open(f"{disk.path}/synced", "r+b", buffering=0) as out:
        out.write(b"lost")
        verdicts = []
        for _ in range(2):
            try:
                os.fsync(out.fileno())
                verdicts.append(0)
            except OSError as error:
                verdicts.append(error.errno)
    disk.cut()
    disk.on()
    with open(f"{disk.path}/synced", "rb") as content:
        kept = content.read() == b"kept"
    report.need(verdicts == [errno.EIO, 0] and kept, "a failed sync loses what it should have kept, and the next one hides it", verdicts)
    os.remove(f"{disk.path}/synced")


def power_goes(vault, disk, seed):
    disk.cut(seed)
    vault.kill()
    if vault.is_mounted():
        detach(vault.mountpoint)


def comes_back(report, vault, what):
    result = vault.keepfs("mount", vault.mountpoint, "--allow-other")
    said = f"{result.stdout}{result.stderr}".strip()
    claim = f"{what}: mount comes back: {said.splitlines()[-1][:100] if said else ''}"
    report.need(result.returncode == 0, claim, f"{said}\n{vault.log_tail()}")


def cuts_under_load(report, vault, disk, rng):
    load = Load(report, f"{vault.mountpoint}/work")
    lost, slowest = 0, 0.0
    for number in range(CUTS):
        load.start(number, rng)
        time.sleep(rng.uniform(0.3, 1.5))
        power_goes(vault, disk, rng.randrange(1 << 30) if number % 2 else None)
        load.join()
        disk.on()
        started = time.monotonic()
        comes_back(report, vault, f"cut {number}")
        slowest = max(slowest, time.monotonic() - started)
        problems = load.problems()
        lost += bool(problems)
        if problems:
            report.check(False, f"cut {number}: everything acknowledged is there", "\n".join(problems))
    report.figure("cuts", CUTS)
    report.figure("cuts_with_loss", lost)
    report.figure("acknowledgements", load.acknowledgements())
    report.figure("slowest_mount_after_cut", round(slowest, 2), "s")
    report.check(lost == 0, f"{CUTS} power cuts that drop or tear lost nothing that was acknowledged")
    report.check(load.acknowledgements() > CUTS * 10, "the writers had something to lose", load.acknowledgements())
    return load


class Writer:
    """Files written and synced one by one, and how each call ended."""

    def __init__(self, folder, rng):
        self.folder, self.rng = folder, rng
        self.acknowledged, self.errors, self.after_error = [], [], []
        os.makedirs(folder, exist_ok=True)
        fsync_folder(folder)

    def write(self, count):
        for number in range(count):
            path = f"{self.folder}/{len(self.acknowledged) + len(self.errors)}-{number}"
            try:
                with open(path, "xb", buffering=0) as out:
                    out.write(record("fault", number, self.rng.choice(FILE_LENGTHS)))
                    os.fsync(out.fileno())
                fsync_folder(self.folder)
                self.acknowledged.append(path)
                if self.errors:
                    self.after_error.append(path)
            except OSError as error:
                self.errors.append(error)

    def lost(self):
        lost = []
        for path in self.acknowledged:
            try:
                with open(path, "rb") as content:
                    if not is_whole(content.read()):
                        lost.append(f"{path} is torn")
            except OSError as error:
                lost.append(f"{path}: {error}")
        return lost


def failed_sync(report, vault, disk, nth, below, rng):
    """The Nth sync fails: either the same bytes are made durable another way, or nothing is written any more."""
    what = f"sync {nth} of {below} fails"
    writer = Writer(f"{vault.mountpoint}/sync-{below}-{nth}", rng)
    failures = disk.failures()
    disk.fail(below, "sync", nth, "EIO")
    writer.write(FILES_MAX)
    synced = vault.keepfs("sync", seconds=60)
    if disk.failures() == failures:
        disk.heal()
        report.check(not writer.errors and synced.returncode == 0, f"{what}: not reached, and nothing failed", writer.errors[:3])
        return None
    health = vault.status()["vaults"][0]["health"]
    if writer.errors or synced.returncode != 0:
        says_so = not health["healthy"] and health["reason"] and "Input/output error" in health["reason"]
        report.check(says_so, f"{what}: status says so: {str(health['reason'])[-90:]}", f"{health}\n{synced.stderr}")
        refused = refusals(writer.folder)
        report.check(len(refused) == 3 and set(refused) <= {errno.EIO, errno.EROFS}, f"{what}: writing is refused until it is mounted again", refused)
    else:
        report.check(health["healthy"], f"{what}: what failed was done again", health)
    report.check(not writer.after_error, f"{what}: no success after the failure", writer.after_error[:3])
    return writer_survives(report, vault, disk, (writer, what), nth, rng)


def refusals(folder):
    """How three attempts to write end."""
    refused = []
    for attempt in range(3):
        try:
            with open(f"{folder}/refused-{attempt}", "xb", buffering=0) as out:
                out.write(b"x")
                os.fsync(out.fileno())
        except OSError as error:
            refused.append(error.errno)
    return refused


def failed_call(report, vault, disk, nth, fault, rng):
    """From the Nth call on the disk is full or broken for a while: it is told, and nothing acknowledged is lost."""
    below, call, error = fault
    what = f"{call} {nth} of {below} fails with {error}"
    writer = Writer(f"{vault.mountpoint}/{call}-{below}-{error}-{nth}", rng)
    failures = disk.failures()
    disk.fail(below, call, nth, error, 50)
    writer.write(FILES_MAX)
    # Somebody waits for the store while the disk fails, and the disk recovers.
    sync = subprocess.Popen([BINARY, "sync"], env=vault.environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    time.sleep(0.3)
    disk.heal()
    said, _ = sync.communicate(timeout=60)
    health = vault.status()["vaults"][0]["health"]
    again = vault.keepfs("sync", seconds=60) if sync.returncode else sync
    report.check(health["healthy"] == (again.returncode == 0), f"{what}: sync succeeds when it is over, unless writing stopped", f"{health}\n{said}")
    if disk.failures() == failures:
        report.check(not writer.errors and sync.returncode == 0, f"{what}: not reached, and nothing failed", f"{writer.errors[:3]} {said}")
        return None
    wanted = {errno.EIO, errno.EROFS} | ({errno.ENOSPC} if error == "ENOSPC" else set())
    numbers = {failure.errno for failure in writer.errors}
    told = f"{len(writer.acknowledged)} acknowledged, then {sorted(errno.errorcode[n] for n in numbers)}, sync {sync.returncode}"
    report.check(numbers <= wanted, f"{what}: {told}", writer.errors[:3])
    return writer_survives(report, vault, disk, (writer, what), nth, rng)


def writer_survives(report, vault, disk, writer, nth, rng):
    """The power goes besides; mounted again, everything acknowledged is there and the vault is well."""
    writer, what = writer
    power_goes(vault, disk, rng.randrange(1 << 30) if nth % 2 else None)
    disk.on()
    comes_back(report, vault, what)
    lost = writer.lost()
    report.check(not lost, f"{what}: all {len(writer.acknowledged)} acknowledged files are there", "\n".join(lost[:5]))
    health = vault.status()["vaults"][0]["health"]
    report.check(health["healthy"], f"{what}: mounted again it is healthy", health)
    return writer


def faults(report, vault, disk, rng):
    """All that were met, as writers whose files must be there."""
    writers = []
    for step in range(FAULTS):
        writers.append(failed_sync(report, vault, disk, 1 + step * step, "home", rng))
        writers.append(failed_sync(report, vault, disk, 1 + step, "store", rng))
    for below in ("home", "store"):
        for call, error in (("write", "ENOSPC"), ("write", "EIO"), ("name", "EIO")):
            for step in range(max(FAULTS // 2, 1)):
                writers.append(failed_call(report, vault, disk, 1 + 5 * step, (below, call, error), rng))
    writers = [writer for writer in writers if writer]
    report.figure("faults", len(writers))
    report.check(len(writers) >= FAULTS, "the calls that were to fail did", len(writers))
    return writers


def body(report):
    report.need(os.geteuid() == 0, "this script mounts a disk of its own, so it runs as root")
    rng = random.Random(SEED)
    report.figure("seed", SEED)
    disk = LossyDisk(report)
    self_test(report, disk)
    vault = report.vault("lossy-vault", store=f"{disk.path}/store", home=f"{disk.path}/home")
    vault.init()
    vault.mount()
    load = cuts_under_load(report, vault, disk, rng)
    writers = faults(report, vault, disk, rng)
    problems = load.problems()
    report.check(not problems, "nothing was lost on the way", "\n".join(problems))
    vault.unmount("--wait")
    vault.home = report.path("joined-home")
    vault.join()
    vault.mount()
    problems = load.problems()
    report.check(not problems, "another machine sees the same after all cuts", "\n".join(problems))
    lost = [line for writer in writers for line in writer.lost()]
    report.check(not lost, "and everything acknowledged among the failures", "\n".join(lost[:5]))
    report.check(not vault.panics(), "nothing panicked", vault.panics())
    vault.unmount()


if __name__ == "__main__":
    run_script("lossydisk", body)
