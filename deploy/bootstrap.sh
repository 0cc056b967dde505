#!/bin/sh
# Set-up for the Makefile: a virtual environment, the package, and system packages where that is possible.
#
#   bootstrap.sh install VENV SET EXTRAS  create VENV and install disc-stream[EXTRAS] into it, editable, with the
#                                         versions and hashes of deploy/pins/SET.txt (app or dev);
#                                         DISC_STREAM_UNPINNED=1 takes the newest that pyproject.toml admits
#   bootstrap.sh pinned VENV SET RUNTIME  install what deploy/pins names into VENV, without disc-stream
#   bootstrap.sh system TOOL...           make sure the tools are there, or fail and say how to get them
#   bootstrap.sh system-optional TOOL...  the same, but go on without them
#   bootstrap.sh node FROM FOLDER         install what FROM/package-lock.json names into FOLDER, by its hashes; needs node
#   bootstrap.sh node-optional FROM FOLDER  the same, but go on without it
set -eu

say() { printf '%s\n' "disc-stream: $*" >&2; }

# A Python that is new enough and can make virtual environments; $PYTHON wins if it is set.
find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    say "no Python 3.11 or newer found. Install one, or name it: make PYTHON=/path/to/python3.12"
    return 1
}

# Root, or somebody who says yes: `make` installs nothing into the system on its own account.
# DISC_STREAM_SUDO=1 says it beforehand, where nobody sits at a terminal.
may_install() {
    command -v apt-get >/dev/null 2>&1 || return 1
    [ "$(id -u)" = 0 ] && return 0
    command -v sudo >/dev/null 2>&1 || return 1
    [ "${DISC_STREAM_SUDO:-}" = 1 ] && return 0
    [ -t 0 ] || return 1
    printf 'disc-stream: install %s with sudo apt-get? [y/N] ' "$*" >&2
    read -r answer
    case $answer in y | Y | yes) return 0 ;; esac
    return 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else
        sudo "$@"
    fi
}

apt_install() {
    may_install "$@" || return 1
    say "installing the system packages: $*"
    as_root apt-get update -qq >&2 &&
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2
}

make_venv() {
    python=$(find_python)
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        say "this Python has no venv module"
        apt_install python3-venv || {
            say "could not. Install your system's python3-venv package, then run this again"
            return 1
        }
    fi
    "$python" -m venv "$1"
}

# onnxruntime for NVIDIA only where a driver answers; the two packages must not be installed together.
runtime_extra() {
    if command -v nvidia-smi >/dev/null 2>&1 && nvidia-smi -L >/dev/null 2>&1; then
        echo gpu
    else
        echo cpu
    fi
}

in_venv() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$@"; }

# Everything but torch by the hashes of its files; of torch the version counts, for builds differ.
pinned() {
    venv=$1
    in_venv --require-hashes --no-deps --requirement "deploy/pins/$2.txt" --requirement "deploy/pins/$3.txt"
    in_venv --constraint deploy/pins/torch.txt torch
}

install() {
    venv=$1
    runtime=$(runtime_extra)
    extras=$3,$runtime
    [ -x "$venv/bin/python" ] || make_venv "$venv"
    say "installing disc-stream[$extras] into $venv (torch is large: this can take some minutes)"
    if [ "${DISC_STREAM_UNPINNED:-}" = 1 ]; then
        in_venv --editable ".[$extras]"
    else
        pinned "$venv" "$2" "$runtime"
        in_venv --constraint deploy/pins/torch.txt --no-build-isolation --editable ".[$extras]"
    fi
}

# Debian keeps mosquitto in /usr/sbin, which is not on every user's PATH.
has() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null 2>&1; }

package_of() {
    case $1 in
    chromedriver) echo chromium-driver ;;
    gcc) echo gcc libc6-dev ;;
    promtool) echo prometheus ;;
    arm-none-eabi-gcc) echo gcc-arm-none-eabi libnewlib-arm-none-eabi ;;
    *) echo "$1" ;;
    esac
}

missing_tools() {
    for tool in "$@"; do has "$tool" || printf '%s ' "$tool"; done
}

system() {
    missing=$(missing_tools "$@")
    [ -n "$missing" ] || return 0
    packages=$(for tool in $missing; do package_of "$tool"; done | tr '\n' ' ')
    # shellcheck disable=SC2086 # a list of words is meant
    apt_install $packages || true
    missing=$(missing_tools "$@")
    [ -z "$missing" ] && return 0
    say "not installed, and could not be: $missing- install the packages $packages(apt-get, dnf, brew …) and run this again"
    return 1
}

node_packages() {
    lock=$1/package-lock.json
    cmp -s "$lock" "$2/package-lock.json" && [ -d "$2/node_modules" ] && return 0
    if ! has node || ! has npm; then
        say "no node and npm here, which $1 needs"
        return 1
    fi
    mkdir -p "$2"
    cp "$1/package.json" "$2/"
    rm -f "$2/package-lock.json"
    cp "$lock" "$2/lock" && mv "$2/lock" "$2/package-lock.json"
    npm ci --prefix "$2" --ignore-scripts --no-audit --no-fund --loglevel error >&2 && return 0
    rm -f "$2/package-lock.json"
    return 1
}

cd "$(dirname "$0")/.."
command=$1
shift
case $command in
install) install "$@" ;;
pinned) pinned "$@" ;;
system) system "$@" ;;
system-optional) system "$@" || say "going on without" ;;
node) node_packages "$@" ;;
node-optional) node_packages "$@" || say "going on without" ;;
*)
    say "unknown command $command"
    exit 2
    ;;
esac
