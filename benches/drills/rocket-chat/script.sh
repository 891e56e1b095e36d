#!/usr/bin/env bash
# The Rocket.Chat drill's commands without redrill: what a person's own script would run. The measure of redrill's overhead.
#
#   script.sh restore | cleanup
#
# Runs in the checkout at the operator's workstation of an environment that is up, seeded and backed up. It types the commands of
# the drill `corrupted` with the scenario's errata applied, and waits where a person would look before typing on. Every
# command's seconds go to stdout as `SECONDS<tab>COMMAND`, the sum of all as the last line; what the commands print goes to stderr.
set -euo pipefail

patience=120s
begin=$EPOCHREALTIME
template=roles/rocket-chat/files/chat.cf.yaml

seconds_since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.3f", b - a }'; }

# timed COMMAND...: runs it and says how long it took.
timed() {
    local start=$EPOCHREALTIME
    "$@" >&2
    printf '%s\t%s\n' "$(seconds_since "$start")" "$*"
}

# text_of COMMAND...: what an aws command prints.
text_of() { aws "$@" --output text; }

# restore_job: of the newest recovery point of the volume.
restore_job() {
    local volume point metadata
    volume=$(text_of efs describe-file-systems --query 'FileSystems[?Name==`chat-db`].FileSystemArn')
    point=$(text_of backup list-recovery-points-by-resource --resource-arn "$volume" \
        --query 'sort_by(RecoveryPoints, &CreationDate)[-1].RecoveryPointArn')
    metadata=$(aws backup get-recovery-point-restore-metadata --backup-vault-name chat --recovery-point-arn "$point" \
        --output json --query RestoreMetadata | tr -d ' \n')
    aws backup start-restore-job --recovery-point-arn "$point" \
        --iam-role-arn arn:aws:iam::123456789012:role/chat-BackupRole --metadata "$metadata"
}

# settled: nothing of the account is under way. Asked of its pod, as redrill asks: `aws` itself takes a second or two for a look,
# which would be to redrill's credit.
settled() {
    local under_way='{.items[*].metadata.name}:{.items[*].metadata.annotations.redrill\.dev/under-way}'
    until [[ $(kubectl get pods -l redrill.dev/account -o jsonpath="$under_way") == ?*: ]]; do :; done
}

found() {
    directory=$(kubectl exec throwaway -- sh -c 'ls -d aws-backup-restore* | sort | tail -n 1')
    printf '%s\n' "$directory" > directory
}

patched() {
    patch -p1 -l << DIFF
diff --git a/$template b/$template
--- a/$template
+++ b/$template
@@ -223,6 +223,7 @@ Resources:
    - Name: chat-db
      EFSVolumeConfiguration:
        FilesystemId: !Ref DbStorage
+      RootDirectory: $directory
    - Name: chat-dump
      EFSVolumeConfiguration:
        FilesystemId: !Ref DumpStorage
DIFF
}

old_task_stopped() {
    aws ecs stop-task --cluster chat --reason 'in the way of the new one' \
        --task "$(text_of ecs list-tasks --cluster chat --service-name chat --query 'taskArns[0]')"
}

# old_directories: all but what the service mounts.
old_directories() {
    kubectl exec throwaway -- find /mnt/efs -mindepth 1 -maxdepth 1 ! -name "$1" -exec rm -rf {} +
    test "$(kubectl exec throwaway -- ls -A /mnt/efs)" = "$1"
}

case $1 in
restore)
    timed restore_job
    timed kubectl apply -f throwaway/instance.yaml
    timed kubectl wait pod/throwaway --for=condition=Ready --timeout="$patience"
    timed settled
    timed found
    timed patched
    timed aws cloudformation update-stack --stack-name chat --template-body "file://$template" --capabilities CAPABILITY_IAM \
        --parameters ParameterKey=DbPassword,UsePreviousValue=true ParameterKey=AdminPassword,UsePreviousValue=true
    timed old_task_stopped
    timed settled
    ;;
cleanup)
    timed old_directories "$(cat directory)"
    timed kubectl delete pod throwaway
    ;;
esac
printf '%s\tall of %s\n' "$(seconds_since "$begin")" "$1"
