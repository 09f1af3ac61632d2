#!/usr/bin/env python3
"""Wrong passwords and forged costs: every guess is refused, and no header makes a machine work or pay for it.

KEEPFS_GUESSES (default 24) wrong passwords through the binary, near misses first.
"""

import os
import random
import shutil
import subprocess
import time

from harness import BINARY, MIB, PASSWORD, number_from_environment, run_script

GUESSES = number_from_environment("KEEPFS_GUESSES", 24)
EXIT_WRONG_PASSWORD = 12
# What a slot of the harness's vaults says: memory in KiB, passes, lanes, each in four bytes.
COST = (64 << 10, 3, 4)
MOST = 0xFFFF_FFFF
FORGED = [(63 << 10, 3, 4), (1, 3, 4), (0, 3, 4), ((4 << 20) + 1, 3, 4), (MOST, 3, 4), (64 << 10, 0, 4), (64 << 10, 2, 4), (64 << 10, 21, 4)]
FORGED += [(64 << 10, MOST, 4), (64 << 10, 3, 0), (64 << 10, 3, 3), (64 << 10, 3, 65), (64 << 10, 3, MOST), (MOST, MOST, MOST)]
# Without the memory of a guess, which is at least 64 MiB.
MEMORY_MAX = 48 * MIB


def guesses():
    """Near misses, then chance."""
    yield from (PASSWORD[:-1], PASSWORD + " ", " " + PASSWORD, PASSWORD + "\n\n", PASSWORD.upper(), PASSWORD.replace("o", "0"))
    yield from (PASSWORD.replace(" ", ""), PASSWORD.replace("e", "е"), PASSWORD[::-1], PASSWORD * 2, "x" * 4096, "a")
    rng = random.Random(1)
    while True:
        yield "".join(rng.choices("abcdefghijklmnopqrstuvwxyz ", k=rng.randrange(1, 40)))


def wrong_passwords(report, vault):
    fresh = report.vault("guesser", store=vault.store)
    refused, opened = 0, []
    commands = (("join", vault.url), ("mount", vault.mountpoint), ("key", "list"))
    for number, guess in zip(range(GUESSES), guesses()):
        who = fresh if number % 3 == 0 else vault
        result = who.keepfs(*commands[number % 3], environment={"KEEPFS_PASSWORD": guess})
        if result.returncode == EXIT_WRONG_PASSWORD and len(result.stderr.strip().splitlines()) == 1:
            refused += 1
        else:
            opened.append(f"{commands[number % 3]} {guess!r}: {result.returncode} {result.stdout}{result.stderr}")
    report.figure("guesses", GUESSES)
    report.figure("guesses_refused", refused)
    report.check(not opened, f"{refused} wrong passwords are refused by join, mount and key", "\n".join(opened))
    report.check(not vault.is_mounted() and not os.path.exists(f"{fresh.home}/state/default/machine"), "and leave nothing behind")
    vault.mount()
    vault.unmount()


def encoded(cost, order):
    return b"".join(number.to_bytes(4, order) for number in cost)


def measured(vault, *arguments, environment=None):
    """Exit code, what it said, seconds and the most memory of a command."""
    started = time.monotonic()
    said = vault.report.path("said")
    with open(said, "wb") as out:
        process = subprocess.Popen(
            [BINARY, *arguments], env={**vault.environment(), **(environment or {})}, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    with open(said, errors="replace") as text:
        return process.returncode, text.read().strip(), time.monotonic() - started, usage.ru_maxrss * 1024


def forged_costs(report, pristine, phrase):
    with open(f"{pristine.store}/vault", "rb") as content:
        header = content.read()
    order = next((order for order in ("little", "big") if encoded(COST, order) in header), None)
    report.need(order, "the cost of a guess stands in the header as FORMAT.md has it", header[:120].hex())
    wrong, most = [], 0
    for number, cost in enumerate(FORGED):
        store = report.path(f"forged-store-{number}")
        shutil.copytree(pristine.store, store)
        for name in ("vault", "vault.bak"):
            with open(f"{store}/{name}", "wb") as out:
                out.write(header.replace(encoded(COST, order), encoded(cost, order)))
        machine = report.vault(f"forged-{number}", store=store)
        code, said, seconds, memory = measured(machine, "join", machine.url)
        most = max(most, memory)
        if code == 0 or "panicked" in said or seconds > 5 or memory > MEMORY_MAX:
            wrong.append(f"{cost}: exit code {code}, {seconds:.1f} s, {memory // MIB} MiB: {said}")
        if number in (0, len(FORGED) - 1):
            report.say(f"cost {cost}: {said[:150]}")
            code, said, _, _ = measured(machine, "join", machine.url, "--phrase-file", phrase, environment={"KEEPFS_PASSWORD": ""})
            report.check(code == 0, "a forged slot hides no other: the phrase still opens the vault", said)
        shutil.rmtree(store)
    report.figure("forged_costs", len(FORGED))
    report.figure("memory_of_a_refusal", round(most / MIB, 1), "MiB")
    report.check(not wrong, f"{len(FORGED)} costs out of bounds are refused before memory is taken (at most {most // MIB} MiB)", "\n".join(wrong))


def body(report):
    vault = report.vault()
    phrase = report.path("phrase")
    vault.must("init", vault.url, "--yes", "--kdf-memory", "64MiB", "--phrase-file", phrase)
    wrong_passwords(report, vault)
    forged_costs(report, vault, phrase)


if __name__ == "__main__":
    run_script("passwords", body)
