#!/bin/sh
# Makes the vectors in ssh/ with the ssh-keygen on the path; those committed came from OpenSSH 9.2p1 (Debian 12).
set -e
out=$(dirname "$0")/ssh
tmp=$(mktemp -d)
mkdir -p "$out"
keygen() { ssh-keygen -q -N '' -C vector "$@"; }
keygen -t ed25519 -f "$tmp/ca-ed25519"
keygen -t ecdsa -b 256 -f "$tmp/ca-ecdsa256"
keygen -t rsa -b 2048 -f "$tmp/ca-rsa"
for type in ed25519:256 ecdsa:256 ecdsa:384 ecdsa:521 rsa:2048; do
    name=$(echo "$type" | tr -d :)
    keygen -t "${type%:*}" -b "${type#*:}" -f "$tmp/$name"
    cp "$tmp/$name.pub" "$out/$name.pub"
    ssh-keygen -lf "$out/$name.pub" | cut -d' ' -f2 > "$out/$name.fingerprint"
    ssh-keygen -q -s "$tmp/ca-ed25519" -I "user $name" -n root,alice -V 20260101000000Z:20360101000000Z -z 7 \
        -O source-address=127.0.0.1/32 -O extension:login@github.com=alice "$tmp/$name.pub"
    cp "$tmp/$name-cert.pub" "$out/$name-user-cert.pub"
    ssh-keygen -q -s "$tmp/ca-ecdsa256" -h -I "host $name" -n node.example.com -V always:forever -z 18446744073709551615 "$tmp/$name.pub"
    cp "$tmp/$name-cert.pub" "$out/$name-host-cert.pub"
done
for hash in rsa-sha2-256 rsa-sha2-512 ssh-rsa; do
    ssh-keygen -q -s "$tmp/ca-rsa" -t "$hash" -I "$hash" -n root -V always:forever "$tmp/ed25519256.pub"
    cp "$tmp/ed25519256-cert.pub" "$out/signed-$hash-cert.pub"
done
# Keys in a security key are made from their parts, as none is at hand; ssh-keygen signs them all the same.
python3 - "$tmp" <<'PYTHON'
import base64, sys
def string(value): return len(value).to_bytes(4, "big") + value
point = base64.b64decode(open(sys.argv[1] + "/ecdsa256.pub").read().split()[1])[-65:]
edwards = base64.b64decode(open(sys.argv[1] + "/ed25519256.pub").read().split()[1])[-32:]
for name, type_, fields in (
    ("sk-ed25519", b"sk-ssh-ed25519@openssh.com", [edwards]),
    ("sk-ecdsa", b"sk-ecdsa-sha2-nistp256@openssh.com", [b"nistp256", point]),
):
    blob = b"".join(map(string, [type_, *fields, b"ssh:"]))
    open(f"{sys.argv[1]}/{name}.pub", "w").write(f"{type_.decode()} {base64.b64encode(blob).decode()} vector\n")
PYTHON
for name in sk-ed25519 sk-ecdsa; do
    cp "$tmp/$name.pub" "$out/$name.pub"
    ssh-keygen -lf "$out/$name.pub" | cut -d' ' -f2 > "$out/$name.fingerprint"
    ssh-keygen -q -s "$tmp/ca-ed25519" -I "user $name" -n root,alice -V 20260101000000Z:20360101000000Z -z 7 \
        -O source-address=127.0.0.1/32 -O extension:login@github.com=alice "$tmp/$name.pub"
    cp "$tmp/$name-cert.pub" "$out/$name-user-cert.pub"
    ssh-keygen -q -s "$tmp/ca-ecdsa256" -h -I "host $name" -n node.example.com -V always:forever -z 18446744073709551615 "$tmp/$name.pub"
    cp "$tmp/$name-cert.pub" "$out/$name-host-cert.pub"
done
rm -r "$tmp"
