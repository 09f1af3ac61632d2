"""What every acceptance script shares: a scratch vault under the real binary, figures, and claims that can fail.

A script makes a Report, uses Vaults inside it, and ends with report.finish(). Everything it made is
unmounted, killed and removed on the way out, however it ends. Figures go to target/acceptance/<name>.json,
from which reliability.py prints RELIABILITY.md.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TARGET = os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target"))
BINARY = os.environ.get("KEEPFS_BINARY", os.path.join(TARGET, "release", "keepfs"))
CANARY_SCAN = os.path.join(TARGET, "release", "canary-scan")
TOOLS = os.path.join(TARGET, "tools", "bin")
FIGURES = os.path.join(TARGET, "acceptance")
PASSWORD = "correct horse battery staple"
MIB = 1024 * 1024
# The floor that a reader accepts: the scripts test the file system, not the cost of a guess.
KDF_MEMORY = "64MiB"
COMMAND_SECONDS_MAX = 900


def number_from_environment(name, default):
    """A size of the test that may be made bigger by hand."""
    return int(os.environ.get(name, default))


class Failed(Exception):
    """Something without which the rest of the script makes no sense."""


class Report:
    """The figures and claims of one script."""

    def __init__(self, name):
        self.name = name
        self.figures = {}
        self.failures = []
        self.passed = 0
        self.cleanups = []
        self.started = time.monotonic()
        base = os.environ.get("KEEPFS_SCRATCH", "/var/tmp")
        self.scratch = tempfile.mkdtemp(prefix=f"keepfs-{name}-", dir=base)
        os.chmod(self.scratch, 0o755)
        atexit.register(self.clean)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: sys.exit(130))
        if not os.access(BINARY, os.X_OK):
            print(f"{BINARY} is missing: build it with `cargo build --release`")
            sys.exit(2)

    def path(self, *parts):
        return os.path.join(self.scratch, *parts)

    def say(self, sentence):
        print(f"[{time.monotonic() - self.started:6.1f}s] {self.name}: {sentence}", flush=True)

    def figure(self, name, value, unit=""):
        self.figures[name] = {"value": value, "unit": unit}
        self.say(f"{name} = {value}{' ' + unit if unit else ''}")

    def check(self, holds, claim, detail=""):
        """A claim; the script goes on when it does not hold, and fails at its end."""
        if holds:
            self.passed += 1
            self.say(f"ok: {claim}")
        else:
            self.failures.append(claim)
            self.say(f"FAILED: {claim}")
            for line in str(detail).strip().splitlines()[:40]:
                print(f"            {line}", flush=True)
        return bool(holds)

    def need(self, holds, claim, detail=""):
        """A claim without which nothing further can be judged."""
        if not self.check(holds, claim, detail):
            raise Failed(claim)

    def vault(self, name="vault", **options):
        vault = Vault(self, name, **options)
        self.cleanups.append(vault.discard)
        return vault

    def on_exit(self, action):
        self.cleanups.append(action)

    def clean(self):
        while self.cleanups:
            try:
                self.cleanups.pop()()
            except Exception as error:  # The next one still has to be cleaned up.
                print(f"cleaning up: {error}", flush=True)
        if os.environ.get("KEEPFS_KEEP_SCRATCH") and self.failures:
            print(f"kept {self.scratch}")
            return
        subprocess.run(["chattr", "-R", "-i", self.scratch], stderr=subprocess.DEVNULL, check=False)
        # Not shutil: a tree may be deeper than Python can recurse.
        subprocess.run(["rm", "-rf", "--one-file-system", self.scratch], stderr=subprocess.DEVNULL, check=False)

    def finish(self):
        seconds = time.monotonic() - self.started
        os.makedirs(FIGURES, exist_ok=True)
        result = {
            "name": self.name,
            "passed": self.passed,
            "failures": self.failures,
            "seconds": round(seconds, 1),
            "figures": self.figures,
        }
        with open(os.path.join(FIGURES, f"{self.name}.json"), "w") as out:
            json.dump(result, out, indent=1)
        verdict = "all hold" if not self.failures else f"{len(self.failures)} FAILED"
        self.say(f"{self.passed + len(self.failures)} claims, {verdict}")
        sys.exit(1 if self.failures else 0)


def run_script(name, body, kind=Report):
    """Runs body(report) so that a failed need, or a surprise, is a failure and not a stack trace alone."""
    report = kind(name)
    try:
        body(report)
    except Failed:
        pass
    except Exception as error:
        import traceback

        report.check(False, f"the script runs to its end ({type(error).__name__}: {error})", traceback.format_exc())
    report.finish()


class Vault:
    """One vault with its store, its state and its mount point, under the real binary."""

    def __init__(self, report, name, store=None, home=None, binary=None, url=None, variables=None):
        self.report = report
        self.binary = binary or BINARY
        self.variables = variables or {}
        self.store = store or report.path(f"{name}-store")
        self.home = home or report.path(f"{name}-home")
        self.mountpoint = report.path(f"{name}-mount")
        for folder in (self.store, self.mountpoint):
            os.makedirs(folder, exist_ok=True)
        self.url = url or f"file://{self.store}"

    def environment(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KEEPFS_")}
        environment.update(KEEPFS_HOME=self.home, KEEPFS_PASSWORD=PASSWORD, **self.variables)
        return environment

    def keepfs(self, *arguments, environment=None, seconds=COMMAND_SECONDS_MAX):
        """Runs the binary; gives what subprocess gives, with text."""
        command = [self.binary, *arguments]
        return subprocess.run(
            command,
            env={**self.environment(), **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
        )

    def must(self, *arguments, **options):
        started = time.monotonic()
        result = self.keepfs(*arguments, **options)
        detail = f"exit code {result.returncode}\n{result.stdout}\n{result.stderr}\n{self.log_tail()}"
        claim = f"keepfs {' '.join(arguments[:1])} succeeds ({time.monotonic() - started:.1f} s)"
        self.report.need(result.returncode == 0, claim, detail)
        return result

    def init(self):
        phrase = self.report.path(f"phrase-{time.monotonic_ns()}")
        return self.must("init", self.url, "--yes", "--kdf-memory", KDF_MEMORY, "--phrase-file", phrase)

    def join(self):
        return self.must("join", self.url)

    def mount(self, *options):
        allow_other = ["--allow-other"] if os.geteuid() == 0 else []
        return self.must("mount", self.mountpoint, *allow_other, *options)

    def unmount(self, *options):
        return self.must("unmount", self.mountpoint, *options)

    def sync(self):
        return self.must("sync")

    def status(self):
        result = self.keepfs("status", "--json")
        try:
            return json.loads(result.stdout)
        except ValueError:
            return {}

    def is_mounted(self):
        with open("/proc/self/mountinfo") as mounts:
            return any(line.split()[4] == self.mountpoint for line in mounts)

    def daemons(self):
        """Process ids of our daemons: our binary, with our home in its environment or arguments."""
        found = []
        needle = self.home.encode()
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                if os.readlink(f"/proc/{entry}/exe").removesuffix(" (deleted)") != os.path.realpath(self.binary):
                    continue
                with open(f"/proc/{entry}/environ", "rb") as environ, open(f"/proc/{entry}/cmdline", "rb") as command:
                    if needle in environ.read() or needle in command.read():
                        found.append(int(entry))
            except OSError:
                continue
        return found

    def daemon(self):
        daemons = self.daemons()
        self.report.need(len(daemons) == 1, "one daemon serves the mount", f"found {daemons}")
        return daemons[0]

    def kill(self):
        """SIGKILL to every daemon of this vault; returns when they are gone."""
        for process in self.daemons():
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        deadline = time.monotonic() + 20
        while self.daemons() and time.monotonic() < deadline:
            time.sleep(0.01)

    def memory_peak(self):
        """VmHWM of the daemon in bytes."""
        with open(f"/proc/{self.daemon()}/status") as status:
            for line in status:
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return 0

    def log_tail(self):
        lines = []
        for folder, _, names in os.walk(self.home):
            for name in names:
                if name.endswith(".log"):
                    try:
                        with open(os.path.join(folder, name), errors="replace") as log:
                            lines += [f"log: {line.rstrip()}" for line in log.readlines()[-12:]]
                    except OSError:
                        pass
        return "\n".join(lines)

    def panics(self):
        """Lines of the logs that tell of a panic."""
        return [line for line in self.whole_log().splitlines() if "panicked at" in line or "panic" in line.lower()]

    def whole_log(self):
        text = []
        for folder, _, names in os.walk(self.home):
            for name in names:
                if ".log" in name:
                    try:
                        with open(os.path.join(folder, name), errors="replace") as log:
                            text.append(log.read())
                    except OSError:
                        pass
        return "\n".join(text)

    def store_bytes(self):
        """Bytes of all files of the store, by length."""
        return sum(size for _, size in self.store_files())

    def store_objects(self):
        return len([path for path, _ in self.store_files() if "/o/" in path])

    def store_files(self):
        found = []
        for folder, _, names in os.walk(self.store):
            for name in names:
                path = os.path.join(folder, name)
                try:
                    found.append((path, os.lstat(path).st_size))
                except FileNotFoundError:
                    pass
        return found

    def discard(self):
        if self.is_mounted():
            try:
                self.keepfs("unmount", self.mountpoint, seconds=60)
            except subprocess.TimeoutExpired:
                pass
        self.kill()
        if self.is_mounted():
            detach(self.mountpoint)


def detach(mountpoint):
    command = ["umount", "-l"] if os.geteuid() == 0 else ["fusermount3", "-uz"]
    subprocess.run([*command, mountpoint], stderr=subprocess.DEVNULL, check=False)


def shell(report, command, claim=None, **options):
    """Runs a shell command; a claim makes its success one."""
    result = subprocess.run(command, shell=True, capture_output=True, text=True, errors="replace", check=False, **options)
    if claim:
        report.check(result.returncode == 0, claim, f"{command}\nexit code {result.returncode}\n{result.stdout[-3000:]}{result.stderr[-3000:]}")
    return result


def rate(byte_count, seconds):
    return round(byte_count / MIB / max(seconds, 1e-9), 1)


def drop_caches():
    """Makes the kernel forget what it has cached, where we may."""
    try:
        with open("/proc/sys/vm/drop_caches", "w") as control:
            control.write("3")
        return True
    except OSError:
        return False
