#!/usr/bin/env python3
"""Writes down everything a tree is, one line a node; two equal trees give two equal lists.

Usage: manifest.py FOLDER > LIST

Each line: path, type, mode, owner, group, size, modification time in nanoseconds, link count, the first path of the same
file, device numbers, symlink target, extended attributes, SHA-256 of the content, and whether it is sparse.
Access and change times are left out: reading and copying set them.
"""

import hashlib
import os
import stat
import sys

KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFSOCK: "socket",
}
# A file that takes less than this share of its length on disk is sparse.
SPARSE_SHARE = 0.5
SPARSE_LEN_MIN = 1 << 20


def digest(path):
    result = hashlib.sha256()
    with open(path, "rb", buffering=0) as content:
        while piece := content.read(1 << 20):
            result.update(piece)
    return result.hexdigest()


def attributes(path):
    try:
        names = sorted(os.listxattr(path, follow_symlinks=False))
    except OSError:
        return ""
    kept = [name for name in names if not name.startswith("security.selinux")]
    return ",".join(f"{name}={os.getxattr(path, name, follow_symlinks=False).hex()}" for name in kept)


def describe(path, relative, firsts, with_content=True):
    status = os.lstat(path)
    kind = KINDS[stat.S_IFMT(status.st_mode)]
    fields = [
        kind,
        f"mode={stat.S_IMODE(status.st_mode):04o}",
        f"owner={status.st_uid}:{status.st_gid}",
        f"mtime={status.st_mtime_ns}",
    ]
    if kind != "dir":
        fields.append(f"links={status.st_nlink}")
        first = firsts.setdefault((status.st_dev, status.st_ino), relative)
        if status.st_nlink > 1:
            fields.append(f"same-as={first!r}")
    if kind == "file":
        fields.append(f"size={status.st_size}")
        is_sparse = status.st_size >= SPARSE_LEN_MIN and status.st_blocks * 512 < status.st_size * SPARSE_SHARE
        fields.append(f"sparse={is_sparse}")
        if with_content:
            fields.append(f"sha256={digest(path)}")
    elif kind == "link":
        fields.append(f"target={os.fsencode(os.readlink(path))!r}")
    elif kind in ("char", "block"):
        fields.append(f"device={os.major(status.st_rdev)}:{os.minor(status.st_rdev)}")
    fields.append(f"xattrs={attributes(path)}")
    return f"{relative!r} " + " ".join(fields)


def manifest(root, with_content=True):
    """The lines for everything below root, sorted by path."""
    root = os.fsencode(root)
    firsts = {}
    lines = [describe(root, b".", firsts)]
    folders = [root]
    while folders:
        folder = folders.pop()
        names = sorted(os.listdir(folder))
        children = []
        for name in names:
            path = os.path.join(folder, name)
            lines.append(describe(path, os.path.relpath(path, root), firsts, with_content))
            if stat.S_ISDIR(os.lstat(path).st_mode):
                children.append(path)
        folders.extend(reversed(children))
    return lines


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    for line in manifest(sys.argv[1]):
        print(line)
