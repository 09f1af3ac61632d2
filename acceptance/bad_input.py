#!/usr/bin/env python3
"""Bad days: damaged, missing and swapped objects, a store that is read-only, full or gone, a full local disk, bad calls.

Damage is an error for exactly what was damaged; an acknowledged write is never lost; nothing panics; every failure has
a sentence and the exit code that docs/cli.md promises.
"""

import concurrent.futures
import errno
import os
import shutil
import subprocess
import time

import tree
from harness import MIB, PASSWORD, detach, run_script

EXIT_FAILED, EXIT_USAGE, EXIT_NO_VAULT, EXIT_LOCKED, EXIT_WRONG_PASSWORD = 1, 2, 10, 11, 12
PAGE = 4096
BLOCK = 65536
FILES, FILE_BYTES = 6, 24 * MIB


def content_of(number):
    return tree.noise(f"bad-{number}", FILE_BYTES)


def make_vault(report, name):
    """A vault with known files, unmounted, all on the store."""
    vault = report.vault(name)
    vault.init()
    vault.mount()
    for number in range(FILES):
        with open(f"{vault.mountpoint}/file-{number}", "wb") as out:
            out.write(content_of(number))
    os.mkdir(f"{vault.mountpoint}/folder")
    for number in range(50):
        with open(f"{vault.mountpoint}/folder/{number}", "wb") as out:
            out.write(f"small {number}\n".encode() * 20)
    vault.unmount("--wait")
    return vault


def read_all(vault):
    """Pages that give EIO, pages that give other bytes, by file; and other errors."""
    failing, wrong, other = {}, {}, []
    for number in range(FILES):
        expected = content_of(number)
        try:
            file = os.open(f"{vault.mountpoint}/file-{number}", os.O_RDONLY)
        except OSError as error:
            other.append(f"file-{number}: {error}")
            continue
        for offset in range(0, FILE_BYTES, PAGE):
            try:
                page = os.pread(file, PAGE, offset)
            except OSError as error:
                if error.errno != errno.EIO:
                    other.append(f"file-{number} at {offset}: {error}")
                failing.setdefault(number, []).append(offset)
                continue
            if page != expected[offset : offset + PAGE]:
                wrong.setdefault(number, []).append(offset)
        os.close(file)
    return failing, wrong, other


def packs(vault):
    """The objects that hold contents, largest first."""
    return [path for path, size in sorted(vault.store_files(), key=lambda item: -item[1]) if "/o/" in path and size > 4 * MIB]


def flip(path, at):
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 0x40]))


def damaged(report, pristine, name, harm):
    """A copy of the store with one harm done to it, read by a machine that has nothing else."""
    store = report.path(f"{name}-store")
    subprocess.run(["cp", "-a", pristine.store, store], check=True)
    vault = report.vault(name, store=store)
    harm(vault)
    result = vault.keepfs("join", vault.url)
    if result.returncode == 0:
        options = ["--allow-other"] if os.geteuid() == 0 else []
        result = vault.keepfs("mount", vault.mountpoint, *options)
    return vault, result


def survives(report, vault, what):
    report.check(not vault.panics() and "panicked" not in vault.whole_log(), f"{what}: nothing panics", vault.panics())
    if vault.is_mounted():
        report.check(len(vault.daemons()) == 1, f"{what}: the daemon lives", vault.daemons())
        listing = os.listdir(vault.mountpoint)
        report.check(len(listing) == FILES + 1, f"{what}: the tree is still listed", listing)
        smalls = [name for name in os.listdir(f"{vault.mountpoint}/folder")]
        report.check(len(smalls) == 50, f"{what}: folders are still listed", len(smalls))
        vault.discard()


