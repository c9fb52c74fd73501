#!/bin/sh
# Prints .env.example with a password of its own at random for every `change-me`: deploy/env.sh > deploy/.env
set -eu
umask 077
while IFS= read -r line; do
    case $line in
    *=change-me-*) printf '%s=p%s\n' "${line%%=*}" "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" ;;
    *) printf '%s\n' "$line" ;;
    esac
done <"$(dirname "$0")/.env.example"
