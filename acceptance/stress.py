#!/usr/bin/env python3
"""stress-ng's file system stressors, one after the other, each checking its own results (--verify).

KEEPFS_STRESS_SECONDS (default 2) for each, with two workers. A stressor that the file system or the kernel cannot serve
is counted as not applicable; the daemon must survive all of them with nothing but the right answers.
"""

import os
import subprocess

from harness import number_from_environment, run_script

SECONDS = number_from_environment("KEEPFS_STRESS_SECONDS", 2)
STRESSORS = (
    "access chdir chmod chown copy-file dentry dir dirdeep dirmany dup fallocate fcntl file-ioctl filename flock "
    "fpunch fsize fstat getdent hdd inotify io iomix lease link locka lockf lockofd metamix mknod open rdwr readahead "
    "rename seek sendfile symlink sync-file touch unlink utime xattr"
).split()
EXIT_NOT_APPLICABLE = (3, 4, 5)


def body(report):
    folder = os.environ.get("KEEPFS_STRESS_ON")
    vault = None
    if not folder:
        vault = report.vault()
        vault.init()
        vault.mount()
        folder = vault.mountpoint
    passed, absent, failed = 0, [], []
    for stressor in STRESSORS:
        command = ["stress-ng", "--temp-path", folder, f"--{stressor}", "2", "--timeout", f"{SECONDS}s", "--verify", "--oomable"]
        try:
            result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS * 10 + 60, check=False)
        except subprocess.TimeoutExpired as error:
            report.check(False, f"{stressor} ends", error)
            failed.append(stressor)
            continue
        said = result.stdout + result.stderr
        if result.returncode == 0:
            passed += 1
        elif "invalid option" in said or "unrecognized option" in said or result.returncode in EXIT_NOT_APPLICABLE:
            absent.append(stressor)
        else:
            failed.append(stressor)
            report.check(False, f"{stressor} verifies", f"exit code {result.returncode}\n" + "\n".join(line for line in said.splitlines() if "fail" in line or "error" in line))
        if vault:
            report.need(vault.daemons(), f"the daemon lives after {stressor}", vault.log_tail()) if not vault.daemons() else None
    report.figure("stressors_passed", passed)
    report.figure("stressors_not_applicable", " ".join(absent) or "none")
    report.check(not failed, f"{passed} stressors find nothing wrong", failed)
    report.check(passed >= 30, "most stressors apply", passed)
    left = os.listdir(folder)
    report.check(not [name for name in left if name.startswith("tmp-stress")], "they leave nothing behind", left)
    if vault:
        report.check(not vault.panics(), "nothing panicked", vault.panics())
        vault.sync()
        vault.unmount()


if __name__ == "__main__":
    run_script("stress", body)
