#!/usr/bin/env bash
# Replaces the password of both repositories by the one in RESTIC_NEW_PASSWORD_FILE.
set -euo pipefail
source /opt/taiga-backup/lib.sh

: "${RESTIC_NEW_PASSWORD_FILE:?}"
prepare_aws
for repository in files pg-database; do
    in_repository "$repository" key passwd --new-password-file "$RESTIC_NEW_PASSWORD_FILE"
done
