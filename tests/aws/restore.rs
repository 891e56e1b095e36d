//! A backup while the database writes, a restore beside the live data, and the switch to it.

use redrill::store::aws::control::{Reply, Request};

use crate::place::{Place, TEMPLATE};

/// The page's, with a place for the directory. What the page prints lost a blank in front of its context.
const DIFF: &str = "--- a/roles/rocket-chat/files/chat.cf.yaml\n+++ b/roles/rocket-chat/files/chat.cf.yaml\n\
    @@ -223,6 +223,7 @@ Resources: \n  - Name: chat-db\n    EFSVolumeConfiguration:\n      FilesystemId: !Ref DbStorage\n\
    +      RootDirectory: DIRECTORY\n  - Name: chat-dump\n    EFSVolumeConfiguration:\n      FilesystemId: !Ref DumpStorage\n";

const UPDATE: &str = "cloudformation update-stack --stack-name chat --template-body file://roles/rocket-chat/files/chat.cf.yaml \
    --parameters ParameterKey=DbPassword,UsePreviousValue=true ParameterKey=AdminPassword,UsePreviousValue=true --capabilities CAPABILITY_IAM";

impl Place {
    async fn file_system(&self) -> String {
        self.aws("efs describe-file-systems", "FileSystems[?Name==`chat-db`].FileSystemArn | [0]").await
    }

    async fn run_plan(&self, age: u32) {
        let request = Request::RunPlan { name: "chat-nightly".to_owned(), age };
        assert_eq!(self.ask(&request).await, Reply::Ran { jobs: 2, failures: Vec::new() });
    }

    /// The newest recovery point of the database's file system.
    async fn newest_point(&self) -> String {
        let arn = self.file_system().await;
        let list = format!("backup list-recovery-points-by-resource --resource-arn {arn}");
        self.aws(&list, "RecoveryPoints[0].RecoveryPointArn").await
    }

    /// Restores as the page's button does; the directory that came of it.
    async fn restore(&self, point: &str) -> String {
        let before = self.in_storage("ls -d /efs/aws-backup-restore_* 2>/dev/null || true").await;
        let metadata =
            format!("backup get-recovery-point-restore-metadata --backup-vault-name chat --recovery-point-arn {point}");
        let metadata =
            self.operator(&format!("aws {metadata} --output json --query RestoreMetadata | tr -d ' \\n'")).await;
        let role = "arn:aws:iam::123456789012:role/chat-BackupRole";
        let start = format!(
            "backup start-restore-job --recovery-point-arn {point} --iam-role-arn {role} --metadata '{metadata}'"
        );
        let id = self.aws(&start, "RestoreJobId").await;
        self.at_rest().await;
        let status = self.aws(&format!("backup describe-restore-job --restore-job-id {id}"), "Status").await;
        assert_eq!(status, "COMPLETED");
        let after = self.in_storage("ls -d /efs/aws-backup-restore_*").await;
        let new: Vec<&str> = after.lines().filter(|line| !before.contains(line)).collect();
        assert_eq!(new.len(), 1, "{before} {after}");
        new[0].trim_start_matches("/efs/").to_owned()
    }

    async fn switch_to(&self, directory: &str) {
        let diff = DIFF.replace("DIRECTORY", directory);
        self.operator(&format!("patch -p1 -l <<'EOF'\n{diff}EOF")).await;
        self.aws(UPDATE, "StackId").await;
        self.at_rest().await;
    }

    /// The task that the page says to kill by hand.
    async fn task(&self) -> String {
        self.aws("ecs list-tasks --cluster chat --service-name chat", "taskArns[0]").await
    }

    async fn last_event(&self) -> String {
        self.aws("ecs describe-services --cluster chat --services chat", "services[0].events[0].message").await
    }

