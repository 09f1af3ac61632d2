#!/usr/bin/env python3
"""A Telegram account as the store, through the binary, against the local Telegram server.

Login, a real tree, the machine lost and joined again; kills during uploads, counted by the server; floods, stalls and
broken connections; two machines of one account. Size from the environment: KEEPFS_FILES (default 150), KEEPFS_ROUNDS
(default 2).
"""

import json
import os
import random
import re
import shutil
import socket
import subprocess
import time

import tree
from harness import MIB, TARGET, Vault, drop_caches, number_from_environment, rate, run_script
from manifest import manifest

FILES = number_from_environment("KEEPFS_FILES", 150)
ROUNDS = number_from_environment("KEEPFS_ROUNDS", 2)
SEED = number_from_environment("KEEPFS_SEED", 7)
SERVER = os.path.join(TARGET, "release", "keepfs-tgsim")
PHONE, CODE, TWO_STEP = "+15550123", "24680", "a second secret"
API_HASH = "0123456789abcdef0123456789abcdef"
DEADLINE_MS = "4000"
FLOOD_SECONDS = 4
THROUGHPUT = os.path.join(TARGET, "release", "examples", "throughput")
SPEED_FLOOR = 0.7


class Server:
    """The server as a process, and its control socket."""

    def __init__(self, report):
        self.report = report
        self.process = subprocess.Popen([SERVER], stdout=subprocess.PIPE, text=True)
        report.on_exit(self.end)
        self.greeting = json.loads(self.process.stdout.readline())
        host, port = self.greeting["control"].split(":")
        self.control = socket.create_connection((host, int(port)))
        self.answers = self.control.makefile()

    def end(self):
        self.process.kill()
        self.process.wait()

    def command(self, command, **fields):
        self.control.sendall((json.dumps({"command": command, **fields}) + "\n").encode())
        answer = json.loads(self.answers.readline())
        self.report.need(not answer.get("error"), f"the server does {command}", answer)
        return answer

    def fault(self, method, action, times=1_000_000, **fields):
        self.control.sendall((json.dumps({"command": "fault", "fault": {"method": method, "times": times, "action": action, **fields}}) + "\n").encode())
        self.answers.readline()

    def counters(self):
        self.control.sendall(b'{"command":"counters"}\n')
        return json.loads(self.answers.readline())


class Machine(Vault):
    """A vault of a machine that has its own login."""

    def __init__(self, report, server, name, place):
        super().__init__(report, name)
        report.cleanups.append(self.discard)
        self.server = server
        self.url = f"telegram:{place}"
        self.key = report.path(f"{name}-key")
        self.new_key()

    def new_key(self):
        self.server.command("issue_key", path=self.key)

    def environment(self):
        return {
            **super().environment(),
            "KEEPFS_TELEGRAM_SERVER": self.server.greeting["address"],
            "KEEPFS_TELEGRAM_KEY_FILE": self.key,
            "KEEPFS_TELEGRAM_DEADLINE_MS": DEADLINE_MS,
            "KEEPFS_TELEGRAM_API_ID": "17",
            "KEEPFS_TELEGRAM_API_HASH": API_HASH,
        }

    def auth(self, *arguments, code=CODE, two_step=TWO_STEP):
        secrets = {"KEEPFS_TELEGRAM_CODE": code, "KEEPFS_TELEGRAM_PASSWORD": two_step}
        return self.keepfs("auth", *arguments, environment=secrets)

    def log_in(self):
        result = self.auth("--phone", PHONE)
        self.report.need(result.returncode == 0, "keepfs auth logs in", result.stdout + result.stderr)


def sentence(report, result, exit_code, words, claim):
    text = result.stderr.strip()
    holds = result.returncode == exit_code and words in text and "panicked" not in text
    report.check(holds, claim, f"exit code {result.returncode}: {text}")


def login(report, server, machine):
    sentence(report, machine.keepfs("init", machine.url, "--yes"), 1, "not logged in", "without a login, init says what to do")
    sentence(report, machine.auth("--phone", PHONE, code="00000"), 1, "not the code", "a wrong code is one sentence")
    sentence(report, machine.auth("--phone", PHONE, two_step="wrong"), 12, "two-step", "a wrong password is one sentence")
    server.fault("auth.sendCode", {"error": {"code": 420, "message": "FLOOD_WAIT_2400"}}, times=1)
    sentence(report, machine.auth("--phone", PHONE), 1, "asks to wait 2400 s", "a flood at the login is one sentence")
    machine.log_in()
    sentence(report, machine.auth("--phone", PHONE), 1, "is logged in", "a second login of one machine is refused")
    status = json.loads(machine.auth("--status", "--json").stdout)
    report.check(status["logged_in"] and status["account"]["id"], "auth --status names the account", status)
    leaks = []
    for folder, _, names in os.walk(machine.home):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                content = file.read()
            leaks += [os.path.join(folder, name) for secret in (API_HASH, CODE, TWO_STEP, "telegram session") if secret.encode() in content]
            with open(machine.key, "rb") as key:
                leaks += [os.path.join(folder, name)] if key.read()[:32] in content else []
    report.check(not leaks, "no secret of the login is readable on the disk", leaks)


