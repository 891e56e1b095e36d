#!/usr/bin/env bash
# The Hasura drill's commands without redrill: what a person's own script would run. The measure of redrill's overhead.
#
#   script.sh backup | restore | reconcile
#
# Runs in the checkout at the operator's workstation of an environment that is up and seeded, with the bucket's keys in keys.txt. It
# types the commands of the drill `data-gone` with the scenario's errata applied, and waits where a person would look before typing
# on. Every command's seconds go to stdout as `SECONDS<tab>COMMAND`, the sum of all as the last line; what the commands print goes to
# stderr.
set -euo pipefail

patience=120s
begin=$EPOCHREALTIME

seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f", b - a }'; }

# timed COMMAND...: runs it and says how long it took.
timed() {
    local start=$EPOCHREALTIME
    "$@" >&2
    printf '%s\t%s\n' "$(seconds_since "$start")" "$*"
}

filled_in() {
    { read -r access && read -r secret; } < keys.txt
    access=$(printf %s "$access" | base64)
    secret=$(printf %s "$secret" | base64)
    cp k8s/Secrets.yaml.template k8s/Secrets.yaml
    printf '%s\n' "s|AWS_ACCESS_KEY|$access|" "s|AWS_SECRET_KEY|$secret|" | sed -i -f - k8s/Secrets.yaml
    cp k8s/ConfigMap.yaml.template k8s/ConfigMap.yaml
    sed -i -e 's|AWS_REGION|eu-central-1|' -e 's|AWS_S3_PREFIX|s3://hasura-backups/old-project|' k8s/ConfigMap.yaml
}

in_project() { timed kubectl config set current-context "$1"; }

# kept SECRET FIELD: a value as it is printed, in base64.
kept() { kubectl get secret "$1" -n hasura -o yaml | awk -v field="  $2:" 'index($0, field) == 1 { print $2 }'; }

# pasted SECRET FIELD VALUE: what a person does in the editor.
pasted() {
    cat > editor << EDITOR
#!/bin/sh
printf '%s\\n' 's|^  $2: .*|  $2: $3|' | sed -i -f - "\$1"
EDITOR
    chmod 700 editor
    KUBE_EDITOR=./editor timed kubectl edit secret "$1" -n hasura
    rm editor
}

pod_of() { kubectl get pod -n hasura -l "app=$1" -o jsonpath='{.items[0].metadata.name}'; }

case $1 in
backup)
    timed filled_in
    in_project old-project
    timed ./configure_backup.sh
    ;;
restore)
    timed filled_in
    in_project new-project
    timed ./recovery.sh
    timed kubectl rollout status deployment/postgres -n hasura --timeout="$patience"
    timed kubectl logs "$(pod_of postgres)" -n hasura
    ;;
reconcile)
    in_project old-project
    postgres=$(kept postgres postgres.password)
    administrator=$(kept auth django.sapass)
    in_project new-project
    pasted postgres postgres.password "$postgres"
    pasted auth django.sapass "$administrator"
    timed kubectl delete pod "$(pod_of auth)" -n hasura
    timed kubectl delete pod "$(pod_of data)" -n hasura
    timed sed -i 's|s3://hasura-backups/old-project|s3://hasura-backups/new-project|' k8s/ConfigMap.yaml
    timed ./configure_backup.sh
    timed kubectl rollout status deployment/postgres -n hasura --timeout="$patience"
    ;;
esac
printf '%s\tall of %s\n' "$(seconds_since "$begin")" "$1"
