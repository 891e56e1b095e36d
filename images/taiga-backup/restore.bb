#!/usr/bin/env bash
# Brings back the latest snapshots: drops the database and makes it anew from the dump, then the files below /media.
set -euo pipefail
source /opt/taiga-backup/lib.sh

prepare_aws
prepare_postgres

# Through template1, since a database cannot be dropped from within. It fails while anyone else is connected.
psql_on template1 --command "DROP DATABASE \"$POSTGRES_DB\";"
psql_on template1 --command "CREATE DATABASE \"$POSTGRES_DB\";"

unlock_repository pg-database
# As upstream, without ON_ERROR_STOP: psql goes on after a statement that fails, and its status says nothing of it.
in_repository pg-database dump latest stdin | psql_on "$POSTGRES_DB"

unlock_repository files
rm -rf /media/user
in_repository files restore latest --target /media/
chown -R 999:999 /media
