#!/usr/bin/env python3
"""stress-ng's file system stressors, two at a time with two workers each, checking their own results (--verify).

KEEPFS_STRESS_SECONDS (default 2) for each pair. A stressor that the file system or the kernel cannot serve is counted as not
applicable, with the reason; the daemon must survive all of them with nothing but the right answers. Of the class
"filesystem" those are left out that use no file here (bind-mount, binderfs, eventfd, ioprio, procfs).
"""

import os
import subprocess

from harness import number_from_environment, run_script

SECONDS = number_from_environment("KEEPFS_STRESS_SECONDS", 2)
STRESSORS = (
    "access chattr chdir chmod chown copy-file dentry dir dirdeep dirmany dnotify dup fallocate fanotify fcntl fiemap file-ioctl "
    "filename flock fpunch fsize fstat getdent handle hdd inode-flags inotify io iomix lease link locka lockf lockofd metamix mknod open rdwr readahead "
    "rename seek sendfile symlink sync-file touch unlink utime verity xattr"
).split()
EXIT_NOT_APPLICABLE = (3, 4, 5)


def run(folder, stressors):
    """How stress-ng ended with these at once, two workers each, and what it said."""
    command = ["stress-ng", "--temp-path", folder, "--timeout", f"{SECONDS}s", "--verify", "--oomable"]
    for stressor in stressors:
        command += [f"--{stressor}", "2"]
    result = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS * 10 + 60, check=False)
    return result.returncode, result.stdout + result.stderr


def reason_to_skip(code, said):
    """Why a stressor did not apply, or nothing."""
    if "invalid option" in said or "unrecognized option" in said:
        return "this stress-ng has it not"
    skipping = [line for line in said.splitlines() if "skipping" in line or "not supported" in line]
    if skipping:
        return "not supported here"
    return "not implemented here" if code in EXIT_NOT_APPLICABLE else None


def body(report):
    folder = os.environ.get("KEEPFS_STRESS_ON")
    vault = None
    if not folder:
        vault = report.vault()
        vault.init()
        vault.mount()
        folder = vault.mountpoint
    passed, absent, failed = 0, {}, []
    waiting = [STRESSORS[at : at + 2] for at in range(0, len(STRESSORS), 2)]
    while waiting:
        stressors = waiting.pop(0)
        code, said = run(folder, stressors)
        reason = reason_to_skip(code, said)
        if code == 0 and not reason:
            passed += len(stressors)
        elif len(stressors) > 1:
            # Which of them it was, each shows alone.
            waiting[:0] = [[stressor] for stressor in stressors]
        elif reason:
            absent[stressors[0]] = reason
        else:
            failed += stressors
            lines = [line for line in said.splitlines() if "fail" in line or "error" in line]
            report.check(False, f"{stressors[0]} verifies", f"exit code {code}\n" + "\n".join(lines))
        if vault and not vault.daemons():
            report.need(False, f"the daemon lives after {' and '.join(stressors)}", vault.log_tail())
    report.figure("stressors_passed", passed)
    report.figure("stressors_not_applicable", ", ".join(f"{name} ({reason})" for name, reason in absent.items()) or "none")
    report.check(not failed, f"{passed} stressors find nothing wrong", failed)
    report.check(passed >= 40, "most stressors apply", passed)
    left = os.listdir(folder)
    report.check(not [name for name in left if name.startswith("tmp-stress")], "they leave nothing behind", left)
    if vault:
        report.check(not vault.panics(), "nothing panicked", vault.panics())
        vault.sync()
        vault.unmount()


if __name__ == "__main__":
    run_script("stress", body)
