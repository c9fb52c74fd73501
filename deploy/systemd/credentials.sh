#!/bin/sh
# Writes new passwords of the bus: what each service signs in with (user:password) into <directory>/credentials, and the same
# passwords for the server into <directory>/nats.env. Run once, as root: deploy/systemd/credentials.sh /etc/fluxforge
# Run again, it changes every password: then restart fluxforge.target.
set -eu
directory=$1
users="collector segmenter etl_worker compactor provision operator"

password() { # begins with a letter: nats-server would read 12e4 as a number
    printf 'p%s' "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"
}

umask 077
mkdir -p "$directory/credentials"
variables=""
for user in $users; do
    secret=$(password)
    name=$(printf '%s' "$user" | tr '[:lower:]' '[:upper:]')
    printf '%s:%s\n' "$user" "$secret" >"$directory/credentials/$user"
    variables="${variables}FLUXFORGE_NATS_${name}_PASSWORD=$secret
"
done
printf '%s' "$variables" >"$directory/nats.env"
