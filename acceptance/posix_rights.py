"""Claims about users, groups, modes and access lists; see posix.py."""

import os
import stat
import subprocess

from posix_tools import OTHER, OWNER, as_user, errno_of, in_child, mode_of, read, write

GROUP = 12_400


def _owned(path, owner, mode, content=b"x"):
    write(path, content)
    os.chown(path, *owner)
    os.chmod(path, mode)
    return path


def another_user_sees_what_modes_allow(folder):
    _owned(f"{folder}/open", OWNER, 0o644)
    _owned(f"{folder}/closed", OWNER, 0o600)
    os.mkdir(f"{folder}/private", 0o700)
    _owned(f"{folder}/private/file", OWNER, 0o666)

    def other():
        verdicts = [errno_of(read, f"{folder}/{name}") for name in ("open", "closed", "private/file")]
        verdicts += [errno_of(os.listdir, f"{folder}/private"), errno_of(write, f"{folder}/open"), errno_of(write, f"{folder}/own")]
        verdicts += [errno_of(os.chmod, f"{folder}/open", 0o777), errno_of(os.chown, f"{folder}/open", *OTHER), errno_of(os.utime, f"{folder}/open")]
        verdicts += [errno_of(os.utime, f"{folder}/open", (1, 1)), os.access(f"{folder}/closed", os.R_OK), os.access(f"{folder}/open", os.R_OK)]
        return verdicts + [os.stat(f"{folder}/own").st_uid, os.stat(f"{folder}/own").st_gid]

    return as_user(OTHER, other)


def groups_of_a_process_count(folder):
    _owned(f"{folder}/file", (0, GROUP), 0o640)
    return [as_user(OTHER, lambda: errno_of(read, f"{folder}/file"), groups) for groups in ((), (GROUP,))]


def a_sticky_folder_protects_its_names(folder):
    os.mkdir(f"{folder}/sticky")
    os.chmod(f"{folder}/sticky", 0o1777)
    for name in ("a", "b"):
        as_user(OWNER, lambda: write(f"{folder}/sticky/{name}", mode=0o666))
    os.mkdir(f"{folder}/sticky/theirs")
    os.chmod(f"{folder}/sticky/theirs", 0o777)

    def other():
        write(f"{folder}/sticky/own")
        verdicts = [errno_of(os.unlink, f"{folder}/sticky/a"), errno_of(os.rename, f"{folder}/sticky/a", f"{folder}/sticky/c")]
        verdicts += [errno_of(os.rename, f"{folder}/sticky/own", f"{folder}/sticky/a"), errno_of(os.rmdir, f"{folder}/sticky/theirs")]
        return verdicts + [errno_of(os.unlink, f"{folder}/sticky/own")]

    return as_user(OTHER, other), as_user(OWNER, lambda: errno_of(os.unlink, f"{folder}/sticky/a")), sorted(os.listdir(f"{folder}/sticky"))


def a_setgid_folder_gives_its_group(folder):
    os.mkdir(f"{folder}/shared")
    os.chown(f"{folder}/shared", 0, GROUP)
    os.chmod(f"{folder}/shared", 0o2777)

    def make():
        os.umask(0o022)
        write(f"{folder}/shared/file", mode=0o666)
        os.mkdir(f"{folder}/shared/folder")
        os.symlink("file", f"{folder}/shared/link")
        write(f"{folder}/shared/setgid", mode=0o2775)
        os.mkfifo(f"{folder}/shared/pipe")

    as_user(OTHER, make)
    names = ("file", "folder", "link", "setgid", "pipe")
    return [(name, os.lstat(f"{folder}/shared/{name}").st_gid, mode_of(f"{folder}/shared/{name}")) for name in names]


def a_new_owner_takes_setuid_away(folder):
    found = []
    for mode in (0o4755, 0o2755, 0o6777, 0o2644):
        path = _owned(f"{folder}/file", OWNER, mode)
        os.chown(path, *OTHER)
        found.append(mode_of(path))
        path = _owned(f"{folder}/file", OWNER, mode)
        as_user(OWNER, lambda: os.chown(path, -1, OWNER[1]))
        found.append(mode_of(path))
    os.mkdir(f"{folder}/folder")
    os.chmod(f"{folder}/folder", 0o6755)
    os.chown(f"{folder}/folder", *OTHER)
    return found + [mode_of(f"{folder}/folder")]


def writing_by_another_takes_setuid_away(folder):
    def append(path):
        with open(path, "ab", buffering=0) as out:
            out.write(b"y")

    def map_and_write(path):
        import mmap

        with open(path, "r+b") as file, mmap.mmap(file.fileno(), 1) as mapping:
            mapping[0:1] = b"m"
            mapping.flush()

    found = []
    for change in (append, lambda path: os.truncate(path, 0), lambda path: os.truncate(path, 10), write):
        for mode in (0o4777, 0o2777, 0o6777, 0o2767):
            path = _owned(f"{folder}/file", OWNER, mode)
            as_user(OTHER, lambda: change(path))
            found.append(mode_of(path))
    path = _owned(f"{folder}/file", OWNER, 0o6777)
    append(path)
    found.append(mode_of(path))
    path = _owned(f"{folder}/mapped", OWNER, 0o666)
    as_user(OTHER, lambda: map_and_write(path))
    return found, read(path)


