#!/usr/bin/env python3
"""The stores that people have: real servers, the promises of a store, the main job, bad days, faults, speed.

Size from the environment: KEEPFS_FILES (default 300), KEEPFS_FAULT_SECONDS (default 3 for each server),
KEEPFS_SPEED_MIB (default 96), KEEPFS_STORES (default s3,webdav,sftp), KEEPFS_SEED.
"""

import errno
import hashlib
import os
import random
import shutil
import subprocess
import time

import main_job
import tree
from faults import Proxy
from harness import MIB, PASSWORD, drop_caches, number_from_environment, rate, run_script, shell
from manifest import manifest
from servers import BUCKET, KEY_ID, SECRET, SERVERS

FILES = number_from_environment("KEEPFS_FILES", 300)
FAULT_SECONDS = number_from_environment("KEEPFS_FAULT_SECONDS", 3)
SPEED_MIB = number_from_environment("KEEPFS_SPEED_MIB", 96)
SEED = number_from_environment("KEEPFS_SEED", 1)
STORES = os.environ.get("KEEPFS_STORES", "s3,webdav,sftp").split(",")
FAULT_RATE = 0.2
FAULT_RATE_OF_BYTES = 4 * MIB
# Share of the usual client's rate. Every object is synced to the server's disk by SFTP, which the client does not do.
SPEED_FLOOR = 0.7
UNANSWERED_SECONDS_MAX = 3
REQUESTS_OF_A_MOUNT = 6
REQUESTS_OF_A_SMALL_FILE = 4
REQUESTS_OF_A_COLD_BYTE = 1


def vault_on(report, server, place, name=None, port=None, **changes):
    variables = {**server.environment, **changes}
    name = f"{server.name}-{name or place}"
    return report.vault(name, url=server.url(place, port), variables=variables)


def kept_url(vault):
    """The URL as init kept it, with what it found out about the server."""
    return vault.must("config", "get", "store").stdout.strip()


def promises(report, server, vault):
    """Conformance, through the command that a user has."""
    checked = "create=checked" if "create=checked" in kept_url(vault) else ""
    url = server.url("promises")
    url += ("&" if "?" in url else "?") + checked if checked else ""
    result = vault.keepfs("store", "check", url)
    report.check(result.returncode == 0, f"{server.name}: every promise of a store holds", result.stdout[-3000:] + result.stderr)


def traffic(vault):
    return vault.status()["vaults"][0]["traffic"]


def main_job_on(report, server, source, everything):
    """A real tree goes in, the machine is lost, the server and the password bring it back."""
    name = server.name
    vault = vault_on(report, server, "main")
    vault.init()
    promises(report, server, vault)
    vault.mount()
    mount = vault.mountpoint
    started = time.monotonic()
    copy = f"rsync -aHAXS --devices --specials {source}/ {mount}/tree/ && rsync -aHAXS --devices --specials {everything}/ {mount}/everything/"
    shell(report, copy, f"{name}: a real tree is copied")
    vault.sync()
    report.figure(f"{name}_copy_and_sync_seconds", round(time.monotonic() - started, 2), "s")
    requests(report, name, vault)
    vault.unmount()
    shutil.rmtree(vault.home)
    vault.home = report.path(f"{name}-second-home")
    started = time.monotonic()
    vault.join()
    vault.mount()
    report.figure(f"{name}_join_and_mount_seconds", round(time.monotonic() - started, 2), "s")
    drop_caches()
    shell(report, f"diff -r --no-dereference {source} {mount}/tree", f"{name}: after join, diff -r finds no difference")
    main_job.compare(report, f"{name}: after join, the tree is the same in everything", manifest(source), f"{mount}/tree")
    main_job.compare(report, f"{name}: after join, one of everything is the same", manifest(everything), f"{mount}/everything")
    with open(f"{mount}/written after join", "w") as out:
        out.write("still writable\n")
    vault.unmount("--wait")
    report.check(not vault.panics(), f"{name}: nothing panicked", vault.panics())
    return vault


