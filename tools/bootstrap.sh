# Sourced by tools/up and tools/test: what has to be there before any Python of ours can run.
# Each function does only what is missing, so that a second run takes a moment.
# shellcheck shell=bash

PREFIX=${MINICLOUD_PREFIX:-/opt/minicloud}
VENV=$PREFIX/venv
STAGES=14 # as many as minicloud/deploy/up.py counts; a test compares the two

# What minicloud needs from the distribution. The demo guest's builder names its own.
PACKAGES=(
    qemu-system-x86 qemu-utils libvirt-daemon-system libvirt-clients python3-libvirt
    rabbitmq-server dnsmasq-base nftables iproute2 conntrack tini
    python3 python3-venv openssh-client ca-certificates
)

# --- one line a stage, as minicloud/deploy/stage.py prints them ---------------------------------

seconds() { # SINCE: tenths of a second, from the clock in microseconds
    local tenths=$(((${EPOCHREALTIME/[.,]/} - $1) / 100000))
    printf '%d.%d' $((tenths / 10)) $((tenths % 10))
}

stage() { # NUMBER NAME FUNCTION: FUNCTION leaves what it did in OUTCOME
    local since=${EPOCHREALTIME/[.,]/} dots
    dots=$(printf '%*s' $((24 - ${#2})) '' | tr ' ' .)
    LINE=$(printf '[%2d/%d] %s %s' "$1" "$STAGES" "$2" "$dots")
    OUTCOME=
    printf '%s ' "$LINE"
    "$3"
    [ ! -t 1 ] || printf '\r\033[K%s ' "$LINE"
    printf '%-38s %6s s\n' "$OUTCOME" "$(seconds "$since")"
}

# What a stage is at, for a person at a terminal: the outcome will stand in its place.
progress() { # WORDS
    [ ! -t 1 ] || printf '\r\033[K%s %s ' "$LINE" "$*"
}

die() { # WHAT FAILED, THEN LINES OF ADVICE
    printf 'failed\n\n  %s\n' "$1" >&2
    shift
    [ $# -eq 0 ] || printf '  %s\n' "$@" >&2
    exit 1
}

# Runs a command with its output in a log; shows the end of it if it fails.
logged() { # LOG COMMAND...
    local log=$1
    shift
    mkdir -p "$(dirname "$log")"
    "$@" >>"$log" 2>&1 && return
    printf 'failed\n\n  This failed: %s\n  The end of %s:\n\n' "$*" "$log" >&2
    tail -n 15 "$log" | sed 's/^/    /' >&2
    printf '\n  Mend what it names and run this again: it goes on where it stopped.\n' >&2
    exit 1
}

# --- packages -----------------------------------------------------------------------------------

missing_packages() { # NAME...
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] ||
            echo "$name"
    done
}

ensure_packages() { # NAME...
    local missing log=/var/log/minicloud/packages.log
    mapfile -t missing < <(missing_packages "$@")
    if [ ${#missing[@]} -eq 0 ]; then
        OUTCOME="all $# there"
        return
    fi
    progress "installing ${#missing[@]}, see $log"
    logged $log apt-get -o DPkg::Lock::Timeout=300 update
    logged $log env DEBIAN_FRONTEND=noninteractive NEEDRESTART_MODE=l \
        apt-get -o DPkg::Lock::Timeout=300 install -y --no-install-recommends "${missing[@]}"
    mkdir -p /var/lib/minicloud/deploy
    printf '%s\n' "${missing[@]}" >>/var/lib/minicloud/deploy/packages-installed
    OUTCOME="installed ${#missing[@]}"
}

host_packages() {
    local builder
    read -ra builder < <("$CHECKOUT/tools/build-image" --host-packages)
    ensure_packages "${PACKAGES[@]}" "${builder[@]}"
    console_pages || OUTCOME+=", no noVNC"
}

# The pages of noVNC alone: the package brings some fifty others along, which they do not need.
# The cloud does without where they cannot be had, and its console page says so.
console_pages() {
    local directory log=/var/log/minicloud/packages.log
    [ ! -e /usr/share/novnc/vnc_lite.html ] || return 0
    [ ! -e "$PREFIX/novnc/usr/share/novnc/vnc_lite.html" ] || return 0
    progress "fetching noVNC, see $log"
    directory=$(mktemp -d)
    mkdir -p "$(dirname $log)" "$PREFIX"
    if (cd "$directory" && apt-get -q download novnc || { apt-get -q update && apt-get -q download novnc; }) \
        >>$log 2>&1 && rm -rf "$PREFIX/novnc" &&
        dpkg-deb -x "$directory"/novnc_*.deb "$PREFIX/novnc"; then
        rm -rf "$directory"
        return 0
    fi
    rm -rf "$directory"
    return 1
}

# --- the Python environment ---------------------------------------------------------------------

# The daemons' user has to be able to read the code, root to keep compiled code beside it, and
# nobody but root to change what runs as root. A checkout of root's that all can read is used where
# it is; any other is copied.
usable_in_place() {
    local path
    [ -z "$(find "$CHECKOUT/minicloud" "$CHECKOUT/setup.cfg" \( ! -user root -o ! -perm -004 \) \
        -print -quit)" ] || return 1
    path=$(realpath "$CHECKOUT")
    while :; do
        [ -n "$(find "$path" -maxdepth 0 -perm -001)" ] || return 1
        [ "$path" != / ] || return 0
        path=$(dirname "$path")
    done
}

source_tree() {
    if usable_in_place; then
        SOURCE=$CHECKOUT
        return
    fi
    SOURCE=$PREFIX/src
    rm -rf "$SOURCE.new"
    mkdir -p "$SOURCE.new"
    tar -C "$CHECKOUT" --exclude=.git --exclude='__pycache__' --exclude='.*_cache' -cf - . |
        tar -C "$SOURCE.new" --no-same-owner -xpf -
    chmod -R u=rwX,go=rX "$SOURCE.new"
    if [ -d "$SOURCE" ] && diff -rq --exclude=__pycache__ --exclude='*.egg-info' \
        "$SOURCE" "$SOURCE.new" >/dev/null; then
        rm -rf "$SOURCE.new" # the compiled code beside the old one stays of use
        return
    fi
    # The old tree goes as a whole: a file that was deleted must not live on.
    rm -rf "$SOURCE"
    mv "$SOURCE.new" "$SOURCE"
}

# What pip has been told about where packages come from holds for uv too.
pip_setting() { "$VENV/bin/pip" config get "global.$1" 2>/dev/null || true; }

install_python() { # EXTRAS
    local log=/var/log/minicloud/python.log index
    if [ ! -x "$VENV/bin/uv" ]; then # four times as fast as pip; without it pip does
        "$VENV/bin/pip" install -q --no-cache-dir uv >>$log 2>&1 || true
    fi
    index=${PIP_INDEX_URL:-$(pip_setting index-url)}
    if [ -x "$VENV/bin/uv" ] &&
        env VIRTUAL_ENV="$VENV" UV_CACHE_DIR=/var/cache/minicloud/uv \
            SSL_CERT_FILE="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}" \
            ${index:+UV_DEFAULT_INDEX="$index"} \
            "$VENV/bin/uv" pip install -q --compile-bytecode -e "${SOURCE}[$1]" >>$log 2>&1; then
        return
    fi
    logged $log "$VENV/bin/pip" install -q --no-cache-dir -e "${SOURCE}[$1]"
}

# The distribution's libvirt binding fits its libvirt, so the environment borrows those files.
link_libvirt() {
    local site file
    site=$("$VENV/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    for file in /usr/lib/python3/dist-packages/libvirt{,_lxc,_qemu,aio}.py \
        /usr/lib/python3/dist-packages/libvirtmod*.so; do
        [ ! -e "$file" ] || ln -sfn "$file" "$site/${file##*/}"
    done
    "$VENV/bin/python" -c 'import libvirt' 2>>/var/log/minicloud/python.log ||
        die "The distribution's python3-libvirt cannot be used by $VENV." \
            "Was the distribution upgraded? Then: rm -rf $VENV, and run this again."
}

# The daemons run without docstrings (PYTHONOPTIMIZE=2): less memory. Code compiled so is a file of
# its own, which their user could not write.
compile_for_daemons() {
    "$VENV/bin/python" -m compileall -q -j0 -o 2 "$VENV"/lib/python3*/site-packages \
        >>/var/log/minicloud/python.log 2>&1 || true # some package's templates are no valid code
}

python_environment() { # EXTRAS, WITH COMMAS BETWEEN
    local stamp=$VENV/.minicloud log=/var/log/minicloud/python.log tree extra wanted=
    mkdir -p "$PREFIX" /var/log/minicloud
    source_tree
    tree="$(sha256sum <"$SOURCE/setup.cfg") $SOURCE $(readlink -f /usr/bin/python3)"
    for extra in ${1//,/ }; do wanted+="$tree $extra"$'\n'; done
    if [ -e "$stamp" ] && ! "$VENV/bin/python" -c 'import minicloud, msgspec' 2>/dev/null; then
        rm -rf "$VENV" # it was whole once
    fi
    if [ -e "$stamp" ] && [ -z "$(grep -vFxf "$stamp" <<<"${wanted%$'\n'}" || true)" ]; then
        OUTCOME="up to date"
        return
    fi
    progress "installing, see $log"
    if ! "$VENV/bin/python" -c 'import pip' 2>/dev/null; then
        rm -rf "$VENV"
        # Anything but the system's own Python would not fit its libvirt binding.
        logged $log /usr/bin/python3 -m venv "$VENV"
    fi
    rm -f "$stamp"
    install_python "$1"
    link_libvirt
    compile_for_daemons
    printf '%s' "$wanted" >"$stamp"
    OUTCOME="installed in $VENV"
}

# --- before anything ----------------------------------------------------------------------------

require_machine() {
    if [ "$EUID" != 0 ]; then
        echo "Run it as root: sudo $0" >&2
        exit 1
    fi
    if ! command -v apt-get >/dev/null || [ "$(dpkg --print-architecture)" != amd64 ]; then
        echo "This set-up knows Debian 12 and 13 and Ubuntu 22.04 and 24.04 on amd64." >&2
        exit 1
    fi
    umask 022
    export PATH=$PATH:/usr/sbin:/sbin
    unset PYTHONPATH PYTHONHOME VIRTUAL_ENV
}
