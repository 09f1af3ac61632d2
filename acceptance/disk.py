"""A disk that loses power, as the scripts use it: the test program `lossy-disk` mounted below store and state.

It holds back what was not synced and drops or tears it when the power is cut, or fails a chosen call. The commands are
described in crates/keepfs-sim/src/lossy/control.rs.
"""

import os
import signal
import socket
import subprocess
import time

from harness import TARGET, detach

PROGRAM = os.path.join(TARGET, "release", "lossy-disk")
READY_SECONDS_MAX = 10


class LossyDisk:
    def __init__(self, report, name="lossy"):
        self.report = report
        self.path = report.path(name)
        self.socket = report.path(f"{name}.socket")
        scratch = report.path(f"{name}-scratch")
        for folder in (self.path, scratch):
            os.mkdir(folder)
        self.process = subprocess.Popen([PROGRAM, scratch, self.path, self.socket], stdin=subprocess.DEVNULL)
        report.on_exit(self.end)
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not os.path.exists(self.socket) and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        report.need(os.path.exists(self.socket), "the lossy disk is there (cargo build --release)")

    def tell(self, command):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(self.socket)
            connection.sendall(command.encode() + b"\n")
            answer = b""
            while not answer.endswith(b"\n"):
                piece = connection.recv(4096)
                if not piece:
                    break
                answer += piece
        self.report.need(answer.startswith(b"ok"), f"the lossy disk obeys {command}", answer) if not answer.startswith(b"ok") else None
        return answer.decode().strip().removeprefix("ok").strip()

    def cut(self, seed=None):
        """The power goes; with a seed, some of what was not synced survives."""
        self.tell("cut drop" if seed is None else f"cut tear {seed}")

    def on(self):
        self.tell("on")

    def fail(self, below, call, first, error, times=1):
        self.tell(f"fail {below} {call} {first} {error} {times}")

    def heal(self):
        self.tell("heal")

    def failures(self):
        """How many calls failed because they were told to."""
        return int(self.tell("counts").split(",")[0].split()[1])

    def counts(self):
        """Calls so far, by directory and kind."""
        return {name: int(count) for name, count in (words.split() for words in self.tell("counts").split(", ")[1:])}

    def end(self):
        if self.process.poll() is None:
            detach(self.path)
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