def requests(report, name, vault):
    """How often the store is asked: providers count, and lines are long."""
    mount = vault.mountpoint
    vault.unmount("--wait")
    vault.mount()
    count = traffic(vault)["requests"]
    report.figure(f"{name}_requests_of_a_mount", count)
    report.check(count <= REQUESTS_OF_A_MOUNT, f"{name}: a mount needs at most {REQUESTS_OF_A_MOUNT} requests", count)
    before = traffic(vault)["requests"]
    with open(f"{mount}/one KiB", "wb") as out:
        out.write(os.urandom(1024))
        out.flush()
        os.fsync(out.fileno())
    vault.sync()
    count = traffic(vault)["requests"] - before
    report.figure(f"{name}_requests_of_a_small_file", count)
    report.check(count <= REQUESTS_OF_A_SMALL_FILE, f"{name}: a file of 1 KiB needs at most {REQUESTS_OF_A_SMALL_FILE} requests", count)
    vault.unmount("--wait")
    vault.keepfs("cache", "--clear")
    vault.mount()
    drop_caches()
    before = traffic(vault)["requests"]
    with open(f"{mount}/one KiB", "rb") as content:
        content.read(1)
    count = traffic(vault)["requests"] - before
    report.figure(f"{name}_requests_of_a_cold_byte", count)
    report.check(count <= REQUESTS_OF_A_COLD_BYTE, f"{name}: a cold read of one byte needs at most {REQUESTS_OF_A_COLD_BYTE} request", count)


def refused(report, server, vault):
    """What cannot succeed is told at once, with what to do about it."""

    def told(claim, words, url, **changes):
        other = report.vault(f"{server.name}-refused", url=url, variables={**server.environment, **changes})
        started = time.monotonic()
        result = other.keepfs("join", url, environment={"KEEPFS_PASSWORD": PASSWORD})
        seconds = time.monotonic() - started
        said = result.stderr
        fits = result.returncode not in (0, 12) and any(word in said for word in words) and seconds < 20
        report.check(fits, f"{server.name}: {claim} is told at once", f"{result.returncode} after {seconds:.1f} s: {said}")

    url = kept_url(vault)
    if server.name == "s3":
        told("a wrong key", ["refuses access"], url, AWS_SECRET_ACCESS_KEY="wrong")
        told("a wrong bucket", ["no such bucket"], url.replace(f"//{BUCKET}/", "//nobucket/"))
    if server.name == "webdav":
        told("a wrong password", ["refuses access"], url, WEBDAV_PASSWORD="wrong")
        told("a wrong directory", ["not on the server", "holds no vault", "no vault"], url.replace("/main", "/elsewhere"))
    if server.name == "sftp":
        stranger = os.path.join(server.base, "stranger")
        if not os.path.exists(stranger):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", stranger], check=True)
        config = server.write_client_configuration("stranger.conf", server.port, stranger)
        told("a wrong key", ["not let in"], url.split("?")[0] + f"?config={config}")
        with open(config) as text:
            unknown = text.read().replace(f"known-{server.port}", "known-nobody")
        with open(config, "w") as out:
            out.write(unknown)
        told("an unknown host", ["host's key"], url.split("?")[0] + f"?config={config}")
    secret_url = url.replace("//", "//me:hunter2@", 1)
    result = vault.keepfs("store", "check", secret_url)
    fits = result.returncode == 2 and "store login" in result.stderr and "hunter2" not in result.stderr
    report.check(fits, f"{server.name}: a secret in a URL is refused", result.stderr)


