#!/usr/bin/env python3
"""The main job: a real tree lives on the mount, the machine is lost, the store and the password bring it all back.

Size from the environment: KEEPFS_FILES (default 20000).
"""

import os
import shutil
import time

import tree
from harness import ROOT, drop_caches, number_from_environment, run_script, shell
from manifest import manifest

FILES = number_from_environment("KEEPFS_FILES", 20_000)
ROWS = 20_000


def compare(report, claim, expected, root, ignore=()):
    found = manifest(root)
    kept = [line for line in found if not any(word in line for word in ignore)]
    expected = [line for line in expected if not any(word in line for word in ignore)]
    missing = sorted(set(expected) - set(kept))
    surplus = sorted(set(kept) - set(expected))
    detail = [f"- {line[:300]}" for line in missing[:15]] + [f"+ {line[:300]}" for line in surplus[:15]]
    report.check(not missing and not surplus, f"{claim} ({len(kept)} nodes)", f"{len(missing)} missing or other\n" + "\n".join(detail))


def databases(report, folder):
    """SQLite in both journal modes: many transactions, some rolled back, then its own integrity check."""
    import sqlite3

    for mode in ("wal", "delete", "persist"):
        path = os.path.join(folder, f"{mode}.sqlite")
        started = time.monotonic()
        database = sqlite3.connect(path, isolation_level=None)
        answer = database.execute(f"PRAGMA journal_mode={mode}").fetchone()[0]
        report.check(answer == mode, f"sqlite accepts journal_mode={mode}", answer)
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT, body BLOB)")
        database.execute("CREATE INDEX by_name ON t (name)")
        for batch in range(40):
            database.execute("BEGIN")
            for row in range(ROWS // 40):
                number = batch * (ROWS // 40) + row
                database.execute("INSERT INTO t VALUES (?, ?, ?)", (number, f"row {number * 7919 % ROWS}", os.urandom(100)))
            database.execute("ROLLBACK" if batch % 10 == 9 else "COMMIT")
        for number in range(0, ROWS, 97):
            database.execute("UPDATE t SET body = ? WHERE id = ?", (b"changed" * 20, number))
        database.execute("DELETE FROM t WHERE id % 5 = 0")
        count = database.execute("SELECT count(*) FROM t").fetchone()[0]
        database.close()
        seconds = time.monotonic() - started
        database = sqlite3.connect(path)
        verdict = database.execute("PRAGMA integrity_check").fetchone()[0]
        again = database.execute("SELECT count(*) FROM t").fetchone()[0]
        database.close()
        report.check(verdict == "ok" and again == count, f"sqlite in {mode} mode is intact", f"{verdict}, {again} of {count} rows")
        report.figure(f"sqlite_{mode}_seconds", round(seconds, 2), "s")


def fill(report, vault, source, everything):
    mount = vault.mountpoint
    archive = report.path("tree.tar")
    shell(report, f"tar --xattrs --acls -C {source} -cf {archive} .", "the tree is packed")
    os.mkdir(f"{mount}/tree")
    started = time.monotonic()
    shell(report, f"tar --xattrs --xattrs-include='*' --acls --same-owner -C {mount}/tree -xpf {archive}", "tar unpacks it on the mount")
    report.figure("untar_seconds", round(time.monotonic() - started, 2), "s")
    os.remove(archive)
    shell(report, f"rsync -aHAXS --devices --specials {everything}/ {mount}/everything/", "rsync -aHAXS copies one of everything")
    started = time.monotonic()
    shell(report, f"git -c safe.directory='*' clone --no-hardlinks --quiet {ROOT} {mount}/clone", "git clone works on the mount")
    shell(report, f"git -c safe.directory='*' -C {mount}/clone fsck --full --strict", "git fsck finds nothing")
    shell(
        report,
        f"cd {mount}/clone && git config user.email t@example.org && git config user.name t && git checkout -q -b other && "
        "for n in 1 2 3 4 5; do echo $n > file-$n && git add file-$n && git commit -qm $n; done && git gc --quiet && git fsck --strict",
        "git commits, packs and checks on the mount",
    )
    report.figure("git_seconds", round(time.monotonic() - started, 2), "s")
    os.mkdir(f"{mount}/db")
    databases(report, f"{mount}/db")


def lose_the_machine(report, vault):
    vault.unmount()
    report.check(not vault.daemons(), "the daemon is gone when unmount returns", vault.daemons())
    shutil.rmtree(vault.home)
    vault.home = report.path("second-home")
    started = time.monotonic()
    vault.join()
    vault.mount()
    report.figure("join_and_mount_seconds", round(time.monotonic() - started, 2), "s")


def body(report):
    source, everything = report.path("source"), report.path("everything")
    files, size = tree.gather(source, FILES)
    tree.one_of_everything(everything)
    report.figure("tree_files", files)
    report.figure("tree_bytes", size, "bytes")
    report.need(files >= FILES, f"this machine has {FILES} real files to copy", files)
    vault = report.vault()
    vault.init()
    vault.mount()
    fill(report, vault, source, everything)

    mount = vault.mountpoint
    started = time.monotonic()
    shell(report, f"diff -r --no-dereference {source} {mount}/tree", "diff -r finds no difference")
    report.figure("diff_seconds", round(time.monotonic() - started, 2), "s")
    sources = manifest(source)
    rarities = manifest(everything)
    compare(report, "modes, owners, times, links and attributes of the tree are the same", sources, f"{mount}/tree")
    compare(report, "one of everything is the same", rarities, f"{mount}/everything")
    own = manifest(f"{mount}/clone") + manifest(f"{mount}/db")

    started = time.monotonic()
    vault.sync()
    report.figure("sync_seconds", round(time.monotonic() - started, 2), "s")
    report.figure("store_bytes", vault.store_bytes(), "bytes")
    report.figure("store_objects", vault.store_objects())
    report.figure("daemon_memory_peak", round(vault.memory_peak() / 2**20, 1), "MiB")

    lose_the_machine(report, vault)
    drop_caches()
    started = time.monotonic()
    shell(report, f"diff -r --no-dereference {source} {mount}/tree", "after join, diff -r finds no difference")
    report.figure("diff_after_join_seconds", round(time.monotonic() - started, 2), "s")
    compare(report, "after join, the tree is the same in everything", sources, f"{mount}/tree")
    compare(report, "after join, one of everything is the same", rarities, f"{mount}/everything")
    found = manifest(f"{mount}/clone") + manifest(f"{mount}/db")
    report.check(found == own, "after join, the clone and the databases are the same", "\n".join(sorted(set(own) ^ set(found))[:20]))
    shell(report, f"git -c safe.directory='*' -C {mount}/clone fsck --full --strict", "after join, git fsck finds nothing")
    for mode in ("wal", "delete", "persist"):
        result = shell(report, f"sqlite3 {mount}/db/{mode}.sqlite 'PRAGMA integrity_check'")
        report.check(result.stdout.strip() == "ok", f"after join, sqlite in {mode} mode is intact", result.stdout + result.stderr)
    with open(f"{mount}/written after join", "w") as out:
        out.write("still writable\n")
    vault.unmount("--wait")
    vault.mount()
    with open(f"{mount}/written after join") as content:
        report.check(content.read() == "still writable\n", "what is written after join is there after another mount")
    started = time.monotonic()
    shutil.rmtree(f"{mount}/tree")
    report.figure("rm_rf_seconds", round(time.monotonic() - started, 2), "s")
    report.check(not os.path.exists(f"{mount}/tree"), "the tree can be removed")
    report.check(not vault.panics(), "nothing panicked", vault.panics())
    vault.unmount()


if __name__ == "__main__":
    run_script("main_job", body)
