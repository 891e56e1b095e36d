//! Drills on a cluster that exists find out what local ones do, and leave it as it was.

use redrill::outcome::{CheckKind, CheckResult, DrillOutcome, Phase, PhaseResult, Verdict};
use serde_json::Value;

use crate::existing::{CONTEXT, Existing};
use crate::findings::{findings, nameless};
use crate::playground::{CHANGE_PASSWORD, Playground, RESTORE};
use crate::run::Run;

/// What a served cluster needs, since it carries out no policies.
pub const ACCEPTANCE: &str =
    "open-cluster: { reason: the served cluster has no policies, owner: platform, until: 2999-12-31 }\n";
pub const ON_EXISTING: [&str; 5] = ["--env", "kube", "--context", CONTEXT, "--served"];
const RNG: [&str; 2] = ["--rng", "11"];
const SCHEDULED: [&str; 2] = ["--drill", "scheduled"];

/// What a kube environment says of itself, in its order.
const PROVIDED: [&str; 3] = ["namespace mapped", "names of services", "the cluster"];

/// Runs the drill on a cluster with somebody else's namespaces, which it leaves as they were. `look` sees the cluster after it.
fn on_existing(playground: &Playground, drill: &[&str], look: impl FnOnce(&Existing, u64)) -> Run {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let existing = runtime.block_on(Existing::start(playground));
    let (before, version) = (runtime.block_on(existing.inventory()), existing.store.resource_version());
    let environment = [("KUBECONFIG", &*existing.kubeconfig())];
    let run = playground.run_with(&environment, &[drill, &RNG, &ON_EXISTING[..]].concat());
    Existing::assert_untouched(&before, &runtime.block_on(existing.inventory()));
    look(&existing, version);
    runtime.block_on(existing.stop());
    run
}

/// What the drill found out, without what a kube environment says beside it, which must be all that it is to say.
fn as_on_local(drill: &DrillOutcome) -> Value {
    let mut drill = drill.clone();
    let isolation = drill.checks.iter_mut().find(|check| check.kind == CheckKind::Isolation).unwrap();
    match &isolation.result {
        CheckResult::Accepted { difference, by } => {
            assert!(difference.contains("does not carry out the policy"), "{difference}");
            assert_eq!(by, "until 2999-12-31 by platform: the served cluster has no policies");
        }
        other => panic!("the served cluster is open: {other:?}"),
    }
    isolation.result = CheckResult::Held;
    let [of_kube, of_local] = [" and a pod outside the drill, where somebody answers", ", where something listens"];
    assert!(isolation.detail.contains(of_kube), "{}", isolation.detail);
    isolation.detail = isolation.detail.replace(of_kube, of_local);
    // Promises of time are the page's on a cluster, as the scenario says.
    drill.objectives.iter_mut().for_each(|objective| objective.representative = false);
    let (of_kube, others) = drill.provided.into_iter().partition::<Vec<_>, _>(|note| PROVIDED.contains(&&*note.what));
    assert_eq!(of_kube.iter().map(|note| &*note.what).collect::<Vec<_>>(), PROVIDED);
    drill.provided = others;
    findings(&drill)
}

/// Runs a drill on both and holds what they found out against one another.
fn conforms(system: &'static str, name: &str, alter: impl Fn(&Playground), verdict: Verdict) {
    let playground = || {
        let playground = Playground::of(system);
        playground.append(&format!("scenarios/{system}/scenario.yaml"), ACCEPTANCE);
        alter(&playground);
        playground
    };
    let of = |run: &Run, environment: &str, findings: fn(&DrillOutcome) -> Value| {
        let drill = run.drill(name);
        let causes = drill.causes();
        assert_eq!((&*drill.environment, drill.verdict()), (environment, verdict), "{causes:#?}\n{}", run.stderr);
        assert_eq!(drill.leftovers, [""; 0]);
        nameless(&run.placeless(&serde_json::to_string_pretty(&findings(drill)).unwrap()))
    };
    let drill = ["--drill", name];
    let kube = of(&on_existing(&playground(), &drill, |_, _| {}), "kube", as_on_local);
    let local = of(&playground().run(&[drill, RNG].concat()), "local", findings);
    let other: Vec<_> = local.lines().zip(kube.lines()).filter(|(local, kube)| local != kube).collect();
    assert!(local == kube, "local against kube: {other:#?}");
}

#[test]
fn a_good_restore_is_corrected_as_on_local() {
    conforms("taiga", "scheduled", |_| {}, Verdict::Corrected);
}

#[test]
fn a_dump_in_a_bucket_comes_back_as_on_local() {
    conforms("quetzal", "scheduled", |_| {}, Verdict::Corrected);
}

#[test]
fn a_log_that_was_shipped_comes_back_in_another_cluster_as_on_local() {
    conforms("hasura", "cluster-gone", |_| {}, Verdict::Corrected);
}

#[test]
fn a_command_that_is_refused_breaks_the_same_step_as_on_local() {
    let alter = |playground: &Playground| playground.without_erratum("quetzal-exec-dashes");
    conforms("quetzal", "manual", alter, Verdict::Failed);
}

#[test]
fn what_a_restore_gets_wrong_is_found_as_on_local() {
    let alter = |playground: &Playground| {
        playground.append(RESTORE, "rm -- /media/user/odd/-rf\nchmod 0644 /media/user/modes/mode-0600\n");
        playground.replace(CHANGE_PASSWORD, "for repository in files pg-database; do", "for repository in files; do");
    };
    conforms("taiga", "scheduled", alter, Verdict::Failed);
}

#[test]
fn a_cluster_that_closes_nothing_is_seeded_with_nothing_unless_somebody_accepts_it_in_writing() {
    let playground = Playground::new();
    let run = on_existing(&playground, &SCHEDULED, |existing, before| {
        let made_in = existing.made_in_since(before);
        assert!(made_in.contains("redrill") && !made_in.contains("taiga"), "{made_in:?}");
    });
    let drill = run.drill("scheduled");
    assert_eq!((run.exit, drill.verdict()), (2, Verdict::Unverified), "{}", run.stderr);
    let causes: Vec<String> = drill.causes().iter().map(ToString::to_string).collect();
    let said = |part: &str| causes.iter().any(|cause| cause.contains(part));
    assert!(said("the cluster does not carry out the policy that closes a drill"), "{causes:#?}");
    let seed = drill.phases.iter().find(|outcome| outcome.phase == Phase::Seed).unwrap();
    assert!(matches!(seed.result, PhaseResult::NotReached), "{seed:?}");
}
