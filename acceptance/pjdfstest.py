#!/usr/bin/env python3
"""POSIX by pjdfstest: every case that ever passed must pass again; the list may grow, never shrink.

Runs all cases as root on the mount, the read-only ones included (they remount it) and those that need a second file
system. One case skips itself on every FUSE file system: it asks pathconf(3) for the most names a file may have, which libc
answers from a table of kinds of file systems; posix.py does the same here. `--accept` adds what passes now to pjdfstest.expected.
"""

import grp
import os
import pwd
import re
import shutil
import subprocess
import sys

from harness import ROOT, TOOLS, run_script

HERE = os.path.dirname(os.path.abspath(__file__))
EXPECTED = os.path.join(HERE, "pjdfstest.expected")
# The kernel answers EBUSY also while the last close of a removed file is still on its way to the daemon. Type helpers of
# mount(8) must not be asked: the file system is mounted already.
MOUNT_WRAPPER = """#!/bin/sh
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    said=$(/bin/mount -i "$@" 2>&1) && exit 0
    case $said in *busy*) sleep 0.05 ;; *) break ;; esac
done
echo "$said" >&2
exit 32
"""


def configuration(report, allow_remount):
    with open(os.path.join(HERE, "pjdfstest.toml")) as template:
        text = template.read()
    group = grp.getgrgid(pwd.getpwnam("nobody").pw_gid).gr_name
    path = report.path(f"pjdfstest-{allow_remount}.toml")
    text = text.replace('"nogroup"', f'"{group}"').replace("allow_remount = true", f"allow_remount = {allow_remount}")
    with open(path, "w") as out:
        out.write(text)
    return path


def make_users():
    try:
        pwd.getpwnam("tests")
    except KeyError:
        subprocess.run(["useradd", "--system", "--no-create-home", "--user-group", "--shell", "/usr/sbin/nologin", "tests"], check=True)


def run(report, folder, allow_remount, *patterns):
    wrappers = report.path("bin")
    os.makedirs(wrappers, exist_ok=True)
    with open(f"{wrappers}/mount", "w") as out:
        out.write(MOUNT_WRAPPER)
    os.chmod(f"{wrappers}/mount", 0o755)
    second = report.path("second-file-system")
    os.makedirs(second, exist_ok=True)
    tool = shutil.which("pjdfstest", path=f"{TOOLS}:{os.environ['PATH']}")
    report.need(tool, "pjdfstest is installed (cargo install pjdfstest --version 0.2.2)")
    result = subprocess.run(
        [tool, "-c", configuration(report, allow_remount), "-s", second, "-p", folder, *patterns],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "PATH": f"{wrappers}:{os.environ['PATH']}", "RUST_BACKTRACE": "0"},
        check=False,
    )
    return re.sub(r"\x1b\[[0-9;]*m", "", result.stdout)


def parse(output):
    verdicts, details, name = {}, {}, None
    for line in output.splitlines():
        match = re.match(r"^(\S+)\s+(ok|FAILED|skipped)$", line)
        if match:
            name = match.group(1)
            verdicts[name] = match.group(2)
        elif name and line.startswith("\t"):
            details.setdefault(name, []).append(line.strip())
    return verdicts, details


def body(report):
    if os.geteuid() != 0:
        report.need(False, "pjdfstest runs as root: it changes owners and users")
    make_users()
    folder = os.environ.get("KEEPFS_PJDFSTEST_ON")
    if not folder:
        vault = report.vault()
        vault.init()
        vault.mount()
        folder = vault.mountpoint
    # The kernel refuses to remount while something still holds a removed file, as cases before may have left it;
    # so the read-only cases have a run of their own.
    verdicts, details = parse(run(report, folder, "false"))
    again, more = parse(run(report, folder, "true", "erofs"))
    verdicts, details = {**verdicts, **again}, {**details, **more}
    passed = sorted(name for name, verdict in verdicts.items() if verdict == "ok")
    failed = sorted(name for name, verdict in verdicts.items() if verdict == "FAILED")
    skipped = sorted(name for name, verdict in verdicts.items() if verdict == "skipped")
    report.figure("passed", len(passed))
    report.figure("failed", len(failed))
    report.figure("skipped", len(skipped))
    for name in failed + skipped:
        report.say(f"{verdicts[name]} {name}: {' '.join(details.get(name, []))[:200]}")
    with open(EXPECTED) as expected:
        expected = {line.strip() for line in expected if line.strip() and not line.startswith("#")}
    lost = sorted(expected - set(passed))
    won = sorted(set(passed) - expected)
    report.check(len(verdicts) >= 398, "the whole suite ran", len(verdicts))
    report.check(not lost, f"all {len(expected)} cases of pjdfstest.expected pass", "\n".join(lost))
    if won and "--accept" in sys.argv:
        with open(EXPECTED, "w") as out:
            out.write("# Cases of pjdfstest 0.2.2 that pass on the mount. Lines are only ever added.\n")
            out.write("\n".join(sorted(expected | set(passed))) + "\n")
    elif won:
        report.check(False, f"pjdfstest.expected lists every case that passes ({len(won)} are new: run with --accept)", "\n".join(won))
    if not os.environ.get("KEEPFS_PJDFSTEST_ON"):
        report.check(not vault.panics(), "nothing panicked", vault.panics())


if __name__ == "__main__":
    run_script("pjdfstest", body)
