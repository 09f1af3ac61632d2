#!/usr/bin/env python3
"""The same random calls on the mount and on this machine's own file system: same answers, same tree.

Every call's result or error number is compared at once, the whole trees from time to time; the vault is remounted,
killed after a sync, and joined by a new machine in between. KEEPFS_SEED, KEEPFS_MODEL_CALLS (default 30000).
"""

import ctypes
import errno
import os
import random
import shutil
import stat
import time

from harness import number_from_environment, run_script
from manifest import manifest

CALLS = number_from_environment("KEEPFS_MODEL_CALLS", 30_000)
SEED = number_from_environment("KEEPFS_SEED", 1)
COMPARE_EVERY = 3_000
KNOWN_EVERY = 40
NAMES = ["a", "b", "c", "d", "long-" + "x" * 200]
DEPTH_MAX = 4
FILE_LEN_MAX = 3 << 20
FILE_CALLS = ("write", "append", "read", "truncate", "punch", "copy", "unlinked_but_open", "holes")
NOREPLACE, EXCHANGE = 1, 2
PUNCH, KEEP_SIZE, ZERO_RANGE = 2, 1, 16
LIBC = ctypes.CDLL(None, use_errno=True)
# Two names of one answer: POSIX allows either.
SAME = {errno.EEXIST: errno.ENOTEMPTY, errno.ENODATA: errno.ENODATA}


def checked(result):
    if result < 0:
        raise OSError(ctypes.get_errno(), "")
    return result


def renameat2(source, target, flags):
    checked(LIBC.renameat2(-100, os.fsencode(source), -100, os.fsencode(target), flags))


def fallocate(file, mode, offset, length):
    checked(LIBC.fallocate(file, mode, ctypes.c_long(offset), ctypes.c_long(length)))


class Calls:
    """The calls, as functions of a root folder and arguments drawn before."""

    def create(self, root, path, mode):
        os.close(os.open(root + path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode))

    def write(self, root, path, offset, data, sync):
        file = os.open(root + path, os.O_WRONLY)
        try:
            os.pwrite(file, data, offset)
            if sync:
                os.fsync(file)
        finally:
            os.close(file)

    def append(self, root, path, data):
        file = os.open(root + path, os.O_WRONLY | os.O_APPEND)
        try:
            os.write(file, data)
        finally:
            os.close(file)

    def read(self, root, path, offset, length):
        file = os.open(root + path, os.O_RDONLY)
        try:
            return os.pread(file, length, offset)
        finally:
            os.close(file)

    def truncate(self, root, path, length):
        os.truncate(root + path, length)

    def punch(self, root, path, mode, offset, length):
        file = os.open(root + path, os.O_RDWR)
        try:
            fallocate(file, mode, offset, length)
        finally:
            os.close(file)

    def copy(self, root, path, other, source_offset, target_offset, length):
        source = os.open(root + path, os.O_RDONLY)
        try:
            target = os.open(root + other, os.O_RDWR)
            try:
                # A copy may be short for good reasons; both sides go on to the end.
                done = 0
                while done < length:
                    more = os.copy_file_range(source, target, length - done, source_offset + done, target_offset + done)
                    if more == 0:
                        break
                    done += more
                return done
            finally:
                os.close(target)
        finally:
            os.close(source)

    def unlinked_but_open(self, root, path, data):
        file = os.open(root + path, os.O_RDWR)
        try:
            os.unlink(root + path)
            os.pwrite(file, data, 10)
            return os.pread(file, 1 << 16, 0), os.fstat(file).st_nlink
        finally:
            os.close(file)

    def mkdir(self, root, path, mode):
        os.mkdir(root + path, mode)

    def rmdir(self, root, path):
        os.rmdir(root + path)

    def unlink(self, root, path):
        os.unlink(root + path)

    def rename(self, root, path, other, flags):
        renameat2(root + path, root + other, flags)

    def link(self, root, path, other):
        os.link(root + path, root + other, follow_symlinks=False)

    def symlink(self, root, path, target):
        os.symlink(target, root + path)

    def readlink(self, root, path):
        return os.readlink(root + path)

    def chmod(self, root, path, mode):
        os.chmod(root + path, mode)

    def chown(self, root, path, owner, group):
        os.chown(root + path, owner, group, follow_symlinks=False)

    def utime(self, root, path, nanoseconds):
        os.utime(root + path, ns=(nanoseconds, nanoseconds), follow_symlinks=False)
        return os.lstat(root + path).st_mtime_ns

    def setxattr(self, root, path, name, value, flags):
        os.setxattr(root + path, name, value, flags)

    def removexattr(self, root, path, name):
        os.removexattr(root + path, name)

    def mknod(self, root, path, mode):
        os.mknod(root + path, mode, os.makedev(7, 300))

    def listdir(self, root, path):
        return sorted(os.listdir(root + path))

    def stat(self, root, path):
        status = os.stat(root + path)
        size = status.st_size if not stat.S_ISDIR(status.st_mode) else 0
        links = status.st_nlink if not stat.S_ISDIR(status.st_mode) else 0
        return status.st_mode, size, links, status.st_uid, status.st_gid

    def holes(self, root, path):
        """Data is never called a hole: every byte that SEEK_DATA skips reads as zero."""
        file = os.open(root + path, os.O_RDONLY)
        try:
            length = os.fstat(file).st_size
            if stat.S_ISDIR(os.fstat(file).st_mode):
                return "a folder"
            at = 0
            while at < length:
                try:
                    data = os.lseek(file, at, os.SEEK_DATA)
                except OSError as error:
                    if error.errno != errno.ENXIO:
                        raise
                    data = length
                if os.pread(file, min(data - at, 1 << 16), at).strip(b"\0"):
                    return "a hole holds data"
                at = length if data >= length else os.lseek(file, data, os.SEEK_HOLE)
            return "sound"
        finally:
            os.close(file)


