#!/bin/sh
# Prints the two secrets of the bus with new passwords, for `deploy/k8s/secrets.sh | kubectl apply -f -`:
#   fluxforge-nats         what each service signs in with (user:password), one key for each
#   fluxforge-nats-server  the same passwords for the server, as variables
# Run once. Run again, it changes every password: then restart the servers and the services (docs/kubernetes.md).
set -eu
namespace=${1:-fluxforge}
users="collector segmenter etl_worker compactor provision operator"

password() { # begins with a letter: nats-server would read 12e4 as a number
    printf 'p%s' "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')"
}

credentials="" variables=""
for user in $users; do
    secret=$(password)
    name=$(printf '%s' "$user" | tr '[:lower:]' '[:upper:]')
    credentials="$credentials  $user: \"$user:$secret\"
"
    variables="$variables  FLUXFORGE_NATS_${name}_PASSWORD: \"$secret\"
"
done

secret_manifest() {
    printf 'apiVersion: v1\nkind: Secret\nmetadata:\n  name: %s\n  namespace: %s\n' "$1" "$namespace"
    printf '  labels: {app.kubernetes.io/part-of: fluxforge}\ntype: Opaque\nstringData:\n%s' "$2"
}

secret_manifest fluxforge-nats "$credentials"
echo ---
secret_manifest fluxforge-nats-server "$variables"