def main_job(report, machine):
    source = report.path("source")
    files, size = tree.gather(source, FILES, 24 * MIB)
    report.figure("tree_files", files)
    report.figure("tree_bytes", size, "bytes")
    result = machine.init()
    report.check("only store" in result.stderr and "unofficial" in result.stderr, "init warns that Telegram is the only store", result.stderr)
    machine.mount()
    subprocess.run(["cp", "-a", source, f"{machine.mountpoint}/tree"], check=True)
    started = time.monotonic()
    machine.sync()
    report.figure("sync_seconds", round(time.monotonic() - started, 2), "s")
    expected = manifest(source)
    machine.unmount("--wait")
    result = machine.auth("--logout")
    report.check(result.returncode == 0, "auth --logout ends the session", result.stderr)
    shutil.rmtree(machine.home)
    machine.home = report.path("second-home")
    machine.new_key()
    machine.log_in()
    machine.join()
    machine.mount()
    drop_caches()
    started = time.monotonic()
    found = manifest(f"{machine.mountpoint}/tree")
    report.figure("read_back_seconds", round(time.monotonic() - started, 2), "s")
    report.check(found == expected, "after the machine was lost, join brings the same tree", "\n".join(sorted(set(expected) ^ set(found))[:20]))


def repeats(server):
    """Objects that were made whole more than once; the header and heads are replaced and come often."""
    names = [document["name"] for document in server.counters()["completed"] if document["name"].startswith("o-")]
    return sorted({name for name in names if names.count(name) > 1})


def write(machine, name, seed, size):
    with open(f"{machine.mountpoint}/{name}", "wb") as out:
        out.write(tree.noise(seed, size))
        out.flush()
        os.fsync(out.fileno())


