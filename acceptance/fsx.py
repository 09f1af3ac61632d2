#!/usr/bin/env python3
"""fsx: random reads, writes, maps, truncations, holes and copies of one file, compared with a copy in memory.

KEEPFS_FSX_OPERATIONS (default 20000) for each of KEEPFS_FSX_SEEDS (default 5) fixed seeds.
"""

import os
import shutil
import subprocess
import time

from harness import TOOLS, number_from_environment, run_script

OPERATIONS = number_from_environment("KEEPFS_FSX_OPERATIONS", 20_000)
SEEDS = number_from_environment("KEEPFS_FSX_SEEDS", 5)
HERE = os.path.dirname(os.path.abspath(__file__))


def body(report):
    tool = shutil.which("fsx", path=f"{TOOLS}:{os.environ['PATH']}")
    report.need(tool, "fsx is installed (cargo install fsx --version 0.3.2)")
    folder = os.environ.get("KEEPFS_FSX_ON")
    vault = None
    if not folder:
        vault = report.vault()
        vault.init()
        vault.mount()
        folder = vault.mountpoint
    started = time.monotonic()
    clean = 0
    for seed in range(1, SEEDS + 1):
        artifacts = report.path(f"fsx-{seed}")
        os.makedirs(artifacts)
        command = [tool, "-q", "-f", f"{HERE}/fsx.toml", "-N", str(OPERATIONS), "-S", str(seed), "-P", artifacts, f"{folder}/fsx-{seed}"]
        result = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        claim = f"seed {seed}: {OPERATIONS} operations without divergence"
        clean += report.check(result.returncode == 0, claim, (result.stdout + result.stderr)[-4000:])
    report.figure("operations", OPERATIONS * clean)
    report.figure("seeds", SEEDS)
    report.figure("operations_per_second", round(OPERATIONS * SEEDS / (time.monotonic() - started)), "/s")
    if vault:
        report.check(not vault.panics(), "nothing panicked", vault.panics())
        vault.unmount()


if __name__ == "__main__":
    run_script("fsx", body)
