"""Claims about bytes: reading, writing, mapping, holes, copies; see posix.py."""

import ctypes
import errno
import mmap
import os
import signal

from posix_tools import LIBC, checked, errno_of, in_child, read, write

PAGE = 4096
MIB = 1 << 20
KEEP_SIZE, PUNCH, COLLAPSE, ZERO, INSERT = 1, 2, 8, 16, 32


def _fallocate(file, mode, offset, length):
    checked(LIBC.fallocate(file, mode, ctypes.c_long(offset), ctypes.c_long(length)))


def write_by_mapping(path, content, length=2 * PAGE):
    """Writes through a shared mapping and syncs it."""
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(file, length)
    with mmap.mmap(file, length) as mapping:
        mapping[: len(content)] = content
        mapping.flush()
    os.close(file)


def aligned(content):
    """A buffer that begins at a page, as direct writes want it."""
    buffer = mmap.mmap(-1, len(content))
    buffer.write(content)
    return buffer


write_by_mapping.__module__ = aligned.__module__ = "helpers"


def two_processes_share_a_mapping(folder):
    path = f"{folder}/file"
    write(path, bytes(2 * PAGE))
    file = os.open(path, os.O_RDWR)
    with mmap.mmap(file, 2 * PAGE) as mapping:
        in_child(lambda: write_by_mapping(path, b"from the other"))
        assert mapping[:14] == b"from the other"
        mapping[PAGE : PAGE + 4] = b"mine"
        assert in_child(lambda: read(path))[PAGE : PAGE + 4] == b"mine"
        os.pwrite(file, b"written", 100)
        assert mapping[100:107] == b"written"
        mapping.flush()
    os.close(file)
    return read(path)


def a_private_mapping_changes_nothing(folder):
    path = write(f"{folder}/file", b"a" * PAGE)
    file = os.open(path, os.O_RDONLY)
    with mmap.mmap(file, PAGE, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE) as mapping:
        mapping[:3] = b"bbb"
        mapping.flush()
    os.close(file)
    return read(path) == b"a" * PAGE


def a_mapping_behind_the_end_is_a_bus_error(folder):
    path = write(f"{folder}/file", b"a" * 2 * PAGE)
    child = os.fork()
    if child == 0:
        file = os.open(path, os.O_RDWR)
        mapping = mmap.mmap(file, 2 * PAGE)
        os.ftruncate(file, 10)
        mapping[PAGE]
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else "no signal"


def a_mapped_page_is_zero_behind_the_end(folder):
    path = write(f"{folder}/file", b"a" * 10)
    file = os.open(path, os.O_RDWR)
    with mmap.mmap(file, 10) as mapping:
        mapping[:5] = b"bbbbb"
        mapping.flush()
    os.ftruncate(file, 100)
    found = os.pread(file, 200, 0)
    os.close(file)
    return found


def direct_io_sees_what_others_wrote(folder):
    path = f"{folder}/file"
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o644)
    assert os.write(file, aligned(b"d" * 4 * PAGE)) == 4 * PAGE
    assert read(path) == b"d" * 4 * PAGE
    with open(path, "r+b", buffering=0) as other:
        other.seek(PAGE)
        other.write(b"b" * PAGE)
        buffer = mmap.mmap(-1, PAGE)
        os.preadv(file, [buffer], PAGE)
        assert buffer[:] == b"b" * PAGE
        os.pwrite(file, aligned(b"e" * PAGE), PAGE)
        other.seek(PAGE)
        assert other.read(PAGE) == b"e" * PAGE
    os.close(file)
    return os.path.getsize(path)


def direct_io_may_be_aligned_or_not(folder):
    file = os.open(f"{folder}/file", os.O_RDWR | os.O_CREAT | os.O_DIRECT, 0o644)
    os.write(file, aligned(b"d" * PAGE))
    verdicts = [errno_of(os.pwrite, file, aligned(b"x" * 100), 0), errno_of(os.pwrite, file, aligned(b"x" * PAGE), 1), errno_of(os.pread, file, 10, 3)]
    os.close(file)
    if verdicts == ["ok"] * 3:
        assert read(f"{folder}/file") == b"x" * (PAGE + 1)
        return "any alignment"
    return verdicts


