#!/usr/bin/env bash
# Installs and builds what the benchmark needs, then measures: bench/run.sh [arguments of bench/bench.py]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=acceptance/prepare.sh
. acceptance/prepare.sh

install_packages build-essential=cc fuse3=fusermount3 python3=python3 gocryptfs=gocryptfs rclone=rclone cryfs=cryfs \
    restic=restic borgbackup=borg
install_rust
check_fuse
cargo build --release --quiet -p keepfs -p keepfs-sim
settings=()
for name in ROUNDS MIB FILES CALLS APPENDS; do
    name=KEEPFS_BENCH_$name
    [ -n "${!name:-}" ] && settings+=("$name=${!name}")
done
as_root env "PATH=$PATH" ${CARGO_TARGET_DIR:+"CARGO_TARGET_DIR=$CARGO_TARGET_DIR"} "${settings[@]}" \
    python3 -B bench/bench.py "$@"
