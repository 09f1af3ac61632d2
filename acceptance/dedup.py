#!/usr/bin/env python3
"""What the store grows by: copies cost nothing, small files share objects, an inserted byte costs a few chunks."""

import os
import shutil
import time

import tree
from harness import MIB, run_script, shell

TREE_BYTES = 200 * MIB
BIG_BYTES = 100 * MIB
SMALL_FILES = 10_000


def copies(report, vault):
    mount = vault.mountpoint
    source = report.path("source")
    files, size = tree.gather(source, 1 << 30, TREE_BYTES)
    report.figure("tree_files", files)
    report.figure("tree_bytes", size, "bytes")
    shell(report, f"cp -a {source} {mount}/first", "the tree is copied in")
    vault.sync()
    first = vault.store_bytes()
    report.figure("store_for_tree", first, "bytes")
    # A copy through read and write, which no file system can answer by sharing.
    shell(report, f"tar -C {mount}/first -cf - . | (mkdir {mount}/second && tar -C {mount}/second -xf -)", "the tree is copied inside the mount")
    vault.sync()
    grown = vault.store_bytes() - first
    growth = grown / size * 100
    report.figure("growth_by_copy", round(growth, 2), "% of the tree")
    report.figure("growth_by_copy_for_each_file", round(grown / files), "bytes")
    report.check(growth < 2, "a copy inside the mount adds less than 2 % of its size to the store", f"{growth:.2f} %")
    started = time.monotonic()
    shell(report, f"cp -a --reflink=auto {mount}/first {mount}/third", "cp copies the tree inside the mount")
    report.figure("cp_seconds", round(time.monotonic() - started, 2), "s")
    shell(report, f"diff -r --no-dereference {source} {mount}/third", "the copy is the same")
    shutil.rmtree(source)


def small_files(report, vault):
    vault.sync()
    before = vault.store_objects()
    folder = f"{vault.mountpoint}/small"
    os.mkdir(folder)
    started = time.monotonic()
    for number in range(SMALL_FILES):
        with open(f"{folder}/{number:05}", "wb", buffering=0) as out:
            out.write(tree.noise(number, 1024))
    report.figure("small_files_per_second", round(SMALL_FILES / (time.monotonic() - started)), "/s")
    vault.sync()
    objects = vault.store_objects() - before
    report.figure("objects_for_small_files", objects)
    report.check(objects < 20, f"{SMALL_FILES} files of 1 KiB make fewer than 20 objects", objects)


def inserted_byte(report, vault):
    path = f"{vault.mountpoint}/big"
    content = tree.noise("big", BIG_BYTES)
    with open(path, "wb") as out:
        out.write(content)
    vault.sync()
    before = vault.store_bytes()
    with open(path, "wb") as out:
        out.write(b"!" + content)
    vault.sync()
    growth = vault.store_bytes() - before
    report.figure("growth_by_inserted_byte", growth, "bytes")
    report.check(growth < 5 * MIB, "a byte inserted at the front of 100 MiB costs less than 5 MiB", growth)
    before = vault.store_bytes()
    with open(path, "r+b") as out:
        out.seek(BIG_BYTES // 2)
        out.write(b"?")
    vault.sync()
    growth = vault.store_bytes() - before
    report.figure("growth_by_changed_byte", growth, "bytes")
    report.check(growth < 5 * MIB, "a byte changed in the middle of it costs less than 5 MiB", growth)
    with open(path, "rb") as result:
        changed = bytearray(b"!" + content)
        changed[BIG_BYTES // 2] = ord("?")
        report.check(result.read() == changed, "the file has exactly the changed bytes")


def compressible(report, vault):
    before = vault.store_bytes()
    with open(f"{vault.mountpoint}/zeroes", "wb") as out:
        for _ in range(64):
            out.write(bytes(MIB))
    vault.sync()
    growth = vault.store_bytes() - before
    report.figure("growth_by_64_mib_of_zeroes", growth, "bytes")
    report.check(growth < 1 * MIB, "64 MiB of zeroes cost less than 1 MiB", growth)


def body(report):
    vault = report.vault()
    vault.init()
    vault.mount()
    copies(report, vault)
    small_files(report, vault)
    inserted_byte(report, vault)
    compressible(report, vault)
    report.check(not vault.panics(), "nothing panicked", vault.panics())
    vault.unmount("--wait")


if __name__ == "__main__":
    run_script("dedup", body)