def appending_writers_lose_nothing(folder):
    path, writers, records = f"{folder}/file", 4, 400

    def append(writer):
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        for number in range(records):
            os.write(file, f"{writer}:{number:05}:{'x' * (number % 200)}\n".encode())
        os.close(file)

    children = []
    for writer in range(writers):
        child = os.fork()
        if child == 0:
            try:
                append(writer)
            finally:
                os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    lines = read(path).decode().splitlines()
    by_writer = {writer: [line for line in lines if line.startswith(f"{writer}:")] for writer in range(writers)}
    whole = all(line.endswith("x" * (int(line.split(":")[1]) % 200)) for line in lines)
    return len(lines), whole, [own == sorted(own) for own in by_writer.values()]


def appending_ignores_the_offset(folder):
    path = write(f"{folder}/file", b"abc")
    file = os.open(path, os.O_RDWR | os.O_APPEND)
    os.lseek(file, 0, os.SEEK_SET)
    os.write(file, b"def")
    os.pwrite(file, b"ghi", 0)
    os.close(file)
    return read(path)


def everything_can_be_synced(folder):
    path = write(f"{folder}/file", b"x")
    directory, reader = os.open(folder, os.O_RDONLY), os.open(path, os.O_RDONLY)
    verdicts = [errno_of(call, file) for call in (os.fsync, os.fdatasync) for file in (directory, reader)]
    verdicts.append(errno_of(lambda: checked(LIBC.syncfs(directory))))
    verdicts.append(errno_of(lambda: checked(LIBC.sync_file_range(reader, ctypes.c_long(0), ctypes.c_long(1), 7))))
    os.close(directory)
    os.close(reader)
    pipe, other = os.pipe()
    verdicts.append(errno_of(os.fsync, pipe))
    os.close(pipe)
    os.close(other)
    return verdicts


def copies_inside_a_file_system_are_whole(folder):
    content = os.urandom(3 * MIB + 123)
    source = os.open(write(f"{folder}/source", content), os.O_RDWR)
    target = os.open(f"{folder}/target", os.O_RDWR | os.O_CREAT, 0o644)

    def copy(length, start, at, into=target):
        done = 0
        while done < length:
            more = os.copy_file_range(source, into, length - done, start + done, at + done)
            if more == 0:
                break
            done += more
        return done

    verdicts = [copy(len(content), 0, 0), copy(100, len(content), 0), copy(MIB, len(content) - 10, 5 * MIB), copy(MIB, 7, 11)]
    expected = bytearray(content) + bytes(5 * MIB + 10 - len(content))
    expected[5 * MIB :] = content[-10:]
    expected[11 : 11 + MIB] = content[7 : 7 + MIB]
    assert read(f"{folder}/target") == bytes(expected)
    verdicts.append(errno_of(copy, MIB, 0, 100, source))
    appender = os.open(f"{folder}/target", os.O_WRONLY | os.O_APPEND)
    verdicts.append(errno_of(copy, 10, 0, 0, appender))
    reader = os.open(f"{folder}/target", os.O_RDONLY)
    verdicts.append(errno_of(copy, 10, 0, 0, reader))
    for file in (source, target, appender, reader):
        os.close(file)
    return verdicts


def a_copy_ends_as_soon_as_it_may(folder):
    source = os.open(write(f"{folder}/source", b"x" * 100), os.O_RDONLY)
    target = os.open(f"{folder}/target", os.O_RDWR | os.O_CREAT, 0o644)
    copied = os.copy_file_range(source, target, (1 << 31) - 1, 0, 0)
    os.close(source)
    os.close(target)
    return copied, read(f"{folder}/target")


def holes_are_found(folder):
    file = os.open(f"{folder}/file", os.O_RDWR | os.O_CREAT, 0o644)
    os.pwrite(file, b"x" * MIB, 2 * MIB)
    os.pwrite(file, b"x" * MIB, 6 * MIB)
    os.ftruncate(file, 9 * MIB)
    os.fsync(file)
    found = []
    for whence, offsets in ((os.SEEK_DATA, (0, 2 * MIB + 5, 3 * MIB, 6 * MIB)), (os.SEEK_HOLE, (0, 2 * MIB, 6 * MIB + 1, 8 * MIB))):
        found += [os.lseek(file, offset, whence) for offset in offsets]
    found += [errno_of(os.lseek, file, offset, whence) for whence in (os.SEEK_DATA, os.SEEK_HOLE) for offset in (8 * MIB, 9 * MIB, -1)]
    os.close(file)
    return found


def what_is_not_written_back_is_no_hole(folder):
    file = os.open(f"{folder}/file", os.O_RDWR | os.O_CREAT, 0o644)
    os.ftruncate(file, 4 * MIB)
    os.pwrite(file, b"x" * PAGE, MIB)
    found = os.lseek(file, 0, os.SEEK_DATA) <= MIB, os.lseek(file, MIB, os.SEEK_HOLE) > MIB
    os.close(file)
    return found


