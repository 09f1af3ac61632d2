#!/usr/bin/env python3
"""POSIX beyond pjdfstest, claim by claim: each runs on ext4 first, so that what is expected is what a disk does.

A claim is a function of an empty folder: it asserts what must hold anywhere and returns what both must have in common.
Where the mount differs on purpose, DIFFERENCES and docs/posix.md say how and why; one that is gone must be struck out there.
KEEPFS_POSIX_ONLY=word runs the claims with that word in their name.
"""

import os
import shutil
import subprocess
import time
import traceback

import posix_bytes
import posix_locks
import posix_names
import posix_rights
from harness import detach, run_script
from posix_tools import OTHER, as_user, errno_of

IMAGE_BYTES = 512 << 20
# Claim, what the mount gives instead, and why that is right.
DIFFERENCES = {
    "direct_io_may_be_aligned_or_not": (
        "any alignment",
        "ext4 demands alignment because its disk does; nothing here does, and programs that align work as well",
    ),
    "a_nameless_file_can_be_made": (
        "ENOTSUP, then by name",
        "the FUSE library cannot pass O_TMPFILE on; the kernel says so and programs fall back to a name of their own",
    ),
    "rename_can_leave_a_whiteout": ("EINVAL", "whiteouts serve the upper layer of overlayfs, which a FUSE file system cannot be"),
    "ranges_can_be_collapsed_and_inserted": ("ENOTSUP ENOTSUP", "as on most file systems; only ext4 and XFS shift extents"),
    "attributes_may_be_as_long_as_the_kernel_allows": ("65536 bytes: ok", "ext4 has room for one block only"),
    "a_file_may_be_as_long_as_offsets_can_say": ("4611686018427387904: ok", "ext4 ends at 16 TiB"),
}


class Ext4:
    """A real disk's file system to compare with."""

    def __init__(self, report):
        image, self.path = report.path("reference.img"), report.path("reference")
        os.mkdir(self.path)
        with open(image, "wb") as out:
            out.truncate(IMAGE_BYTES)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-I", "256", image], check=True)
        subprocess.run(["mount", "-o", "loop,acl,user_xattr", image, self.path], check=True)
        report.on_exit(lambda: detach(self.path))


def claims():
    """Functions of the modules in the order in which they stand there, by name."""
    found = {}
    for module in (posix_names, posix_bytes, posix_locks, posix_rights):
        for name, function in vars(module).items():
            if callable(function) and function.__module__ == module.__name__ and not name.startswith("_"):
                found[name] = function
    only = os.environ.get("KEEPFS_POSIX_ONLY", "")
    return {name: function for name, function in found.items() if only in name}


def judge(function, folder):
    """What a claim gives in a folder of its own; an assertion that fails is a text."""
    os.mkdir(folder, 0o755)
    os.chmod(folder, 0o777)
    try:
        return function(folder)
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"fails: {type(error).__name__} {error} ({where.line})"
    finally:
        os.chdir("/")
        subprocess.run(["rm", "-rf", folder], check=False)


def compare(report, reference, mount):
    held = 0
    for name, function in claims().items():
        expected = judge(function, f"{reference}/{name}")
        found = judge(function, f"{mount}/{name}")
        sentence = name.replace("_", " ")
        if str(expected).startswith("fails:"):
            report.check(False, f"{sentence}: holds on ext4", expected)
        elif name in DIFFERENCES:
            wanted, reason = DIFFERENCES[name]
            held += report.check(found == wanted, f"{sentence}: not here, because {reason}", f"ext4   {expected}\nmount  {found}\nwanted {wanted}")
        else:
            held += report.check(found == expected, sentence, f"ext4   {expected}\nmount  {found}")
    report.figure("claims_like_ext4", held)
    report.figure("differences", len(DIFFERENCES))


def survives_remount(report, vault):
    """What a mapping and synchronous writes left is there after kill -9, without any fsync of its own."""
    folder = vault.mountpoint
    posix_bytes.write_by_mapping(f"{folder}/mapped", b"mapped")
    with open(f"{folder}/mapped", "r+b") as mapped:
        os.fsync(mapped.fileno())
    for name, flag in (("sync", os.O_SYNC), ("dsync", os.O_DSYNC), ("direct", os.O_DIRECT | os.O_DSYNC)):
        file = os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT | flag, 0o644)
        os.write(file, posix_bytes.aligned(b"d" * 4096))
    vault.kill()
    vault.mount()
    with open(f"{folder}/mapped", "rb") as mapped:
        report.check(mapped.read().startswith(b"mapped"), "what was written through a mapping survives kill -9 after msync")
    for name in ("sync", "dsync", "direct"):
        with open(f"{folder}/{name}", "rb") as content:
            report.check(content.read() == b"d" * 4096, f"a synchronous write ({name}) survives kill -9")


def store_is_gone(report, vault):
    """df answers at once whatever became of the store."""
    os.rename(vault.store, vault.store + ".away")
    started = time.monotonic()
    result = subprocess.run(["timeout", "5", "df", vault.mountpoint], capture_output=True, text=True, check=False)
    seconds = time.monotonic() - started
    report.check(result.returncode == 0 and seconds < 1, f"df answers while the store is gone ({seconds:.2f} s)", result.stderr)
    names = os.listdir(vault.mountpoint)
    report.check("mapped" in names, "the tree is listed while the store is gone", names)
    os.rename(vault.store + ".away", vault.store)
    report.check(vault.keepfs("sync", seconds=60).returncode == 0, "sync succeeds when the store is back")


def across(report, reference, mount):
    """Between the mount and another file system."""
    with open(f"{reference}/source", "wb") as out:
        out.write(b"across" * 1000)
    shutil.copyfile(f"{reference}/source", f"{mount}/target")
    with open(f"{mount}/target", "rb") as content:
        report.check(content.read() == b"across" * 1000, "a copy from another file system is whole")
    report.check(errno_of(os.rename, f"{reference}/source", f"{mount}/renamed") == "EXDEV", "rename to another file system is EXDEV")
    report.check(errno_of(os.link, f"{reference}/source", f"{mount}/linked") == "EXDEV", "a link to another file system is EXDEV")


def others_are_kept_out(report, vault):
    """Without --allow-other the mount is closed to everybody else."""
    vault.unmount()
    vault.must("mount", vault.mountpoint)
    verdict = as_user(OTHER, lambda: errno_of(os.listdir, vault.mountpoint))
    report.check(verdict == "EACCES", "without --allow-other another user is refused", verdict)


def body(report):
    report.need(os.geteuid() == 0, "this script changes users and mounts file systems, so it runs as root")
    os.umask(0o022)
    for folder in (report.scratch,):
        os.chmod(folder, 0o755)
    reference = Ext4(report).path
    vault = report.vault()
    vault.init()
    vault.mount()
    compare(report, reference, vault.mountpoint)
    across(report, reference, vault.mountpoint)
    survives_remount(report, vault)
    store_is_gone(report, vault)
    others_are_kept_out(report, vault)
    report.check(not vault.panics(), "nothing panicked", vault.panics())
    vault.unmount()


if __name__ == "__main__":
    run_script("posix", body)
