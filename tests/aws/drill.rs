//! A stack in a drill, from provisioning to teardown: its account is put up, yesterday's backup is there, what was done earlier is
//! done, and a plan runs as its clock would start it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use redrill::outcome::{CheckResult, Phase, StepResult, TextLabel, Verdict};
use redrill::report::json::Results;

use crate::place::template;

const DOCKERFILE: &str = "ARG BASE=debian:bookworm\nFROM ${BASE}\nCOPY run /opt/run\nCMD [\"sh\", \"/opt/run\"]\n";
const RUN: &str = "trap 'exit 0' TERM\nwhile :; do sleep 0.1; done\n";

const RUNBOOK: &str = "# Look after the chat\n\n## Look\n\nSee what there is:\n\n```\naws backup list-protected-resources --output text --query 'length(Results)'\n```\n\n\
    And how many recovery points:\n\n```\naws backup list-recovery-points-by-backup-vault --backup-vault-name chat --output text --query 'length(RecoveryPoints)'\n```\n";

const SCENARIO: &str = "name: chat\nrunbook: runbook.md
system:
  cloud-formation:
    template: checkout/chat.cf.yaml
    stack: chat
    region: eu-west-2
    parameters: { DbPassword: { generated: db-password } }
  namespace: rocket-chat
workstation: { folder: checkout }
images:
  rocketchat/mongo:4.2: { folder: image, program: rewritten }
  rocketchat/rocket.chat:4.8: { folder: image, program: rewritten }
stores:
  account: { kind: aws, region: eu-west-2, access-key: { generated: access }, secret-key: { generated: secret } }
files:
  dump: { claim: rocket-chat/dump-storage, path: kept, owner: 0, group: 0 }
seed: { files: [dump], size: 64KiB }
loss: { claims: [rocket-chat/db-storage], escrow: [{ store: account }] }
drills:
  look:
    earlier: [{ backup-plan: chat-nightly }, { procedure: Look }]
    backup: [{ procedure: Look }, { backup-plan: chat-nightly }]
";

fn scenario(folder: &Path) {
    let chat = folder.join("scenarios/chat");
    for inner in ["checkout", "image"] {
        fs::create_dir_all(chat.join(inner)).unwrap();
    }
    let files = [
        ("runbook.md", RUNBOOK),
        ("scenario.yaml", SCENARIO),
        ("image/Dockerfile", DOCKERFILE),
        ("image/run", RUN),
        ("checkout/chat.cf.yaml", &template()),
    ];
    for (name, content) in files {
        fs::write(chat.join(name), content).unwrap();
    }
    fs::create_dir_all(folder.join("state")).unwrap();
    fs::set_permissions(folder.join("state"), fs::Permissions::from_mode(0o711)).unwrap();
}

fn redrill(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redrill"));
    command.current_dir(folder).env("REDRILL_STATE_DIR", folder.join("state"));
    command.args(["--scenarios", "scenarios", "--reports", "reports"]).args(arguments);
    let output = command.output().unwrap();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// The only run's folder, and what it found out.
fn results(folder: &Path) -> (PathBuf, Results) {
    let run = fs::read_dir(folder.join("reports")).unwrap().next().unwrap().unwrap().path();
    let results = serde_json::from_slice(&fs::read(run.join("results.json")).unwrap()).unwrap();
    (run, results)
}

#[test]
fn a_stack_is_drilled_with_its_account_yesterdays_backup_and_what_was_done_earlier() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    scenario(folder.path());
    let (checked, said) = redrill(folder.path(), &["check"]);
    assert_eq!(checked, 0, "{said}");
    let (code, said) = redrill(folder.path(), &["run", "chat"]);
    let (run, results) = results(folder.path());
    let drill = &results.outcome.drills[0];
    let steps: Vec<_> = drill.steps.iter().map(|step| (step.phase, step.text, &step.result)).collect();
    let done = &StepResult::Succeeded;
    let expected = [
        (Phase::Seed, TextLabel::Equivalent, done),
        (Phase::Seed, TextLabel::Verbatim, done),
        (Phase::Seed, TextLabel::Verbatim, done),
        (Phase::Backup, TextLabel::Verbatim, done),
        (Phase::Backup, TextLabel::Verbatim, done),
        (Phase::Backup, TextLabel::Equivalent, done),
    ];
    assert_eq!(steps, expected, "{said}");
    // Yesterday's of two file systems, and two of the plan's run in `earlier`.
    let log = |step: usize| fs::read_to_string(run.join(drill.steps[step].log.as_ref().unwrap())).unwrap();
    assert!(log(1).contains('2') && log(2).contains('4'), "{} {}", log(1), log(2));
    for name in ["files dump", "every workload serves"] {
        let check = drill.checks.iter().find(|check| check.name.contains(name));
        let check = check.unwrap_or_else(|| panic!("no check {name}: {said}"));
        assert_eq!(check.result, CheckResult::Held, "{name}");
    }
    let provided: Vec<&str> = drill.provided.iter().map(|note| note.what.as_str()).collect();
    assert_eq!(provided, ["EFS and AWS Backup of eu-west-2", "CloudFormation and ECS of eu-west-2"]);
    // It has no database, so nothing is known of what was committed.
    assert_eq!((drill.verdict(), code), (Verdict::Unverified, 2), "{said}");
}
