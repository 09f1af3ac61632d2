"""Claims about locks and about being told of changes; see posix.py."""

import fcntl
import os
import select
import struct

from posix_tools import LIBC, Holder, checked, errno_of, in_child, write

EXCLUSIVE, SHARED, NOW = fcntl.LOCK_EX, fcntl.LOCK_SH, fcntl.LOCK_NB
OFD_SETLK = 37


def _open(path):
    return os.open(path, os.O_RDWR | os.O_CREAT, 0o644)


def _try_flock(path, kind):
    return in_child(lambda: errno_of(fcntl.flock, _open(path), kind | NOW))


def _try_range(path, kind, start=0, length=0):
    return in_child(lambda: errno_of(fcntl.lockf, _open(path), kind | NOW, length, start))


def whole_file_locks_exclude_and_share(folder):
    path = write(f"{folder}/file")
    holder = Holder(lambda: fcntl.flock(_open(path), SHARED))
    verdicts = [_try_flock(path, SHARED), _try_flock(path, EXCLUSIVE)]
    holder.release()
    verdicts.append(_try_flock(path, EXCLUSIVE))
    own, second = _open(path), _open(path)
    fcntl.flock(own, EXCLUSIVE)
    verdicts.append(errno_of(fcntl.flock, second, EXCLUSIVE | NOW))
    os.close(own)
    verdicts.append(errno_of(fcntl.flock, second, EXCLUSIVE | NOW))
    fcntl.flock(second, fcntl.LOCK_UN)
    verdicts.append(_try_flock(path, EXCLUSIVE))
    os.close(second)
    return verdicts


def a_killed_holder_loses_its_locks(folder):
    path = write(f"{folder}/file")
    verdicts = []
    for lock, attempt in ((fcntl.flock, _try_flock), (fcntl.lockf, _try_range)):
        holder = Holder(lambda: lock(_open(path), EXCLUSIVE))
        verdicts.append(attempt(path, EXCLUSIVE))
        holder.kill()
        verdicts.append(attempt(path, EXCLUSIVE))
    return verdicts


def who_waits_gets_the_lock_when_it_is_free(folder):
    path = write(f"{folder}/file")
    verdicts = []
    for lock in (fcntl.flock, fcntl.lockf):
        holder = Holder(lambda: lock(_open(path), EXCLUSIVE))
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                lock(_open(path), EXCLUSIVE)
                os.write(writer, b"1")
            finally:
                os._exit(0)
        waits = not select.select([reader], [], [], 0.1)[0]
        holder.kill()
        verdicts.append((waits, os.read(reader, 1)))
        os.waitpid(child, 0)
        os.close(reader)
        os.close(writer)
    return verdicts


def ranges_are_locked_on_their_own(folder):
    path = write(f"{folder}/file", b"x" * 100)
    own = _open(path)
    fcntl.lockf(own, EXCLUSIVE, 10, 20)
    fcntl.lockf(own, SHARED, 10, 60)
    verdicts = [_try_range(path, EXCLUSIVE, start, 5) for start in (0, 18, 25, 30)]
    verdicts += [_try_range(path, SHARED, 62, 2), _try_range(path, EXCLUSIVE, 62, 2)]
    fcntl.lockf(own, fcntl.LOCK_UN, 5, 20)
    verdicts += [_try_range(path, EXCLUSIVE, 20, 5), _try_range(path, EXCLUSIVE, 25, 5)]
    asked = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    kind, _, start, length, owner = struct.unpack("hhqqi4x", in_child(lambda: fcntl.fcntl(_open(path), fcntl.F_GETLK, asked)))
    verdicts += [kind == fcntl.F_WRLCK, start, length, owner == os.getpid()]
    # Closing any descriptor of the file lets go of all of the process's ranges.
    os.close(_open(path))
    verdicts.append(_try_range(path, EXCLUSIVE))
    os.close(own)
    return verdicts


def locks_of_an_open_file_belong_to_it(folder):
    path = write(f"{folder}/file")
    first, second = _open(path), _open(path)
    lock = struct.pack("hhqqi4x", fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    fcntl.fcntl(first, OFD_SETLK, lock)
    verdicts = [errno_of(fcntl.fcntl, second, OFD_SETLK, lock), _try_range(path, EXCLUSIVE)]
    os.close(first)
    verdicts.append(errno_of(fcntl.fcntl, second, OFD_SETLK, lock))
    os.close(second)
    return verdicts


def locks_follow_the_file_and_not_its_name(folder):
    path = write(f"{folder}/file")
    own = _open(path)
    fcntl.flock(own, EXCLUSIVE)
    os.rename(path, f"{folder}/renamed")
    os.link(f"{folder}/renamed", f"{folder}/linked")
    verdicts = [_try_flock(f"{folder}/linked", EXCLUSIVE), _try_flock(path, EXCLUSIVE)]
    os.close(own)
    return verdicts


def changes_are_told_to_who_watches(folder):
    watcher = checked(LIBC.inotify_init1(os.O_NONBLOCK))
    checked(LIBC.inotify_add_watch(watcher, os.fsencode(folder), 0xFFF))
    path = write(f"{folder}/file", b"x")
    os.rename(path, f"{folder}/renamed")
    os.unlink(f"{folder}/renamed")
    seen, data = [], os.read(watcher, 1 << 16)
    while data:
        _, mask, _, length = struct.unpack("iIII", data[:16])
        seen.append((hex(mask), data[16 : 16 + length].rstrip(b"\0")))
        data = data[16 + length :]
    os.close(watcher)
    return seen
