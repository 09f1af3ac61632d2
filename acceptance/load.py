"""Writers whose every acknowledgement is written down elsewhere, and the checks that nothing of it was lost.

  append   records of known content at the end of a file, fsync each
  replace  write a new file, fsync it, rename it over the old one, fsync the folder
  many     new files, each fsynced; every third is removed again and the folder fsynced
  patch    overwrites of 4 KiB pages in the middle of one file, fdatasync each
  nosync   writes without any fsync: may lose its last second, must never hold foreign bytes
"""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time

PAGE = 4096
PAGES = 64
WRITERS = ("append", "replace", "many", "patch", "nosync")
RECORD_LENGTHS = (100, 700, 4096, 20_000)


def record(writer, number, length):
    """A run of bytes that tells who wrote it and whether it is whole."""
    head = f"{writer}:{number}:{length}:".encode()
    body = hashlib.shake_128(head).digest(max(length - len(head) - 32, 0))
    content = head + body
    return content + hashlib.sha256(content).digest()


def is_whole(content):
    return len(content) >= 32 and hashlib.sha256(content[:-32]).digest() == content[-32:]


class Log:
    """Acknowledgements outside the mount; one line each, written when the call has returned."""

    def __init__(self, path):
        self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def note(self, *words):
        os.write(self.file, (" ".join(str(word) for word in words) + "\n").encode())


def fsync_folder(path):
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(folder)
    os.close(folder)


