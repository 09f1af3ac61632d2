"""What the POSIX claims share: other users, other processes, error names, and calls that Python does not have."""

import ctypes
import errno
import os
import pickle
import signal
import traceback

# Two ordinary users that need not have names, and their groups.
OWNER, OTHER = (12_345, 12_345), (12_346, 12_346)
LIBC = ctypes.CDLL(None, use_errno=True)


def errno_of(function, *arguments, **options):
    """The name of the error that a call ends with, or "ok"."""
    try:
        function(*arguments, **options)
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok"


def checked(result):
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def in_child(function):
    """Runs a function in a process of its own; gives what it gives, or raises."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            answer = (True, function())
        except BaseException:
            answer = (False, traceback.format_exc())
        with os.fdopen(writer, "wb") as out:
            pickle.dump(answer, out)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answers:
        content = answers.read()
    os.waitpid(child, 0)
    fine, answer = pickle.loads(content)
    assert fine, answer
    return answer


def as_user(user, function, groups=()):
    """Runs a function as another user, in a process of its own."""

    def body():
        os.setgroups(list(groups))
        os.setgid(user[1])
        os.setuid(user[0])
        return function()

    return in_child(body)


class Holder:
    """A process that did something, tells so, and keeps it until it is released or killed."""

    def __init__(self, action):
        ready, tell = os.pipe()
        wait, self.release_end = os.pipe()
        self.child = os.fork()
        if self.child == 0:
            os.close(self.release_end)
            try:
                action()
                os.write(tell, b"1")
                os.read(wait, 1)
            finally:
                os._exit(0)
        os.close(tell)
        os.close(wait)
        assert os.read(ready, 1) == b"1", "the other process did not come so far"
        os.close(ready)

    def release(self):
        os.close(self.release_end)
        os.waitpid(self.child, 0)

    def kill(self):
        os.kill(self.child, signal.SIGKILL)
        os.waitpid(self.child, 0)
        os.close(self.release_end)


def write(path, content=b"", mode=0o644):
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    os.write(file, content)
    os.close(file)
    return path


def read(path):
    with open(path, "rb") as content:
        return content.read()


def mode_of(path):
    return oct(os.lstat(path).st_mode & 0o7777)
