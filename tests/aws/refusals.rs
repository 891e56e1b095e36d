//! What the account does not serve, or would not do, it refuses in the service's own words.

use crate::place::{Place, TEMPLATE};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_done_is_refused_in_the_services_own_words() {
    let place = Place::start("refusals").await;
    let update = format!("cloudformation update-stack --stack-name chat --template-body file://{TEMPLATE}");
    let known =
        "--parameters ParameterKey=DbPassword,UsePreviousValue=true ParameterKey=AdminPassword,UsePreviousValue=true";
    let allowed = "--capabilities CAPABILITY_IAM";
    let expect = async |arguments: &str, words: &[&str]| {
        let said = place.refused(arguments).await;
        for word in words {
            assert!(said.contains(word), "`aws {arguments}`: no {word} in {said}");
        }
    };
    assert_eq!(place.aws("sts get-caller-identity", "Account").await, "123456789012");
    expect(&format!("{update} {known} {allowed}"), &["ValidationError", "No updates are to be performed"]).await;
    expect(&format!("{update} {known}"), &["InsufficientCapabilities", "CAPABILITY_IAM"]).await;
    expect(&format!("{update} {allowed}"), &["`DbPassword` has neither a value nor a Default"]).await;
    expect("cloudformation delete-stack --stack-name chat", &["UnknownOperationException", "DeleteStack"]).await;
    expect("cloudformation describe-stacks --stack-name other", &["Stack with id other does not exist"]).await;
    expect("ecs list-tasks", &["ClusterNotFoundException"]).await;
    expect("ecs update-service --cluster chat --service chat --force-new-deployment", &["UnknownOperation"]).await;
    expect("ecs stop-task --cluster chat --task none", &["InvalidParameterException", "not found"]).await;
    expect("efs describe-file-systems --file-system-id fs-00000000", &["FileSystemNotFound"]).await;
    expect("efs create-file-system", &["UnknownOperationException"]).await;
    expect("backup list-recovery-points-by-backup-vault --backup-vault-name x", &["ResourceNotFound"]).await;
    expect("backup delete-backup-vault --backup-vault-name chat", &["UnknownOperationException"]).await;
    for (variable, code) in [
        ("AWS_SECRET_ACCESS_KEY=other AWS_ACCESS_KEY_ID=THROWAWAYACCESS", "SignatureDoesNotMatch"),
        ("AWS_ACCESS_KEY_ID=other AWS_SECRET_ACCESS_KEY=other", "UnrecognizedClient"),
    ] {
        let (exit, said) = place.try_operator(&format!("{variable} aws ecs list-clusters")).await;
        assert!(exit != Some(0) && said.contains(code), "{said}");
    }

    place.operator(&format!("sed -i 's/NetworkMode: bridge/NetworkMode: host/' {TEMPLATE}")).await;
    let line = place.operator(&format!("grep -n 'NetworkMode: host' {TEMPLATE} | cut -d: -f1")).await;
    expect(
        &format!("{update} {known} {allowed}"),
        &["Template format error", &format!("template:{line}: `NetworkMode: host`")],
    )
    .await;
    expect(&format!("cloudformation validate-template --template-body file://{TEMPLATE}"), &["cannot be honoured"])
        .await;
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_what_was_asked_for_wrongly_is_told_by_its_jobs() {
    let place = Place::start("jobs").await;
    let arn = place.aws("efs describe-file-systems", "FileSystems[?Name==`chat-db`].FileSystemArn | [0]").await;
    let role = "--iam-role-arn arn:aws:iam::123456789012:role/x";
    let start = format!("backup start-backup-job --backup-vault-name chat --resource-arn {arn} {role}");
    let id = place.aws(&start, "BackupJobId").await;
    place.at_rest().await;
    assert_eq!(place.aws(&format!("backup describe-backup-job --backup-job-id {id}"), "State").await, "COMPLETED");
    assert_eq!(place.aws("backup list-protected-resources", "Results[0].ResourceArn").await, arn);
    let in_vault = "backup list-recovery-points-by-backup-vault --backup-vault-name chat";
    let point = place.aws(in_vault, "RecoveryPoints[0].RecoveryPointArn").await;
    let described = format!("backup describe-recovery-point --backup-vault-name chat --recovery-point-arn {point}");
    assert_eq!(place.aws(&described, "[Status, ResourceType]").await, "COMPLETED\tEFS");
    let id = arn.rsplit('/').next().unwrap();
    let restore = format!("backup start-restore-job --recovery-point-arn {point} {role} --metadata");
    let said = place.refused(&format!("{restore} file-system-id={id},newFileSystem=true")).await;
    assert!(said.contains("newFileSystem=false"), "{said}");
    let said = place.refused(&format!("{restore} file-system-id=fs-1,newFileSystem=false")).await;
    assert!(said.contains("is not the file system of the recovery point"), "{said}");
    assert_eq!(place.aws("backup list-restore-jobs", "length(RestoreJobs)").await, "0");
    assert_eq!(place.aws("efs describe-mount-targets", "length(MountTargets)").await, "2");
    let family =
        place.aws("ecs describe-task-definition --task-definition chat", "taskDefinition.[family, revision]").await;
    assert_eq!(family, "chat\t1");
    place.operator("aws cloudformation describe-stack-events --stack-name chat && aws cloudformation describe-stack-resources --stack-name chat").await;
    let body = place.aws("cloudformation get-template --stack-name chat", "TemplateBody").await;
    assert!(body.contains("RootUrl"), "{body}");
    place.end().await;
}
