#!/usr/bin/env bash
# Everything that must hold, in one run: ./test.sh
# Some of it: ./test.sh STEP...   (./test.sh --list names the steps)
# Needs root, or a user who may sudo: the tests change owners and mount small file systems.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 2
# shellcheck source=acceptance/prepare.sh
. acceptance/prepare.sh

TARGET=${CARGO_TARGET_DIR:-$PWD/target}
TOOLS=$TARGET/tools
SECONDS_BUDGET=1500
STEPS=(format clippy build tests canary dedup fsx pjdfstest kill9 powercut lossydisk model bad_input stress
    scale memory bench main_job telegram telegram_peer posix stories user passwords stores refusals)

names=() verdicts=() durations=()

prepare() {
    install_packages build-essential=cc fuse3=fusermount3 libacl1-dev=/usr/include/sys/acl.h acl=setfacl \
        attr=getfattr sqlite3=sqlite3 git=git rsync=rsync python3=python3 e2fsprogs=mkfs.ext4 stress-ng=stress-ng \
        nginx-light=/usr/sbin/nginx libnginx-mod-http-dav-ext=/usr/lib/nginx/modules/ngx_http_dav_ext_module.so \
        openssh-server=/usr/sbin/sshd openssh-client=ssh openssl=openssl curl=curl faketime=faketime procps=pgrep \
        passwd=useradd || return 1
    install_rust || return 1
    check_fuse || return 1
    install_tool pjdfstest 0.2.2 && install_tool fsx 0.3.2 && install_tool s3s-fs 0.14.1 --features binary &&
        install_telethon 1.45.0
}

# An independent Telegram client, kept in target/tools with a Python of its own.
install_telethon() {
    local home=$TOOLS/telethon
    [ -e "$home/$1" ] && return 0
    say "installing Telethon $1"
    python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv=/usr/share/doc/python3-venv || return 1
    rm -rf "$home"
    python3 -m venv "$home" &&
        "$home/bin/pip" install --quiet --disable-pip-version-check "telethon==$1" &&
        : >"$home/$1"
}

# A test tool from the package registry, kept in target/tools: name, version, what else cargo shall know.
install_tool() {
    [ -x "$TOOLS/bin/$1" ] && return 0
    local name=$1 version=$2
    shift 2
    say "installing $name $version"
    cargo install --quiet --locked --root "$TOOLS" --target-dir "$TOOLS/build" "$name" --version "$version" "$@"
}

# One script with its arguments, as root.
accept() {
    local name settings=()
    # Sizes of the tests may be set from outside; sudo would drop them.
    for name in ROUNDS SEED CUTS GIB FILES ENTRIES FSX_OPERATIONS FSX_SEEDS STRESS_SECONDS FAULT_SECONDS SPEED_MIB STORES MODEL_CALLS LOSSY_CUTS LOSSY_FAULTS SECONDS POSIX_ONLY STORY GUESSES SCRATCH KEEP_SCRATCH; do
        name=KEEPFS_$name
        [ -n "${!name:-}" ] && settings+=("$name=${!name}")
    done
    as_root env "PATH=$PATH" "CARGO_TARGET_DIR=$TARGET" "${settings[@]}" python3 -B "$@"
}

run_step() {
    case $1 in
    format) cargo fmt --all --check ;;
    clippy) cargo clippy --release --workspace --all-targets --quiet -- -D warnings ;;
    build) cargo build --release --workspace --quiet && cargo build --release -p keepfs-telegram --examples --quiet ;;
    tests) cargo test --release --workspace --quiet --no-fail-fast ;;
    bench) accept bench/bench.py --smoke ;;
    *) accept "acceptance/$1.py" ;;
    esac
}

step() {
    local started=$SECONDS verdict=ok
    say "==> $1"
    run_step "$1" || verdict=FAILED
    names+=("$1") verdicts+=("$verdict") durations+=($((SECONDS - started)))
    say "<== $1: $verdict ($((SECONDS - started)) s)"
}

summary() {
    local failed=0 index
    say ""
    say "step        seconds  verdict"
    for index in "${!names[@]}"; do
        printf '%-12s%7s  %s\n' "${names[$index]}" "${durations[$index]}" "${verdicts[$index]}"
        [ "${verdicts[$index]}" = ok ] || failed=$((failed + 1))
    done
    printf '%-12s%7s\n' total "$SECONDS"
    if [ "$SECONDS" -gt "$SECONDS_BUDGET" ]; then
        say "slower than the budget of $SECONDS_BUDGET s"
    fi
    if [ "$failed" -ne 0 ]; then
        say "$failed of ${#names[@]} steps FAILED"
        return 1
    fi
    say "all ${#names[@]} steps hold"
}

main() {
    if [ "${1:-}" = --list ]; then
        printf '%s\n' "${STEPS[@]}"
        return 0
    fi
    local wanted=("$@") name
    [ ${#wanted[@]} -eq 0 ] && wanted=("${STEPS[@]}")
    for name in "${wanted[@]}"; do
        case " ${STEPS[*]} " in
        *" $name "*) ;;
        *)
            say "there is no step $name; the steps are: ${STEPS[*]}" >&2
            return 2
            ;;
        esac
    done
    prepare || {
        say "what the tests need could not be installed" >&2
        return 2
    }
    for name in "${wanted[@]}"; do
        step "$name"
    done
    summary
}

main "$@"
