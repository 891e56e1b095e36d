#!/usr/bin/env bash
# Has the database of the current context's project put its log into the bucket, and a base backup of it.
set -euo pipefail
cd "$(dirname "$0")"
. ./settings.sh
need_settings

kubectl apply -f k8s/Secrets.yaml -f k8s/ConfigMap.yaml
with_settings k8s/postgres-backup.yaml | kubectl apply -f -
kubectl -n hasura rollout status deployment/postgres --timeout=10m

kubectl -n hasura delete job postgres-base-backup --ignore-not-found
kubectl apply -f k8s/base-backup.yaml
# Whichever it comes to: of the two conditions only one is ever met.
for condition in complete failed; do
    kubectl -n hasura wait --for=condition="$condition" --timeout=6h job/postgres-base-backup > /dev/null &
done
wait -n || true
kill $(jobs -p) 2> /dev/null || true
kubectl -n hasura logs job/postgres-base-backup --tail=20 || true
kubectl -n hasura wait --for=condition=complete --timeout=1s job/postgres-base-backup > /dev/null ||
    fail 'the base backup did not succeed: its log is above'
echo 'Backups are configured.'