def known_paths(root):
    """What there is, so that most calls find something to do."""
    found = []
    for folder, folders, names in os.walk(root):
        folders.sort()
        found += [os.path.join(folder, name)[len(root) :] for name in sorted(folders + names)]
    return found


def draw_path(rng, known):
    if known and rng.random() < 0.6:
        path = rng.choice(known)
        return path if rng.random() < 0.7 or path.count("/") >= DEPTH_MAX else f"{path}/{rng.choice(NAMES)}"
    return "/" + "/".join(rng.choice(NAMES) for _ in range(rng.choice((1, 1, 2, 2, 3, DEPTH_MAX))))


def draw(root, rng, known):
    """One call and its arguments; the weights make trees that grow and shrink."""
    kind = rng.choices(
        "create write append read truncate punch copy unlinked_but_open mkdir rmdir unlink rename link symlink readlink chmod chown utime setxattr removexattr mknod listdir stat holes".split(),
        [10, 14, 6, 8, 5, 4, 4, 1, 9, 3, 4, 9, 4, 3, 1, 3, 2, 3, 4, 2, 1, 3, 5, 3],
    )[0]
    path, other = draw_path(rng, known), draw_path(rng, known)
    files = [known_path for known_path in known if os.path.isfile(root + known_path)] if kind in FILE_CALLS else []
    if files and rng.random() < 0.8:
        path, other = rng.choice(files), rng.choice(files)
    offset = rng.choice((0, 1, 4095, 4096, 65_536, rng.randrange(FILE_LEN_MAX)))
    length = rng.choice((1, 100, 4096, 65_537, rng.randrange(300_000)))
    data = rng.randbytes(1) * length if rng.random() < 0.3 else rng.randbytes(length)
    name = "user." + rng.choice("abc")
    arguments = {
        "create": (path, rng.choice((0o644, 0o600, 0o755, 0o4755))),
        "write": (path, offset, data, rng.random() < 0.1),
        "append": (path, data),
        "read": (path, offset, length),
        "truncate": (path, rng.choice((0, offset, offset + length))),
        "punch": (path, rng.choice((0, KEEP_SIZE, PUNCH | KEEP_SIZE, ZERO_RANGE, ZERO_RANGE | KEEP_SIZE)), offset, length),
        "copy": (path, other, offset, rng.choice((0, offset, rng.randrange(FILE_LEN_MAX))), length * 4),
        "unlinked_but_open": (path, data[:1000]),
        "mkdir": (path, rng.choice((0o755, 0o700, 0o2775))),
        "rmdir": (path,),
        "unlink": (path,),
        "rename": (path, other, rng.choice((0, 0, 0, NOREPLACE, EXCHANGE))),
        "link": (path, other),
        "symlink": (path, rng.choice((".", "a", "b/c", "nowhere", "y" * 500))),
        "readlink": (path,),
        "chmod": (path, rng.choice((0o644, 0o4755, 0o2755, 0o1777, 0))),
        "chown": (path, *rng.choice(((0, 0), (1000, -1), (-1, 1000), (1000, 0)))),
        "utime": (path, rng.choice((0, 1_234_567_890_123_456_789, -1_000_000_001, 4_102_444_800_999_999_999))),
        "setxattr": (path, name, data[:500], rng.choice((0, 0, os.XATTR_CREATE, os.XATTR_REPLACE))),
        "removexattr": (path, name),
        "mknod": (path, rng.choice((stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK)) | 0o640),
        "listdir": (rng.choice((path, "/")),),
        "stat": (path,),
        "holes": (path,),
    }
    return kind, arguments[kind]


