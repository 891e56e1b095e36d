//! The example of a system whose images exist, where nothing can run it: what can be said of it is said, and the way out.

use redrill::outcome::Verdict;

use crate::playground::Playground;

fn library() -> Playground {
    Playground::with("examples/library", "library")
}

#[test]
fn a_scenario_of_images_that_exist_is_checked_without_them() {
    let (exit, said) = library().check();
    assert_eq!(exit, 0, "{said}");
    assert!(said.contains("every step, Secret, claim, database and bucket is drilled or waived"), "{said}");
}

#[test]
fn images_that_exist_do_not_run_here_and_the_report_says_where_they_do() {
    let run = library().run(&[]);
    let drill = run.drill("manual");
    assert_eq!((run.exit, drill.verdict()), (2, Verdict::Unverified), "{}", run.stderr);
    let causes: Vec<String> = drill.causes().iter().map(ToString::to_string).collect();
    let wanted = ["no folder stands for postgres:15", "run with --env docker", "library/scenario.yaml:6"];
    for part in wanted {
        assert!(causes.iter().any(|cause| cause.contains(part)), "no cause says `{part}`: {causes:#?}");
    }
}
