#!/usr/bin/env python3
"""The README's commands as an ordinary user: found, mount, work, unmount, heal a dead mount, come back from nothing.

Makes a user for the time it runs. Mounting goes through fusermount3, as it does for everybody who is not root; and
--allow-other is refused with a sentence where the administrator has not allowed it.
"""

import os
import pwd
import shutil
import signal
import subprocess
import time

from harness import BINARY, PASSWORD, detach, run_script

NAME = "keepfs-tester"
FUSE_CONFIGURATION = "/etc/fuse.conf"
DEVICE = "/dev/fuse"


class User:
    """A user with a home of its own, whose commands run as a login would run them."""

    def __init__(self, report):
        self.report = report
        self.home = report.path("home")
        subprocess.run(["useradd", "--home-dir", self.home, "--create-home", "--shell", "/bin/sh", NAME], check=True)
        report.on_exit(lambda: subprocess.run(["userdel", NAME], stderr=subprocess.DEVNULL, check=False))
        account = pwd.getpwnam(NAME)
        self.ids = (account.pw_uid, account.pw_gid)
        # The binary where this user can reach it, whoever owns the build.
        self.binary = report.path("keepfs")
        shutil.copy(BINARY, self.binary)
        report.on_exit(self.end)

    def environment(self, extra):
        path = f"{os.path.dirname(self.binary)}:/usr/local/bin:/usr/bin:/bin"
        return {"HOME": self.home, "USER": NAME, "PATH": path, "KEEPFS_PASSWORD": PASSWORD, **extra}

    def shell(self, command, **extra):
        """Runs a command line as this user, at home."""
        return subprocess.run(
            ["sh", "-c", command],
            env=self.environment(extra),
            cwd=self.home,
            user=self.ids[0],
            group=self.ids[1],
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def does(self, command, claim, **extra):
        result = self.shell(command, **extra)
        self.report.need(result.returncode == 0, claim, f"{command}\nexit code {result.returncode}\n{result.stdout}{result.stderr}")
        return result.stdout

    def fails(self, command, claim, words):
        result = self.shell(command)
        said = result.stderr.strip()
        holds = result.returncode != 0 and all(word in said for word in words) and "panicked" not in said and len(said.splitlines()) == 1
        self.report.check(holds, f"{claim}: {said[:150]}", f"exit code {result.returncode}\n{result.stdout}{said}")

    def daemons(self):
        """Processes of this user that run keepfs; one that has ended and waits to be buried is none."""
        command = ["pgrep", "-u", str(self.ids[0]), "-x", "keepfs", "--runstates", "RSD"]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        return [int(word) for word in result.stdout.split()]

    def end(self):
        for folder in (f"{self.home}/private", f"{self.home}/again"):
            detach(folder)
        for process in self.daemons():
            os.kill(process, signal.SIGKILL)


def open_device(report, user):
    """Everybody may open /dev/fuse, as udev has it; where nobody else may, mount says so."""
    before = os.stat(DEVICE).st_mode & 0o777
    report.on_exit(lambda: os.chmod(DEVICE, before))
    os.chmod(DEVICE, 0o600)
    user.does("mkdir ~/private", "there is a mount point")
    user.fails("keepfs mount ~/private", "without the device mount is refused", [DEVICE, "chmod"])
    os.chmod(DEVICE, 0o666)


def is_mounted(path):
    with open("/proc/self/mountinfo") as mounts:
        return any(line.split()[4] == path for line in mounts)


def first_minutes(report, user):
    """The block of the README, with the password from the environment instead of a prompt."""
    user.does("mkdir store documents && cp -r /usr/include/linux documents/", "there is something to keep")
    user.does("keepfs init file://$HOME/store --yes --kdf-memory 64MiB --phrase-file $HOME/phrase", "init works without root")
    report.check(os.stat(f"{user.home}/phrase").st_mode & 0o777 == 0o600, "the phrase is for its owner only")
    open_device(report, user)
    user.does("keepfs mount ~/private", "mount works without root")
    with open("/proc/self/mountinfo") as mounts:
        line = next(line for line in mounts if line.split()[4] == f"{user.home}/private")
    options = line.split()[5].split(",")
    report.check({"nosuid", "nodev"} <= set(options) and f"user_id={user.ids[0]}" in line, "the mount is the user's, nosuid and nodev", line)
    user.does("cp -a ~/documents ~/private/", "cp -a works in it")
    said = user.does("keepfs status", "status works")
    report.check("not on the store" in said or "on the store" in said, "status tells what is on the store", said)
    user.does("keepfs sync", "sync works")
    said = user.does("keepfs inspect file://$HOME/store", "inspect works")
    report.check("documents" not in said, "inspect shows no name", said)
    user.does("diff -r ~/documents ~/private/documents", "what is in it is what was put in")
    user.fails("keepfs mount ~/private", "a second mount is refused", ["keepfs:"])
    user.does("keepfs unmount ~/private", "unmount works without root")
    report.check(not is_mounted(f"{user.home}/private"), "and nothing stays mounted")


def a_dead_mount_heals(report, user):
    user.does("keepfs mount ~/private && echo kept > ~/private/kept && sync ~/private/kept", "it is mounted again")
    for process in user.daemons():
        os.kill(process, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while user.daemons() and time.monotonic() < deadline:
        time.sleep(0.02)
    result = user.shell("ls ~/private")
    report.check(result.returncode != 0, f"the daemon was killed: {result.stderr.strip()[-60:]}", result)
    said = user.does("keepfs mount ~/private && cat ~/private/kept", "mount takes the dead mount away and comes back")
    report.check("kept" in said, "with what was synced", said)
    for process in user.daemons():
        os.kill(process, signal.SIGKILL)
    time.sleep(0.2)
    user.does("keepfs unmount ~/private", "unmount takes a dead mount away")
    report.check(not is_mounted(f"{user.home}/private"), "and nothing stays mounted")


def others_need_the_administrator(report, user):
    with open(FUSE_CONFIGURATION) as content:
        before = content.read()

    def restore():
        with open(FUSE_CONFIGURATION, "w") as out:
            out.write(before)

    report.on_exit(restore)
    with open(FUSE_CONFIGURATION, "w") as out:
        out.write("".join(f"#{line}\n" if line.strip() == "user_allow_other" else f"{line}\n" for line in before.splitlines()))
    user.fails("keepfs mount ~/private --allow-other", "allow-other is refused", ["user_allow_other", "/etc/fuse.conf", "--allow-other"])
    report.check(not is_mounted(f"{user.home}/private"), "and nothing is left mounted")
    user.does("keepfs mount ~/private && keepfs unmount ~/private", "without it it mounts")
    with open(FUSE_CONFIGURATION, "a") as out:
        out.write("user_allow_other\n")
    os.chmod(user.home, 0o755)
    user.does("keepfs mount ~/private --allow-other && chmod 755 ~/private && echo shared > ~/private/shared", "where it is allowed it works")
    result = subprocess.run(["cat", f"{user.home}/private/shared"], user=65534, group=65534, extra_groups=[], capture_output=True, text=True, check=False)
    report.check(result.stdout == "shared\n", "and another user can read", result)
    user.does("keepfs unmount ~/private", "and it is unmounted")
    restore()


def refusals(report, user):
    user.fails("keepfs mount /root", "a mount point that is not the user's is refused", ["keepfs:"])
    user.fails("keepfs mount ~/nowhere", "a mount point that does not exist is named", ["nowhere"])
    user.fails("keepfs mount ~/phrase", "a file is no mount point", ["phrase"])
    user.fails("keepfs unmount ~/private", "what is not mounted cannot be unmounted", ["private"])
    user.fails("KEEPFS_PASSWORD=guess keepfs mount ~/private", "a wrong password is refused", ["does not open"])
    user.fails("keepfs --vault other init file:///root/vault --yes", "a store that may not be made is refused", ["/root"])


def everything_was_lost(report, user):
    user.does("rm -rf ~/.config/keepfs ~/.local/state/keepfs && mkdir again", "the machine is lost")
    user.does("KEEPFS_PASSWORD= keepfs join file://$HOME/store --phrase-file ~/phrase && keepfs mount ~/again", "the phrase brings it back")
    user.does("diff -r ~/documents ~/again/documents && cat ~/again/kept", "with everything")
    user.does("keepfs unmount --wait ~/again", "and it is unmounted")
    report.check(not user.daemons(), "no daemon stays behind", user.daemons())


def body(report):
    report.need(os.geteuid() == 0, "this script makes a user, so it runs as root")
    report.need(shutil.which("fusermount3"), "fusermount3 is installed (package fuse3)")
    os.chmod(report.scratch, 0o755)
    user = User(report)
    first_minutes(report, user)
    a_dead_mount_heals(report, user)
    others_need_the_administrator(report, user)
    refusals(report, user)
    everything_was_lost(report, user)
    logs = user.does("cat ~/.local/state/keepfs/*/log/*.log", "the log is there")
    report.check("panicked" not in logs, "nothing panicked", logs[-2000:])


if __name__ == "__main__":
    run_script("user", body)
