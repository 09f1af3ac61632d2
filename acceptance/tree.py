"""Real trees to work with: sources as they lie on this machine, and one of everything a file system can hold."""

import os
import random
import shutil
import socket
import stat
import subprocess

# Where real source trees usually lie, best first.
ORIGINS = [
    os.path.expanduser("~/.cargo/registry/src"),
    "/usr/include",
    "/usr/share/doc",
    "/usr/share",
    "/usr/lib/python3",
    "/usr/src",
    "/usr/lib",
]
# A tree for a test of a file system is many files, not large ones.
FILE_LEN_MAX = 4 << 20
NOISE_PIECE = 64 << 20


def gather(destination, file_count, byte_count_max=1 << 62):
    """Copies at least file_count real files below destination, with modes, owners, times and links."""
    copied, size = 0, 0
    os.makedirs(destination, exist_ok=True)
    for number, origin in enumerate(ORIGINS):
        if copied >= file_count or size >= byte_count_max:
            break
        if not os.path.isdir(origin):
            continue
        base = os.path.join(destination, f"{number}-{os.path.basename(origin)}")
        more, bytes_more = copy_tree(origin, base, file_count - copied, byte_count_max - size)
        copied, size = copied + more, size + bytes_more
    return copied, size


def copy_tree(origin, destination, count_max, byte_count_max):
    copied, size = 0, 0
    folders = []
    for folder, names, files in os.walk(origin):
        names.sort()
        target = os.path.join(destination, os.path.relpath(folder, origin))
        os.makedirs(target, exist_ok=True)
        folders.append((folder, target))
        for name in sorted(files):
            source = os.path.join(folder, name)
            status = os.lstat(source)
            is_file = stat.S_ISREG(status.st_mode) and status.st_size <= FILE_LEN_MAX
            if not is_file and not stat.S_ISLNK(status.st_mode):
                continue
            shutil.copy2(source, os.path.join(target, name), follow_symlinks=False)
            if os.geteuid() == 0:
                os.lchown(os.path.join(target, name), status.st_uid, status.st_gid)
            copied += 1
            size += status.st_size
        if copied >= count_max or size >= byte_count_max:
            break
    for folder, target in reversed(folders):
        shutil.copystat(folder, target)
    return copied, size


def one_of_everything(destination):
    """Every kind of node and the corners of names, modes, times, holes and attributes."""
    os.makedirs(destination)
    here = lambda name: os.path.join(destination, name)
    with open(here("plain"), "wb") as out:
        out.write(b"plain\n")
    os.link(here("plain"), here("second name of plain"))
    os.mkdir(here("folder"))
    os.link(here("plain"), here("folder/third name"))
    os.symlink("plain", here("symlink"))
    os.symlink("x" * 1000, here("long symlink"))
    os.symlink("/nowhere/at all", here("dangling"))
    os.mkfifo(here("fifo"), 0o640)
    listener = socket.socket(socket.AF_UNIX)
    before = os.getcwd()
    os.chdir(destination)
    listener.bind("socket")
    os.chdir(before)
    listener.close()
    with open(here("sparse"), "wb") as out:
        out.truncate(1 << 30)
        out.seek(512 << 20)
        out.write(b"an island")
    with open(here("hole at the end"), "wb") as out:
        out.write(b"a" * 5000)
        out.truncate(8 << 20)
    with open(here("empty"), "wb"):
        pass
    os.mkdir(here("empty folder"), 0o700)
    for name in (b"\xff\xfe not utf-8", b"new\nline", b"quote'\"\\", "ünïcödé 名前 🎈".encode(), b"-dash", b"n" * 255):
        with open(os.path.join(os.fsencode(destination), name), "wb") as out:
            out.write(name)
    deep = here("deep")
    for level in range(60):
        deep = os.path.join(deep, f"level {level}")
    os.makedirs(deep)
    for mode in (0o000, 0o400, 0o777, 0o1777, 0o2755, 0o4755):
        with open(here(f"mode {mode:04o}"), "wb") as out:
            out.write(b"m")
        os.chmod(here(f"mode {mode:04o}"), mode)
    os.utime(here("empty"), ns=(1, 1_000_000_001))
    os.utime(here("hole at the end"), ns=(-1_500_000_000, -1_500_000_000))
    os.utime(here("mode 0777"), ns=(0, 4_102_444_800_123_456_789))
    for name, value in (("user.short", b"value"), ("user.empty", b""), ("user.binary", bytes(range(256))), ("user.long", b"z" * 3000)):
        os.setxattr(here("plain"), name, value)
    os.setxattr(here("folder"), "user.on a folder", b"yes")
    if os.geteuid() == 0:
        os.chown(here("mode 0400"), 12345, 54321)
        os.chown(here("symlink"), 1000, 1000, follow_symlinks=False)
        os.mknod(here("char device"), stat.S_IFCHR | 0o600, os.makedev(1, 3))
        os.mknod(here("block device"), stat.S_IFBLK | 0o660, os.makedev(259, 70000))
        os.chmod(here("mode 4755"), 0o4755)
        subprocess.run(["setfacl", "-m", "u:12345:r", here("mode 0777")], check=False)


def noise(seed, length):
    """Bytes that do not compress and do not repeat, the same for the same seed."""
    generator = random.Random(seed)
    # One draw is limited to 2^31 bits.
    return b"".join(generator.randbytes(min(length - at, NOISE_PIECE)) for at in range(0, length, NOISE_PIECE))