def away_and_back(report, server, vault):
    """The server goes and comes: reading what is cached and writing go on, nothing is lost."""
    name, mount = server.name, vault.mountpoint
    vault.mount()
    content = os.urandom(200_000)
    with open(f"{mount}/cached", "wb") as out:
        out.write(content)
    vault.sync()
    server.stop()
    with open(f"{mount}/cached", "rb") as found:
        report.check(found.read() == content, f"{name}: what is cached is read while the server is away")
    with open(f"{mount}/written while away", "wb") as out:
        out.write(content[::-1])
        out.flush()
        os.fsync(out.fileno())
    vault.unmount()
    started = time.monotonic()
    result = vault.mount()
    seconds = time.monotonic() - started
    report.figure(f"{name}_mount_without_server_seconds", round(seconds, 2), "s")
    report.check(seconds < UNANSWERED_SECONDS_MAX, f"{name}: a mount without the server waits no longer than {UNANSWERED_SECONDS_MAX} s", seconds)
    said = result.stdout + result.stderr
    report.check("reached" in said or "store" in said, f"{name}: a mount without the server says so", said)
    drop_caches()
    with open(f"{mount}/written while away", "rb") as found:
        report.check(found.read() == content[::-1], f"{name}: what was written while the server was away is there after a mount without it")
    with open(f"{mount}/second", "wb") as out:
        out.write(content[:1000])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not vault.status()["vaults"][0]["pending"]["store_error"]:
        time.sleep(0.2)
    pending = vault.status()["vaults"][0]["pending"]
    report.check(pending["store_error"] and pending["objects"] > 0, f"{name}: status tells what waits and why", pending)
    server.start()
    vault.sync()
    report.check(vault.status()["vaults"][0]["pending"]["objects"] == 0, f"{name}: when the server is back everything goes there")
    vault.unmount()


def away_for_long(report, server):
    """While the server is away writes wait here until this disk is full, which is told; what is cached is read."""
    if os.geteuid() != 0:
        report.say("not tried without root: a small file system below the state")
        return
    name, home = server.name, report.path(f"{server.name}-small-home")
    os.makedirs(home)
    shell(report, f"mount -t tmpfs -o size=256m,mode=700 none {home}", f"{name}: a small file system is mounted for the state")
    report.on_exit(lambda: subprocess.run(["umount", "-l", home], check=False, stderr=subprocess.DEVNULL))
    vault = report.vault(f"{name}-long", url=server.url("long"), variables=server.environment, home=home)
    vault.init()
    vault.mount()
    contents = {"cached": os.urandom(MIB)}
    with open(f"{vault.mountpoint}/cached", "wb") as out:
        out.write(contents["cached"])
    vault.sync()
    server.stop()
    contents["first"] = b"written while away"
    with open(f"{vault.mountpoint}/first", "wb") as out:
        out.write(contents["first"])
    report.check(error_while_syncing(vault), f"{name}: away for long, status tells that the store is away")
    refused_by = None
    while refused_by is None and len(contents) < 400:
        number, content = f"waits-{len(contents)}", os.urandom(MIB)
        try:
            with open(f"{vault.mountpoint}/{number}", "wb") as out:
                out.write(content)
                out.flush()
                os.fsync(out.fileno())
            contents[number] = content
        except OSError as error:
            refused_by = error.errno
    report.figure(f"{name}_written_while_away", len(contents) - 2, "MiB")
    report.check(refused_by == errno.ENOSPC and len(contents) > 64, f"{name}: away for long, writes wait until the disk here is full, then ENOSPC", f"{refused_by} after {len(contents)}")
    drop_caches()
    with open(f"{vault.mountpoint}/cached", "rb") as found:
        report.check(found.read() == contents["cached"], f"{name}: away for long, what is cached is read")
    report.check(not vault.status()["vaults"][0].get("unhealthy"), f"{name}: away for long, the vault stays healthy", vault.status())
    server.start()
    vault.must("sync", seconds=300)
    with open(f"{vault.mountpoint}/afterwards", "wb") as out:
        out.write(b"room again")
    contents["afterwards"] = b"room again"
    vault.unmount("--wait")
    vault.home = report.path(f"{name}-long-second-home")
    vault.join()
    vault.mount()
    wrong = []
    for number, content in contents.items():
        with open(f"{vault.mountpoint}/{number}", "rb") as found:
            wrong += [] if found.read() == content else [number]
    report.check(not wrong, f"{name}: back again, everything that was accepted is there and there is room", wrong)
    vault.unmount()


def objects_of(server, place):
    """Every object's file in the server's own folder, with what would change if it were sent again."""
    root = os.path.join(server.folder, BUCKET if server.name == "s3" else "", place)
    found = {}
    for folder, _, names in os.walk(os.path.join(root, "o")):
        for object_name in names:
            path = os.path.join(folder, object_name)
            try:
                status = os.lstat(path)
                found[object_name] = (status.st_ino, status.st_mtime_ns, status.st_size)
            except FileNotFoundError:
                pass
    return found


