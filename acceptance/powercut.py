#!/usr/bin/env python3
"""Power cuts under the real binary: the disk below store and state stops in the middle and forgets what was not synced.

Store and state lie on an ext4 file system in an image file. A cut is ext4's shutdown without flushing its journal:
everything that was not synced is gone, the rest comes back through its journal. Odd rounds mount it with
data=writeback, where a file may have its new length without its bytes. KEEPFS_CUTS (default 10), KEEPFS_SEED.
"""

import fcntl
import os
import random
import struct
import subprocess
import time

from harness import detach, number_from_environment, run_script
from load import Load

CUTS = number_from_environment("KEEPFS_CUTS", 10)
SEED = number_from_environment("KEEPFS_SEED", 1)
IMAGE_BYTES = 4 << 30
# From the kernel's uapi headers: EXT4_IOC_SHUTDOWN and EXT4_GOING_FLAGS_NOLOGFLUSH.
SHUTDOWN = 0x8004587D
WITHOUT_FLUSH = 2


class Disk:
    """A file system that can lose its power."""

    def __init__(self, report):
        self.image = report.path("disk.img")
        self.path = report.path("disk")
        os.mkdir(self.path)
        with open(self.image, "wb") as image:
            image.truncate(IMAGE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", self.image], check=True)
        report.on_exit(lambda: detach(self.path))

    def on(self, harsh):
        mode = "data=writeback,noauto_da_alloc" if harsh else "data=ordered"
        subprocess.run(["mount", "-o", f"loop,{mode}", self.image, self.path], check=True)

    def cut(self):
        folder = os.open(self.path, os.O_RDONLY)
        fcntl.ioctl(folder, SHUTDOWN, struct.pack("I", WITHOUT_FLUSH))
        os.close(folder)

    def off(self):
        for _ in range(100):
            if subprocess.run(["umount", self.path], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return
            time.sleep(0.1)
        raise OSError(f"{self.path} stays busy")


def self_test(report, disk):
    """A cut really forgets, or surviving it says nothing."""
    disk.on(True)
    with open(f"{disk.path}/synced", "wb") as out:
        out.write(b"kept")
        out.flush()
        os.fsync(out.fileno())
    unsynced = open(f"{disk.path}/unsynced", "wb")
    unsynced.write(b"lost")
    unsynced.flush()
    disk.cut()
    unsynced.close()
    disk.off()
    disk.on(False)
    kept = os.path.exists(f"{disk.path}/synced")
    forgotten = not os.path.exists(f"{disk.path}/unsynced") or os.path.getsize(f"{disk.path}/unsynced") == 0
    report.need(kept and forgotten, "a cut forgets what was not synced, and nothing else")


def body(report):
    report.need(os.geteuid() == 0, "this script makes and cuts file systems, so it runs as root")
    rng = random.Random(SEED)
    disk = Disk(report)
    self_test(report, disk)
    vault = report.vault("cut", store=f"{disk.path}/store", home=f"{disk.path}/home")
    vault.init()
    vault.mount()
    load = Load(report, f"{vault.mountpoint}/work")
    lost = 0
    for number in range(CUTS):
        load.start(number, rng)
        time.sleep(rng.uniform(0.5, 4.0))
        disk.cut()
        time.sleep(rng.uniform(0.0, 0.3))
        vault.kill()
        load.join()
        detach(vault.mountpoint)
        disk.off()
        disk.on(number % 2 == 1)
        result = vault.keepfs("mount", vault.mountpoint, "--allow-other")
        said = f"{result.stdout}{result.stderr}".strip()
        report.need(result.returncode == 0, f"cut {number}: mount comes back: {said.splitlines()[-1] if said else ''}", f"{said}\n{vault.log_tail()}")
        problems = load.problems()
        lost += bool(problems)
        if problems:
            report.check(False, f"cut {number}: everything acknowledged is there", "\n".join(problems))
    report.figure("cuts", CUTS)
    report.figure("cuts_with_loss", lost)
    report.figure("acknowledgements", load.acknowledgements())
    report.check(lost == 0, f"{CUTS} power cuts lost nothing that was acknowledged")
    vault.unmount("--wait")
    vault.home = report.path("joined-home")
    vault.join()
    vault.mount()
    problems = load.problems()
    report.check(not problems, "another machine sees the same after all cuts", "\n".join(problems))
    report.check(not vault.panics(), "nothing panicked", vault.panics())


if __name__ == "__main__":
    run_script("powercut", body)
