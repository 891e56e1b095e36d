#!/usr/bin/env bash
# The Estafette drill's commands without redrill: what a person's own script would run. The measure of redrill's overhead.
#
#   script.sh restore
#
# Runs in the checkout at the operator's workstation, the key in key.txt, once the namespace is gone. It types the commands of the
# drill `namespace-gone` with the scenario's errata applied, and waits where a person would look before typing on. Every command's
# seconds go to stdout as `SECONDS<tab>COMMAND`, the sum of all as the last line; what the commands print goes to stderr.
set -euo pipefail

patience=120s
begin=$EPOCHREALTIME

seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f", b - a }'; }

# timed COMMAND...: runs it and says how long it took. Its arguments stay unsaid: the key is one of them.
timed() {
    local start=$EPOCHREALTIME
    "$@" >&2
    printf '%s\t%s\n' "$(seconds_since "$start")" "$1 $2"
}

in_service() {
    local workload
    for workload in statefulset/estafette-ci-db deployment/estafette-ci-api deployment/estafette-ci-web; do
        timed kubectl rollout status "$workload" -n estafette-ci --timeout="$patience"
    done
}

# upgraded FILE: with the values of that file as well.
upgraded() {
    timed helm upgrade estafette-ci estafette/estafette-ci -n estafette-ci --values local-values.yaml --values "$1" --timeout 600s
}

restored() {
    kubectl exec -i "$1" -n estafette-ci -- ./cockroach sql --certs-dir=/cockroach-certs --host=estafette-ci-db-public << SQL
RESTORE
  FROM LATEST IN 'gs://estafette-backups/db-backups?AUTH=specified&CREDENTIALS=$(base64 -w 0 backup-key.json)';
SQL
}

case $1 in
restore)
    key=$(cat key.txt)
    timed helm repo add estafette https://helm.estafette.io
    timed helm repo update
    timed helm diff upgrade --allow-unreleased estafette-ci estafette/estafette-ci -n estafette-ci --values local-values.yaml \
        --set api.secret.secretDecryptionKey="$key"
    timed helm upgrade --install estafette-ci estafette/estafette-ci -n estafette-ci --create-namespace --values local-values.yaml \
        --timeout 600s --set api.secret.secretDecryptionKey="$key" --set db-migrator.enabled=false
    in_service
    printf 'db-client:\n  enabled: true\ndb-migrator:\n  enabled: false\n' > client.yaml
    upgraded client.yaml
    timed kubectl wait pod/estafette-ci-db-client -n estafette-ci --for=condition=Ready --timeout="$patience"
    timed restored estafette-ci-db-client
    printf 'db-client:\n  enabled: false\n' > no-client.yaml
    upgraded no-client.yaml
    timed kubectl wait pod/estafette-ci-db-client -n estafette-ci --for=delete --timeout="$patience"
    in_service
    ;;
esac
printf '%s\tall of %s\n' "$(seconds_since "$begin")" "$1"