def kills(report, server, machine):
    rng = random.Random(SEED)
    sizes = {}
    for number in range(ROUNDS):
        # Slow enough that the kill falls into an upload.
        server.fault("upload.saveBigFilePart", {"delay": {"ms": 200}})
        server.fault("upload.saveFilePart", {"delay": {"ms": 200}})
        sizes[number] = 12 * MIB
        write(machine, f"kill-{number}", f"kill-{number}", sizes[number])
        sync = subprocess.Popen(
            [os.environ.get("KEEPFS_BINARY", os.path.join(TARGET, "release", "keepfs")), "sync"],
            env=machine.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        time.sleep(rng.uniform(0.3, 1.5))
        machine.kill()
        sync.wait()
        server.command("clear_faults")
        machine.mount()
    machine.sync()
    wrong = []
    for number, size in sizes.items():
        with open(f"{machine.mountpoint}/kill-{number}", "rb") as content:
            wrong += [] if content.read() == tree.noise(f"kill-{number}", size) else [number]
    counters = server.counters()
    report.figure("kills", ROUNDS)
    report.figure("parts", counters["parts"])
    report.figure("parts_sent_again", counters["parts_again"])
    report.figure("documents_sent_twice", len(repeats(server)))
    report.check(not wrong, f"{ROUNDS} kills during uploads lose nothing", wrong)
    report.check(not repeats(server), "no completed document was sent twice", repeats(server))


def flood(report, server, machine):
    wait = {"error": {"code": 420, "message": f"FLOOD_WAIT_{FLOOD_SECONDS * 10}"}}
    server.fault("messages.sendMedia", wait, times=1)
    write(machine, "flood", "flood", MIB)
    sync = subprocess.Popen(
        [os.environ.get("KEEPFS_BINARY", os.path.join(TARGET, "release", "keepfs")), "sync"],
        env=machine.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )
    deadline, told = time.monotonic() + 15, {}
    while time.monotonic() < deadline and not told.get("retry_in_seconds"):
        time.sleep(0.2)
        told = (machine.status().get("vaults") or [{}])[0].get("pending") or {}
    asks = f"wait {FLOOD_SECONDS * 10} s" in (told.get("store_error") or "")
    report.check(asks and told.get("retry_in_seconds"), "status shows what Telegram asks for and for how long", told)
    sync.kill()
    sync.wait()
    before = server.counters()["requests"].get("messages.sendMedia", 0)
    time.sleep(2)
    report.check(server.counters()["requests"].get("messages.sendMedia", 0) == before, "nothing is sent while the wait lasts")
    # A new daemon does not know of the wait, and the server's is over.
    machine.kill()
    machine.mount()


def storm(report, server, machine):
    for seed, action in ((SEED, "drop_before"), (SEED + 1, "drop_after")):
        server.fault("*", action, percent=10, seed=seed)
    server.fault("upload.getFile", "short", percent=5, seed=SEED + 2)
    server.fault("upload.saveFilePart", "stall", times=1)
    started = time.monotonic()
    for number in range(4):
        write(machine, f"storm-{number}", f"storm-{number}", 2 * MIB)
        # A sync that gives up is no loss: the queue goes on.
        machine.keepfs("sync", seconds=120)
    report.figure("storm_seconds", round(time.monotonic() - started, 1), "s")
    machine.keepfs("cache", "--clear")
    drop_caches()
    wrong = []
    for number in range(4):
        for _ in range(20):
            try:
                with open(f"{machine.mountpoint}/storm-{number}", "rb") as content:
                    wrong += [] if content.read() == tree.noise(f"storm-{number}", 2 * MIB) else [number]
                break
            except OSError:
                time.sleep(0.1)
        else:
            wrong.append(f"storm-{number} is never read")
    report.check(not wrong, "a fifth of the connections broken: no wrong byte is read", wrong)
    server.command("clear_faults")
    machine.sync()
    report.check(not repeats(server), "in the storm no completed document was sent twice", repeats(server))


def another_machine(report, server, machine):
    machine.unmount("--wait")
    other = Machine(report, server, "other", "files")
    other.log_in()
    other.join()
    other.mount()
    with open(f"{other.mountpoint}/from the other", "w") as out:
        out.write("hello\n")
    report.check(os.path.exists(f"{other.mountpoint}/storm-3"), "another machine of the account sees the vault")
    other.unmount("--wait")
    machine.mount()
    with open(f"{machine.mountpoint}/from the other") as content:
        report.check(content.read() == "hello\n", "the first machine sees what the other wrote")


def throughput(report, machine):
    size = 32 * MIB
    started = time.monotonic()
    write(machine, "large", "large", size)
    machine.sync()
    report.figure("upload", rate(size, time.monotonic() - started), "MiB/s")


def beside_bare_senders(report):
    """The store's rate against the same parts over as many bare connections, each pair right after the other."""
    server = Server(report)
    server.command("account", phone=PHONE, code=CODE, password=TWO_STEP)
    shares = []
    for number in range(3):
        key = report.path(f"bare-{number}")
        server.command("issue_key", phone=PHONE, path=key)
        result = subprocess.run([THROUGHPUT, server.greeting["address"], key, "64"], capture_output=True, text=True, check=False)
        found = re.search(r"bare connections: ([\d.]+) .*store: ([\d.]+) MiB/s up \(([\d.]+) of bare\)", result.stdout, re.DOTALL)
        report.need(result.returncode == 0 and found, "the measurement runs", result.stdout + result.stderr)
        shares.append((float(found[3]), float(found[2]), float(found[1])))
    share, ours, bare = sorted(shares)[1]
    report.figure("store_rate", ours, "MiB/s")
    report.figure("bare_rate", bare, "MiB/s")
    server.end()
    report.check(share >= SPEED_FLOOR, f"the store is at least {SPEED_FLOOR} times as fast as bare senders", shares)


def endings(report, server, machine):
    keys = server.command("keys", phone=PHONE)["keys"]
    for key in keys:
        server.command("revoke", key=key, code=401, message="SESSION_REVOKED")
    machine.keepfs("unmount", machine.mountpoint, seconds=120)
    result = machine.keepfs("mount", machine.mountpoint)
    sentence(report, result, 1, "has ended this machine's session", "a session that was ended elsewhere is one sentence")
    result = machine.auth("--logout")
    report.check(result.returncode == 0, "a session that was ended can be logged out", result.stderr)
    machine.new_key()
    machine.log_in()
    channel = server.command("channels")["channels"][0]["channel"]
    server.command("delete_channel", channel=channel)
    result = machine.keepfs("mount", machine.mountpoint)
    sentence(report, result, 1, "the channel is gone", "a channel that was deleted is one sentence")


def body(report):
    report.need(os.access(SERVER, os.X_OK), "the local Telegram server is built", SERVER)
    report.figure("seed", SEED)
    server = Server(report)
    server.command("account", phone=PHONE, code=CODE, password=TWO_STEP)
    machine = Machine(report, server, "vault", "files")
    beside_bare_senders(report)
    login(report, server, machine)
    main_job(report, machine)
    throughput(report, machine)
    kills(report, server, machine)
    flood(report, server, machine)
    storm(report, server, machine)
    another_machine(report, server, machine)
    report.check(not machine.panics(), "nothing panicked", machine.panics())
    endings(report, server, machine)


if __name__ == "__main__":
    run_script("telegram", body)