def space_can_be_taken_punched_and_zeroed(folder):
    file = os.open(write(f"{folder}/file", b"x" * 10 * PAGE), os.O_RDWR)
    found = []
    for mode, offset, length in ((0, 0, 12 * PAGE), (KEEP_SIZE, 0, 100 * PAGE), (PUNCH | KEEP_SIZE, PAGE + 5, PAGE), (ZERO, 3 * PAGE + 1, 100), (ZERO | KEEP_SIZE, 11 * PAGE, 9 * PAGE), (ZERO, 12 * PAGE, PAGE), (PUNCH | KEEP_SIZE, 100 * PAGE, PAGE)):
        _fallocate(file, mode, offset, length)
        found.append(os.fstat(file).st_size)
    content = bytearray(b"x" * 10 * PAGE + bytes(3 * PAGE))
    content[PAGE + 5 : 2 * PAGE + 5] = bytes(PAGE)
    content[3 * PAGE + 1 : 3 * PAGE + 101] = bytes(100)
    assert os.pread(file, 20 * PAGE, 0) == bytes(content)
    os.close(file)
    return found


def taking_space_is_refused_as_told(folder):
    path = write(f"{folder}/file", b"x" * PAGE)
    file, reader = os.open(path, os.O_RDWR), os.open(path, os.O_RDONLY)
    directory = os.open(folder, os.O_RDONLY)
    attempts = [(file, 0, 0, 0), (file, 0, -1, 10), (file, 0, 0, -1), (file, PUNCH, 0, 10), (file, 0, (1 << 63) - 1, 10), (reader, 0, 0, 10), (directory, 0, 0, 10), (file, PUNCH | ZERO | KEEP_SIZE, 0, 10)]
    verdicts = [errno_of(_fallocate, *attempt) for attempt in attempts]
    for each in (file, reader, directory):
        os.close(each)
    assert read(path) == b"x" * PAGE
    return verdicts


def ranges_can_be_collapsed_and_inserted(folder):
    file = os.open(write(f"{folder}/file", b"x" * 64 * PAGE), os.O_RDWR)
    verdicts = f"{errno_of(_fallocate, file, COLLAPSE, 0, 16 * PAGE)} {errno_of(_fallocate, file, INSERT, 0, 16 * PAGE)}"
    os.close(file)
    return verdicts


def truncating_gives_zeroes(folder):
    path = write(f"{folder}/file", b"x" * 10_000)
    found = []
    for length in (5000, 20_000, 4096, 4097, 0, 3 * MIB, 100):
        os.truncate(path, length)
        content = read(path)
        found.append((len(content), content.rstrip(b"\0").count(b"x")))
    found.append(errno_of(os.truncate, path, -1))
    found.append(errno_of(os.truncate, folder, 0))
    return found


def a_file_may_be_as_long_as_offsets_can_say(folder):
    path = write(f"{folder}/file", b"x")
    for length in (1 << 62, 1 << 50, 1 << 44):
        verdict = errno_of(os.truncate, path, length)
        if verdict == "ok":
            break
    return f"{os.path.getsize(path)}: {verdict}"


def offsets_that_cannot_be_are_refused(folder):
    file = os.open(f"{folder}/file", os.O_RDWR | os.O_CREAT, 0o644)
    highest = (1 << 63) - 1
    verdicts = [errno_of(os.pwrite, file, b"x", highest), errno_of(os.pwrite, file, b"xx", highest - 1), errno_of(os.pread, file, 1, highest)]
    verdicts += [errno_of(os.pread, file, 1, -1), errno_of(os.pwrite, file, b"x", -1), errno_of(os.lseek, file, -1, os.SEEK_SET)]
    size = os.fstat(file).st_size
    os.close(file)
    return verdicts, size


def a_limit_of_the_process_holds(folder):
    import resource

    def body():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        file = os.open(f"{folder}/file", os.O_RDWR | os.O_CREAT, 0o644)
        return os.write(file, b"x" * 20_000), errno_of(os.write, file, b"x"), errno_of(os.ftruncate, file, 10_001), os.fstat(file).st_size

    return in_child(body)


def a_program_can_be_run_and_not_written_meanwhile(folder):
    import shutil
    import subprocess

    path = f"{folder}/program"
    shutil.copy("/bin/sleep", path)
    os.chmod(path, 0o755)
    with subprocess.Popen([path, "5"]) as process:
        verdicts = [errno_of(write, path, b"x"), errno_of(os.truncate, path, 0)]
        process.kill()
    write(f"{folder}/script", b"#!/bin/sh\necho from the script\n", 0o755)
    said = subprocess.run([f"{folder}/script"], capture_output=True, check=False).stdout
    return verdicts, said, errno_of(os.execv, write(f"{folder}/plain", b"#!/bin/sh\n"), ["plain"])


