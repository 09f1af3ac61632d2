#!/usr/bin/env bash
# From a fresh clone to mounted files: ./try.sh
# Takes it all back: ./try.sh --undo
# Everything it makes lies under target/demo, except packages and Rust, if they were missing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source=acceptance/prepare.sh
. acceptance/prepare.sh

TARGET=${CARGO_TARGET_DIR:-$PWD/target}
DEMO=$TARGET/demo
STORE=$DEMO/store
MOUNT=$DEMO/files
KEEPFS=$TARGET/release/keepfs
export KEEPFS_HOME=$DEMO/home

is_mounted() { mountpoint -q "$MOUNT" 2>/dev/null; }

undo() {
    if [ -x "$KEEPFS" ] && is_mounted; then
        "$KEEPFS" unmount "$MOUNT"
    fi
    rm -rf "$DEMO"
    say "The demo is gone: unmounted, and $DEMO removed."
}

prepare() {
    install_packages build-essential=cc fuse3=fusermount3 git=git || return 1
    install_rust || return 1
    check_fuse
}

make_vault() {
    mkdir -p "$STORE" "$MOUNT"
    if [ ! -s "$DEMO/password" ]; then
        (umask 077 && head -c 12 /dev/urandom | base64 | tr '+/' '-_' >"$DEMO/password")
    fi
    export KEEPFS_PASSWORD_FILE=$DEMO/password
    if [ ! -e "$STORE/vault" ]; then
        "$KEEPFS" init "file://$STORE" --yes --phrase-file "$DEMO/recovery-phrase"
    fi
}

fill() {
    mkdir -p "$MOUNT/keepfs"
    git archive HEAD 2>/dev/null | tar -x -C "$MOUNT/keepfs" || cp -R crates docs "$MOUNT/keepfs/"
    if [ -d /usr/include ] && [ ! -d "$MOUNT/include" ]; then
        cp -a /usr/include "$MOUNT/include"
    fi
}

tell() {
    local variables="KEEPFS_HOME=$KEEPFS_HOME KEEPFS_PASSWORD_FILE=$DEMO/password"
    cat <<END

Your files:       $MOUNT
The store:        $STORE  (this is all a provider would get)
The password:     $(cat "$DEMO/password")
Recovery phrase:  $DEMO/recovery-phrase  (instead of the password; keep it elsewhere)

Go on:
  ls $MOUNT
  $variables $KEEPFS status
  $KEEPFS inspect file://$STORE
  $variables $KEEPFS unmount $MOUNT
  $variables $KEEPFS mount $MOUNT

Lose this machine, and get everything back from the store and the password:
  $variables $KEEPFS unmount $MOUNT && rm -rf $KEEPFS_HOME
  $variables $KEEPFS join file://$STORE
  $variables $KEEPFS mount $MOUNT

Undo all of it:
  ./try.sh --undo
END
}

main() {
    case ${1:-} in
    --undo)
        undo
        return
        ;;
    '') ;;
    *)
        say "usage: ./try.sh [--undo]" >&2
        return 2
        ;;
    esac
    prepare
    say "building keepfs (some minutes the first time)"
    cargo build --release --quiet --package keepfs
    make_vault
    is_mounted || "$KEEPFS" mount "$MOUNT"
    say "copying a real tree into $MOUNT"
    fill
    "$KEEPFS" sync
    say ""
    say "--- what the machine knows: keepfs status"
    "$KEEPFS" status
    say ""
    say "--- what the provider sees: keepfs inspect"
    "$KEEPFS" inspect "file://$STORE"
    tell
}

main "$@"
