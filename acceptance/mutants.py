#!/usr/bin/env python3
"""Breaks keepfs on purpose, one way at a time, and runs the test that should notice: sudo is not needed.

    acceptance/mutants.py             every mutant of mutants.json
    acceptance/mutants.py sync head   those whose names hold one of these words
    acceptance/mutants.py --check     only whether each still applies, exactly once

Each is applied to a copy of the sources and built in the same target directory, so that a mutant costs one build of
our crates. It is run by hand: a round takes half an hour. The list goes into RELIABILITY.md by reliability.py.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile

from harness import FIGURES, ROOT, TARGET

LIST = os.path.join(ROOT, "acceptance", "mutants.json")
FIGURE = os.path.join(FIGURES, "mutants.json")
# A mutant that never ends is a mutant that is noticed.
TEST_SECONDS_MAX = 400


def mutants():
    with open(LIST) as content:
        return json.load(content)


def check(mutant, root=ROOT):
    """The file with the mutant in it; None if it does not apply exactly once."""
    with open(os.path.join(root, mutant["file"])) as content:
        text = content.read()
    if text.count(mutant["search"]) != 1:
        return None
    return text.replace(mutant["search"], mutant["replace"])


def run(mutant, root):
    """'caught', 'survived', or why it is no mutant."""
    path = os.path.join(root, mutant["file"])
    text = check(mutant, root)
    if text is None:
        return "does not apply"
    with open(path) as content:
        whole = content.read()
    with open(path, "w") as out:
        out.write(text)
    environment = dict(os.environ, CARGO_TARGET_DIR=TARGET, RUST_BACKTRACE="0", KEEPFS_SEEDS="1500")
    command = ["cargo", "test", "--release", "--quiet", *mutant["test"]]
    try:
        built = subprocess.run([*command, "--no-run"], cwd=root, env=environment, capture_output=True, text=True, check=False)
        if built.returncode != 0:
            return "does not build: " + built.stderr.strip()[-600:]
        tested = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, timeout=TEST_SECONDS_MAX, check=False
        )
        return "survived" if tested.returncode == 0 else "caught"
    except subprocess.TimeoutExpired:
        return "caught"
    finally:
        with open(path, "w") as out:
            out.write(whole)


def record(outcomes):
    """Adds to what was found before, so that a round may be done in parts."""
    os.makedirs(FIGURES, exist_ok=True)
    try:
        with open(FIGURE) as content:
            before = json.load(content)
    except (OSError, ValueError):
        before = {}
    with open(FIGURE, "w") as out:
        json.dump({**before, **outcomes}, out, indent=1)


def main():
    words = sys.argv[1:]
    if words == ["--check"]:
        broken = [mutant["name"] for mutant in mutants() if check(mutant) is None]
        print("\n".join(broken) or f"all {len(mutants())} apply")
        return 1 if broken else 0
    chosen = [mutant for mutant in mutants() if not words or any(word in mutant["name"] for word in words)]
    scratch = tempfile.mkdtemp(prefix="keepfs-mutants-", dir=os.environ.get("KEEPFS_SCRATCH", "/var/tmp"))
    outcomes = {}
    try:
        root = os.path.join(scratch, "keepfs")
        shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns("target", ".git"), symlinks=True)
        for mutant in chosen:
            outcome = run(mutant, root)
            outcomes[mutant["name"]] = outcome
            record(outcomes)
            print(f"{outcome:9} {mutant['name']} -> cargo test --release {' '.join(mutant['test'])}", flush=True)
    finally:
        shutil.rmtree(scratch)
    return 0 if all(outcome == "caught" for outcome in outcomes.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
