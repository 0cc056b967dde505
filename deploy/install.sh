#!/bin/sh
# Install disc-stream with its systemd units, as a package would. Run it again to upgrade.
#
#   install.sh [--server | --edge] [--prefix DIR] [--runtime cpu|gpu] [--wheel FILE] [--files-only] [--dry-run]
#   install.sh --uninstall [--purge] [--prefix DIR] [--dry-run]
#
#   --server      the server, its unit and its settings (default)
#   --edge        the publisher for devices alone: no model runtime, no web server
#   --prefix DIR  where the virtual environment goes; default /opt/disc-stream
#   --runtime R   what runs models: cpu (default) or gpu (NVIDIA; the driver must be there)
#   --wheel FILE  install this wheel; default: build one from the checkout that this script is in
#   --files-only  units and settings without the virtual environment
#   --dry-run     say what would be done, and do nothing
#   --uninstall   remove what was installed; settings and data stay
#   --purge       with --uninstall: remove /etc/disc-stream and /var/lib/disc-stream, too
#
# DESTDIR, in the environment, is put before every path, for packages and for tests; nothing is then done to the
# running system. Settings that are there are never replaced: a new form goes beside them as FILE.new.
# $PYTHON names a Python 3.11 or newer; default python3.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=${DESTDIR:-}
prefix=/opt/disc-stream
what=server runtime=cpu wheel='' files_only=no dry=no uninstall=no purge=no
units=/usr/lib/systemd/system
sysusers=/usr/lib/sysusers.d
doc=/usr/share/doc/disc-stream
etc=/etc/disc-stream

say() { printf '%s\n' "$*"; }
fail() {
    printf 'error: %s\n' "$*" >&2
    exit 2
}

while [ $# -gt 0 ]; do
    case $1 in
    --server) what=server ;;
    --edge) what=edge ;;
    --prefix | --runtime | --wheel)
        [ $# -gt 1 ] || fail "$1 needs a value"
        case $1 in --prefix) prefix=$2 ;; --runtime) runtime=$2 ;; --wheel) wheel=$2 ;; esac
        shift
        ;;
    --files-only) files_only=yes ;;
    --dry-run) dry=yes ;;
    --uninstall) uninstall=yes ;;
    --purge) purge=yes ;;
    -h | --help)
        sed -n '2,/^set -eu/{/^set -eu/d;s/^# \{0,1\}//;p;}' "$0"
        exit 0
        ;;
    *) fail "unknown option $1; see --help" ;;
    esac
    shift
