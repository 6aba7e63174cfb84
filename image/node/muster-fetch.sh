# muster-fetch.sh - brings the root of a muster image to this machine, whole and as it was made, or not at all.
# Sourced by the initramfs: POSIX shell, with curl (or wget), sha256sum, and openssl where manifests are checked.
#
# The kernel line says (the head writes it for images with the delivery "verified"):
#   muster.root=URL muster.sha256=HEX muster.size=BYTES   what to fetch, and what it must be
#   muster.manifest=URL                                   what the site says of the image, with URL.sig beside it
# If the initramfs holds MUSTER_KEY, only a root that a manifest signed with it names is used.

MUSTER_KEY=${MUSTER_KEY:-/etc/muster/site.pub}
MUSTER_DIR=${MUSTER_DIR:-/run/muster}
MUSTER_CONSOLE=${MUSTER_CONSOLE:-/dev/console}
# Pauses between two tries, in seconds: the first, and the longest. A storm must not come back all at once.
MUSTER_PAUSE=${MUSTER_PAUSE:-1}
MUSTER_PAUSE_MAX=${MUSTER_PAUSE_MAX:-30}
# How often a whole download that is not what it should be is thrown away and fetched again.
MUSTER_TRIES=${MUSTER_TRIES:-3}

muster_say() { echo "muster: $*" >"$MUSTER_CONSOLE" 2>/dev/null || echo "muster: $*"; }

# The value of a parameter of the kernel line; the last one counts, as for the kernel.
muster_param() {
    muster_value=
    for muster_word in ${MUSTER_CMDLINE:-$(cat /proc/cmdline)}; do
        case $muster_word in "$1"=*) muster_value=${muster_word#*=} ;; esac
    done
    echo "$muster_value"
}

muster_size() { if [ -f "$1" ]; then wc -c <"$1" | tr -d ' '; else echo 0; fi; }

muster_sum() { sha256sum <"$1" | cut -d' ' -f1; }

# muster_get URL FILE: the rest of the file. 0: that was all; else try again. MUSTER_WHY says what was wrong,
# MUSTER_STATUS is the status of HTTP, MUSTER_WAIT what the head asked for, in seconds.
muster_get() {
    MUSTER_WAIT='' MUSTER_STATUS='' MUSTER_WHY=''
    if ! command -v curl >/dev/null 2>&1; then
        # wget of busybox; its -T crashes in 1.35.
        wget -q -c -O "$2" "$1" 2>/dev/null || { MUSTER_WHY="wget: error $?"; return 1; }
        return 0
    fi
    muster_headers=$MUSTER_DIR/headers
    # The head's ETag is the digest: the rest of another file never follows. --speed: a connection that is silent
    # for a minute is dead.
    curl --silent --globoff --fail --location --max-redirs 5 --connect-timeout 20 --speed-limit 1 --speed-time 60 \
        --dump-header "$muster_headers" --continue-at - --output "$2" "$1" 2>/dev/null && return 0
    muster_error=$?
    MUSTER_STATUS=$(sed -n 's/^HTTP[^ ]* \([0-9]*\).*/\1/p' "$muster_headers" 2>/dev/null | tail -n 1)
    MUSTER_WAIT=$(sed -n 's/^[Rr]etry-[Aa]fter: *\([0-9]\{1,6\}\).*/\1/p' "$muster_headers" 2>/dev/null | tail -n 1)
    [ "${MUSTER_WAIT:-0}" -le 600 ] || MUSTER_WAIT=600
    case $muster_error in
        22) MUSTER_WHY="the head answers $MUSTER_STATUS" ;;
        23) MUSTER_WHY="there is no room for it in memory" ;;
        # No ranges, or a range that is not there: what is here is worth nothing.
        33 | 36 | 31) MUSTER_WHY="it cannot go on, and begins anew"; : >"$2" ;;
        *) MUSTER_WHY="curl: error $muster_error" ;;
    esac
    [ "$MUSTER_STATUS" != 416 ] || : >"$2"
    return 1
}

# A pause of about so many seconds: a storm must not come back all at once.
muster_sleep() {
    muster_more=$(od -An -N1 -tu1 /dev/urandom 2>/dev/null | tr -d ' ')
    sleep $(($1 + ${muster_more:-0} % ($1 / 4 + 1)))
}

