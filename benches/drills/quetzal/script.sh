#!/usr/bin/env bash
# The Quetzal drill's commands without redrill: what a person's own script would run. The measure of redrill's overhead.
#
#   script.sh backup | restore
#
# Runs at the operator's workstation of an environment that is up and seeded. It types the commands of the drill `manual` with the
# scenario's errata applied, and waits where a person would look before typing on. Every command's seconds go to stdout as
# `SECONDS<tab>COMMAND`, the sum of all as the last line; what the commands print goes to stderr.
set -euo pipefail

patience=120s
begin=$EPOCHREALTIME
label=app.kubernetes.io/component=database

seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f", b - a }'; }

# timed COMMAND...: runs it and says how long it took.
timed() {
    local start=$EPOCHREALTIME
    "$@" >&2
    printf '%s\t%s\n' "$(seconds_since "$start")" "$*"
}

# name_of KIND: of the one object that has the label, from the table that the page's command prints.
name_of() { kubectl get "$1" -l "$label" | tee /dev/stderr | awk 'NR == 2 { print $1 }'; }

in_pod() { kubectl exec -i "$pod" -- bash -euo pipefail; }

edited_dump() {
    in_pod << 'POD'
name=$(gsutil ls gs://quetzal-backups/db/ | sed -n 's,.*/\(db_dump-[0-9_]*\)\.bak\.gz$,\1,p' | tail -n 1)
gsutil cp "gs://quetzal-backups/db/$name.bak.gz" .
gunzip "$name.bak"
sed -i -e "s/^CREATE ROLE $POSTGRES_USER;/-- &/" -e "s/^ALTER ROLE $POSTGRES_USER .*/-- &/" \
    -e "s/^CREATE DATABASE $POSTGRES_USER .*/-- &/" "$name.bak"
POD
}

emptied_server() {
    in_pod << 'POD'
psql -U"$POSTGRES_USER" "$POSTGRES_USER" << 'SQL'
SELECT pg_terminate_backend(pg_stat_activity.pid)
FROM pg_stat_activity
WHERE pg_stat_activity.datname = 'quetzak'
  AND pid <> pg_backend_pid();
DROP DATABASE quetzal;
DROP DATABASE unittests;
DROP ROLE db_user;
DROP ROLE db_ro_user;
SQL
psql -U"$POSTGRES_USER" --set ON_ERROR_STOP=on -f ./db_dump-*.bak
POD
}

case $1 in
backup)
    job=$(name_of cronjobs)
    timed kubectl create job --from="cronjob/$job" "$job-manual-001"
    timed kubectl wait --for=condition=complete --timeout="$patience" "job/$job-manual-001"
    ;;
restore)
    pod=$(name_of pods)
    timed edited_dump
    timed kubectl scale deployment quetzal-app quetzal-worker --replicas=0
    for part in app worker; do
        timed kubectl wait pod --for=delete --timeout="$patience" --selector="app.kubernetes.io/component=$part"
    done
    timed emptied_server
    timed kubectl scale deployment quetzal-app quetzal-worker --replicas=1
    timed kubectl rollout status deployment quetzal-app --timeout="$patience"
    timed kubectl rollout status deployment quetzal-worker --timeout="$patience"
    ;;
esac
printf '%s\tall of %s\n' "$(seconds_since "$begin")" "$1"