def setting_a_mode_without_the_group_drops_setgid(folder):
    path = _owned(f"{folder}/file", (OWNER[0], GROUP), 0o644)
    as_user(OWNER, lambda: os.chmod(path, 0o6755))
    without = mode_of(path)
    as_user(OWNER, lambda: os.chmod(path, 0o6755), (GROUP,))
    return without, mode_of(path)


def owners_give_groups_only_they_are_in(folder):
    path = _owned(f"{folder}/file", OWNER, 0o644)
    attempts = [(OWNER, -1, GROUP, ()), (OWNER, -1, GROUP, (GROUP,)), (OWNER, OTHER[0], -1, ()), (OTHER, -1, OTHER[1], ()), (OWNER, OWNER[0], -1, ())]
    return [as_user(user, lambda: errno_of(os.chown, path, owner, group), groups) for user, owner, group, groups in attempts]


def attributes_need_rights(folder):
    path = _owned(f"{folder}/file", OWNER, 0o644)
    os.setxattr(path, "user.a", b"x")
    os.setxattr(path, "trusted.a", b"x")
    os.mkdir(f"{folder}/sticky")
    os.chown(f"{folder}/sticky", *OWNER)
    os.chmod(f"{folder}/sticky", 0o1777)

    def other():
        verdicts = [errno_of(os.setxattr, path, "user.b", b"x"), errno_of(os.getxattr, path, "user.a"), errno_of(os.removexattr, path, "user.a")]
        verdicts += [errno_of(os.getxattr, path, "trusted.a"), errno_of(os.setxattr, path, "trusted.b", b"x"), errno_of(os.setxattr, path, "security.b", b"x")]
        return verdicts + [errno_of(os.setxattr, f"{folder}/sticky", "user.b", b"x"), os.listxattr(path)]

    return as_user(OTHER, other)


def opening_without_a_trace_is_for_owners(folder):
    path = _owned(f"{folder}/file", OWNER, 0o644)
    flags = os.O_RDONLY | os.O_NOATIME
    return [as_user(user, lambda: errno_of(lambda: os.close(os.open(path, flags)))) for user in (OWNER, OTHER)]


def devices_are_made_by_root_only(folder):
    os.mknod(f"{folder}/device", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.mknod(f"{folder}/block", stat.S_IFBLK | 0o600, os.makedev(7, 300))
    verdict = as_user(OTHER, lambda: errno_of(os.mknod, f"{folder}/theirs", stat.S_IFCHR | 0o666, os.makedev(1, 3)))
    found = [(oct(os.stat(f"{folder}/{name}").st_mode), os.stat(f"{folder}/{name}").st_rdev) for name in ("device", "block")]
    return verdict, found


def the_umask_counts_unless_a_list_says_otherwise(folder):
    def make(where):
        os.umask(0o077)
        write(f"{where}/file", mode=0o666)
        os.mkdir(f"{where}/folder", 0o777)
        return mode_of(f"{where}/file"), mode_of(f"{where}/folder")

    found = [in_child(lambda: make(folder))]
    os.mkdir(f"{folder}/listed")
    subprocess.run(["setfacl", "-d", "-m", "u::rwx,g::rwx,o::r-x,u:12345:rwx,m::rwx", f"{folder}/listed"], check=True)
    found.append(in_child(lambda: make(f"{folder}/listed")))
    said = subprocess.run(["getfacl", "-nc", "file", "folder"], cwd=f"{folder}/listed", capture_output=True, text=True, check=True)
    return found, said.stdout


def access_lists_decide(folder):
    path = _owned(f"{folder}/file", (0, 0), 0o600, b"secret")
    found = []

    def attempt():
        found.append([as_user(user, lambda: errno_of(read, path), groups) for user, groups in ((OWNER, ()), (OTHER, ()), (OTHER, (GROUP,)))])

    for change in ("u:12345:r", f"g:{GROUP}:r", "m::-", "m::r,u:12345:-", "o::r"):
        subprocess.run(["setfacl", "-m", change, path], check=True)
        attempt()
    os.chmod(path, 0o640)
    attempt()
    said = subprocess.run(["getfacl", "-nc", path], capture_output=True, text=True, check=True).stdout
    subprocess.run(["setfacl", "-b", path], check=True)
    attempt()
    refused = as_user(OTHER, lambda: subprocess.run(["setfacl", "-m", "o::rw", path], capture_output=True, check=False).returncode != 0)
    return found, said, mode_of(path), refused


def links_to_what_is_not_ones_own_follow_the_kernel(folder):
    path = _owned(f"{folder}/file", OWNER, 0o600)
    os.chmod(folder, 0o777)
    return [as_user(user, lambda: errno_of(os.link, path, f"{folder}/{user[0]}")) for user in (OWNER, OTHER)]