    async fn disturbed(&self) -> Vec<String> {
        match self.ask(&Request::Undisturbed).await {
            Reply::Disturbed { by } => by,
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_backed_up_while_it_was_written_comes_back_beside_the_live_data_and_serves_after_the_switch() {
    let place = Place::start("restore").await;
    place.in_storage("echo good > /efs/state").await;
    place.run_plan(24 * 3600).await;
    place.in_storage("echo better > /efs/state").await;
    place.run_plan(0).await;
    place.in_storage("echo corrupt > /efs/state").await;

    let arn = place.file_system().await;
    let list = format!("backup list-recovery-points-by-resource --resource-arn {arn}");
    let dates = place.aws(&list, "length(RecoveryPoints)").await;
    assert_eq!(dates, "2");
    let directory = place.restore(&place.newest_point().await).await;
    assert_eq!(directory.len(), "aws-backup-restore_2022-01-17T08-53-32-695Z".len(), "{directory}");
    assert_eq!(place.in_storage(&format!("cat /efs/state /efs/{directory}/state")).await, "corrupt\nbetter");

    let old = place.task().await;
    place.switch_to(&directory).await;
    // The old task holds the ports: nothing happens until somebody kills it.
    let stuck = place.last_event().await;
    assert!(stuck.contains("was unable to place a task") && stuck.contains("port 27017"), "{stuck}");
    assert_eq!((place.stack_status().await.as_str(), place.task().await == old), ("UPDATE_IN_PROGRESS", true));
    assert_eq!(place.disturbed().await, [""; 0]);
    place.aws(&format!("ecs stop-task --cluster chat --task {old} --reason page"), "task.desiredStatus").await;
    place.at_rest().await;
    assert_eq!(place.stack_status().await, "UPDATE_COMPLETE");
    place.operator("aws ecs wait services-stable --cluster chat --services chat").await;
    place.operator("aws cloudformation wait stack-update-complete --stack-name chat").await;
    let reason = place.aws(&format!("ecs describe-tasks --cluster chat --tasks {old}"), "tasks[0].stoppedReason").await;
    assert_eq!(reason, "page");
    assert_eq!(place.in_storage(&format!("cat /efs/{directory}/seen")).await, "better");
    let grows = format!(
        "cd /efs; a=$(wc -l < log) b=$(wc -l < {directory}/log); until [ $(wc -l < {directory}/log) -gt $((b + 3)) ]; do :; done; [ $a = $(wc -l < log) ]"
    );
    place.in_storage(&grows).await;
    assert_eq!(place.disturbed().await, [""; 0]);

    // The second restore, from a backup taken after the first: the live data sits in a directory inside the new one.
    place.run_plan(0).await;
    let second = place.restore(&place.newest_point().await).await;
    let nested = place.in_storage(&format!("cat /efs/{second}/state /efs/{second}/{directory}/state")).await;
    assert_eq!(nested, "corrupt\nbetter");
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_directory_with_a_typo_fails_to_start_and_is_not_made() {
    let place = Place::start("typo").await;
    place.switch_to("aws-backup-restore_typo").await;
    let old = place.task().await;
    place.aws(&format!("ecs stop-task --cluster chat --task {old}"), "task.taskArn").await;
    place.at_rest().await;
    let stopped = "ecs list-tasks --cluster chat --desired-status STOPPED";
    let newest = place.aws(stopped, "taskArns[-1]").await;
    let reason =
        place.aws(&format!("ecs describe-tasks --cluster chat --tasks {newest}"), "tasks[0].stoppedReason").await;
    assert!(reason.contains("aws-backup-restore_typo failed: No such file or directory"), "{reason}");
    assert!(place.last_event().await.contains("is unable to start tasks"));
    assert_eq!(place.stack_status().await, "UPDATE_IN_PROGRESS");
    assert_eq!(place.aws("ecs list-tasks --cluster chat", "length(taskArns)").await, "0");
    assert_eq!(place.in_storage("ls /efs | grep -c typo || true").await, "0");
    let said = place.cannot_start().await.expect("a reason");
    assert!(said.contains("aws-backup-restore_typo failed: No such file or directory"), "{said}");
    // As soon as it can start it is a matter of time, and nothing else.
    let starts =
        "cd /efs; mkdir aws-backup-restore_typo; until [ -s aws-backup-restore_typo/seen ]; do sleep 0.1; done";
    place.in_storage(starts).await;
    assert_eq!(place.cannot_start().await, None);
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_into_the_live_directory_is_told_from_one_that_leaves_it_alone() {
    let place = Place::start("live").await;
    place.in_storage("echo good > /efs/state").await;
    assert_eq!(place.ask(&Request::Undisturbed).await, Reply::NoRestoreJob);
    place.run_plan(0).await;
    place.in_storage("echo corrupt > /efs/state").await;
    let directory = place.restore(&place.newest_point().await).await;
    assert_eq!(place.disturbed().await, [""; 0]);
    place.in_storage(&format!("cp -a /efs/{directory}/state /efs/")).await;
    assert_eq!(place.disturbed().await, ["state of the running service became what the backup has"]);
    let old = place.task().await;
    place.aws(&format!("ecs stop-task --cluster chat --task {old}"), "task.taskArn").await;
    place.at_rest().await;
    let disturbed = place.disturbed().await.join("; ");
    assert!(disturbed.contains("served no more before the switch"), "{disturbed}");
    // What was found up to the switch is what counts.
    place.operator(&format!("sed -i 's/DesiredCount: 1/DesiredCount: 0/' {TEMPLATE}")).await;
    place.aws(UPDATE, "StackId").await;
    place.at_rest().await;
    assert_eq!(place.stack_status().await, "UPDATE_COMPLETE");
    assert_eq!(place.disturbed().await.join("; "), disturbed);
    assert_eq!(place.ask(&Request::Forget).await, Reply::Forgotten);
    assert_eq!(place.ask(&Request::Undisturbed).await, Reply::NoRestoreJob);
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_may_do_without_a_task_meanwhile_needs_nobody_to_stop_it() {
    let place = Place::start("percentages").await;
    let first = place.task().await;
    let percentages = "DeploymentConfiguration: {MinimumHealthyPercent: 0, MaximumPercent: 100}";
    place.operator(&format!("sed -i 's/^   LaunchType: EC2/&\\n   {percentages}/' {TEMPLATE}")).await;
    place.aws(UPDATE, "StackId").await;
    place.at_rest().await;
    assert_eq!((place.stack_status().await.as_str(), place.task().await == first), ("UPDATE_COMPLETE", true));
    place.in_storage("mkdir /efs/other").await;
    place.switch_to("/other").await;
    assert_eq!((place.stack_status().await.as_str(), place.task().await == first), ("UPDATE_COMPLETE", false));
    assert_eq!(place.in_storage("cat /efs/other/seen").await, "fresh");
    // What its essential container does not outlive is replaced.
    let second = place.task().await;
    let pod = format!("chat-{}", &second.rsplit('/').next().unwrap()[..12]);
    place.operator(&format!("kubectl exec {pod} -c chat-db -- sh -c 'kill -TERM 1'")).await;
    let replaced = format!(
        "until [ \"$(aws ecs list-tasks --cluster chat --output text --query 'taskArns[0]')\" != {second} ]; do :; done"
    );
    place.operator(&format!("timeout 60 bash -c {}", shell_words::quote(&replaced))).await;
    let reason =
        place.aws(&format!("ecs describe-tasks --cluster chat --tasks {second}"), "tasks[0].stoppedReason").await;
    assert_eq!(reason, "Essential container in task exited");
    place.end().await;
}
