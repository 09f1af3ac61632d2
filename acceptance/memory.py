#!/usr/bin/env python3
"""The daemon's ceiling: a large file is written and read, at random too, and memory stays below 400 MiB.

KEEPFS_GIB (default 4) is the size of the file.
"""

import hashlib
import os
import random
import time

from harness import MIB, drop_caches, number_from_environment, rate, run_script

GIB = number_from_environment("KEEPFS_GIB", 4)
CEILING = 400 * MIB
BLOCK = 4 * MIB


def block(number):
    """A block that neither compresses nor repeats, cheap to make again: a fresh head over shared noise."""
    return NOISE[number % 7 :][: BLOCK - 64] + hashlib.sha512(str(number).encode()).digest()


def stir(number):
    """The same, different in every 64 KiB, so that no chunk is known already."""
    piece = bytearray(block(number))
    for at in range(0, BLOCK, 1 << 16):
        piece[at : at + 64] = hashlib.sha512(f"{number}/{at}".encode()).digest()
    return bytes(piece)


def body(report):
    vault = report.vault()
    vault.init()
    vault.mount()
    report.figure("idle_after_mount", round(vault.memory_peak() / MIB, 1), "MiB")
    count = GIB * 1024 * MIB // BLOCK
    path = f"{vault.mountpoint}/large"
    started = time.monotonic()
    with open(path, "wb", buffering=0) as out:
        for number in range(count):
            out.write(stir(number))
        os.fsync(out.fileno())
    report.figure("write_rate", rate(count * BLOCK, time.monotonic() - started), "MiB/s")
    report.figure("peak_after_write", round(vault.memory_peak() / MIB, 1), "MiB")
    vault.sync()
    drop_caches()
    wrong = 0
    started = time.monotonic()
    with open(path, "rb", buffering=0) as content:
        for number in range(count):
            piece = content.read(BLOCK)
            while len(piece) < BLOCK:
                more = content.read(BLOCK - len(piece))
                if not more:
                    break
                piece += more
            wrong += piece != stir(number)
    report.figure("read_rate", rate(count * BLOCK, time.monotonic() - started), "MiB/s")
    report.check(wrong == 0, f"all {count} blocks are read back as written", f"{wrong} are not")
    report.figure("peak_after_read", round(vault.memory_peak() / MIB, 1), "MiB")
    rng = random.Random(1)
    drop_caches()
    with open(path, "r+b", buffering=0) as file:
        for _ in range(5_000):
            offset = rng.randrange(count * BLOCK // 4096) * 4096
            file.seek(offset)
            if rng.random() < 0.5:
                file.read(4096)
            else:
                file.write(rng.randbytes(4096))
        os.fsync(file.fileno())
    vault.sync()
    peak = vault.memory_peak()
    report.figure("peak", round(peak / MIB, 1), "MiB")
    report.check(peak < CEILING, f"the daemon never had more than {CEILING // MIB} MiB", f"{peak / MIB:.0f} MiB")
    with open(f"{vault.mountpoint}/sparse", "wb") as out:
        out.truncate(1 << 40)
        out.seek((1 << 40) - 10)
        out.write(b"0123456789")
    status = os.stat(f"{vault.mountpoint}/sparse")
    report.check(status.st_size == 1 << 40 and status.st_blocks * 512 < MIB, "a sparse TiB takes no space", status)
    with open(f"{vault.mountpoint}/sparse", "rb") as content:
        content.seek((1 << 40) - 12)
        report.check(content.read() == b"\0\0000123456789", "its end is read back")
    report.check(vault.memory_peak() < CEILING, "nor did the sparse TiB take memory", vault.memory_peak() // MIB)
    vault.unmount()


if __name__ == "__main__":
    NOISE = random.Random("memory").randbytes(BLOCK + 64)
    run_script("memory", body)