def answer(call, root, arguments):
    try:
        return call(root, *arguments)
    except OSError as error:
        return f"error {errno.errorcode.get(SAME.get(error.errno, error.errno))}"


def is_pipe(path):
    """Opening a fifo waits for its other end, and a socket or device says what this kernel says."""
    try:
        return not stat.S_ISREG(os.stat(path).st_mode) and not stat.S_ISDIR(os.stat(path).st_mode)
    except OSError:
        return False


def without_times(lines):
    """Times are set by two clocks, and how much of a file is a hole is each file system's affair."""
    return [" ".join(word for word in line.split(" ") if not word.startswith(("mtime=", "sparse="))) for line in lines]


def shown(kind, arguments):
    return f"{kind}({', '.join(repr(a)[:60] for a in arguments)})"


def compare(report, reference, vault, moment):
    expected, found = without_times(manifest(reference)), without_times(manifest(vault.mountpoint))
    difference = sorted(set(expected) ^ set(found))
    detail = [("- " if line in set(expected) else "+ ") + line[:300] for line in difference[:20]]
    report.need(not difference, f"the trees are the same {moment} ({len(found)} nodes)", "\n".join(detail))


def again(report, vault, how):
    """Ends the mount in one of three ways and comes back; the tree must be exactly the same, times included."""
    before = manifest(vault.mountpoint)
    if how == "kill -9 after sync":
        vault.sync()
        vault.kill()
    else:
        vault.unmount("--wait")
        if how == "join":
            shutil.rmtree(vault.home)
            vault.join()
    vault.mount()
    after = manifest(vault.mountpoint)
    difference = sorted(set(before) ^ set(after))
    report.need(not difference, f"after {how} the tree is exactly the same", "\n".join(("- " if l in set(before) else "+ ") + l[:300] for l in difference[:20]))


def body(report):
    report.need(os.geteuid() == 0, "this script changes owners and makes devices, so it runs as root")
    os.umask(0o022)
    rng = random.Random(SEED)
    report.figure("seed", SEED)
    reference = report.path("reference")
    os.mkdir(reference)
    vault = report.vault()
    vault.init()
    vault.mount()
    calls = Calls()
    successes, known, started = 0, [], time.monotonic()
    ways = ["remount", "kill -9 after sync", "join"]
    for number in range(1, CALLS + 1):
        if number % KNOWN_EVERY == 1:
            known = known_paths(reference)
        kind, arguments = draw(reference, rng, known)
        if kind in FILE_CALLS and any(is_pipe(reference + a) for a in arguments if isinstance(a, str)):
            continue
        call = getattr(calls, kind)
        expected = answer(call, reference, arguments)
        found = answer(call, vault.mountpoint, arguments)
        successes += not (isinstance(expected, str) and expected.startswith("error"))
        if expected != found:
            report.need(False, f"call {number} has the same answer", f"{shown(kind, arguments)}\nexpected {str(expected)[:300]}\nfound    {str(found)[:300]}\n{vault.log_tail()}")
        if number % COMPARE_EVERY == 0:
            compare(report, reference, vault, f"after {number} calls")
            again(report, vault, ways[number // COMPARE_EVERY % len(ways)])
    compare(report, reference, vault, "at the end")
    report.figure("calls", CALLS)
    report.figure("calls_that_changed_or_read", successes)
    report.figure("calls_per_second", round(CALLS / (time.monotonic() - started)), "/s")
    report.check(not vault.panics(), "nothing panicked", vault.panics())
    vault.unmount("--wait")


if __name__ == "__main__":
    run_script("model", body)
