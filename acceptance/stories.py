#!/usr/bin/env python3
"""Ten ways in which other encrypted, deduplicating or synchronised stores lost data, each as a test of this one.

The stories were told by users of such programs. Each test is named after what it guards, and would have caught it here.
KEEPFS_SEED for another order of events.
"""

import errno
import glob
import os
import random
import shutil
import subprocess
import time

import tree
from disk import LossyDisk
from harness import BINARY, MIB, ROOT, detach, number_from_environment, run_script
from load import is_whole, record

SEED = number_from_environment("KEEPFS_SEED", 1)
PAGE = 4096
DAY_SECONDS = 86_400


def make(report, name, **options):
    vault = report.vault(name, **options)
    vault.init()
    vault.mount()
    return vault


def other_machine(report, vault, name, store=None):
    """Another machine that joined the same store."""
    machine = report.vault(name, store=store or vault.store)
    machine.join()
    return machine


def try_mount(vault, *options):
    return vault.keepfs("mount", vault.mountpoint, "--allow-other", *options)


def sentence(result):
    return (result.stderr.strip().splitlines() or [""])[-1][:160]


def read(path):
    with open(path, "rb") as content:
        return content.read()


def write(path, content, sync=False):
    with open(path, "wb", buffering=0) as out:
        out.write(content)
        if sync:
            os.fsync(out.fileno())


def copy_folder(source, target):
    subprocess.run(["cp", "-a", source, target], check=True)


def killed_while_a_folder_is_written_every_name_leads_somewhere(report):
    """Files existed and nothing pointed to them, or names pointed to what did not exist."""
    rng = random.Random(SEED)
    disk = LossyDisk(report, "folder-disk")
    vault = make(report, "folder", store=f"{disk.path}/store", home=f"{disk.path}/home")
    acknowledged, broken, lost = {}, [], []
    for turn in range(4):
        deadline = time.monotonic() + rng.uniform(0.3, 0.9)
        number = 0
        while time.monotonic() < deadline:
            folder = f"{vault.mountpoint}/d{rng.randrange(5)}"
            os.makedirs(folder, exist_ok=True)
            name = f"{turn}-{number}"
            write(f"{folder}/new", record(name, number, 900), sync=True)
            os.rename(f"{folder}/new", f"{folder}/{name}")
            if number % 3 == 0:
                handle = os.open(folder, os.O_RDONLY)
                os.fsync(handle)
                os.close(handle)
                acknowledged[f"{folder}/{name}"] = name
            number += 1
        disk.cut(rng.randrange(1 << 30) if turn % 2 else None)
        vault.kill()
        detach(vault.mountpoint)
        disk.on()
        vault.mount()
        for folder, _, names in os.walk(vault.mountpoint, onerror=broken.append):
            for name in names:
                content = read(f"{folder}/{name}")
                if name != "new" and not (is_whole(content) and content.startswith(f"{name}:".encode())):
                    broken.append(f"{folder}/{name}")
        lost += [path for path in acknowledged if not os.path.exists(path)]
    report.check(not broken, "every name leads to its whole file", broken[:5])
    report.check(not lost and len(acknowledged) > 20, f"all {len(acknowledged)} acknowledged names are there", lost[:5])
    vault.discard()


