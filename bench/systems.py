"""The systems that are measured: how each is prepared, mounted, made to forget, and taken away.

Every system gives a folder, `path`; `cold` makes sure that the next read comes from its store; `settle` waits until it
has nothing left to do in the background, so that its deferred work does not fall on the next system's row.
"""

import os
import shutil
import subprocess
import time

from harness import PASSWORD, TARGET, detach, drop_caches

WORKER = os.path.join(TARGET, "release", "bench-work")
CEILING = os.path.join(TARGET, "release", "bench-ceiling")
CEILING_BYTES = 320 << 20
MOUNT_SECONDS_MAX = 30
PEER_SECONDS_MAX = 120
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class System:
    """A folder on the file system that everything else stands on: the measure of all others."""

    name = "ext4"
    # What it does not keep, as check-tree says it.
    forgets = ()

    def __init__(self, report, tag):
        self.report = report
        self.base = report.path(f"{self.name.replace(' ', '-')}-{tag}")
        self.path = os.path.join(self.base, "mount")
        self.memory_idle = self.memory_peak = 0
        os.makedirs(self.path)
        self.prepare()
        self.mount()

    def prepare(self):
        """Makes what is mounted."""

    def mount(self):
        """Mounts it."""

    def unmount(self):
        """Unmounts it when nothing of it is in memory alone."""

    def daemons(self):
        """Process ids of what serves the mount."""
        return []

    def settle(self):
        os.sync()

    def publish(self):
        """Returns when everything is durable on the store."""
        self.settle()

    def resume(self):
        """Makes it usable again after `publish`."""

    def cold(self):
        self.note_memory()
        self.unmount()
        os.sync()
        drop_caches()
        self.mount()

    def end(self):
        self.note_memory()
        self.unmount()
        shutil.rmtree(self.base)

    def cpu_seconds(self):
        """User and system time that the daemons have used so far."""
        total = 0
        for process in self.daemons():
            with open(f"/proc/{process}/stat") as stat:
                fields = stat.read().rsplit(")", 1)[1].split()
            total += int(fields[11]) + int(fields[12])
        return total / CLOCK_TICKS

    def note_memory(self):
        self.memory_peak = max(self.memory_peak, self.memory("VmHWM"))

    def memory(self, field):
        """Bytes of resident memory of all daemons: now (VmRSS) or at most so far (VmHWM)."""
        total = 0
        for process in self.daemons():
            with open(f"/proc/{process}/status") as status:
                total += sum(int(line.split()[1]) * 1024 for line in status if line.startswith(f"{field}:"))
        return total


class Keepfs(System):
    """The embedded default: store and state on the same disk, compression and deduplication on."""

    name = "keepfs"
    binary = None

    def prepare(self):
        name = os.path.relpath(self.base, self.report.scratch)
        self.vault = self.report.vault(f"{name}/vault", binary=self.binary)
        self.path = self.vault.mountpoint
        self.vault.init()

    def mount(self):
        self.vault.mount()
        self.memory_idle = self.memory_idle or self.memory("VmRSS")

    def unmount(self):
        self.vault.unmount("--wait")

    def daemons(self):
        return self.vault.daemons()

    def settle(self):
        os.sync()
        self.vault.sync()


class KeepfsBefore(Keepfs):
    """Another build of keepfs, to compare with."""

    name = "before"