def write_append(folder, log, start, rng):
    file = os.open(f"{folder}/append-{start}", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    number = start
    while True:
        content = record("append", number, rng.choice(RECORD_LENGTHS))
        os.write(file, content)
        os.fsync(file)
        log.note("append", number, len(content))
        number += 1


def write_replace(folder, log, start, rng):
    number = start
    while True:
        content = record("replace", number, rng.choice((64, 5000, 300_000)))
        file = os.open(f"{folder}/replace.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(file, content)
        os.fsync(file)
        os.close(file)
        os.rename(f"{folder}/replace.new", f"{folder}/replace")
        fsync_folder(folder)
        log.note("replace", number)
        number += 1


def write_many(folder, log, start, rng):
    os.makedirs(f"{folder}/many", exist_ok=True)
    number = start
    while True:
        path = f"{folder}/many/{number}"
        with open(path, "wb", buffering=0) as out:
            out.write(record("many", number, rng.choice((100, 2000, 70_000))))
            os.fsync(out.fileno())
        log.note("many", number)
        if number % 3 == 2:
            log.note("removing", number - 1)
            os.remove(f"{folder}/many/{number - 1}")
            fsync_folder(f"{folder}/many")
            log.note("removed", number - 1)
        number += 1


def write_patch(folder, log, start, rng):
    path = f"{folder}/patch"
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    if os.fstat(file).st_size < PAGE * PAGES:
        for page in range(PAGES):
            os.pwrite(file, record("patch", -page - 1, PAGE), page * PAGE)
        os.fsync(file)
        log.note("patch-made")
    number = start
    while True:
        page = rng.randrange(PAGES)
        log.note("patching", number, page)
        os.pwrite(file, record("patch", number, PAGE), page * PAGE)
        os.fdatasync(file)
        log.note("patch", number, page)
        number += 1


def write_nosync(folder, log, start, rng):
    number = start
    while True:
        with open(f"{folder}/nosync-{number % 50}", "wb", buffering=0) as out:
            out.write(record("nosync", number, rng.choice((3000, 100_000))))
        number += 1
        time.sleep(0.002)


def writer_main(name, folder, log_path, start, seed):
    try:
        globals()[f"write_{name}"](folder, Log(log_path), start, random.Random(seed))
    except OSError:
        # The daemon was killed under us; what was acknowledged is in the log.
        sys.exit(0)


def read_log(path):
    try:
        with open(path) as lines:
            return [line.split() for line in lines.read().splitlines()]
    except FileNotFoundError:
        return []


def check_append(folder, log):
    """Each run has a file of its own; only its end may hold what was never acknowledged."""
    acknowledged = {int(words[1]) for words in log if words[0] == "append"}
    found, problems = set(), []
    for name in os.listdir(folder):
        if name.startswith("append-"):
            with open(f"{folder}/{name}", "rb") as content:
                numbers, problem = parse_append(content.read())
            found |= numbers
            if problem:
                problems.append(f"{name}: {problem}")
    missing = sorted(acknowledged - found)
    if missing:
        problems.append(f"{len(missing)} acknowledged records are missing, first {missing[:5]}, last acknowledged {max(acknowledged)}")
    return problems


def parse_append(content):
    found, at = set(), 0
    while at < len(content):
        head = content[at : at + 64].split(b":", 3)
        if head[0] != b"append" or len(head) < 4:
            rest = content[at:]
            is_cut = b"append:".startswith(rest[:7]) or not rest.strip(b"\0") or len(head) < 4
            return found, None if is_cut else f"foreign bytes at {at} of {len(content)}: {rest[:40]!r}"
        piece = content[at : at + int(head[2])]
        if not is_whole(piece):
            # A record cut short, or with zeroes at its end, is the last one, and was never acknowledged.
            return found, None if at + int(head[2]) >= len(content) else f"record {int(head[1])} at {at} is torn"
        found.add(int(head[1]))
        at += len(piece)
    return found, None


def check_replace(folder, log):
    acknowledged = [int(words[1]) for words in log if words[0] == "replace"]
    if not acknowledged:
        return []
    with open(f"{folder}/replace", "rb") as content:
        content = content.read()
    if not is_whole(content):
        return [f"replace is torn: {len(content)} bytes, {content[:40]!r}"]
    number = int(content.split(b":", 2)[1])
    return [] if number >= acknowledged[-1] else [f"replace is {number}, acknowledged was {acknowledged[-1]}"]


def check_many(folder, log):
    made = {int(words[1]) for words in log if words[0] == "many"}
    removing = {int(words[1]) for words in log if words[0] == "removing"}
    removed = {int(words[1]) for words in log if words[0] == "removed"}
    problems = []
    for number in sorted(made - removing):
        try:
            with open(f"{folder}/many/{number}", "rb") as content:
                content = content.read()
        except OSError as error:
            problems.append(f"many/{number} was acknowledged: {error}")
            continue
        if not is_whole(content) or not content.startswith(f"many:{number}:".encode()):
            problems.append(f"many/{number} is torn: {len(content)} bytes")
    present = {int(name) for name in os.listdir(f"{folder}/many")} if made else set()
    problems += [f"many/{number} was removed and is back" for number in sorted(removed & present)]
    return problems


def check_patch(folder, log):
    if not any(words[0] == "patch-made" for words in log):
        return []
    newest, tried = {}, {}
    for words in log:
        if words[0] == "patch":
            newest[int(words[2])] = int(words[1])
        elif words[0] == "patching":
            tried.setdefault(int(words[2]), set()).add(int(words[1]))
    problems = []
    with open(f"{folder}/patch", "rb") as file:
        for page in range(PAGES):
            content = file.read(PAGE)
            if not is_whole(content):
                problems.append(f"page {page} is torn")
                continue
            number = int(content.split(b":", 2)[1])
            wanted = newest.get(page)
            later = {n for n in tried.get(page, ()) if wanted is None or n > wanted}
            if number != (wanted if wanted is not None else -page - 1) and number not in later:
                problems.append(f"page {page} holds {number}, acknowledged was {wanted}")
    return problems


def check_nosync(folder, log):
    problems = []
    for name in os.listdir(folder):
        if not name.startswith("nosync-"):
            continue
        with open(f"{folder}/{name}", "rb") as content:
            content = content.read()
        head = content.split(b":", 3)
        if not content or content[0] == 0:
            continue
        if head[0] != b"nosync":
            problems.append(f"{name} holds foreign bytes: {content[:40]!r}")
            continue
        number, length = int(head[1]), int(head[2])
        whole = record("nosync", number, length)
        # A prefix, or zeroes where nothing had arrived, are what a lost second may leave.
        if any(got != want and got != 0 for got, want in zip(content, whole)):
            problems.append(f"{name} mixes bytes of several writes")
    return problems


def next_number(log, word):
    numbers = [int(words[1]) for words in log if words[0] in (word, word + "ing") and len(words) > 1]
    return max(numbers, default=-1) + 3


class Load:
    """All writers at work in one folder."""

    def __init__(self, report, folder):
        self.report = report
        self.folder = folder
        self.processes = []

    def log(self, name):
        return self.report.path(f"{os.path.basename(self.folder)}-{name}.log")

    def start(self, round_number, rng):
        os.makedirs(self.folder, exist_ok=True)
        for name in WRITERS:
            start = next_number(read_log(self.log(name)), name)
            if name == "many":
                start -= start % 3
            if name == "nosync":
                start = round_number * 1_000_000
            arguments = [sys.executable, "-B", __file__, name, self.folder, self.log(name), str(start), str(rng.randrange(1 << 30))]
            self.processes.append(subprocess.Popen(arguments, stderr=subprocess.DEVNULL))

    def join(self):
        """Waits for the writers, whose file system is gone."""
        for process in self.processes:
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
        self.processes = []

    def problems(self):
        """Everything acknowledged that is not there, and everything torn."""
        found = []
        for name in WRITERS:
            try:
                found += [f"{name}: {line}" for line in globals()[f"check_{name}"](self.folder, read_log(self.log(name)))]
            except (OSError, ValueError) as error:
                found.append(f"{name}: {type(error).__name__}: {error}")
        return found

    def acknowledgements(self):
        return sum(len(read_log(self.log(name))) for name in WRITERS)


if __name__ == "__main__":
    writer_main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
