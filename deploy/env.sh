#!/bin/sh
# Writes deploy/.env (or the file named): .env.example with a password of its own at random for every `change-me`. A file
# that is there already is left as it is.
set -eu
here=$(dirname "$0")
target=${1:-$here/.env}
umask 077
set -C
while IFS= read -r line; do
    case $line in
    *=change-me-*) printf '%s=p%s\n' "${line%%=*}" "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" ;;
    *) printf '%s\n' "$line" ;;
    esac
done <"$here/.env.example" >"$target"
