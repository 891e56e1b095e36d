#!/usr/bin/env bash
# Shows the snapshots of both repositories.
set -euo pipefail
source /opt/taiga-backup/lib.sh

prepare_aws
for repository in files pg-database; do
    in_repository "$repository" snapshots
done
