#!/usr/bin/env bash
# The Taiga drill's commands without redrill: what a person's own script would run. The measure of redrill's overhead.
#
#   KUBECONFIG=... RESTIC_NEW_PASSWORD_FILE=... benches/taiga.sh
#
# Runs against an environment that is up and seeded, from where its API server can be reached (the workstation pod, or this machine).
# It types the commands of `drills: manual` with the scenario's errata applied, and waits where a person would look before
# typing on. Every command's seconds go to stdout as `SECONDS<tab>COMMAND`, the sum of all as the last line; what the
# commands print goes to stderr. `NAMESPACE` is `taiga` by default.
#
# redrill takes part in the comparison with the sum of its steps' durations and waits (timings.json); seeding and
# verification are in neither figure. Compare pairs, one of each on a fresh environment, in turn: a slow minute of the
# machine then hits both. redrill may cost 1.05 times the script plus 1 s.
set -euo pipefail

: "${KUBECONFIG:?the kubeconfig of a running environment}"
: "${RESTIC_NEW_PASSWORD_FILE:?a file with the password to change to}"
namespace=${NAMESPACE:-taiga}
patience=${PATIENCE:-120s}

begin=$EPOCHREALTIME

seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f", b - a }'; }

# timed COMMAND...: runs it on the namespace and says how long it took.
timed() {
    local start=$EPOCHREALTIME
    "$@" >&2
    printf '%s\t%s\n' "$(seconds_since "$start")" "$*"
}

kube() { kubectl -n "$namespace" "$@"; }

# scale DEPLOYMENT REPLICAS, and look until it is so.
scale() {
    timed kube scale deployment "$1" --replicas="$2"
    if [ "$2" = 0 ]; then
        timed kube wait pod --for=delete --timeout="$patience" --selector="$(selector "$1")"
    else
        timed kube rollout status deployment "$1" --timeout="$patience"
    fi
}

selector() {
    kube get deployment "$1" --output go-template='{{range $k, $v := .spec.selector.matchLabels}}{{$k}}={{$v}},{{end}}' |
        sed 's/,$//'
}

users_out() { scale taiga-gateway-deployment 0; scale taiga-front-deployment 0; }
users_in() { scale taiga-gateway-deployment 1; scale taiga-front-deployment 1; }
in_backup_pod() { timed kube exec deploy/backup-restore -- "$@"; }

manual_backup() {
    users_out
    scale backup-restore 1
    in_backup_pod backup.bb
    scale backup-restore 0
    users_in
}

manual_restore() {
    users_out
    scale taiga-back-deployment 0
    scale backup-restore 1
    in_backup_pod restore.bb
    scale backup-restore 0
    scale taiga-back-deployment 1
    users_in
}

# patch_secret: a merge patch from stdin, so that no password is in an argument.
patch_secret() { kube patch secret backup-secret --type merge --patch-file /dev/stdin; }

change_password() {
    local new
    new=$(base64 --wrap=0 "$RESTIC_NEW_PASSWORD_FILE")
    timed patch_secret <<< "{\"data\": {\"restic-new-password\": \"$new\"}}"
    scale backup-restore 1
    in_backup_pod change-password.bb
    scale backup-restore 0
    timed patch_secret <<< "{\"data\": {\"restic-password\": \"$new\", \"restic-new-password\": null}}"
}

manual_backup
manual_restore
change_password
printf '%s\tall\n' "$(seconds_since "$begin")"
