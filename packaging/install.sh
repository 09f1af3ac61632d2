#!/bin/sh
# Installs keepfs, mount.keepfs, the units and the completions. PREFIX and DESTDIR as usual.
#
#   cargo build --release -p keepfs && sudo packaging/install.sh
set -eu

here=$(cd "$(dirname "$0")" && pwd)
binary=${KEEPFS_BINARY:-$here/../target/release/keepfs}
prefix=${PREFIX:-/usr}
destination=${DESTDIR:-}

[ -x "$binary" ] || { echo "install.sh: $binary is missing; build it with 'cargo build --release -p keepfs'" >&2; exit 1; }

install -D -m 0755 "$binary" "$destination$prefix/bin/keepfs"
# mount(8) looks for its helpers in /sbin only.
mkdir -p "$destination/sbin"
ln -sf "$prefix/bin/keepfs" "$destination/sbin/mount.keepfs"

for unit in keepfs@.service user/keepfs@.service; do
    case $unit in
        user/*) directory=$prefix/lib/systemd/user ;;
        *) directory=$prefix/lib/systemd/system ;;
    esac
    mkdir -p "$destination$directory"
    sed "s|/usr/bin/keepfs|$prefix/bin/keepfs|" "$here/$unit" > "$destination$directory/keepfs@.service"
    chmod 0644 "$destination$directory/keepfs@.service"
done

completion() {
    mkdir -p "$(dirname "$2")"
    "$binary" completions "$1" > "$2"
}
completion bash "$destination$prefix/share/bash-completion/completions/keepfs"
completion zsh "$destination$prefix/share/zsh/site-functions/_keepfs"
completion fish "$destination$prefix/share/fish/vendor_completions.d/keepfs.fish"
