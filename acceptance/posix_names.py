"""Claims about names, folders and times; see posix.py."""

import os
import subprocess

from posix_tools import LIBC, checked, errno_of, in_child, read, write

DEPTH = 4096
NOREPLACE, EXCHANGE, WHITEOUT = 1, 2, 4
NANOSECOND = 1_000_000_001


def _rename(source, target, flags):
    checked(LIBC.renameat2(-100, os.fsencode(source), -100, os.fsencode(target), flags))


def a_name_may_hold_every_byte_but_slash_and_nul(folder):
    root = os.fsencode(folder)
    names = [bytes([byte]) for byte in range(1, 256) if byte not in b"/."]
    names += [b"in" + bytes([byte]) + b"side" for byte in range(1, 256) if byte != ord("/")]
    for name in names:
        write(root + b"/" + name, name)
    assert sorted(os.listdir(root)) == sorted(names)
    assert all(read(root + b"/" + name) == name for name in names)
    for name in names:
        os.rename(root + b"/" + name, root + b"/renamed")
        os.rename(root + b"/renamed", root + b"/" + name)
        os.unlink(root + b"/" + name)
    return os.listdir(root)


def a_name_may_be_255_bytes_long_and_no_longer(folder):
    root = os.fsencode(folder)
    for byte in (b"x", b"\xff", b"\xc3"):
        write(root + b"/" + byte * 255, b"long")
        assert read(root + b"/" + byte * 255) == b"long"
    longest = root + b"/" + b"x" * 256
    calls = (os.mkdir, os.unlink, os.rmdir, os.stat, lambda path: write(path), lambda path: os.symlink(b"a", path))
    return [errno_of(call, longest) for call in calls] + [errno_of(os.rename, root + b"/" + b"x" * 255, longest)]


def names_that_are_no_text_come_back_as_they_were(folder):
    root = os.fsencode(folder)
    names = [b"\xff\xfe", b"\xc0\xaf", b"\xed\xa0\x80", b"caf\xe9", b"\xf4\x90\x80\x80", "é".encode(), b"e\xcc\x81", b"..a", b"a..", b" ", b"-rf"]
    for number, name in enumerate(names):
        os.mkdir(root + b"/" + name)
        write(root + b"/" + name + b"/\x80", str(number).encode())
    return sorted((name, read(root + b"/" + name + b"/\x80")) for name in os.listdir(root))


def a_path_may_be_4095_bytes_long_and_no_longer(folder):
    os.chdir(folder)
    deepest = "/".join(["d" * 127] * 31)
    os.makedirs(deepest)
    # A path of n bytes needs one more for its end.
    name = "n" * (4095 - len(deepest) - 1)
    verdicts = [errno_of(write, f"{deepest}/{name}"), errno_of(write, f"{deepest}/{name}x")]
    verdicts.append(errno_of(os.symlink, "t" * 4095, "link"))
    verdicts.append(errno_of(os.symlink, "t" * 4096, "longer"))
    assert os.readlink("link") == "t" * 4095
    return verdicts


def a_tree_may_be_4096_folders_deep(folder):
    os.chdir(folder)
    for _ in range(DEPTH):
        os.mkdir("d")
        os.chdir("d")
    write("bottom", b"deep")
    for _ in range(DEPTH):
        os.chdir("..")
    assert os.path.samefile(os.getcwd(), folder)

    def down_and_up():
        for _ in range(DEPTH):
            os.chdir("d")
        found = read("bottom")
        os.chdir(folder)
        return found

    assert in_child(down_and_up) == b"deep"
    result = subprocess.run(["rm", "-rf", f"{folder}/d"], capture_output=True, check=False)
    return result.returncode, os.listdir(folder)


def rename_flags_do_what_they_say(folder):
    os.chdir(folder)
    write("a", b"a")
    write("b", b"b")
    os.mkdir("folder")
    write("folder/inside", b"i")
    verdicts = [errno_of(_rename, "a", "b", NOREPLACE), errno_of(_rename, "a", "c", NOREPLACE)]
    _rename("c", "folder", EXCHANGE)
    assert read("folder") == b"a" and read("c/inside") == b"i"
    _rename("b", "folder", EXCHANGE)
    assert (read("b"), read("folder")) == (b"a", b"b")
    verdicts += [errno_of(_rename, "b", "none", EXCHANGE), errno_of(_rename, "b", "folder", NOREPLACE | EXCHANGE)]
    verdicts += [errno_of(_rename, "c", "c/inside/x", 0), errno_of(_rename, "c", "c/x", EXCHANGE)]
    return verdicts, sorted(os.listdir("."))


def rename_can_leave_a_whiteout(folder):
    write(f"{folder}/a")
    return errno_of(_rename, f"{folder}/a", f"{folder}/b", WHITEOUT)


def a_nameless_file_can_be_made(folder):
    import tempfile

    verdict = errno_of(lambda: os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o600)))
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"temporary")
        file.seek(0)
        assert file.read() == b"temporary" and os.listdir(folder) == []
    return "ok" if verdict == "ok" else f"{verdict}, then by name"


def times_keep_their_nanoseconds(folder):
    path = write(f"{folder}/file")
    found = []
    for atime, mtime in ((1, 2), (1_700_000_000_123_456_789, 1_700_000_001_987_654_321), (2_000_000_000_000_000_001, 4_102_444_800_999_999_999)):
        os.utime(path, ns=(atime, mtime))
        status = os.stat(path)
        found.append((status.st_atime_ns, status.st_mtime_ns))
    return found


