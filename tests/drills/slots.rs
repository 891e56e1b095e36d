//! Values that a page's own commands find: filled into the next command, and refused where there is not exactly one.

use redrill::outcome::{StepOutcome, StepResult, TextLabel, Verdict};

use crate::playground::{Playground, RUNBOOK, SCENARIO};
use crate::run::Run;

/// The manual drill begins with a section of its own, in which `slot` is open.
fn look(section: &str, slot: &str, binding: &str) -> (Playground, Run) {
    let playground = Playground::new();
    playground.append(RUNBOOK, &format!("\n## Look\n\n{section}\n"));
    let first = "backup: [{ procedure: Manual backup }]";
    playground.replace(SCENARIO, first, "backup: [{ procedure: Look }, { procedure: Manual backup }]");
    playground.append(SCENARIO, &format!("\nslots:\n{slot}\n"));
    if !binding.is_empty() {
        playground.replace(SCENARIO, "\nbindings:\n", &format!("\nbindings:\n{binding}"));
    }
    let run = playground.run(&["--drill", "manual"]);
    (playground, run)
}

fn steps(run: &Run) -> Vec<&StepOutcome> {
    run.drill("manual").steps.iter().filter(|step| step.procedure == "Look").collect()
}

#[test]
fn a_block_finds_a_pod_enters_it_and_the_sql_behind_psql_is_typed_there() {
    let section = "
1. Look around:
   ```console
   # this finds CRONJOB
   kubectl -n taiga get cronjobs
   kubectl -n taiga get cronjob CRONJOB -o name
   kubectl -n taiga get pod SELECTED -o name
   ```
2. Enter:
   ```console
   kubectl -n taiga get pods -l app=postgresql
   kubectl -n taiga exec -it DB_POD -- bash
   ```
3. Change a file:
   ```console
   apt-get install --yes vim
   echo first > /tmp/notes
   vim /tmp/notes
   ```
4. Ask:
   ```console
   psql -U$POSTGRES_USER $POSTGRES_DB
   ```
   ```sql
   SELECT count(*)
   FROM pg_database;
   exit;
   ```
5. Take it out of service, somehow.
6. Stop here: `exit 7`";
    let (playground, run) = look(
        section,
        "  - { place: CRONJOB, from: { output: { procedure: Look, text: get cronjobs }, column: NAME } }
  - { place: SELECTED, from: { selector: { kind: pods, namespace: taiga, labels: app=postgresql } } }
  - { place: DB_POD, from: { output: { procedure: Look, item: 2, text: get pods }, column: NAME } }",
        "  - { step: { procedure: Look, text: apt-get }, provided: nothing reaches a mirror }
  - step: { procedure: Look, text: vim /tmp/notes }
    edit: /tmp/notes
    script: echo seen >> /tmp/notes
    human: { time: 1m, source: our estimate }
  - { step: { procedure: Look, item: 5 }, run: kubectl -n taiga get deployments, terminal: second }
",
    );
    let steps = steps(&run);
    let commands: Vec<&str> = steps.iter().map(|step| step.command.as_str()).collect();
    assert_eq!(commands.len(), 10, "{commands:#?}");
    let filled = "kubectl -n taiga get cronjob taiga-backup -o name\nkubectl -n taiga get pod postgresql-";
    assert!(commands[1].starts_with(filled), "{}", commands[1]);
    assert!(commands[3].starts_with("kubectl -n taiga exec -it postgresql-"), "{}", commands[3]);
    assert_eq!(steps[3].source.line, playground.line_of("exec -it DB_POD"));
    for (number, step) in steps[..9].iter().enumerate() {
        assert_eq!(step.result, StepResult::Succeeded, "{}: {:?}", step.command, step.output_tail);
        assert_eq!(step.text, if number == 5 || number == 8 { TextLabel::Equivalent } else { TextLabel::Verbatim });
    }
    let provided: Vec<_> = run.drill("manual").provided.iter().map(|note| note.what.as_str()).collect();
    assert!(provided.contains(&"apt-get install --yes vim"), "{provided:?}");
    assert!(run.log(steps[7]).contains("count"), "{}", run.log(steps[7]));
    let StepResult::Failed { exit, .. } = &steps[9].result else { panic!("{:?}", steps[9].result) };
    assert_eq!(*exit, Some(7));
}

#[test]
fn two_rows_that_the_procedure_made_are_its_failure() {
    let section = "
1. Take two:
   ```console
   kubectl -n taiga scale deployment backup-restore --replicas=2
   ```
2. Take one of them:
   ```console
   kubectl -n taiga get pods -l app.kubernetes.io/name=backup-restore
   kubectl -n taiga exec -it ONE_POD -- true
   ```";
    let slot = "  - { place: ONE_POD, from: { output: { procedure: Look, item: 2, text: get pods }, column: NAME } }";
    let (playground, run) = look(section, slot, "");
    assert_eq!(run.drill("manual").verdict(), Verdict::Failed, "{}", run.stderr);
    let steps = steps(&run);
    let StepResult::Failed { reason, .. } = &steps[2].result else { panic!("{:?}", steps[2].result) };
    assert!(reason.contains("has 2 rows below NAME for `ONE_POD`, not one: backup-restore-"), "{reason}");
    assert_eq!(steps[2].source.line, playground.line_of("exec -it ONE_POD"));
}

#[test]
fn what_the_system_had_from_the_start_is_no_failure_of_the_procedure() {
    let section = "
1. Take one:
   ```console
   kubectl -n taiga get deployments
   kubectl -n taiga get deployment ONE_DEPLOYMENT
   ```";
    let slot =
        "  - { place: ONE_DEPLOYMENT, from: { output: { procedure: Look, text: get deployments }, column: NAME } }";
    let (_playground, run) = look(section, slot, "");
    assert_eq!(run.drill("manual").verdict(), Verdict::Unverified, "{}", run.stderr);
    let steps = steps(&run);
    let StepResult::Unverified { reason, .. } = &steps[1].result else { panic!("{:?}", steps[1].result) };
    assert!(reason.contains("when the system had just been provisioned there were"), "{reason}");
}