def extended_attributes_are_kept(folder):
    os.chdir(folder)
    write("file")
    os.setxattr("file", "user.a", b"1", os.XATTR_CREATE)
    os.setxattr("file", "user.empty", b"")
    os.setxattr("file", b"user.\xff\xfe", b"\0\xff" * 100)
    os.setxattr("file", "trusted.t", b"t")
    os.setxattr("file", "security.s", b"s")
    verdicts = [errno_of(os.setxattr, "file", "user.a", b"2", os.XATTR_CREATE), errno_of(os.setxattr, "file", "user.none", b"2", os.XATTR_REPLACE)]
    verdicts += [errno_of(os.getxattr, "file", "user.none"), errno_of(os.removexattr, "file", "user.none")]
    os.rename("file", "renamed")
    os.link("renamed", "linked")
    found = {os.fsencode(name): os.getxattr("linked", name) for name in os.listxattr("linked")}
    os.removexattr("linked", "user.a")
    return verdicts, sorted(found.items()), sorted(map(os.fsencode, os.listxattr("renamed")))


def attributes_have_limits_and_namespaces(folder):
    os.chdir(folder)
    write("file")
    os.symlink("file", "link")
    os.mkfifo("pipe")
    verdicts = [errno_of(os.setxattr, "file", "user." + "n" * length, b"x") for length in (250, 251)]
    verdicts += [errno_of(os.setxattr, "file", "user.big", bytes(65_537))]
    verdicts += [errno_of(os.setxattr, "file", name, b"x") for name in ("user.", "foo.bar", "noname", "system.foo", "")]
    verdicts += [errno_of(call, "file", name) for call in (os.getxattr, os.removexattr) for name in ("user.", "foo.bar", "system.foo", "user.none")]
    verdicts += [errno_of(os.setxattr, "link", "user.a", b"x", follow_symlinks=False), errno_of(os.setxattr, "pipe", "user.a", b"x")]
    verdicts += [errno_of(os.setxattr, "link", "trusted.a", b"x", follow_symlinks=False)]
    buffer = ctypes.create_string_buffer(3)
    LIBC.getxattr.restype = ctypes.c_long
    os.setxattr("file", "user.a", b"four")
    verdicts.append(errno_of(lambda: checked(LIBC.getxattr(b"file", b"user.a", buffer, 3))))
    verdicts.append(errno_of(lambda: checked(LIBC.listxattr(b"file", buffer, 3))))
    return verdicts


def attributes_may_be_as_long_as_the_kernel_allows(folder):
    path = write(f"{folder}/file")
    for length in (65_536, 32_768, 2_000):
        verdict = errno_of(os.setxattr, path, "user.big", b"v" * length)
        if verdict == "ok":
            assert os.getxattr(path, "user.big") == b"v" * length
            break
    return f"{length} bytes: {verdict}"


def vectors_and_flags_of_newer_calls_work(folder):
    path = f"{folder}/file"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    written = [os.pwritev(file, [b"ab", b"cd"], 0, os.RWF_DSYNC), os.pwritev(file, [b"ef"], 0, os.RWF_APPEND), os.pwritev(file, [b"g"], 6, os.RWF_SYNC)]
    parts = [bytearray(3), bytearray(10)]
    got = os.preadv(file, parts, 1)
    with open(f"{folder}/copy", "wb") as out:
        sent = os.sendfile(out.fileno(), file, 2, 3)
    reader, writer = os.pipe()
    spliced = os.splice(file, writer, 4, offset_src=0)
    through = os.read(reader, 10)
    for each in (file, reader, writer):
        os.close(each)
    return written, got, bytes(parts[0] + parts[1][: got - 3]), sent, read(f"{folder}/copy"), spliced, through


def no_byte_is_read_of_nothing(folder):
    path = write(f"{folder}/file", b"abc")
    file = os.open(path, os.O_RDONLY)
    found = os.pread(file, 10, 3), os.pread(file, 10, 1 << 40), os.pread(file, 0, 0), os.pread(file, 10, 2)
    found += (errno_of(os.write, file, b"x"), errno_of(os.ftruncate, file, 0), errno_of(os.read, os.open(folder, os.O_RDONLY), 1))
    os.close(file)
    assert errno.errorcode[errno.EBADF] == "EBADF"
    return found
