#!/usr/bin/env bash
# Has the database of the current context's project brought up from the bucket. What is in its volume goes.
# Returns when the recovery may begin; the log of the postgres pod tells of the rest.
set -euo pipefail
cd "$(dirname "$0")"
. ./settings.sh
need_settings

kubectl apply -f k8s/Secrets.yaml -f k8s/ConfigMap.yaml
with_settings k8s/postgres-recovery.yaml | kubectl apply -f -
echo 'The recovery begins.'