def flipped_byte(report, pristine):
    vault, result = damaged(report, pristine, "flipped", lambda v: flip(packs(v)[0], os.path.getsize(packs(v)[0]) // 2))
    report.need(result.returncode == 0, "flipped byte: join and mount work", result.stderr)
    failing, wrong, other = read_all(vault)
    pages = sum(len(offsets) for offsets in failing.values())
    report.figure("unreadable_after_flipped_byte", pages * PAGE, "bytes")
    report.check(not wrong, "flipped byte: no byte is read wrong", wrong)
    report.check(not other, "flipped byte: the error is EIO", "\n".join(other[:10]))
    report.check(pages >= 1, "flipped byte: it is noticed")
    report.check(pages * PAGE <= 2 * BLOCK and len(failing) <= 2, "flipped byte: EIO for exactly the damaged block", {n: (o[0], o[-1], len(o)) for n, o in failing.items()})
    survives(report, vault, "flipped byte")


def removed_object(report, pristine):
    lost = {}

    def harm(vault):
        lost["bytes"] = os.path.getsize(packs(vault)[0])
        os.remove(packs(vault)[0])

    vault, result = damaged(report, pristine, "removed", harm)
    report.need(result.returncode == 0, "missing object: join and mount work", result.stderr)
    failing, wrong, other = read_all(vault)
    unreadable = sum(len(offsets) for offsets in failing.values()) * PAGE
    report.check(not wrong and not other, "missing object: no byte is read wrong, the error is EIO", f"{wrong} {other[:5]}")
    report.check(0 < unreadable <= lost["bytes"] + MIB, "missing object: EIO for what it held and nothing else", f"{unreadable} of {lost['bytes']}")
    survives(report, vault, "missing object")


def swapped_objects(report, pristine):
    def harm(vault):
        first, second = packs(vault)[:2]
        os.rename(first, first + ".swap")
        os.rename(second, first)
        os.rename(first + ".swap", second)

    vault, result = damaged(report, pristine, "swapped", harm)
    report.need(result.returncode == 0, "swapped objects: join and mount work", result.stderr)
    failing, wrong, other = read_all(vault)
    report.check(not wrong and not other, "swapped objects: no byte is read wrong, the error is EIO", f"{wrong} {other[:5]}")
    report.check(failing, "swapped objects: it is noticed")
    survives(report, vault, "swapped objects")


def shortened_object(report, pristine):
    vault, result = damaged(report, pristine, "shortened", lambda v: os.truncate(packs(v)[0], os.path.getsize(packs(v)[0]) // 3))
    report.need(result.returncode == 0, "shortened object: join and mount work", result.stderr)
    failing, wrong, other = read_all(vault)
    report.check(not wrong and not other and failing, "shortened object: EIO, and no byte is read wrong", f"{wrong} {other[:5]}")
    survives(report, vault, "shortened object")


def damaged_metadata(report, pristine):
    """Small objects carry the log: without one of them a machine must refuse, not show half a tree as the whole."""
    small = [path for path, size in pristine.store_files() if path not in packs(pristine)]
    harms = 0
    for number, path in enumerate(sorted(small)):
        relative = os.path.relpath(path, pristine.store)
        for kind in ("flipped", "removed"):
            def harm(vault, relative=relative, kind=kind):
                target = os.path.join(vault.store, relative)
                flip(target, os.path.getsize(target) // 2) if kind == "flipped" else os.remove(target)

            vault, result = damaged(report, pristine, f"{kind}-{number}", harm)
            what = f"{kind} {relative.split('/')[0]}/ ({os.path.getsize(path)} bytes)"
            harms += 1
            if result.returncode == 0 and kind == "removed" and relative.startswith("h/"):
                # A withheld head shows an older vault; THREATS.md says so. A machine that was there notices.
                remembered = remembers(report, pristine, vault, number)
                report.check(remembered, f"{what}: a machine that knew the vault notices or repairs it")
            elif result.returncode != 0:
                sentence = result.stderr.strip()
                report.check(sentence and "panicked" not in sentence and result.returncode in (1, 3, 10, 12), f"{what}: refused with a sentence: {sentence.splitlines()[0] if sentence else ''}", f"exit code {result.returncode}\n{sentence}")
            else:
                listing = sorted(os.listdir(vault.mountpoint))
                whole = len(listing) == FILES + 1
                smalls = len(os.listdir(f"{vault.mountpoint}/folder")) if "folder" in listing else 0
                report.check(whole and smalls == 50, f"{what}: the tree is whole, or the machine refuses", f"shows {listing}, {smalls}")
            report.check(not vault.panics(), f"{what}: nothing panics", vault.panics())
            vault.discard()
            shutil.rmtree(vault.store)
    report.figure("metadata_harms", harms)


def remembers(report, pristine, harmed, number):
    """Whether the machine that wrote the vault says something, or still shows the whole tree."""
    home = report.path(f"remembering-{number}")
    subprocess.run(["cp", "-a", pristine.home, home], check=True)
    harmed.discard()
    # The same store in the same place, as that machine knows it.
    os.rename(pristine.store, pristine.store + ".kept")
    os.rename(harmed.store, pristine.store)
    vault = report.vault(f"remembering-{number}", store=pristine.store, home=home)
    result = vault.keepfs("mount", vault.mountpoint, "--allow-other")
    whole = result.returncode == 0 and len(os.listdir(vault.mountpoint)) == FILES + 1
    report.say(f"a machine that knew the vault: exit code {result.returncode}, {result.stderr.strip()[:160]}")
    vault.discard()
    os.rename(pristine.store, harmed.store)
    os.rename(pristine.store + ".kept", pristine.store)
    return whole or (result.returncode != 0 and result.stderr.strip())


def mount_tmpfs(report, path, size):
    os.makedirs(path, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], check=True)
    report.on_exit(lambda: detach(path))


def write_until_error(vault, prefix, limit):
    """Files of 1 MiB, each fsynced: the acknowledged ones, and the error that ended it."""
    acknowledged = []
    for number in range(limit):
        path = f"{vault.mountpoint}/{prefix}-{number}"
        try:
            file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
        except OSError as error:
            return acknowledged, error
        try:
            os.write(file, tree.noise(f"{prefix}-{number}", MIB))
            os.fsync(file)
            acknowledged.append(number)
        except OSError as error:
            return acknowledged, error
        finally:
            try:
                os.close(file)
            except OSError:
                pass
    return acknowledged, None


def lost_files(vault, prefix, acknowledged):
    lost = []
    for number in acknowledged:
        try:
            with open(f"{vault.mountpoint}/{prefix}-{number}", "rb") as content:
                if content.read() != tree.noise(f"{prefix}-{number}", MIB):
                    lost.append(f"{prefix}-{number} is different")
        except OSError as error:
            lost.append(f"{prefix}-{number}: {error}")
    return lost


def come_back(report, vault, what):
    """After the trouble is over: the daemon goes on by itself, or a remount is enough."""
    result = vault.keepfs("sync", seconds=120)
    if result.returncode != 0:
        vault.discard()
        vault.mount()
        result = vault.keepfs("sync", seconds=120)
    report.check(result.returncode == 0, f"{what}: when it is over, sync succeeds", result.stderr + vault.log_tail())


def full_store(report):
    store = report.path("full-store")
    mount_tmpfs(report, store, "96m")
    vault = report.vault("full", store=store)
    vault.init()
    vault.mount()
    acknowledged, error = write_until_error(vault, "full", 200)
    result = vault.keepfs("sync", seconds=60) if error is None else None
    told = error is not None or (result is not None and result.returncode != 0)
    report.check(told, "full store: it is told, by write, fsync or sync", f"{len(acknowledged)} MiB acknowledged in 96 MiB, {result and result.stderr}")
    if error is not None:
        report.check(error.errno in (errno.ENOSPC, errno.EDQUOT), "full store: the error is ENOSPC", error)
    report.check(not lost_files(vault, "full", acknowledged), f"full store: all {len(acknowledged)} acknowledged files are readable", "\n".join(lost_files(vault, "full", acknowledged)[:5]))
    report.figure("full_store_acknowledged", len(acknowledged), "MiB")
    started = time.monotonic()
    statistics = os.statvfs(vault.mountpoint)
    report.check(time.monotonic() - started < 1, "full store: statfs answers at once", statistics)
    os.remove(f"{vault.mountpoint}/full-0")
    report.check(not os.path.exists(f"{vault.mountpoint}/full-0"), "full store: a file can be removed")
    subprocess.run(["mount", "-o", "remount,size=512m", store], check=True)
    come_back(report, vault, "full store")
    report.check(not lost_files(vault, "full", acknowledged[1:]), "full store: everything acknowledged is there afterwards", "\n".join(lost_files(vault, "full", acknowledged[1:])[:5]))
    report.check(not vault.panics(), "full store: nothing panics", vault.panics())
    vault.discard()


def read_only_store(report):
    store = report.path("ro-store")
    vault = report.vault("ro", store=store)
    vault.init()
    vault.mount()
    before, _ = write_until_error(vault, "before", 5)
    vault.unmount("--wait")
    subprocess.run(["mount", "--bind", store, store], check=True)
    report.on_exit(lambda: detach(store))
    subprocess.run(["mount", "-o", "remount,bind,ro", store], check=True)
    result = vault.keepfs("mount", vault.mountpoint, "--allow-other")
    acknowledged = []
    if result.returncode == 0:
        report.check(not lost_files(vault, "before", before), "read-only store: everything can be read")
        acknowledged, error = write_until_error(vault, "while", 80)
        sync = vault.keepfs("sync", seconds=60)
        report.check(sync.returncode != 0 or error is not None, "read-only store: it is told", f"{len(acknowledged)} acknowledged, sync {sync.returncode}")
        report.say(f"read-only store: {len(acknowledged)} acknowledged, then {error}; sync: {sync.stderr.strip()[:200]}")
    else:
        report.check(result.stderr.strip(), f"read-only store: mount refuses with a sentence: {result.stderr.strip()[:200]}")
        result = vault.keepfs("mount", vault.mountpoint, "--allow-other", "--read-only")
        report.check(result.returncode == 0, "read-only store: it can be mounted read-only", result.stderr)
        if result.returncode == 0:
            report.check(not lost_files(vault, "before", before), "read-only store: everything can be read")
    subprocess.run(["mount", "-o", "remount,bind,rw", store], check=True)
    if acknowledged:
        come_back(report, vault, "read-only store")
    else:
        vault.discard()
        vault.mount()
    report.check(not lost_files(vault, "while", acknowledged), "read-only store: what was acknowledged is there afterwards", "\n".join(lost_files(vault, "while", acknowledged)[:5]))
    report.check(not vault.panics(), "read-only store: nothing panics", vault.panics())
    vault.discard()
    detach(store)


def store_gone(report):
    """A disk that was unplugged: the folder is not there for a while."""
    vault = report.vault("gone")
    vault.init()
    vault.mount()
    before, _ = write_until_error(vault, "before", 3)
    vault.sync()
    os.rename(vault.store, vault.store + ".away")
    acknowledged, error = write_until_error(vault, "while", 60)
    result = vault.keepfs("sync", seconds=60)
    # A daemon that holds the folder open may go on writing into it, wherever it is now; anything else must be told.
    followed = result.returncode == 0 and len(os.listdir(vault.store + ".away")) > 0 and not os.path.exists(vault.store)
    told = result.returncode != 0 and result.stderr.strip()
    report.check(followed or told, f"store gone: sync writes where the store is now, or fails: {result.stderr.strip()[:160]}", f"exit code {result.returncode}, {error}")
    listing = os.listdir(vault.mountpoint)
    report.check("before-0" in listing, "store gone: the tree is still listed", listing)
    if os.path.isdir(vault.store):
        report.check(not os.listdir(vault.store), "store gone: nothing was made in its place", os.listdir(vault.store))
        shutil.rmtree(vault.store)
    os.rename(vault.store + ".away", vault.store)
    come_back(report, vault, "store gone")
    lost = lost_files(vault, "before", before) + lost_files(vault, "while", acknowledged)
    report.check(not lost, f"store gone: all {len(before) + len(acknowledged)} acknowledged files are there afterwards", "\n".join(lost[:5]))
    report.check(not vault.panics(), "store gone: nothing panics", vault.panics())
    vault.discard()


def full_disk(report):
    disk = report.path("small-disk")
    mount_tmpfs(report, disk, "256m")
    vault = report.vault("disk", home=f"{disk}/home")
    vault.init()
    vault.mount()
    before, _ = write_until_error(vault, "before", 3)
    ballast = f"{disk}/ballast"
    with open(ballast, "wb", buffering=0) as out:
        try:
            while True:
                out.write(bytes(MIB // 4))
        except OSError:
            pass
    acknowledged, error = write_until_error(vault, "while", 100)
    small, small_error = [], None
    for number in range(20_000):
        try:
            with open(f"{vault.mountpoint}/small-{number}", "wb", buffering=0) as out:
                out.write(b"x" * 2000)
                if number % 100 == 99:
                    os.fsync(out.fileno())
                    small = list(range(number + 1))
        except OSError as failure:
            small_error = failure
            break
    report.say(f"full disk: {len(acknowledged)} MiB, then {error}; {len(small)} small files, then {small_error}")
    for failure in (error, small_error):
        if failure is not None:
            report.check(failure.errno in (errno.ENOSPC, errno.EIO, errno.EROFS), "full disk: the error says so", failure)
    os.remove(ballast)
    come_back(report, vault, "full disk")
    vault.discard()
    vault.mount()
    lost = lost_files(vault, "before", before) + lost_files(vault, "while", acknowledged)
    lost += [f"small-{n}" for n in small if not os.path.exists(f"{vault.mountpoint}/small-{n}") or os.path.getsize(f"{vault.mountpoint}/small-{n}") != 2000]
    report.check(not lost, f"full disk: all {len(before) + len(acknowledged)} + {len(small)} acknowledged files are there afterwards", "\n".join(lost[:5]))
    report.check(not vault.panics(), "full disk: nothing panics", vault.panics())
    vault.discard()


def expect_exit(report, result, codes, what):
    sentence = (result.stderr.strip().splitlines() or [""])[0]
    report.check(result.returncode in codes and sentence and "panicked" not in result.stderr, f"{what}: exit code {result.returncode}: {sentence[:120]}", f"expected {codes}\n{result.stdout}{result.stderr}")


def bad_calls(report, pristine):
    fresh = report.vault("fresh")
    expect_exit(report, fresh.keepfs("join", fresh.url), (EXIT_NO_VAULT,), "join where no vault is")
    expect_exit(report, fresh.keepfs("mount", fresh.mountpoint), (EXIT_NO_VAULT,), "mount without a vault")
    expect_exit(report, fresh.keepfs("init", "nonsense://x", "--yes"), (EXIT_USAGE, EXIT_FAILED), "a store of no known kind")
    expect_exit(report, fresh.keepfs("frobnicate"), (EXIT_USAGE,), "a command that does not exist")
    wrong = {"KEEPFS_PASSWORD": PASSWORD + "!"}
    fresh.url = pristine.url
    expect_exit(report, fresh.keepfs("join", fresh.url, environment=wrong), (EXIT_WRONG_PASSWORD,), "join with a wrong password")
    header = os.path.join(pristine.store, "vault")
    with open(header, "rb") as content:
        before = content.read()
    expect_exit(report, fresh.keepfs("init", fresh.url, "--yes"), (EXIT_FAILED, EXIT_USAGE, EXIT_LOCKED), "init over a vault")
    with open(header, "rb") as content:
        report.check(content.read() == before, "init over a vault leaves it as it was")
    pristine.mount()
    expect_exit(report, pristine.keepfs("mount", report.path()), (EXIT_LOCKED, EXIT_FAILED), "a second mount of the same vault")
    report.check(PASSWORD not in open(f"/proc/{pristine.daemon()}/cmdline").read(), "the password is not among the daemon's arguments")
    with open(f"{pristine.mountpoint}/file-0", "rb"):
        result = pristine.keepfs("unmount", pristine.mountpoint, seconds=60)
        report.check(result.returncode != 0 and result.stderr.strip(), f"unmount while a file is open says so: {result.stderr.strip()[:120]}", f"exit code {result.returncode}")
    if pristine.is_mounted():
        pristine.unmount()
    expect_exit(report, pristine.keepfs("unmount", pristine.mountpoint), (EXIT_FAILED, EXIT_USAGE, EXIT_NO_VAULT), "unmount of what is not mounted")
    expect_exit(report, pristine.keepfs("mount", report.path("not there")), (EXIT_FAILED, EXIT_USAGE), "mount on a folder that is not there")


def body(report):
    report.need(os.geteuid() == 0, "this script makes small and read-only file systems, so it runs as root")
    pristine = make_vault(report, "pristine")
    bad_calls(report, pristine)
    flipped_byte(report, pristine)
    removed_object(report, pristine)
    swapped_objects(report, pristine)
    shortened_object(report, pristine)
    damaged_metadata(report, pristine)
    # Each has a vault of its own and waits for what does not come, so they may as well wait together.
    with concurrent.futures.ThreadPoolExecutor() as pool:
        list(pool.map(lambda bad_day: bad_day(report), (full_store, read_only_store, store_gone, full_disk)))


if __name__ == "__main__":
    run_script("bad_input", body)
