//! Rocket.Chat's page, from a recovery point of its file system back into service: what it leaves out, and restores that go wrong.

use redrill::outcome::{CheckResult, StepOutcome, StepResult, Verdict};

use crate::playground::Playground;

const RUNBOOK: &str = "scenarios/rocket-chat/runbook.md";
const SCENARIO: &str = "scenarios/rocket-chat/scenario.yaml";

#[test]
fn both_drills_are_simulated_and_nothing_worse() {
    let run = Playground::of("rocket-chat").run(&[]);
    assert_eq!(run.exit, 4, "{}", run.stderr);
    for (variant, errata) in [("corrupted", 2), ("again", 2)] {
        let drill = run.drill(variant);
        assert_eq!(drill.verdict(), Verdict::Simulated, "{:#?}", drill.causes());
        assert!(drill.simulated.iter().any(|note| note.what.contains("rocketchat/mongo")), "{:#?}", drill.simulated);
        let mut ids: Vec<&str> = drill.errata.iter().map(|erratum| erratum.id.as_str()).collect();
        ids.dedup();
        assert_eq!(ids.len(), errata, "{ids:?}");
        let undone = |step: &&StepOutcome| !matches!(step.result, StepResult::Succeeded | StepResult::Removed { .. });
        assert_eq!(drill.steps.iter().find(undone), None);
        for held in ["the running service is undisturbed until the switch", "content of database chat"] {
            let check = drill.checks.iter().find(|check| check.name.contains(held));
            let check = check.unwrap_or_else(|| panic!("no check `{held}`: {:#?}", drill.checks));
            assert_eq!(check.result, CheckResult::Held, "{held}");
        }
    }
}

#[test]
fn as_written_the_cleanup_takes_away_what_it_needs_itself() {
    let run = Playground::of("rocket-chat").run(&["--as-written", "--drill", "corrupted"]);
    run.assert_broke_at(43, "Error from server (NotFound): pods \"throwaway\" not found");
}

#[test]
fn directories_that_nobody_cleans_up_are_still_there() {
    let playground = Playground::of("rocket-chat");
    playground.without_erratum("rocket-chat-old-directories");
    let run = playground.run(&["--drill", "corrupted"]);
    run.assert_broke_at(43, "what is live no more is still there");
}

#[test]
fn the_pages_diff_does_not_fit_a_second_time() {
    let run = Playground::of("rocket-chat").run(&["--as-written", "--drill", "again"]);
    run.assert_broke_at(21, "Hunk #1 FAILED at 223.");
}

/// The new directory holds what was live before the first restore; what was live since lies in a directory of it.
#[test]
fn the_second_time_the_newest_directory_is_not_the_newest_state() {
    let playground = Playground::of("rocket-chat");
    playground.without_erratum("rocket-chat-nested");
    let run = playground.run(&["--drill", "again"]);
    run.assert_fails("ledger");
}

#[test]
fn a_recovery_point_of_the_wrong_day_is_told_by_what_it_does_not_hold() {
    let playground = Playground::of("rocket-chat");
    playground.replace(SCENARIO, "CreationDate)[-1]", "CreationDate)[0]");
    playground.run(&["--drill", "corrupted"]).assert_fails("content of database chat");
}

#[test]
fn a_root_directory_with_a_typo_does_not_come_up() {
    let playground = Playground::of("rocket-chat");
    playground.replace(RUNBOOK, "RootDirectory: aws-backup", "RootDirectory: backups/aws-backup");
    let run = playground.run(&["--drill", "corrupted"]);
    run.assert_fails("No such file or directory");
    let write = run.drill("corrupted").checks.iter().find(|check| check.name == "first write after the restore");
    let write = write.expect("the check");
    let CheckResult::Differs { difference } = &write.result else { panic!("{write:#?}") };
    assert!(difference.contains("ECS service chat cannot start a task: CannotCreateVolumeError"), "{difference}");
    // What nobody will make is not waited for as long as what is slow.
    assert!(write.duration < std::time::Duration::from_secs(60), "{write:#?}");
}

#[test]
fn an_old_task_that_still_serves_is_told_by_its_data() {
    let playground = Playground::of("rocket-chat");
    playground.replace(SCENARIO, "      aws ecs stop-task", "      : aws ecs stop-task");
    playground.run(&["--drill", "corrupted"]).assert_fails("content of database chat");
}

#[test]
fn a_restore_into_the_live_directory_disturbs_what_runs() {
    let playground = Playground::of("rocket-chat");
    playground.replace(
        SCENARIO,
        "    run: ls -d aws-backup-restore* | sort | tail -n 1\n",
        "    run: |\n      ls -d aws-backup-restore* | sort | tail -n 1\n      cp -a aws-backup-restore*/. .\n",
    );
    playground.run(&["--drill", "corrupted"]).assert_fails("the running service is undisturbed until the switch");
}
