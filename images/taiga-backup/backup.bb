#!/usr/bin/env bash
# Backs up the files below /media and the database, each into its own restic repository.
set -euo pipefail
source /opt/taiga-backup/lib.sh

prepare_aws
prepare_postgres
init_repository files
init_repository pg-database

unlock_repository files
(cd /media && in_repository files backup .)
forget_old files

unlock_repository pg-database
pg_dump --dbname "$POSTGRES_DB" --host "$POSTGRES_SERVICE" --port "$POSTGRES_PORT" --username "$POSTGRES_USER" \
    --no-password --serializable-deferrable |
    in_repository pg-database backup --stdin
forget_old pg-database
