#!/usr/bin/env python3
"""kill -9 under load: what fsync acknowledged is there, nothing is torn, and the next mount comes back by itself.

Several processes write for a while (see load.py); each notes what was acknowledged in a log outside the mount. Then
the daemon gets SIGKILL, the vault is mounted again and everything acknowledged is looked for. KEEPFS_ROUNDS (default
20) rounds, or as many as KEEPFS_SECONDS have room for; KEEPFS_SEED for another order of events.
"""

import itertools
import os
import random
import subprocess
import time

from harness import BINARY, number_from_environment, run_script
from load import Load

ROUNDS = number_from_environment("KEEPFS_ROUNDS", 20)
SECONDS = number_from_environment("KEEPFS_SECONDS", 0)
SEED = number_from_environment("KEEPFS_SEED", 1)
# After so many rounds the writers go on in another folder; all are looked at again at the end.
ROUNDS_OF_A_FOLDER = 20


def kill_under_load(vault, load, number, rng):
    load.start(number, rng)
    time.sleep(rng.uniform(0.2, 1.6))
    sync = None
    if rng.random() < 0.4:
        # Sometimes the kill falls into an upload that somebody waits for.
        sync = subprocess.Popen([BINARY, "sync"], env=vault.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.0, 0.3))
    vault.kill()
    load.join()
    if sync:
        sync.wait()


def body(report):
    rng = random.Random(SEED)
    report.figure("seed", SEED)
    vault = report.vault()
    vault.init()
    vault.mount()
    loads = []
    lost_rounds, recoveries, slowest, rounds = 0, 0, 0.0, 0
    deadline = time.monotonic() + SECONDS
    for number in itertools.count():
        if time.monotonic() > deadline if SECONDS else number == ROUNDS:
            break
        rounds += 1
        if number % ROUNDS_OF_A_FOLDER == 0:
            loads.append(Load(report, f"{vault.mountpoint}/work-{number}"))
        load = loads[-1]
        kill_under_load(vault, load, number, rng)
        started = time.monotonic()
        result = vault.keepfs("mount", vault.mountpoint, *(["--allow-other"] if os.geteuid() == 0 else []))
        seconds = time.monotonic() - started
        slowest = max(slowest, seconds)
        said = f"{result.stdout}{result.stderr}"
        report.need(result.returncode == 0, f"round {number}: mount comes back ({seconds:.1f} s)", f"{said}{vault.log_tail()}")
        recoveries += "recover" in said.lower()
        if number == 0:
            report.say(f"mount said: {said.strip()}")
        problems = load.problems()
        lost_rounds += bool(problems)
        if problems:
            report.check(False, f"round {number}: everything acknowledged is there", "\n".join(problems))
    acknowledged = sum(load.acknowledgements() for load in loads)
    report.figure("rounds", rounds)
    report.figure("acknowledgements", acknowledged)
    report.figure("rounds_with_loss", lost_rounds)
    report.figure("slowest_mount_after_kill", round(slowest, 2), "s")
    report.check(lost_rounds == 0, f"{rounds} kills lost nothing that was acknowledged")
    report.check(acknowledged > rounds * 10, "the writers had something to lose", acknowledged)
    report.check(recoveries > 0, "mount says what it recovered", f"{recoveries} of {rounds}")
    vault.unmount("--wait")
    vault.home = report.path("joined-home")
    vault.join()
    vault.mount()
    problems = [line for load in loads for line in load.problems()]
    report.check(not problems, "another machine sees the same after all kills", "\n".join(problems))
    report.check(not vault.panics(), "nothing panicked", vault.panics())


if __name__ == "__main__":
    run_script("kill9", body)
