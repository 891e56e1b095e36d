//! What a person does at the workstation: works in a checkout, edits files with secrets in them, changes Secrets in the editor that
//! kubectl opens; and what an erratum takes out or fills in.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use redrill::outcome::{StepOutcome, StepResult, TextLabel, Verdict};

use crate::playground::{Playground, RUNBOOK, SCENARIO};
use crate::run::Run;

const SECTION: &str = "
1. Look around:
   ```console
   pwd; ./configure.sh
   rm -rf k8s
   ```
2. Begin with the template: `cp k8s/Secrets.yaml.template k8s/Secrets.yaml`
3. Put the key into it, encoded in base64.
4. Use it: `kubectl -n taiga apply -f k8s/Secrets.yaml`
5. Look at the password:
   ```console
   kubectl -n taiga get secret postgres-secret -o yaml
   ```
6. Give it to the other one:
   ```console
   kubectl -n taiga edit secret postgres-readonly-secret
   ```
7. Compare:
   ```console
   sh compare.sh postgres-secret postgres-readonly-secret postgres-password postgres-password
   sh compare.sh backup-secret copied aws-secret-access-key key
   ```
8. See where the other terminal is: `pwd`
9. Leave it as it is: `kubectl -n taiga edit secret backup-secret`
";

const BINDINGS: &str = r#"
bindings:
  - step: { procedure: Look, item: 3 }
    edit: k8s/Secrets.yaml
    script: |
      key=THE_KEY
      ! printf %s "$key" | grep -sqaFf - /proc/[0-9]*/cmdline
      printf 's|ACCESS_KEY|%s|\n' "$(printf %s "$key" | base64 -w0)" | sed -i -f - k8s/Secrets.yaml
    human: { time: 2m, source: our estimate }
    slots: [{ place: THE_KEY, from: { secret: taiga/backup-secret, key: aws-secret-access-key } }]
  - step: { procedure: Look, item: 6 }
    editor: |
      password=THE_PASSWORD
      if printf %s "$password" | grep -sqaFf - /proc/[0-9]*/cmdline; then exit 9; fi
      printf 's|^  postgres-password: .*|  postgres-password: %s|\n' "$password" | sed -i -f - "$1"
    human: { time: 1m, source: our estimate }
    slots:
      - place: THE_PASSWORD
        from: { output: { procedure: Look, item: 5 }, pattern: 'postgres-password: (\S+)' }
  - { step: { procedure: Look, item: 8 }, run: pwd, terminal: second }
  - step: { procedure: Look, item: 9 }
    editor: sed -i s/nothing/something/ "$1"
    human: { time: 1m, source: our estimate }
"#;

const ERRATA: &str = "
errata:
  - id: look-too-much
    reason: what is needed is removed
    answer: \"cp: cannot stat 'k8s/Secrets.yaml.template'\"
    versions: kubectl 1+
    edits: [{ step: { procedure: Look, text: rm -rf }, remove: true }]
  - id: look-too-little
    undocumented: true
    drills: [manual]
    reason: the page says nothing about groups
    answer: nothing
    versions: kubectl 1+
    edits: [{ step: { procedure: Look, text: sh compare.sh postgres-secret }, insert-before: id -un }]
";

