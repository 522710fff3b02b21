# Shared by ./test and ./quickstart: a Python, a virtual environment, Debian packages where we may install them.

die() {
    printf '%s: %s\n' "${0##*/}" "$*" >&2
    exit 1
}

apt_install() {
    # $@: Debian packages. Fails where we are not root or there is no apt. Debian starts a server as soon as it is
    # installed, on its default port; we want the program only, so new services of these names stay stopped and off.
    local unit units=() installed
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    [ -n "${apt_updated:-}" ] || apt-get update -qq >/dev/null
    apt_updated=yes
    for unit in haproxy mariadb pgbouncer postgresql redis-server ssh; do
        [ -e "/lib/systemd/system/$unit.service" ] || [ -e "/etc/systemd/system/$unit.service" ] || units+=("$unit")
    done
    for unit in "${units[@]}"; do
        mkdir -p /etc/systemd/system && ln -s /dev/null "/etc/systemd/system/$unit.service"
    done
    # Where there is no systemd, an init script is not run in run level 1.
    RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >/dev/null &&
        installed=0 || installed=$?
    for unit in "${units[@]}"; do
        rm -f "/etc/systemd/system/$unit.service"
        [ ! -e "/lib/systemd/system/$unit.service" ] || systemctl --quiet disable "$unit" 2>/dev/null || true
    done
    return "$installed"
}

need_programs() {
    # $@: program=package. Installs what is missing, or says what is.
    local pair packages=() missing=()
    for pair in "$@"; do
        PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%=*}" >/dev/null || { packages+=("${pair#*=}"); missing+=("${pair%%=*}"); }
    done
    [ ${#packages[@]} -gt 0 ] || return 0
    echo "Installing ${packages[*]} ..."
    apt_install "${packages[@]}" ||
        echo "Missing: ${missing[*]}. The tests that need them are skipped; on Debian: apt-get install ${packages[*]}" >&2
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        [ -n "$candidate" ] && command -v "$candidate" >/dev/null || continue
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

make_venv() {
    # $1: folder. Continues with one that works already.
    local python
    [ -x "$1/bin/python" ] && "$1/bin/python" -c 'import pip' 2>/dev/null && return 0
    python=$(find_python) || { apt_install python3 && python=$(find_python); } ||
        die "Python 3.11 or newer is needed; on Debian 12: apt-get install python3 python3-venv"
    rm -rf "$1"
    if ! "$python" -m venv "$1" >/dev/null 2>&1; then
        rm -rf "$1"
        apt_install python3-venv && "$python" -m venv "$1" >/dev/null 2>&1 ||
            die "$python cannot make a virtual environment; on Debian: apt-get install python3-venv"
    fi
}
