#!/usr/bin/env bash
# The Taiga drill's commands without redrill: what a person's own script would run. The measure of redrill's overhead.
#
#   script.sh backup | restore | change-password NEW_PASSWORD_FILE
#
# Runs at the operator's workstation of an environment that is up and seeded. It types the commands of the drill `manual` with the
# scenario's errata applied, and waits where a person would look before typing on. Every command's seconds go to stdout as
# `SECONDS<tab>COMMAND`, the sum of all as the last line; what the commands print goes to stderr.
set -euo pipefail

patience=120s
begin=$EPOCHREALTIME

seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f", b - a }'; }

# timed COMMAND...: runs it on the namespace and says how long it took.
timed() {
    local start=$EPOCHREALTIME
    "$@" >&2
    printf '%s\t%s\n' "$(seconds_since "$start")" "$*"
}

kube() { kubectl -n taiga "$@"; }

# down DEPLOYMENT LABEL, up DEPLOYMENT: scale, and look until it is so.
down() {
    timed kube scale deployment "$1" --replicas=0
    timed kube wait pod --for=delete --timeout="$patience" --selector="$2"
}
up() {
    timed kube scale deployment "$1" --replicas=1
    timed kube rollout status deployment "$1" --timeout="$patience"
}

users_out() {
    down taiga-gateway-deployment app.kubernetes.io/component=taiga-gateway
    down taiga-front-deployment app.kubernetes.io/component=taiga-front
}
users_in() {
    up taiga-gateway-deployment
    up taiga-front-deployment
}
back_out() { down taiga-back-deployment app.kubernetes.io/component=taiga-back; }
in_backup_pod() {
    up backup-restore
    timed kube exec deploy/backup-restore -- "$@"
    down backup-restore app.kubernetes.io/name=backup-restore
}

second_role() {
    printf "CREATE ROLE taiga_readonly LOGIN CONNECTION LIMIT 25 PASSWORD '%s';\n" \
        "$(kube get secret postgres-readonly-secret -o jsonpath='{.data.postgres-password}' | base64 -d)" |
        kube exec -i deploy/postgresql -- \
            sh -c 'PGPASSWORD="$POSTGRES_PASSWORD" psql -X -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d postgres'
}

# patch_secret: a merge patch from stdin, so that no password is in an argument.
patch_secret() { kube patch secret backup-secret --type merge --patch-file /dev/stdin; }

case $1 in
backup)
    users_out
    in_backup_pod backup.bb
    users_in
    ;;
restore)
    users_out
    back_out
    timed second_role
    in_backup_pod restore.bb
    up taiga-back-deployment
    users_in
    ;;
change-password)
    new=$(base64 --wrap=0 "$2")
    timed kube get deployment backup-restore -o json
    timed patch_secret <<< "{\"data\": {\"restic-new-password\": \"$new\"}}"
    in_backup_pod change-password.bb
    timed patch_secret <<< "{\"data\": {\"restic-password\": \"$new\"}}"
    ;;
esac
printf '%s\tall of %s\n' "$(seconds_since "$begin")" "$1"