def a_full_disk_mounts_again(report):
    """The disk filled up, and what was there could not be mounted any more."""
    disk = report.path("small-disk")
    os.mkdir(disk)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=192m", "tmpfs", disk], check=True)
    report.on_exit(lambda: detach(disk))
    vault = make(report, "full", store=f"{disk}/store", home=f"{disk}/home")
    acknowledged, failure = [], None
    for number in range(400):
        try:
            write(f"{vault.mountpoint}/{number}", tree.noise(f"full-{number}", MIB), sync=True)
            acknowledged.append(number)
        except OSError as error:
            failure = error
            break
    report.check(failure and failure.errno in (errno.ENOSPC, errno.EIO), f"{len(acknowledged)} MiB are acknowledged, then it is told", failure)
    with open(f"{disk}/ballast", "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(PAGE))
        except OSError:
            pass
    vault.kill()
    result = try_mount(vault)
    if result.returncode != 0:
        report.say(f"with not one page left: {sentence(result)}")
        result = try_mount(vault, "--read-only")
    report.need(result.returncode == 0, "with not one page left it mounts, or mounts read-only", result.stderr + vault.log_tail())
    wrong = [number for number in acknowledged if read(f"{vault.mountpoint}/{number}") != tree.noise(f"full-{number}", MIB)]
    report.check(not wrong, "everything acknowledged can be read from the full disk", wrong[:5])
    vault.discard()
    os.remove(f"{disk}/ballast")
    subprocess.run(["mount", "-o", "remount,size=400m", disk], check=True)
    vault.mount()
    report.check(vault.keepfs("sync", seconds=60).returncode == 0, "with room again it goes on", vault.log_tail())
    vault.discard()


def what_has_not_arrived_yet_is_no_damage(report):
    """A synchroniser brought the parts of a store in any order, and what was not there yet counted as damaged."""
    vault = make(report, "source")
    contents = {f"file-{number}": tree.noise(f"arrive-{number}", 6 * MIB) for number in range(3)}
    for name, content in contents.items():
        write(f"{vault.mountpoint}/{name}", content)
    vault.unmount("--wait")
    partial = report.path("partial-store")
    copy_folder(vault.store, partial)
    late = [path for path, size in vault.store_files() if "/o/" in path and size > MIB]
    for path in late:
        os.remove(path.replace(vault.store, partial))
    reader = other_machine(report, vault, "reader", store=partial)
    reader.mount()
    verdicts = set()
    for name, content in contents.items():
        file = os.open(f"{reader.mountpoint}/{name}", os.O_RDONLY)
        for offset in range(0, len(content), 64 * PAGE):
            try:
                piece = os.pread(file, PAGE, offset)
                verdicts.add("right" if piece == content[offset : offset + PAGE] else "WRONG")
            except OSError as error:
                verdicts.add(errno.errorcode[error.errno])
        os.close(file)
    report.check(verdicts <= {"EIO", "right"} and "EIO" in verdicts, "what is missing is EIO, never other bytes and never zeroes", verdicts)
    for path in late:
        shutil.copy2(path, path.replace(vault.store, partial))
    whole = all(read(f"{reader.mountpoint}/{name}") == content for name, content in contents.items())
    report.check(whole, "when it has arrived, the same mount reads it")
    reader.discard()


def two_copies_of_a_store_merged_lose_nothing(report):
    """Two machines wrote to two copies of the store, and a synchroniser made one of them."""
    first = make(report, "first")
    write(f"{first.mountpoint}/common", b"common" * 1000)
    first.unmount("--wait")
    copy = report.path("copied-store")
    copy_folder(first.store, copy)
    second = other_machine(report, first, "second", store=copy)
    for machine, name in ((first, "of-first"), (second, "of-second")):
        machine.mount()
        write(f"{machine.mountpoint}/{name}", tree.noise(name, 3 * MIB))
        machine.unmount("--wait")
    # Newer files win on both sides, as synchronisers have it.
    for source, target in ((copy, first.store), (first.store, copy)):
        subprocess.run(["rsync", "-au", f"{source}/", f"{target}/"], check=True)
    for machine, name in ((first, "of-first"), (second, "of-second")):
        result = try_mount(machine)
        if result.returncode == 0:
            told = machine.keepfs("sync", seconds=60)
            said = told.stderr + str(machine.status())
            report.check(told.returncode == 0 or "machine" in said, f"{name}: a machine that goes on says with whom it parted: {sentence(told)}", said)
        else:
            report.check(sentence(result), f"{name}: a machine that stops says why: {sentence(result)}", result)
            result = try_mount(machine, "--read-only")
            report.need(result.returncode == 0, f"{name}: and can be mounted read-only", result.stderr)
        found = read(f"{machine.mountpoint}/{name}") == tree.noise(name, 3 * MIB)
        report.check(found and read(f"{machine.mountpoint}/common") == b"common" * 1000, f"{name}: everything that this machine wrote can be read")
        machine.discard()


def a_renamed_download_survives_a_failing_upload(report):
    """A program wrote a file, renamed it into place, the upload failed, and after a restart it was gone."""
    disk = LossyDisk(report, "upload-disk")
    vault = make(report, "upload", store=f"{disk.path}/store", home=report.path("upload-home"))
    kept = {}
    for error, length in (("EIO", 200_000), ("ENOSPC", 3 * MIB)):
        disk.fail("store", "write", 1, error, 1 << 40)
        disk.fail("store", "name", 1, error, 1 << 40)
        content, told = tree.noise(error, length), None
        try:
            write(f"{vault.mountpoint}/{error}.part", content)
            os.rename(f"{vault.mountpoint}/{error}.part", f"{vault.mountpoint}/{error}")
        except OSError as failure:
            told = failure
        time.sleep(2.5)
        if told is None:
            kept[error] = content
        pending = vault.status()["vaults"][0]["pending"]
        report.say(f"{error}: told {told}, pending {pending}")
        vault.kill()
        disk.heal()
        vault.mount()
        found = told is not None or read(f"{vault.mountpoint}/{error}") == content
        report.check(found, f"{length} bytes renamed while the store fails with {error} are there after kill -9")
    report.check(kept, "a store that fails does not keep one from writing", kept.keys())
    vault.unmount("--wait")
    elsewhere = other_machine(report, vault, "upload-elsewhere")
    elsewhere.mount()
    report.check(all(read(f"{elsewhere.mountpoint}/{name}") == content for name, content in kept.items()), "and another machine has them when the store works again")
    elsewhere.discard()


def compression_is_undone_before_the_plaintext_goes(report):
    """A compressor damaged data, twice, and nobody noticed before the original was gone."""
    command = ["cargo", "test", "--release", "--quiet", "-p", "keepfs-vault", "--lib", "what_a_compressor_damaged"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    report.check(result.returncode == 0 and "1 passed" in result.stdout, "each chunk is opened again and compared before it is let go", result.stdout[-2000:] + result.stderr[-2000:])


def a_listing_is_no_proof_of_absence(report):
    """An index was made anew from a listing that left things out, and what was left out was forgotten."""
    vault = make(report, "listing")
    contents = {f"file-{number}": tree.noise(f"listing-{number}", 5 * MIB) for number in range(4)}
    for name, content in contents.items():
        write(f"{vault.mountpoint}/{name}", content)
    vault.unmount("--wait")
    hidden = [path for path, size in vault.store_files() if "/o/" in path and size > MIB]
    aside = report.path("hidden-objects")
    os.mkdir(aside)
    for number, path in enumerate(hidden):
        os.rename(path, f"{aside}/{number}")
    databases = glob.glob(f"{vault.home}/state/*/tree.db")
    report.need(len(databases) == 1, "the local database is where it is looked for", os.listdir(f"{vault.home}/state/default"))
    os.remove(databases[0])
    vault.mount()
    report.check(sorted(os.listdir(vault.mountpoint)) == sorted(contents), "a database made anew knows every file", os.listdir(vault.mountpoint))
    # The same bytes again: to call them known, whoever writes must have proof that they are there.
    write(f"{vault.mountpoint}/again", contents["file-0"], sync=True)
    vault.unmount("--wait")
    for number, path in enumerate(hidden):
        os.rename(f"{aside}/{number}", path)
    vault.mount()
    contents["again"] = contents["file-0"]
    wrong = [name for name, content in contents.items() if read(f"{vault.mountpoint}/{name}") != content]
    report.check(not wrong, "when the objects are listed again, every file is whole", wrong)
    vault.discard()


def neither_clock_nor_host_name_matters(report):
    """A clock that was wrong, or a host name that changed, made one machine clean away what another needed."""
    vault = make(report, "clock")
    write(f"{vault.mountpoint}/today", b"today" * 1000)
    vault.unmount("--wait")
    options = ["--allow-other"]
    for days, host in ((-4000, "yesterday"), (4000, "tomorrow")):
        inside = f"hostname {host} && exec faketime -f '{days * DAY_SECONDS:+d}s' {BINARY} mount {vault.mountpoint} {' '.join(options)}"
        result = subprocess.run(["unshare", "--uts", "sh", "-c", inside], env=vault.environment(), capture_output=True, text=True, check=False)
        report.need(result.returncode == 0, f"it mounts {days} days from today on host {host}", result.stdout + result.stderr)
        write(f"{vault.mountpoint}/{host}", host.encode() * 1000, sync=True)
        shift = vault.status()["vaults"][0]["since"] - time.time()
        report.check(abs(shift - days * DAY_SECONDS) < DAY_SECONDS, f"its clock is {days} days off", shift)
        vault.unmount("--wait")
    elsewhere = other_machine(report, vault, "clock-elsewhere")
    elsewhere.mount()
    found = {name: read(f"{elsewhere.mountpoint}/{name}")[:9] for name in sorted(os.listdir(elsewhere.mountpoint))}
    report.check(sorted(found) == ["today", "tomorrow", "yesterday"], "another machine has what was written then", found)
    write(f"{elsewhere.mountpoint}/after", b"after", sync=True)
    elsewhere.unmount("--wait")
    vault.mount()
    report.check(len(os.listdir(vault.mountpoint)) == 4, "and the first one has what the other wrote since", os.listdir(vault.mountpoint))
    vault.discard()


def heads(vault):
    return {path for path, _ in vault.store_files() if "/h/" in path}


def lost_state_makes_a_new_machine(report):
    """A machine forgot its database; what it wrote next looked older than it was, and an old removal was done again."""
    vault = make(report, "forgetful")
    write(f"{vault.mountpoint}/file", b"first")
    os.remove(f"{vault.mountpoint}/file")
    write(f"{vault.mountpoint}/kept", b"kept")
    vault.unmount("--wait")
    backup = report.path("old-home")
    copy_folder(vault.home, backup)
    before = heads(vault)
    shutil.rmtree(f"{vault.home}/state")
    result = try_mount(vault)
    report.check(result.returncode != 0 and sentence(result), f"without its state it does not mount: {sentence(result)}", result)
    shutil.rmtree(vault.home)
    vault.join()
    vault.mount()
    write(f"{vault.mountpoint}/file", b"second", sync=True)
    vault.unmount("--wait")
    report.check(before < heads(vault), "joined again it is another machine, with a head of its own", (len(before), len(heads(vault))))
    # The state of long ago is put back, as from a backup.
    old = report.vault("old-state", store=vault.store, home=backup)
    result = try_mount(old)
    if result.returncode == 0:
        names = sorted(os.listdir(old.mountpoint))
        report.check(names == ["file", "kept"] and read(f"{old.mountpoint}/file") == b"second", "the old machine does no old removal again", names)
        write(f"{old.mountpoint}/from-old", b"old", sync=True)
        old.unmount("--wait")
    else:
        report.check(sentence(result), f"the old machine stops with a sentence: {sentence(result)}", result)
    vault.mount()
    report.check(read(f"{vault.mountpoint}/file") == b"second" and read(f"{vault.mountpoint}/kept") == b"kept", "and the new one has everything")
    vault.discard()


def a_machine_put_back_in_time_notices(report):
    """The same machine, restored from a backup of its disk while the store went on."""
    vault = make(report, "restored")
    write(f"{vault.mountpoint}/before", b"before")
    vault.unmount("--wait")
    copy_folder(vault.home, report.path("snapshot-home"))
    vault.mount()
    write(f"{vault.mountpoint}/after", tree.noise("after", 2 * MIB))
    vault.unmount("--wait")
    twin = report.vault("twin", store=vault.store, home=report.path("snapshot-home"))
    result = try_mount(twin)
    if result.returncode == 0:
        whole = os.path.exists(f"{twin.mountpoint}/after") and read(f"{twin.mountpoint}/after") == tree.noise("after", 2 * MIB)
        report.check(whole, "put back in time it has caught up with what it had written itself", os.listdir(twin.mountpoint))
    else:
        report.check(sentence(result), f"put back in time it stops with a sentence: {sentence(result)}", result)
    twin.discard()
    vault.mount()
    report.check(read(f"{vault.mountpoint}/after") == tree.noise("after", 2 * MIB), "and nothing was overwritten on the store")
    vault.discard()


def missing_data_is_an_error_and_never_zeroes(report):
    """A reader elsewhere saw zeroes where data had not come."""
    vault = make(report, "zeroes")
    content = tree.noise("zeroes", 8 * MIB)
    write(f"{vault.mountpoint}/file", content)
    vault.unmount("--wait")
    for path, size in vault.store_files():
        if "/o/" in path and size > MIB:
            os.remove(path)
    reader = other_machine(report, vault, "zero-reader")
    reader.mount()
    report.check(os.path.getsize(f"{reader.mountpoint}/file") == len(content), "the file has its length")
    result = subprocess.run(["cp", f"{reader.mountpoint}/file", report.path("copy")], capture_output=True, text=True, check=False)
    report.check(result.returncode != 0, f"cp fails: {result.stderr.strip()[-60:]}", result)
    copied = read(report.path("copy"))
    report.check(content.startswith(copied), "and what it copied before is right", len(copied))
    # Through a mapping an error is a signal.
    script = f"import mmap; f = open({reader.mountpoint + '/file'!r}, 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); print(m[len(m) // 2])"
    result = subprocess.run(["python3", "-c", script], capture_output=True, check=False)
    report.check(result.returncode < 0 and not result.stdout, "a mapping of it is a signal, not a zero", result)
    health = reader.status()["vaults"][0]["health"]
    report.check(not health["healthy"] and any(item.get("path", "").endswith("file") for item in health["damaged"]), "status names the file", health)
    reader.discard()


def a_damaged_pointer_is_an_error_and_never_the_root(report):
    """An empty pointer was taken for the root, and to remove it removed everything."""
    vault = make(report, "pointer")
    os.mkdir(f"{vault.mountpoint}/folder")
    for number in range(20):
        write(f"{vault.mountpoint}/folder/{number}", f"{number}".encode() * 100)
    vault.unmount("--wait")
    small = [path for path, size in vault.store_files() if size < MIB]
    harms, wrong = 0, []
    for path in small:
        original = read(path)
        other = ("zeroes", bytes(len(original))) if harms % 4 else ("half", original[: len(original) // 2])
        for name, content in (("empty", b""), other):
            write(path, content)
            machine = report.vault(f"pointer-{harms}", store=vault.store)
            result = machine.keepfs("join", machine.url)
            if result.returncode == 0:
                result = try_mount(machine)
            harms += 1
            if result.returncode == 0:
                names = os.listdir(f"{machine.mountpoint}/folder") if os.path.isdir(f"{machine.mountpoint}/folder") else []
                if len(names) != 20:
                    wrong.append(f"{name} {os.path.relpath(path, vault.store)}: shows {names}")
            elif not sentence(result) or "panicked" in result.stderr:
                wrong.append(f"{name} {os.path.relpath(path, vault.store)}: {result.stderr}")
            machine.discard()
        write(path, original)
    report.figure("damaged_pointers", harms)
    report.check(not wrong, f"{harms} pointers that were empty, zero or half are errors, or the tree is whole", "\n".join(wrong))
    vault.mount()
    report.check(len(os.listdir(f"{vault.mountpoint}/folder")) == 20, "put back, the tree is whole")
    vault.discard()


STORIES = [
    killed_while_a_folder_is_written_every_name_leads_somewhere,
    a_full_disk_mounts_again,
    what_has_not_arrived_yet_is_no_damage,
    two_copies_of_a_store_merged_lose_nothing,
    a_renamed_download_survives_a_failing_upload,
    compression_is_undone_before_the_plaintext_goes,
    a_listing_is_no_proof_of_absence,
    neither_clock_nor_host_name_matters,
    lost_state_makes_a_new_machine,
    a_machine_put_back_in_time_notices,
    missing_data_is_an_error_and_never_zeroes,
    a_damaged_pointer_is_an_error_and_never_the_root,
]


def body(report):
    report.need(os.geteuid() == 0, "this script mounts file systems, so it runs as root")
    report.figure("seed", SEED)
    held = 0
    only = os.environ.get("KEEPFS_STORY", "")
    for story in STORIES:
        if only not in story.__name__:
            continue
        failures = len(report.failures)
        report.say(f"-- {story.__name__.replace('_', ' ')}")
        try:
            story(report)
        except Exception as error:
            report.check(False, f"{story.__name__} runs to its end", f"{type(error).__name__}: {error}")
        held += len(report.failures) == failures
    report.figure("stories", held)
    logs = [f"{folder}/{name}" for folder, _, names in os.walk(report.scratch) for name in names if ".log" in name]
    panics = [path for path in logs if b"panicked" in read(path)]
    report.check(not panics, "nothing panicked", panics)


if __name__ == "__main__":
    run_script("stories", body)