# Tells how far the download is, until it is killed.
muster_progress() {
    muster_last=$(muster_size "$1")
    while sleep 5 >/dev/null 2>&1; do
        muster_now=$(muster_size "$1")
        muster_rate=$(((muster_now - muster_last) / 5))
        muster_left='?'
        [ "$muster_rate" -le 0 ] || muster_left=$((($2 - muster_now) / muster_rate))
        muster_say "$((muster_now * 100 / $2)) % of $(($2 / 1000000)) MB, $((muster_rate / 1000)) kB/s, $muster_left s left"
        muster_last=$muster_now
    done
}

# muster_fetch URL FILE SIZE: until the file is there. Goes on where it broke off, for as long as it takes: a
# machine that gives up needs somebody to come.
muster_fetch() {
    muster_pause=$MUSTER_PAUSE muster_was=0
    muster_progress "$2" "$3" & muster_watch=$!
    while muster_have=$(muster_size "$2") && [ "$muster_have" -lt "$3" ]; do
        muster_get "$1" "$2"
        muster_have=$(muster_size "$2")
        [ "$muster_have" -lt "$3" ] || break
        # Progress shortens the pause again.
        [ "$muster_have" -le "$muster_was" ] || muster_pause=$MUSTER_PAUSE
        muster_was=$muster_have
        muster_say "the download stands at $muster_have of $3 bytes (${MUSTER_WHY:-it ended early}); going on in ${MUSTER_WAIT:-$muster_pause} s"
        muster_sleep "${MUSTER_WAIT:-$muster_pause}"
        muster_pause=$((muster_pause * 2))
        [ "$muster_pause" -le "$MUSTER_PAUSE_MAX" ] || muster_pause=$MUSTER_PAUSE_MAX
    done
    kill "$muster_watch" 2>/dev/null
    wait "$muster_watch" 2>/dev/null
    return 0
}

# muster_small URL FILE: a text of a few lines. Waits for a head that is away; gives up if it has no such text.
muster_small() {
    muster_missing=0
    while rm -f "$2"; ! muster_get "$1" "$2" || [ ! -s "$2" ]; do
        [ "$MUSTER_STATUS" != 404 ] || muster_missing=$((muster_missing + 1))
        [ "$muster_missing" -lt 3 ] || { muster_say "REFUSED: there is no $1"; return 1; }
        muster_say "cannot fetch $1 yet (${MUSTER_WHY:-it is empty})"
        muster_sleep "${MUSTER_WAIT:-$((MUSTER_PAUSE * 3))}"
    done
}

# muster_genuine TEXT SIGNATURE: true if a key of the site signed it. While the site key is replaced, there are two.
muster_genuine() {
    while IFS= read -r muster_line || [ -n "$muster_line" ]; do
        case $muster_line in -----BEGIN*) : >"$MUSTER_DIR/key.pem" ;; esac
        echo "$muster_line" >>"$MUSTER_DIR/key.pem"
        case $muster_line in
            -----END*)
                openssl pkeyutl -verify -pubin -inkey "$MUSTER_DIR/key.pem" -rawin -in "$1" -sigfile "$2" \
                    </dev/null >/dev/null 2>&1 && return 0 ;;
        esac
    done <"$MUSTER_KEY"
    return 1
}

