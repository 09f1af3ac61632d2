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
MOUNT_SECONDS_MAX = 30
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")


class System:
    """A folder on the file system that everything else stands on: the measure of all others."""

    name = "ext4"

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


KINDS = {kind.name: kind for kind in (System, Keepfs, KeepfsBefore, Gocryptfs)}
PROGRAMS = {"gocryptfs": "gocryptfs"}


def missing(name):
    """The program that a system needs and this machine lacks."""
    program = PROGRAMS.get(name)
    return program if program and not shutil.which(program) else None