const COMPARE: &str = "\
of() { kubectl -n taiga get secret \"$1\" -o jsonpath=\"{.data.$2}\"; }
[ \"$(of \"$1\" \"$3\")\" = \"$(of \"$2\" \"$4\")\" ]
";

const TEMPLATE: &str = "\
apiVersion: v1
kind: Secret
metadata: { name: copied, namespace: taiga }
data: { key: ACCESS_KEY }
";

fn looked() -> (Playground, Run) {
    let playground = Playground::new();
    let repository = playground.path().join("scenarios/taiga/repository");
    fs::create_dir_all(repository.join("k8s")).unwrap();
    fs::write(repository.join("k8s/Secrets.yaml.template"), TEMPLATE).unwrap();
    fs::write(repository.join("compare.sh"), COMPARE).unwrap();
    fs::write(repository.join("configure.sh"), "#!/bin/sh\necho configured; test -O configure.sh\n").unwrap();
    fs::set_permissions(repository.join("configure.sh"), Permissions::from_mode(0o555)).unwrap();
    playground.append(RUNBOOK, &format!("\n## Look\n{SECTION}\n"));
    for (old, new) in [
        ("backup: [{ procedure: Manual backup }]", "backup: [{ procedure: Look }, { procedure: Manual backup }]"),
        ("\nbindings:\n", BINDINGS),
        ("\nerrata:\n", ERRATA),
        ("\nimages:\n", "\nworkstation: { folder: repository }\nimages:\n"),
    ] {
        playground.replace(SCENARIO, old, new);
    }
    let run = playground.run(&["--drill", "manual"]);
    (playground, run)
}

#[test]
fn a_person_works_in_a_checkout_and_edits_secrets_that_no_report_shows() {
    let (_playground, run) = looked();
    assert!(run.outcome().usage.is_empty(), "{:#?}", run.outcome().usage);
    let drill = run.drill("manual");
    assert_eq!(drill.verdict(), Verdict::Failed, "{}", run.stderr);
    let steps: Vec<&StepOutcome> = drill.steps.iter().filter(|step| step.procedure == "Look").collect();
    let (last, before) = steps.split_last().unwrap();
    for step in before.iter().filter(|step| !matches!(step.result, StepResult::Removed { .. })) {
        let log = step.log.as_ref().map(|_| run.log(step));
        assert_eq!(step.result, StepResult::Succeeded, "{}: {log:?}", step.command);
    }
    use TextLabel::{Corrected, Equivalent, Undocumented, Verbatim};
    let labels: Vec<TextLabel> = steps.iter().map(|step| step.text).collect();
    let compared = [Undocumented, Verbatim];
    let expected =
        [&[Verbatim, Corrected, Verbatim, Equivalent, Verbatim, Verbatim, Equivalent], &compared[..], &[Equivalent; 2]];
    assert_eq!(labels, expected.concat(), "{:#?}", steps.iter().map(|step| &step.command).collect::<Vec<_>>());
    assert_eq!(run.log(steps[0]), "/home/operator/repository\nconfigured\n");
    assert_eq!(steps[1].result, StepResult::Removed { erratum: "look-too-much".to_owned() });
    // Plain in the one, encoded by the cluster in the other; that no report holds either form is asserted of every run.
    assert!(steps[3].command.contains("key=[redacted]\n"), "{}", steps[3].command);
    assert!(steps[6].command.contains("# in the editor:\n#   password=[redacted]\n"), "{}", steps[6].command);
    assert!(run.log(steps[5]).contains("postgres-password: [redacted]\n"), "{}", run.log(steps[5]));
    assert_eq!(run.log(steps[6]), "secret/postgres-readonly-secret edited\n");
    assert_eq!(run.log(steps[9]), "/home/operator/repository\n", "the second terminal starts there, too");
    let StepResult::Failed { reason, .. } = &last.result else { panic!("{:?}", last.result) };
    assert_eq!(reason, "`kubectl -n taiga edit secret backup-secret`: the edit changed nothing");
    assert!(drill.digests["workstation repository"].len() == 64, "{:?}", drill.digests);
}

/// How the last step of a page went, in which a script does what is done in the editor.
fn edited(page: &str, text: &str, script: Option<&str>) -> StepResult {
    let playground = Playground::new();
    playground.append(RUNBOOK, &format!("\n## Look\n\n```console\n{page}\n```\n"));
    let first = "backup: [{ procedure: Manual backup }]";
    playground.replace(SCENARIO, first, "backup: [{ procedure: Look }, { procedure: Manual backup }]");
    if let Some(script) = script {
        let step = format!("  - step: {{ procedure: Look, text: {text} }}\n    editor: {script}\n");
        let human = "    human: { time: 1m, source: our estimate }\n";
        playground.replace(SCENARIO, "\nbindings:\n", &format!("\nbindings:\n{step}{human}"));
    }
    let run = playground.run(&["--drill", "manual"]);
    let mut of_page = run.drill("manual").steps.iter().filter(|step| step.procedure == "Look");
    of_page.next_back().unwrap_or_else(|| panic!("{:#?}", run.outcome().usage)).result.clone()
}

#[test]
fn an_edit_that_does_not_take_place_fails_whatever_the_command_says() {
    let edit = "kubectl -n taiga edit secret backup-secret";
    for (page, script, says) in [
        (edit, Some("echo one >>\"$1\"; exit 7"), "the script of the edit ended with 7"),
        (edit, Some("echo '# a comment' >>\"$1\""), "it took the edit for none: Edit cancelled, no changes made."),
        ("kubectl -n taiga get secrets", Some("echo one >\"$1\""), "it opened no editor, so nothing was edited"),
        (edit, None, "exit status 1: error: there was a problem with the editor"),
    ] {
        let result = edited(page, page, script);
        let StepResult::Failed { reason, .. } = result else { panic!("{page}: {result:?}") };
        assert!(reason.contains(says), "{reason}");
    }
}

#[test]
fn an_editor_in_a_session_is_not_the_workstations() {
    let page = "kubectl -n taiga exec -it deploy/postgresql -- bash\ncrontab -e";
    let result = edited(page, "crontab -e", Some("echo one >>\"$1\""));
    let StepResult::Unverified { reason, remedy } = result else { panic!("{result:?}") };
    assert!(reason.contains("in the session that is open there") && remedy.contains("`edit`"), "{reason}: {remedy}");
}

#[test]
fn a_program_that_the_workstation_lacks_is_found_out_before_anything_starts() {
    let playground = Playground::new();
    let page = "kubectl -n taiga get pods |\n  no-such-program --count";
    playground.append(RUNBOOK, &format!("\n## Look\n\n```console\n{page}\n```\n"));
    let first = "backup: [{ procedure: Manual backup }]";
    playground.replace(SCENARIO, first, "backup: [{ procedure: Look }, { procedure: Manual backup }]");
    let line = playground.line_of("no-such-program");
    let run = playground.run(&["--drill", "manual"]);
    let drill = run.drill("manual");
    assert_eq!((run.exit, drill.verdict(), drill.steps.len()), (2, Verdict::Unverified, 0), "{}", run.stderr);
    let said = format!("runbook.md:{line}: the workstation has no program `no-such-program`");
    let causes: Vec<String> = drill.causes().iter().map(ToString::to_string).collect();
    assert!(causes.iter().any(|cause| cause.contains(&said) && cause.contains("workstation.packages")), "{causes:#?}");
}

#[test]
fn a_program_that_is_misspelt_is_the_page_s_mistake() {
    let StepResult::Failed { reason, exit } = edited("kubeclt get pods", "", None) else { panic!("not failed") };
    assert_eq!(exit, Some(127), "{reason}");
    assert!(reason.contains("command not found; the workstation has no program `kubeclt`"), "{reason}");
    assert!(reason.contains("the page means another (`kubectl`?), or the scenario has to name its"), "{reason}");
}
