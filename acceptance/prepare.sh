# Sourced by test.sh and try.sh: installs what is missing, and says what it does. Needs bash, root or sudo.
# shellcheck shell=bash

RUST_MINIMUM=1.95

say() { printf '%s\n' "$*"; }

# Runs a command as root: directly, or by sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

# Installs Debian packages of which a command or file is missing; arguments are package=probe.
install_packages() {
    local wanted=() package probe
    for pair in "$@"; do
        package=${pair%%=*}
        probe=${pair#*=}
        case $probe in
        /*) [ -e "$probe" ] || wanted+=("$package") ;;
        *) command -v "$probe" >/dev/null 2>&1 || wanted+=("$package") ;;
        esac
    done
    [ ${#wanted[@]} -eq 0 ] && return 0
    if ! command -v apt-get >/dev/null 2>&1; then
        say "missing: ${wanted[*]}. This machine has no apt-get; install them by its own means." >&2
        return 1
    fi
    say "installing ${wanted[*]}"
    as_root apt-get update -qq
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${wanted[@]}" >/dev/null
}

# Makes cargo available in this shell, at least $RUST_MINIMUM.
install_rust() {
    if ! command -v cargo >/dev/null 2>&1 && [ -x "$HOME/.cargo/bin/cargo" ]; then
        PATH="$HOME/.cargo/bin:$PATH"
    fi
    local version
    version=$(cargo --version 2>/dev/null | cut -d ' ' -f 2)
    if [ -n "$version" ] && [ "$(printf '%s\n' "$RUST_MINIMUM" "$version" | sort -V | head -n 1)" = "$RUST_MINIMUM" ]; then
        return 0
    fi
    if command -v rustup >/dev/null 2>&1; then
        say "updating Rust (found ${version:-none}, needed $RUST_MINIMUM)"
        rustup toolchain install stable --profile minimal --component rustfmt --component clippy
        export RUSTUP_TOOLCHAIN=stable
    else
        say "installing Rust for this user (found ${version:-none}, needed $RUST_MINIMUM)"
        install_packages curl=curl ca-certificates=/etc/ssl/certs/ca-certificates.crt
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            sh -s -- -y --profile minimal --component rustfmt --component clippy --no-modify-path
        PATH="$HOME/.cargo/bin:$PATH"
    fi
}

# The device that every mount needs.
check_fuse() {
    [ -e /dev/fuse ] && return 0
    as_root modprobe fuse 2>/dev/null || true
    [ -e /dev/fuse ] && return 0
    say "/dev/fuse is missing: this machine (or container) offers no FUSE." >&2
    return 1
}