# muster_signed DIGEST: true if the site signed a manifest that names this root.
muster_signed() {
    if [ ! -f "$MUSTER_KEY" ]; then
        muster_say "no $MUSTER_KEY in this initramfs: the root is held to the digest of the kernel line alone"
        return 0
    fi
    muster_at=$(muster_param muster.manifest) muster_text=$MUSTER_DIR/manifest
    [ -n "$muster_at" ] || { muster_say "REFUSED: $MUSTER_KEY wants a manifest, the kernel line names none"; return 1; }
    command -v openssl >/dev/null 2>&1 || { muster_say "REFUSED: no openssl to check the manifest with"; return 1; }
    muster_small "$muster_at" "$muster_text" && muster_small "$muster_at.sig" "$muster_text.b64" || return 1
    if ! openssl base64 -d -A -in "$muster_text.b64" -out "$muster_text.sig" 2>/dev/null ||
        ! muster_genuine "$muster_text" "$muster_text.sig"; then
        muster_say "REFUSED: $muster_at is not signed with $MUSTER_KEY"
        return 1
    fi
    case $muster_at in
        */"$(muster_sum "$muster_text")"/*) ;;
        *) muster_say "REFUSED: $muster_at is not the version that it says it is"; return 1 ;;
    esac
    if ! grep -q "^root sha256:$1 " "$muster_text"; then
        muster_say "REFUSED: the signed manifest names another root than sha256:$1"
        return 1
    fi
    muster_say "the site signed $(sed -n 's/^image //p' "$muster_text"), root sha256:$1"
}

# muster_room BYTES: a tmpfs of its own: /run of an initramfs holds a tenth or a fifth of the memory.
muster_room() {
    [ "${MUSTER_TMPFS:-yes}" = yes ] || return 0
    muster_free=$(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo)
    if [ -n "$muster_free" ] && [ "$(($1 / 1024))" -gt "$muster_free" ]; then
        muster_say "REFUSED: the root has $(($1 / 1000000)) MB, this machine has $((muster_free / 1000)) MB of memory left"
        return 1
    fi
    mount -t tmpfs -o "mode=0700,size=$(($1 / 1024 + 1024))k" muster "$MUSTER_DIR/hold"
}

# muster_root: fetches the root to $MUSTER_DIR/hold/root and checks it. Anything but 0: do not boot.
muster_root() {
    muster_url=$(muster_param muster.root) muster_want=$(muster_param muster.sha256)
    muster_bytes=$(muster_param muster.size) muster_to=$MUSTER_DIR/hold/root
    case $muster_want in *[!0-9a-f]* | '') muster_want= ;; esac
    case $muster_bytes in *[!0-9]* | '' | 0) muster_bytes= ;; esac
    if [ -z "$muster_url" ] || [ ${#muster_want} -ne 64 ] || [ -z "$muster_bytes" ]; then
        muster_say "REFUSED: muster.root, muster.sha256 (64 digits) and muster.size must stand in the kernel line"
        return 1
    fi
    mkdir -p "$MUSTER_DIR/hold"
    muster_signed "$muster_want" || return 1
    muster_room "$muster_bytes" || return 1
    muster_round=1
    while [ "$muster_round" -le "$MUSTER_TRIES" ]; do
        muster_say "fetching $muster_url, $((muster_bytes / 1000000)) MB"
        muster_fetch "$muster_url" "$muster_to" "$muster_bytes"
        muster_is=$(muster_sum "$muster_to")
        if [ "$muster_is" = "$muster_want" ] && [ "$(muster_size "$muster_to")" = "$muster_bytes" ]; then
            muster_say "the root is what it should be: sha256:$muster_is"
            return 0
        fi
        muster_say "WRONG: $muster_url is sha256:$muster_is, expected sha256:$muster_want (try $muster_round of $MUSTER_TRIES)"
        rm -f "$muster_to"
        muster_round=$((muster_round + 1))
    done
    muster_say "REFUSED: an altered root is not booted. On the head: muster image verify"
    return 1
}

# What lies below the running system: the root, read-only, and a tmpfs that takes the changes.
muster_layers() {
    muster_over=$(muster_param muster.overlay) muster_parts=$MUSTER_DIR/parts
    modprobe -q loop
    modprobe -q squashfs
    modprobe -q overlay
    mkdir -p "$muster_parts/lower" "$muster_parts/rw"
    mount -o ro,loop "$MUSTER_DIR/hold/root" "$muster_parts/lower" ||
        { modprobe -q erofs && mount -t erofs -o ro,loop "$MUSTER_DIR/hold/root" "$muster_parts/lower"; } || return 1
    mount -t tmpfs -o "mode=0755,size=${muster_over:-50%}" muster "$muster_parts/rw" || return 1
    mkdir -p "$muster_parts/rw/upper" "$muster_parts/rw/work"
}

# muster_mount WHERE: both as one.
muster_mount() {
    muster_parts=$MUSTER_DIR/parts
    mount -t overlay -o "lowerdir=$muster_parts/lower,upperdir=$muster_parts/rw/upper,workdir=$muster_parts/rw/work" \
        muster "$1"
}
