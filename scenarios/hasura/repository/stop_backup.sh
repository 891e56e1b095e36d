#!/usr/bin/env bash
# Has the database of the current context's project put nothing into the bucket any more. What is there stays.
set -euo pipefail
cd "$(dirname "$0")"
. ./settings.sh
need_settings

kubectl apply -f k8s/postgres.yaml
kubectl -n hasura rollout status deployment/postgres --timeout=10m
kubectl -n hasura delete job postgres-base-backup --ignore-not-found
kubectl -n hasura delete -f k8s/Secrets.yaml -f k8s/ConfigMap.yaml --ignore-not-found
echo 'Backups are stopped.'
