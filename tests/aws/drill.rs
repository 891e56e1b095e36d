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
    parameters: { DbPassword: { generated: db-password }, AdminPassword: { generated: admin-password } }
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

#[test]
fn a_scenario_that_does_not_fit_its_template_is_told_so_with_lines_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    scenario(folder.path());
    let file = |name: &str| folder.path().join("scenarios/chat").join(name);
    let checked = |edits: &[(&str, &str, &str)]| {
        for (name, from, to) in edits {
            let text = fs::read_to_string(file(name)).unwrap();
            assert!(text.contains(from), "{name} has no {from}");
            fs::write(file(name), text.replacen(from, to, 1)).unwrap();
        }
        let (code, said) = redrill(folder.path(), &["check"]);
        scenario(folder.path());
        assert_eq!(code, 64, "{said}");
        said
    };
    let expect =
        |said: &str, words: &[&str]| words.iter().for_each(|word| assert!(said.contains(word), "no {word} in {said}"));
    let said = checked(&[
        ("scenario.yaml", "region: eu-west-2, access-key", "region: eu-west-1, access-key"),
        ("scenario.yaml", "{ generated: db-password }", "hunter2hunter2"),
        ("scenario.yaml", "backup-plan: chat-nightly }, {", "backup-plan: nightly }, {"),
        ("scenario.yaml", "rocket-chat/dump-storage", "rocket-chat/dump"),
    ]);
    let lines = [
        "scenario.yaml:15: the stack is in eu-west-2, this account answers in eu-west-1",
        "scenario.yaml:4: parameter `DbPassword` is NoEcho",
        "scenario.yaml:22: no backup plan of the template is called `nightly`",
        "no PersistentVolumeClaim `rocket-chat/dump`",
    ];
    expect(&said, &lines);
    assert!(!said.contains("hunter2"), "{said}");
    let account = "  account: { kind: aws, region: eu-west-2, access-key: { generated: access }, secret-key: { generated: secret } }";
    let said = checked(&[("scenario.yaml", account, "  {}"), ("scenario.yaml", ", escrow: [{ store: account }]", "")]);
    expect(&said, &["a stack needs its account"]);
    let said = checked(&[
        ("scenario.yaml", "DbPassword:", "Password:"),
        ("scenario.yaml", "rocketchat/mongo:4.2", "mongo:4.2"),
    ]);
    expect(&said, &["parameter `DbPassword` has neither a value nor a Default"]);
    let said = checked(&[("checkout/chat.cf.yaml", "Type: AWS::Logs::LogGroup", "Type: AWS::SNS::Topic")]);
    expect(&said, &["chat.cf.yaml:", "`AWS::SNS::Topic` cannot be honoured"]);
}
