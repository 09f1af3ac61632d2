#!/usr/bin/env python3
"""A cluster of three garage nodes as the store; one of them is killed during a copy and during writes.

A soak, not a step of ./test.sh: `cargo install garage --version 2.5.0 --no-default-features --features
bundled-libs,lmdb --root target/tools` takes half an hour. Size: KEEPFS_FILES (default 300), KEEPFS_SPEED_MIB (default 64).
"""

import os
import secrets
import shutil
import subprocess
import time

import main_job
import tree
from harness import MIB, TOOLS, drop_caches, number_from_environment, run_script, shell
from manifest import manifest
from servers import free_port

FILES = number_from_environment("KEEPFS_FILES", 300)
COPY_MIB = number_from_environment("KEEPFS_SPEED_MIB", 64)
GARAGE = os.path.join(TOOLS, "garage")
NODES = 3
BUCKET = "vaults"
START_SECONDS_MAX = 60


class Node:
    """One process of the cluster."""

    def __init__(self, report, number, secret):
        self.report = report
        self.base = report.path(f"node-{number}")
        os.makedirs(self.base)
        self.rpc, self.s3, self.admin = free_port(), free_port(), free_port()
        self.configuration = os.path.join(self.base, "garage.toml")
        with open(self.configuration, "w") as out:
            out.write(
                f"""metadata_dir = "{self.base}/meta"
data_dir = "{self.base}/data"
db_engine = "lmdb"
replication_factor = {NODES}
rpc_bind_addr = "127.0.0.1:{self.rpc}"
rpc_public_addr = "127.0.0.1:{self.rpc}"
rpc_secret = "{secret}"
[s3_api]
s3_region = "garage"
api_bind_addr = "127.0.0.1:{self.s3}"
root_domain = ".s3.test"
[admin]
api_bind_addr = "127.0.0.1:{self.admin}"
"""
            )
        os.chmod(self.configuration, 0o600)
        self.process = None
        report.on_exit(self.kill)

    def start(self):
        with open(os.path.join(self.base, "log"), "ab") as log:
            self.process = subprocess.Popen([GARAGE, "-c", self.configuration, "server"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def run(self, *arguments):
        return subprocess.run([GARAGE, "-c", self.configuration, *arguments], capture_output=True, text=True, check=False)

    def must(self, *arguments):
        """A command that the cluster may not be ready for yet."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            result = self.run(*arguments)
            if result.returncode == 0:
                return result.stdout
            if time.monotonic() > deadline:
                with open(os.path.join(self.base, "log"), errors="replace") as log:
                    self.report.need(False, f"garage {' '.join(arguments[:2])} works", result.stderr + log.read()[-2000:])
            time.sleep(0.5)


def start_cluster(report):
    """Three nodes that know each other, a bucket, and what opens it."""
    secret = secrets.token_hex(32)
    nodes = [Node(report, number, secret) for number in range(NODES)]
    for node in nodes:
        node.start()
    ids = [node.must("node", "id", "-q").strip() for node in nodes]
    for other in ids[1:]:
        nodes[0].must("node", "connect", other)
    for number, identity in enumerate(ids):
        nodes[0].must("layout", "assign", "-z", f"zone{number}", "-c", "4G", identity.split("@")[0])
    nodes[0].must("layout", "apply", "--version", "1")
    nodes[0].must("bucket", "create", BUCKET)
    told = nodes[0].must("key", "create", "keepfs")
    words = dict(line.split(":", 1) for line in told.splitlines() if ":" in line)
    key = {name.strip(): value.strip() for name, value in words.items()}
    nodes[0].must("bucket", "allow", "--read", "--write", "--owner", BUCKET, "--key", key["Key ID"])
    environment = {"AWS_ACCESS_KEY_ID": key["Key ID"], "AWS_SECRET_ACCESS_KEY": key["Secret key"], "AWS_EC2_METADATA_DISABLED": "true"}
    return nodes, environment


def url(nodes, place):
    return f"s3://{BUCKET}/{place}?endpoint=http://127.0.0.1:{nodes[0].s3}&region=garage"


def killed_during_copy(report, nodes, environment):
    """A node dies while a vault is copied to the cluster: the copy comes to its end, compared."""
    vault = report.vault("copied", variables=environment)
    vault.init()
    vault.mount()
    content = os.urandom(COPY_MIB * MIB)
    with open(f"{vault.mountpoint}/large", "wb") as out:
        out.write(content)
    vault.sync()
    vault.unmount()
    target = url(nodes, "copied")
    copying = subprocess.Popen([vault.binary, "copy", vault.url, target], env=vault.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(0.7)
    running = copying.poll() is None
    nodes[2].kill()
    said = copying.communicate(timeout=600)
    report.check(running, "the node died while the copy ran")
    tries = 1
    while copying.returncode != 0 and tries < 5:
        tries += 1
        copying = subprocess.run([vault.binary, "copy", vault.url, target], env=vault.environment(), capture_output=True, text=True, check=False)
        said = (copying.stdout, copying.stderr)
    report.figure("copy_runs", tries)
    report.check(copying.returncode == 0, "with a node killed in the middle, keepfs copy comes to its end", "\n".join(said))
    vault.must("copy", vault.url, target, "--verify")
    shutil.rmtree(vault.store)
    vault.must("config", "set", "store", target)
    vault.must("mount", vault.mountpoint)
    drop_caches()
    with open(f"{vault.mountpoint}/large", "rb") as found:
        report.check(found.read() == content, "the vault lives on from the cluster, with two nodes of three")
    vault.unmount()
    nodes[2].start()


def killed_during_writes(report, nodes, environment, source, everything):
    """The main job, with a node killed while the tree is written and another while it is read back."""
    vault = report.vault("main", url=url(nodes, "main"), variables=environment)
    vault.init()
    vault.mount()
    mount = vault.mountpoint
    writing = subprocess.Popen(f"rsync -aHAXS --devices --specials {source}/ {mount}/tree/ && rsync -aHAXS --devices --specials {everything}/ {mount}/everything/", shell=True)
    time.sleep(1)
    running = writing.poll() is None
    nodes[1].kill()
    report.check(writing.wait(600) == 0, "a real tree is copied while a node dies")
    report.say("the node died while the tree was written" if running else "the node died right after the tree was written")
    started = time.monotonic()
    tries = 1
    while vault.keepfs("sync", seconds=600).returncode != 0 and tries < 20:
        tries += 1
    vault.sync()
    report.figure("sync_with_two_nodes_seconds", round(time.monotonic() - started, 2), "s")
    vault.unmount()
    shutil.rmtree(vault.home)
    vault.home = report.path("second-home")
    nodes[1].start()
    nodes[1].must("status")
    started = time.monotonic()
    vault.join()
    vault.mount()
    report.figure("join_and_mount_seconds", round(time.monotonic() - started, 2), "s")
    drop_caches()
    shell(report, f"diff -r --no-dereference {source} {mount}/tree", "after join, diff -r finds no difference")
    main_job.compare(report, "after join, the tree is the same in everything", manifest(source), f"{mount}/tree")
    main_job.compare(report, "after join, one of everything is the same", manifest(everything), f"{mount}/everything")
    report.check(not vault.panics(), "nothing panicked", vault.panics())
    vault.unmount("--wait")


def body(report):
    report.need(os.access(GARAGE, os.X_OK), "garage is installed (see the head of this script)", GARAGE)
    report.figure("version", subprocess.run([GARAGE, "--version"], capture_output=True, text=True, check=False).stdout.split("[")[0].strip())
    source, everything = report.path("source"), report.path("everything")
    files, size = tree.gather(source, FILES)
    tree.one_of_everything(everything)
    report.figure("tree_files", files)
    report.figure("tree_bytes", size, "bytes")
    nodes, environment = start_cluster(report)
    vault = report.vault("promises", variables=environment)
    # Garage knows no condition for a put; init finds that out by itself.
    result = vault.keepfs("store", "check", url(nodes, "promises") + "&create=look")
    report.check(result.returncode == 0, "every promise of a store holds", result.stdout[-3000:] + result.stderr)
    killed_during_copy(report, nodes, environment)
    killed_during_writes(report, nodes, environment, source, everything)
    report.figure("nodes_killed", 2)


if __name__ == "__main__":
    run_script("garage", body)
