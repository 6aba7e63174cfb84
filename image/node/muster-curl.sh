#!/bin/sh
# muster-curl.sh - the node's secrets for images without muster-node: by curl over TLS and, where there is a TPM, by
# tpm2-tools. Runs in an initramfs or early in the system; needs a POSIX shell, curl, jq, base64, sha256sum, od and,
# for a TPM, tpm2-tools.
#   muster-curl.sh [ROOT]        below which files are written (default /)
# MUSTER_CA=/etc/muster/ca.pem  the head's authority (muster ca > ca.pem), by which curl knows the head
# MUSTER_GRANT, MUSTER_STATE, MUSTER_TPM  where the grant lies, where this boot's key is kept, the TPM's device
# Nothing secret is on a command line: nonce, key and token go through files of this boot that root alone reads.
set -eu
root=${1:-/}; root=${root%/}
grant=${MUSTER_GRANT:-/etc/muster/boot.json} ca=${MUSTER_CA:-/etc/muster/ca.pem}
state=${MUSTER_STATE:-/run/muster-curl} device=${MUSTER_TPM:-/dev/tpmrm0}
say() { echo "muster-curl: $*"; }
die() { echo "muster-curl: $*" >&2; exit 1; }
[ -e "$grant" ] || { say "no grant in $grant; this node gets no secrets"; exit 0; }
[ -e "$ca" ] || die "no authority in $ca: the head cannot be known"
umask 077
mkdir -p "$state"; chmod 700 "$state"; cd "$state"
head=$(jq -er .tls "$grant") || die "this head serves no HTTPS: https.listen"

# ask PATH BODY-FILE ANSWER-FILE: the same question until there is an answer, which is the same for the same key.
ask() {
    [ ! -e token ] || set -- "$@" -H @token
    path=$1 body=$2 answer=$3 tries=0; shift 3
    while :; do
        tries=$((tries + 1))
        code=$(curl -sS --cacert "$ca" --max-time 30 -H 'Content-Type: application/json' -H 'Accept: application/json' \
            "$@" --data-binary "@$body" -o "$answer" -w '%{http_code}' "$head/node/v1/$path") || code=000
        case $code in
            2*) return ;;
            000 | 429 | 50[0-4]) [ $tries -lt 10 ] || die "$path: the head does not answer"; sleep 3 ;;
            *)
                say "$path: the head answers $code: $(jq -r '.detail // .title' "$answer" | tr -cd '[:print:]')" >&2
                return 1
                ;;
        esac
    done
}
bearer() { jq -r '"Authorization: Bearer " + .token' "$1" >token; }

# --- claim ---
[ -e key ] || head -c 32 /dev/urandom | base64 -w0 >key
if [ ! -e claimed ]; then
    jq --rawfile key key '{session, nonce, node_key: $key}' "$grant" >body
    rm -f token; ask claim body answer || exit 1
    mv answer claimed
    say "claimed boot session $(jq -r .session "$grant")"
fi
bearer claimed
best=claimed

