#!/usr/bin/env python3
"""Canaries: nothing that was written may be seen on the store or in the state directory, in any dress.

Writes names, contents, lengths, attributes and symlink targets that occur nowhere else, then searches every byte and
every file name of both folders for them, as they are and hashed, raw and in hex, base32 and base64: while the daemon
lives, after kill -9, and after a clean unmount. Objects must also look like noise.
"""

import os
import random
import subprocess
import time

from harness import CANARY_SCAN, PASSWORD, run_script

# Lengths that occur nowhere by chance; the files are sparse.
LENGTHS = (0x1234_5678_9ABC, 0x0BAD_CAFE_F00D)
FILES = 300


def plant(report, mount, rng):
    """Writes everything and returns the lines of the list to search for."""
    lines = []

    def text(label, value):
        lines.append(f"text\t{label}\t{value}")

    kept = report.path("contents")
    os.makedirs(kept, exist_ok=True)
    batch = rng.randrange(1 << 32)
    for number in range(FILES):
        folder = f"{mount}/canary-folder-{batch:08x}-{number % 10}"
        os.makedirs(folder, exist_ok=True)
        name = f"canary-name-{batch:08x}-{number}-tax-return.pdf"
        text(f"name {number}", name)
        length = rng.choice((40, 500, 4096, 60_000, 300_000)) + rng.randrange(32)
        words = b"".join(b"The canary %08x sings line %d.\n" % (batch, line) for line in range(length // 30 + 1))
        content = words[:length] if number % 2 else rng.randbytes(length)
        with open(f"{folder}/{name}", "wb") as out:
            out.write(content)
        copy = f"{kept}/{batch:08x}-{number}"
        with open(copy, "wb") as out:
            out.write(content)
        lines.append(f"file\tcontent {number}\t{copy}")
        if number % 10 == 0:
            value = f"canary-attribute-{batch:08x}-{number}"
            os.setxattr(f"{folder}/{name}", f"user.canary-key-{batch:08x}-{number}", value.encode())
            text(f"attribute {number}", value)
            text(f"attribute key {number}", f"canary-key-{batch:08x}-{number}")
            target = f"/canary/target/{batch:08x}/{number}"
            os.symlink(target, f"{folder}/link-{number}")
            text(f"symlink target {number}", target)
    for number in range(10):
        text(f"folder {number}", f"canary-folder-{batch:08x}-{number}")
    for number, length in enumerate(LENGTHS):
        with open(f"{mount}/sparse-{batch}-{number}", "wb") as out:
            out.truncate(length)
        lines.append(f"length\tlength {number}\t{length}")
    # A database's small synced writes go another way than whole files.
    with open(f"{mount}/synced-{batch:08x}", "wb", buffering=0) as out:
        for number in range(200):
            value = f"canary-record-{batch:08x}-{number:04}"
            out.write(value.encode() + b"\n")
            os.fsync(out.fileno())
            if number % 20 == 0:
                text(f"record {number}", value)
    return lines


def scan(report, vault, lines, moment):
    listing = report.path("canaries.txt")
    with open(listing, "w") as out:
        out.write("\n".join(lines) + "\n")
    result = subprocess.run([CANARY_SCAN, listing, vault.store, vault.home], capture_output=True, text=True, check=False)
    report.check(result.returncode == 0, f"nothing to be seen {moment}: {result.stdout.splitlines()[0] if result.stdout else ''}", result.stdout + result.stderr)


def private(report, vault):
    """What lies in the state directory is for its owner alone."""
    open_to_others = []
    for folder, folders, names in os.walk(vault.home):
        for name in folders + names:
            path = os.path.join(folder, name)
            if not os.path.islink(path) and os.lstat(path).st_mode & 0o077 and os.path.isfile(path):
                open_to_others.append(f"{os.lstat(path).st_mode & 0o777:o} {path}")
    is_closed = os.lstat(vault.home).st_mode & 0o077 == 0
    report.check(is_closed or not open_to_others, "the state directory is closed to other users", "\n".join(open_to_others))


def self_test(report):
    """The scan finds what is there, or its silence says nothing."""
    folder = report.path("leaky")
    os.makedirs(folder)
    with open(f"{folder}/object", "wb") as out:
        out.write(random.Random(1).randbytes(100_000) + b"canary-name-leaked" + random.Random(2).randbytes(1000))
    listing = report.path("leak.txt")
    with open(listing, "w") as out:
        out.write("text\tname\tcanary-name-leaked\n")
    result = subprocess.run([CANARY_SCAN, listing, folder], capture_output=True, text=True, check=False)
    report.need(result.returncode == 1 and "LEAK" in result.stdout, "the scan finds a leak that was put there", result.stdout + result.stderr)


def body(report):
    self_test(report)
    rng = random.Random(time.time_ns())
    vault = report.vault()
    vault.init()
    vault.mount()
    lines = [f"text\tpassword\t{PASSWORD}", f"text\tmount point\t{os.path.basename(vault.mountpoint)}-x"]
    lines += plant(report, vault.mountpoint, rng)
    scan(report, vault, lines, "while the daemon lives, not yet synced")
    vault.sync()
    scan(report, vault, lines, "while the daemon lives, after sync")
    lines += plant(report, vault.mountpoint, rng)
    time.sleep(0.2)
    vault.kill()
    scan(report, vault, lines, "after kill -9")
    vault.mount()
    vault.unmount("--wait")
    scan(report, vault, lines, "after a clean unmount")
    private(report, vault)
    report.figure("canaries", len(lines))
    report.figure("store_bytes_scanned", vault.store_bytes(), "bytes")
    recognisable = [path for path, _ in vault.store_files() if "/o/" not in path and "/h/" not in path]
    report.check(all(os.path.basename(path) in ("vault", "vault.bak") for path in recognisable), "only the header has a name that means something", recognisable)
    report.check(not vault.panics(), "nothing panicked", vault.panics())


if __name__ == "__main__":
    run_script("canary", body)