done
case $prefix in /*) ;; *) fail "--prefix $prefix is not an absolute path" ;; esac
case $prefix in / | /usr | /etc | /var | /opt | /usr/local) fail "--prefix $prefix is a folder of the system's" ;; esac
case $prefix in *[!A-Za-z0-9/._-]*) fail "--prefix $prefix: letters, digits, / . _ - only" ;; esac
case $runtime in cpu | gpu) ;; *) fail "--runtime $runtime is neither cpu nor gpu" ;; esac
[ "$purge" = no ] || [ "$uninstall" = yes ] || fail "--purge goes with --uninstall"
[ -z "$wheel" ] || [ -f "$wheel" ] || fail "there is no wheel $wheel"
[ "$dry" = yes ] || [ -n "$root" ] || [ "$(id -u)" = 0 ] || fail "only root can install; or set DESTDIR"

do_() { # COMMAND…: do it, or say it
    if [ "$dry" = yes ]; then
        say "would run: $*"
    else
        "$@"
    fi
}

put() { # MODE FROM TO: a file of ours, replaced by each installation
    if [ "$dry" = yes ]; then
        say "would write: $root$3"
        return
    fi
    mkdir -p "$(dirname "$root$3")"
    sed "s,@PREFIX@,$prefix,g" "$2" >"$root$3.part"
    chmod "$1" "$root$3.part"
    mv "$root$3.part" "$root$3"
}

keep() { # MODE FROM TO: settings, which belong to whoever changes them
    if [ -e "$root$3" ] && ! cmp -s "$2" "$root$3"; then
        put "$1" "$2" "$3.new"
        say "kept: $root$3; the present form is beside it as .new"
    elif [ ! -e "$root$3" ]; then
        put "$1" "$2" "$3"
    fi
}

secret() { # TO CONTENT: a file for root alone, unless it is there
    if [ "$dry" = yes ]; then
        [ -e "$root$1" ] || say "would write: $root$1"
    elif [ ! -e "$root$1" ]; then
        (umask 077 && printf '%s' "$2" >"$root$1")
    fi
}

folder() { # MODE PATH
    [ -d "$root$2" ] || do_ install -d -m "$1" "$root$2"
}

new_token() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }

has_systemd() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

environment() { # the virtual environment, from pinned wheels
    python=${PYTHON:-python3}
    "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
        fail "$python is not Python 3.11 or newer with venv; set PYTHON, or install python3-venv"
    if [ "$dry" = yes ]; then
        say "would make: $root$prefix from deploy/pins ($what, $runtime)"
        return
    fi
    pins=$here/pins
    sets="$pins/edge.txt"
    [ "$what" = edge ] || sets="$pins/server.txt $pins/$runtime.txt"
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    if [ -z "$wheel" ]; then
        "$python" -m venv "$work/build"
        pip_ "$work/build/bin/python" --require-hashes --no-deps --requirement "$pins/build.txt"
        "$work/build/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
            --wheel-dir "$work" "$here/.."
        wheel=$(ls "$work"/*.whl)
    fi
    # A new environment beside the old one, and an exchange: a failure leaves the old one as it was.
    new=$root$prefix.new
    rm -rf "$new"
    mkdir -p "$(dirname "$new")"
    "$python" -m venv "$new"
    # shellcheck disable=SC2086 # a list of files without spaces is meant
    for set in $sets; do pip_ "$new/bin/python" --require-hashes --no-deps --requirement "$set"; done
    pip_ "$new/bin/python" --no-deps "$wheel"
    "$new/bin/python" -m compileall -q --invalidation-mode unchecked-hash "$new/lib"
    # Programs name the interpreter that they begin with by its full path.
    grep -rlI --null "$new" "$new/bin" "$new/pyvenv.cfg" | xargs -0 sed -i "s,$new,$prefix,g"
    rm -rf "$root$prefix.old"
    [ ! -d "$root$prefix" ] || mv "$root$prefix" "$root$prefix.old"
    mv "$new" "$root$prefix"
    rm -rf "$root$prefix.old"
}

pip_() { # PYTHON, then options
    python_=$1
    shift
    "$python_" -m pip install --quiet --disable-pip-version-check --no-compile "$@"
}

install_files() {
    put 644 "$here/../docs/guides/production.md" "$doc/production.md"
    put 644 "$here/../LICENSE" "$doc/LICENSE"
    folder 755 "$etc"
    if [ "$what" = edge ]; then
        put 644 "$here/systemd/disc-stream-edge@.service" "$units/disc-stream-edge@.service"
        folder 755 "$etc/edge"
        put 644 "$here/systemd/example.edge.env" "$doc/example.edge.env"
        return
    fi
    put 644 "$here/systemd/disc-stream.service" "$units/disc-stream.service"
    put 644 "$here/systemd/disc-stream.sysusers" "$sysusers/disc-stream.conf"
    put 644 "$here/prometheus/rules.yml" "$doc/prometheus/rules.yml"
    put 644 "$here/grafana/dashboards/disc-stream.json" "$doc/grafana/disc-stream.json"
    keep 644 "$here/config/serve.yaml" "$etc/serve.yaml"
    keep 644 "$here/systemd/server.env" "$etc/server.env"
    folder 700 "$etc/credentials"
    secret "$etc/credentials/broker-password" ''
    secret "$etc/credentials/page-token" "$(new_token)"
}

remove_files() {
    if has_systemd; then
        do_ systemctl disable --now disc-stream.service 2>/dev/null || true
        for unit in $(systemctl list-units --plain --no-legend 'disc-stream-edge@*' | awk '{print $1}'); do
            do_ systemctl disable --now "$unit" || true
        done
    fi
    do_ rm -f "$root$units/disc-stream.service" "$root$units/disc-stream-edge@.service" \
        "$root$sysusers/disc-stream.conf"
    do_ rm -rf "$root$doc"
    if [ -e "$root$prefix/pyvenv.cfg" ]; then # nothing else is ever removed with all that is in it
        do_ rm -rf "$root$prefix"
    fi
    if [ "$purge" = yes ]; then
        do_ rm -rf "$root$etc" "$root/var/lib/disc-stream" "$root/var/cache/disc-stream"
    fi
}

if [ "$uninstall" = yes ]; then
    remove_files
    if has_systemd; then do_ systemctl daemon-reload; fi
    [ "$dry" = yes ] || say "removed; settings in $root$etc and data in $root/var/lib/disc-stream: $([ "$purge" = yes ] && echo removed || echo kept)"
    exit 0
fi
[ "$files_only" = yes ] || environment
install_files
if has_systemd; then
    if [ "$what" = server ]; then do_ systemd-sysusers "$sysusers/disc-stream.conf"; fi
    do_ systemctl daemon-reload
fi
[ "$dry" = no ] || exit 0
if [ "$what" = server ]; then
    say "installed; now put the broker's address into $etc/server.env, its password into"
    say "$etc/credentials/broker-password, a model or collect: true into $etc/serve.yaml, then:"
    say "systemctl enable --now disc-stream    (after an upgrade: systemctl restart disc-stream)"
else
    say "installed; now write $etc/edge/DEVICE.env as $doc/example.edge.env shows, and DEVICE.password, then:"
    say "systemctl enable --now disc-stream-edge@DEVICE"
fi