def times_may_lie_before_1970(folder):
    path = write(f"{folder}/file")
    found = []
    for nanoseconds in (-1, -NANOSECOND, -2_147_483_648_000_000_000):
        os.utime(path, ns=(nanoseconds, nanoseconds))
        found.append((os.stat(path).st_atime_ns, os.stat(path).st_mtime_ns))
    return found


def utimensat_can_say_now_and_leave_alone(folder):
    import ctypes
    import time

    class Spec(ctypes.Structure):
        _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]

    now, omit = (1 << 30) - 1, (1 << 30) - 2
    path = write(f"{folder}/file")
    os.utime(path, ns=(1000, 2000))

    def set_times(atime, mtime):
        checked(LIBC.utimensat(-100, os.fsencode(path), (Spec * 2)(Spec(0, atime), Spec(0, mtime)), 0))
        return os.stat(path)

    status = set_times(omit, omit)
    assert (status.st_atime_ns, status.st_mtime_ns) == (1000, 2000)
    status = set_times(omit, 7)
    assert (status.st_atime_ns, status.st_mtime_ns) == (1000, 7)
    status = set_times(now, omit)
    assert abs(status.st_atime - time.time()) < 5 and status.st_mtime_ns == 7
    return [errno_of(set_times, 1_000_000_000, 0), errno_of(set_times, -1, 0)]


def changes_of_a_folder_change_its_times(folder):
    os.chdir(folder)
    os.mkdir("f")
    changed = []
    for change in (lambda: write("f/a"), lambda: os.rename("f/a", "f/b"), lambda: os.link("f/b", "f/c"), lambda: os.unlink("f/c"), lambda: os.mkdir("f/d"), lambda: os.chmod("f/b", 0o600)):
        os.utime("f", ns=(5, 5))
        change()
        changed.append(os.stat("f").st_mtime_ns != 5)
    return changed


def a_file_may_have_65000_names_and_no_more(folder):
    """The case of pjdfstest that cannot ask a FUSE file system for its limit."""
    path = write(f"{folder}/file")
    for number in range(64_999):
        os.link(path, f"{folder}/{number}")
    verdict = errno_of(os.link, path, f"{folder}/more")
    os.unlink(f"{folder}/0")
    return verdict, os.stat(path).st_nlink, errno_of(os.link, path, f"{folder}/more")


def the_inode_of_a_file_stays(folder):
    os.chdir(folder)
    write("a")
    os.mkdir("folder")
    number = os.stat("a").st_ino
    os.link("a", "b")
    os.rename("a", "folder/c")
    with os.scandir(".") as entries:
        listed = {entry.name: entry.inode() for entry in entries}
    assert listed["b"] == os.stat("b").st_ino == os.stat("folder/c").st_ino == number
    return os.stat("b").st_nlink, os.stat("folder").st_nlink, os.stat(".").st_nlink


def a_removed_file_lives_while_it_is_open(folder):
    path = write(f"{folder}/file", b"before")
    file = os.open(path, os.O_RDWR)
    os.unlink(path)
    write(path, b"another")
    os.pwrite(file, b"after", 6)
    os.fsync(file)
    found = os.pread(file, 100, 0), os.fstat(file).st_nlink, read(path)
    os.close(file)
    return found


def a_listing_goes_on_while_names_are_removed(folder):
    names = {f"name-{number:05}" for number in range(3000)}
    for name in names:
        write(f"{folder}/{name}")
    seen = set()
    with os.scandir(folder) as entries:
        for entry in entries:
            assert entry.name not in seen, "a name is listed twice"
            seen.add(entry.name)
            os.unlink(entry.path)
    return seen == names, os.listdir(folder)


def opening_is_refused_as_told(folder):
    os.chdir(folder)
    write("file", b"x")
    os.symlink("file", "link")
    os.symlink("loop", "loop")
    os.mkdir("folder")

    def opened(path, flags):
        return errno_of(lambda: os.close(os.open(path, flags, 0o644)))

    attempts = [("file", os.O_CREAT | os.O_EXCL), ("link", os.O_NOFOLLOW), ("loop", os.O_RDONLY), ("file", os.O_DIRECTORY), ("folder", os.O_WRONLY)]
    attempts += [("file/x", os.O_RDONLY), ("none", os.O_RDONLY), ("link", os.O_CREAT | os.O_EXCL), ("folder", os.O_CREAT), ("", os.O_RDONLY), ("folder", os.O_PATH)]
    return [opened(*attempt) for attempt in attempts]


def pipes_and_sockets_work(folder):
    import socket

    os.mkfifo(f"{folder}/pipe")
    child = os.fork()
    if child == 0:
        try:
            write(f"{folder}/pipe", b"through the pipe")
        finally:
            os._exit(0)
    through = read(f"{folder}/pipe")
    os.waitpid(child, 0)
    os.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as caller:
        listener.bind("socket")
        listener.listen()
        caller.connect("socket")
        caller.sendall(b"through the socket")
        caller.close()
        connection, _ = listener.accept()
        with connection:
            return through, connection.recv(100)


def free_space_makes_sense(folder):
    space = os.statvfs(folder)
    assert space.f_bsize & (space.f_bsize - 1) == 0 and space.f_frsize > 0
    assert 0 < space.f_bavail <= space.f_bfree <= space.f_blocks
    assert 0 < space.f_favail <= space.f_files
    before = space.f_bfree * space.f_frsize
    assert before < 1 << 62
    result = subprocess.run(["df", "--output=target", folder], capture_output=True, text=True, check=False)
    return space.f_namemax, result.returncode