def killed_upload(report, server):
    """A daemon that dies while it uploads goes on where it was: no pack that is there is sent twice."""
    name = server.name
    vault = vault_on(report, server, "killed")
    vault.init()
    vault.mount()
    content = os.urandom(72 * MIB)
    path = f"{vault.mountpoint}/large"
    with open(path, "wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    syncing = subprocess.Popen([*vault_command(), "sync"], env=vault.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    large = lambda: {key: value for key, value in objects_of(server, "killed").items() if value[2] > 4 * MIB}
    while time.monotonic() < deadline and not large():
        time.sleep(0.002)
    vault.kill()
    syncing.wait(30)
    shell(report, f"umount -l {vault.mountpoint}")
    time.sleep(0.3)
    before = large()
    vault.mount()
    vault.sync()
    after = objects_of(server, "killed")
    again = [key for key in before if after.get(key) != before[key]]
    report.check(before and not again, f"{name}: after a kill no completed pack is sent again ({len(before)} were there)", again)
    with open(path, "rb") as found:
        report.check(found.read() == content, f"{name}: what was being uploaded is whole")
    vault.unmount()


def vault_command():
    from harness import BINARY

    return [BINARY]


def with_faults(report, server):
    """A fifth of all requests is spoiled; whatever is read is right, and everything arrives in the end."""
    name = server.name
    proxy = Proxy(report, server.port, http=name != "sftp", seed=SEED)
    vault = vault_on(report, server, "faults", port=proxy.port)
    vault.init()
    vault.mount()
    # SSH is spoiled by the connection, of which there are few.
    proxy.rate = FAULT_RATE if name != "sftp" else 0.6
    contents, wrong, refused_reads, reads = {}, 0, 0, 0
    chance = random.Random(SEED)
    started = time.monotonic()
    while time.monotonic() - started < FAULT_SECONDS or len(contents) < 30:
        number = len(contents)
        content = chance.randbytes(chance.choice([10, 4000, 70_000, 900_000]))
        with open(f"{vault.mountpoint}/file-{number}", "wb") as out:
            out.write(content)
        contents[number] = hashlib.sha256(content).digest()
        # A run of ten minutes shall meet many requests, and not fill the disk.
        time.sleep(len(content) / FAULT_RATE_OF_BYTES)
        if number % 40 == 39:
            vault.keepfs("sync", seconds=120)
    patience = time.monotonic() + 60 + FAULT_SECONDS
    while vault.keepfs("sync", seconds=300).returncode != 0 and time.monotonic() < patience:
        pass
    vault.must("sync", seconds=300)
    vault.unmount()
    shutil.rmtree(vault.home)
    tries = 0
    while True:
        tries += 1
        if vault.keepfs("join", vault.url).returncode == 0 or tries >= 20:
            break
    while vault.keepfs("mount", vault.mountpoint).returncode != 0 and tries < 40:
        tries += 1
    drop_caches()
    report.need(vault.is_mounted(), f"{name}: a machine joins through the faults ({tries} tries)")
    for number, content in contents.items():
        for _ in range(5):
            reads += 1
            try:
                with open(f"{vault.mountpoint}/file-{number}", "rb") as found:
                    wrong += hashlib.sha256(found.read()).digest() != content
                break
            except OSError:
                refused_reads += 1
        else:
            wrong += 1
    proxy.rate = 0.0
    vault.unmount()
    report.figure(f"{name}_fault_requests", proxy.requests)
    report.figure(f"{name}_faults", sum(proxy.spoiled.values()))
    report.figure(f"{name}_reads_refused_under_faults", refused_reads)
    report.check(sum(proxy.spoiled.values()) > 0, f"{name}: there were faults", proxy.spoiled)
    earlier = report.figures.get("wrong_reads_under_faults", {"value": 0})["value"]
    report.figure("wrong_reads_under_faults", earlier + wrong)
    report.check(wrong == 0, f"{name}: under faults {len(contents)} files are right, every one", f"{wrong} wrong")
    report.check(not vault.panics(), f"{name}: nothing panicked under faults", vault.panics())
    proxy.close()


def speed(report, server):
    """Objects to the server and back, compared: by `keepfs copy`, and by the server's usual client."""
    name = server.name
    vault = report.vault(f"{name}-speed", variables=server.environment)
    vault.init()
    vault.mount()
    with open(f"{vault.mountpoint}/large", "wb") as out:
        out.write(os.urandom(SPEED_MIB * MIB))
    vault.sync()
    vault.unmount()
    files = [(path, size) for path, size in vault.store_files() if "/o/" in path]
    total = sum(size for _, size in files)
    by_client = min(raw(report, server, files, attempt) for attempt in range(2))
    url = server.url("copied")
    seconds = []
    for attempt in range(2):
        url = server.url(f"copied-{attempt}")
        started = time.monotonic()
        vault.must("copy", vault.url, url)
        seconds.append(time.monotonic() - started)
    ours, theirs = rate(2 * total, min(seconds)), rate(2 * total, by_client)
    report.figure(f"{name}_copy_rate", ours, "MiB/s")
    report.figure(f"{name}_client_rate", theirs, "MiB/s")
    report.check(ours >= SPEED_FLOOR * theirs, f"{name}: copying is at least {SPEED_FLOOR} times as fast as the usual client", f"{ours} against {theirs}")
    started = time.monotonic()
    again = vault.must("copy", vault.url, url, "--json")
    report.check('"copied_objects":0' in again.stdout.splitlines()[-1], f"{name}: a second copy copies nothing", again.stdout[-500:])
    shutil.rmtree(vault.store)
    vault.must("config", "set", "store", url)
    vault.must("mount", vault.mountpoint)
    drop_caches()
    with open(f"{vault.mountpoint}/large", "rb") as found:
        report.check(len(found.read()) == SPEED_MIB * MIB, f"{name}: the vault lives on from its copy")
    vault.unmount()


def raw(report, server, files, attempt):
    """Seconds that the usual client takes to put, get and compare the same objects one after the other."""
    back = report.path(f"{server.name}-back")
    os.makedirs(back, exist_ok=True)
    place = f"raw-{attempt}"
    if server.name == "sftp":
        os.makedirs(os.path.join(server.folder, place), exist_ok=True)
        batch = report.path("batch")
        with open(batch, "w") as out:
            for number, (path, _) in enumerate(files):
                out.write(f"put {path} {server.folder}/{place}/{number}\nget {server.folder}/{place}/{number} {back}/{number}\n")
        config = os.path.join(server.base, "client.conf")
        commands = [["sftp", "-q", "-F", config, "-P", str(server.port), "-b", batch, "127.0.0.1"]]
    else:
        commands = []
        if server.name == "webdav":
            os.makedirs(os.path.join(server.folder, place), exist_ok=True)
            base, login = f"http://127.0.0.1:{server.port}/{place}", ["--user", f"me:{SECRET}"]
        else:
            base = f"http://127.0.0.1:{server.port}/{BUCKET}/{place}"
            login = ["--aws-sigv4", "aws:amz:us-east-1:s3", "--user", f"{KEY_ID}:{SECRET}", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]
        for number, (path, _) in enumerate(files):
            commands.append(["curl", "-sS", "--fail", *login, "-T", path, f"{base}/{number}"])
            commands.append(["curl", "-sS", "--fail", *login, "-o", f"{back}/{number}", f"{base}/{number}"])
    started = time.monotonic()
    for command in commands:
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        report.need(result.returncode == 0, f"{server.name}: {command[0]} does its part", result.stderr) if result.returncode else None
    for number, (path, _) in enumerate(files):
        report.need(subprocess.run(["cmp", path, f"{back}/{number}"], check=False).returncode == 0, "the client's bytes are the same") if number == 0 else None
    seconds = time.monotonic() - started
    shutil.rmtree(back)
    return seconds


def limited(report, server):
    """Byte rates hold over the length of an object."""
    vault = vault_on(report, server, "limited")
    vault.init()
    vault.mount("--limit-upload", "4MiB")
    with open(f"{vault.mountpoint}/large", "wb") as out:
        out.write(os.urandom(12 * MIB))
    started = time.monotonic()
    vault.sync()
    seconds = time.monotonic() - started
    report.check(2.5 <= seconds <= 8, f"{server.name}: 12 MiB take about 3 s at 4 MiB a second", f"{seconds:.1f} s")
    vault.unmount()


def login(report, server):
    """What `store login` was given opens the store, without any variable."""
    secrets = {"s3": f"access_key_id={KEY_ID}\nsecret_access_key={SECRET}\n", "webdav": f"username=me\npassword={SECRET}\n"}.get(server.name)
    if secrets is None:
        return
    vault = report.vault(f"{server.name}-login", url=server.url("login"), variables={"AWS_EC2_METADATA_DISABLED": "true"})
    given = subprocess.run([*vault_command(), "store", "login", vault.url], input=secrets, env=vault.environment(), capture_output=True, text=True, check=False)
    report.check(given.returncode == 0 and SECRET not in given.stdout + given.stderr, f"{server.name}: store login takes secrets from standard input", given.stderr)
    mode = os.stat(os.path.join(vault.home, "credentials.toml")).st_mode & 0o777
    report.check(mode == 0o600, f"{server.name}: credentials are for their owner only", oct(mode))
    vault.init()
    vault.mount()
    vault.unmount("--wait")
    vault.must("store", "logout", vault.url)
    refused_now = vault.keepfs("inspect", vault.url)
    report.check(refused_now.returncode != 0, f"{server.name}: after logout the store is closed", refused_now.stdout[-300:])


def error_while_syncing(vault):
    """What status tells while everything shall go to the store and cannot."""
    syncing = subprocess.Popen([*vault_command(), "sync"], env=vault.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    error = None
    while time.monotonic() < deadline and not error:
        time.sleep(0.1)
        error = vault.status()["vaults"][0]["pending"]["store_error"]
    syncing.terminate()
    syncing.wait(30)
    return error


def full_and_read_only(report, server):
    """A server without room, and one that takes no writes: told, and mended without loss."""
    name = server.name
    if os.geteuid() != 0:
        report.say("not tried without root: a small file system below the server")
        return
    folder = report.path(f"{name}-small")
    os.makedirs(folder)
    shell(report, f"mount -t tmpfs -o size=24m none {folder}", f"{name}: a small file system is mounted")
    report.on_exit(lambda: subprocess.run(["umount", "-l", folder], check=False, stderr=subprocess.DEVNULL))
    small = type(server)(report, folder=folder)
    vault = vault_on(report, small, "full", name=f"{name}-full")
    vault.init()
    vault.mount()
    content = os.urandom(40 * MIB)
    with open(f"{vault.mountpoint}/large", "wb") as out:
        out.write(content)
    error = error_while_syncing(vault)
    report.check(error, f"{name}: a full server is told ({error})")
    shell(report, f"mount -o remount,size=200m {folder}", f"{name}: it gets room")
    vault.must("sync", seconds=120)
    shell(report, f"mount -o remount,ro {folder}", f"{name}: it becomes read-only")
    with open(f"{vault.mountpoint}/more", "wb") as out:
        out.write(b"more")
    error = error_while_syncing(vault)
    report.check(error, f"{name}: a read-only server is told ({error})")
    with open(f"{vault.mountpoint}/large", "rb") as found:
        report.check(found.read() == content, f"{name}: reading goes on")
    shell(report, f"mount -o remount,rw {folder}")
    vault.must("sync", seconds=120)
    vault.unmount()
    small.stop()


def body(report):
    source, everything = report.path("source"), report.path("everything")
    files, size = tree.gather(source, FILES)
    tree.one_of_everything(everything)
    report.figure("tree_files", files)
    report.figure("tree_bytes", size, "bytes")
    for kind in SERVERS:
        if kind.name not in STORES:
            continue
        server = kind(report)
        vault = main_job_on(report, server, source, everything)
        refused(report, server, vault)
        login(report, server)
        limited(report, server) if server.name == "webdav" else None
        away_and_back(report, server, vault)
        away_for_long(report, server) if server.name == "webdav" else None
        killed_upload(report, server)
        with_faults(report, server)
        speed(report, server)
        server.stop()
        full_and_read_only(report, server)


if __name__ == "__main__":
    run_script("stores", body)