# --- attest ---
octets() { od -An -v -tu1 "$1"; }                            # a file, as numbers
emit() { for n in "$@"; do printf "\\$(printf %03o "$n")"; done; }      # numbers, as octets
field() { jq -r ".$1" started | base64 -d; }
# hmac KEY-FILE MESSAGE-FILE: HMAC-SHA256 (RFC 2104) of a key of 32 octets; openssl would take it on its command line.
hmac() {
    in='' out='' n=0
    for octet in $(octets "$1"); do in="$in $((octet ^ 54))" out="$out $((octet ^ 92))" n=$((n + 1)); done
    while [ $n -lt 64 ]; do in="$in 54" out="$out 92" n=$((n + 1)); done
    # shellcheck disable=SC2086 # words are meant
    { emit $in; cat "$2"; } | sha256sum | unhex >inner
    # shellcheck disable=SC2086
    { emit $out; cat inner; } | sha256sum | unhex
}
unhex() { # the first word of standard input, in hex, as octets
    read -r hex _
    while [ -n "$hex" ]; do rest=${hex#??}; printf "\\$(printf %03o "0x${hex%"$rest"}")"; hex=$rest; done
}
hex() { octets "$1" | { out=''; while read -r line; do for n in $line; do out=$out$(printf %02x "$n"); done; done; echo "$out"; }; }

attest() {
    tpm2_createprimary -Q -C e -g sha256 -G ecc256:ecdsa-sha256:null \
        -a 'fixedtpm|fixedparent|sensitivedataorigin|userwithauth|restricted|sign|noda' -c ak.ctx || return
    tpm2_readpublic -Q -c ak.ctx -o ak.tpm2b || return
    tpm2_flushcontext -t
    ek=0x81010001
    if ! tpm2_readpublic -Q -c $ek -o ek.tpm2b 2>/dev/null; then
        ek=ek.ctx
        tpm2_createek -Q -G ecc -c ek.ctx -u ek.tpm2b || return
        tpm2_flushcontext -t
    fi
    jq --arg ek "$(base64 -w0 ek.tpm2b)" --arg ak "$(base64 -w0 ak.tpm2b)" \
        '{ek_pub: $ek, ak_pub: $ak, node_pub, tpm: {vendor: "", fw: ""}}' claimed >body
    ask attest/start body started || return
    field tools_blob >blob
    tpm2_startauthsession --policy-session -S policy || return
    tpm2_policysecret -Q -S policy -c e || return
    tpm2_activatecredential -Q -c ak.ctx -C $ek -i blob -o secret -P session:policy || return
    tpm2_flushcontext policy
    # What is quoted binds the challenge to the key of this boot.
    jq -r .node_pub claimed | base64 -d | sha256sum | unhex >bound
    { printf 'muster-quote-v1\0'; field quote_nonce; jq -j .attest_id started; cat bound; } | sha256sum | unhex >extra
    { printf 'muster-proof-v1\0'; jq -j .attest_id started; cat extra; } >proven
    hmac secret proven >proof
    pcrs=$(jq -r '.pcrs | map(tostring) | join(",")' started)
    tpm2_quote -Q -c ak.ctx -l "sha256:$pcrs" -q "$(hex extra)" -m quoted -s signature -f plain -g sha256 || return
    values='{}'
    for pcr in $(echo "$pcrs" | tr , ' '); do
        tpm2_pcrread -Q -o value "sha256:$pcr" || return
        values=$(echo "$values" | jq -c --arg pcr "$pcr" --arg value "$(base64 -w0 value)" '.[$pcr] = $value')
    done
    jq --rawfile key key --argjson values "$values" --arg proof "$(base64 -w0 proof)" --arg attest "$(base64 -w0 quoted)" \
        --arg sig "$(base64 -w0 signature)" '{attest_id, node_key: $key, $proof, $attest, $sig, pcr_values: $values}' \
        started >body
    log=${MUSTER_EVENT_LOG:-/sys/kernel/security/tpm0/binary_bios_measurements}
    if [ -r "$log" ]; then
        base64 -w0 <"$log" >log
        jq --rawfile log log '.eventlog = $log' body >longer; mv longer body
    fi
    ask attest/finish body answer || return
    mv answer attested
    best=attested
    bearer attested
    say "attested"
}
if [ -e attested ]; then
    best=attested
    bearer attested
elif [ "$device" != none ] && { [ -e "$device" ] || [ -n "${TPM2TOOLS_TCTI:-}" ]; }; then
    attest || say "not attested" >&2
fi

# --- files: each made where root alone reads it, given its owner and mode while it is empty, and put in its place ---
id_of() { # FILE NAME: the number of a name in the root's own list
    case $2 in ''|*[!0-9]*) ;; *) echo "$2"; return ;; esac
    awk -F: -v name="$2" '$1 == name { print $3; found = 1 } END { exit !found }' "$root/etc/$1"
}
place() { # PATH: /run is handed over by an initramfs
    case $1 in
        */../*|*/..) die "$1 leads upwards" ;;
        /run/*) [ -d "$root/run" ] && [ -d /run ] && echo "$1" || echo "$root$1" ;;
        /*) echo "$root$1" ;;
        *) die "$1 is not absolute" ;;
    esac
}
for file in claimed attested; do
    [ -e $file ] || continue
    count=$(jq '.secrets | length' $file) n=0
    while [ $n -lt "$count" ]; do
        jq ".secrets[$n]" $file >secret.json; n=$((n + 1))
        id=$(jq -r .id secret.json) path=$(jq -r '.path // empty' secret.json)
        [ -n "$path" ] || continue
        path=$(place "$path")
        owner=$(jq -r .owner secret.json) mode=$(jq -r .mode secret.json)
        if user=$(id_of passwd "${owner%%:*}") && group=$(id_of group "${owner##*:}"); then :; else
            say "$id is for root alone: the image has no $owner" >&2
            user=0 group=0 mode=0400
        fi
        folder=$(dirname "$path")
        (umask 022; mkdir -p "$folder")
        new=$folder/.$(basename "$path").muster-$$
        (set -C; : >"$new")
        chown "$user:$group" "$new"; chmod "$mode" "$new"
        jq -r .data_b64 secret.json | base64 -d >"$new"
        [ "$(sha256sum <"$new" | cut -d' ' -f1)" = "$(jq -r .sha256 secret.json)" ] || { rm "$new"; die "$id is damaged"; }
        mv "$new" "$path"
        say "$id version $(jq -r .version secret.json) in $path"
    done
done
jq -r '.withheld[] | "muster-curl: \(.id) is withheld, it needs level \(.needs): \(.reason)"' $best >&2

# --- seal: the TPM first, since that needs nobody's answer ---
if [ $best = attested ]; then
    tpm2_pcrextend "${MUSTER_LATCH:-15}:sha256=$(printf muster-secrets-released | sha256sum | cut -d' ' -f1)"
fi
jq '{session}' "$grant" >body
ask sealed body answer || exit 1
cd /; rm -rf "$state"; rm -f "$grant"
say "sealed"