class Mounted(System):
    """A FUSE file system that a command mounts and `umount` ends."""

    def umount(self):
        subprocess.run(["umount", self.path], check=True)
        deadline = time.monotonic() + MOUNT_SECONDS_MAX
        while self.daemons() and time.monotonic() < deadline:
            time.sleep(0.01)
        self.report.need(not self.daemons(), f"{self.name} ends after its mount")

    def unmount(self):
        os.sync()
        self.umount()

    def wait_for_mount(self):
        deadline = time.monotonic() + MOUNT_SECONDS_MAX
        while not os.path.ismount(self.path):
            self.report.need(time.monotonic() < deadline, f"{self.name} mounts")
            time.sleep(0.01)
        self.memory_idle = self.memory_idle or self.memory("VmRSS")

    def daemons(self):
        """Processes that have the mount point among their arguments."""
        found = []
        for entry in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as command:
                    if os.fsencode(self.path) in command.read().split(b"\0"):
                        found.append(int(entry))
            except OSError:
                continue
        return found

    def run(self, *command, **environment):
        subprocess.run(
            command,
            check=True,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def detach_at_exit(self):
        self.report.on_exit(lambda: os.path.ismount(self.path) and detach(self.path))


class Gocryptfs(Mounted):
    name = "gocryptfs"

    def prepare(self):
        self.store = os.path.join(self.base, "store")
        os.makedirs(self.store)
        self.detach_at_exit()
        self.gocryptfs("-init", "-scryptn", "10", self.store)

    def gocryptfs(self, *arguments):
        self.run("gocryptfs", "-q", "-extpass", f"echo {PASSWORD}", *arguments)

    def mount(self):
        self.gocryptfs(self.store, self.path)
        self.wait_for_mount()


class Rclone(Mounted):
    """A crypt remote over a directory, mounted with its cache of whole files. That cache is plaintext, and `fsync` does
    not wait for the store; it is emptied before a cold row. It has no symbolic links and no modes."""

    name = "rclone"
    forgets = ("modes=0",)

    def prepare(self):
        self.cache = os.path.join(self.base, "cache")
        self.config = os.path.join(self.base, "rclone.conf")
        os.makedirs(os.path.join(self.base, "store"))
        self.detach_at_exit()
        obscured = subprocess.run(["rclone", "obscure", PASSWORD], check=True, capture_output=True, text=True).stdout
        with open(self.config, "w") as out:
            out.write(f"[sealed]\ntype = crypt\nremote = {self.base}/store\npassword = {obscured}")

    def mount(self):
        options = ["--vfs-cache-mode", "full", "--vfs-write-back", "0s", "--daemon", "--cache-dir", self.cache]
        self.run("rclone", "--config", self.config, "mount", *options, "sealed:", self.path)
        self.wait_for_mount()

    def settle(self):
        os.sync()
        deadline = time.monotonic() + PEER_SECONDS_MAX
        while self.has_dirty() and time.monotonic() < deadline:
            time.sleep(0.05)

    def has_dirty(self):
        """Whether the cache holds what the store lacks: it keeps a note of each file."""
        for folder, _, names in os.walk(os.path.join(self.cache, "vfsMeta")):
            for name in names:
                try:
                    with open(os.path.join(folder, name)) as note:
                        if '"Dirty": true' in note.read():
                            return True
                except FileNotFoundError:
                    continue
        return False

    def unmount(self):
        self.settle()
        self.umount()
        shutil.rmtree(self.cache, ignore_errors=True)


class Cryfs(Mounted):
    """With its own defaults. `fsync` does not reach its store's disk, and a time that was set does not survive."""

    name = "cryfs"
    forgets = ("times=0",)

    def prepare(self):
        self.detach_at_exit()
        os.makedirs(os.path.join(self.base, "store"))

    def mount(self):
        environment = {
            **os.environ,
            "CRYFS_FRONTEND": "noninteractive",
            "CRYFS_NO_UPDATE_CHECK": "true",
            "CRYFS_LOCAL_STATE_DIR": os.path.join(self.base, "state"),
        }
        command = ["cryfs", os.path.join(self.base, "store"), self.path]
        subprocess.run(command, check=True, env=environment, input=PASSWORD, text=True, capture_output=True)
        self.wait_for_mount()

    def publish(self):
        # Nothing less writes its blocks.
        self.unmount()
        os.sync()

    def resume(self):
        self.mount()


class Ceiling(Mounted):
    """The most that FUSE can give: a tree in memory behind the kernel switches of keepfs. It is never unmounted before
    its end, for it would forget; the kernel forgets all the same."""

    name = "ceiling"

    def mount(self):
        self.detach_at_exit()
        self.process = subprocess.Popen([CEILING, self.path, str(CEILING_BYTES)])
        self.report.on_exit(lambda: self.process.poll() is None and self.process.kill())
        self.wait_for_mount()

    def daemons(self):
        return [self.process.pid] if self.process.poll() is None else []

    def cold(self):
        self.settle()
        drop_caches()


KINDS = {kind.name: kind for kind in (System, Keepfs, KeepfsBefore, Gocryptfs, Ceiling, Rclone, Cryfs)}
# Measured once, with smaller sizes: a full run of theirs would take longer than all others together.
SLOW = ("rclone", "cryfs")


def missing_program(name):
    """Whether this machine lacks a program."""
    return shutil.which(name) is None


def missing(name):
    """Whether this machine lacks what a system needs."""
    return name in ("gocryptfs", *SLOW) and missing_program(name)
