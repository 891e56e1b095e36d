//! The commands that start no drill: `plan`, `list`, `check`, `doctor`, `gc`.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Zoned;

use crate::assignment;
use crate::cli::{DoctorArgs, EnvironmentArg, GcArgs, PlanArgs, Selection};
use crate::console;
use crate::doctor::Finding;
use crate::environment::run_directory;
use crate::exit_code::ExitCode;
use crate::journal;
use crate::machine;
use crate::plan::AsWritten;
use crate::problem::Problems;
use crate::run;
use crate::scenario::{EnvironmentName, Scenarios};

/// Something that kept redrill from finding out.
pub fn unverified(error: &dyn std::error::Error) -> ExitCode {
    console::error(error);
    ExitCode::Unverified
}

fn usage(problems: &Problems) -> ExitCode {
    console::err(&problems.to_string());
    ExitCode::Usage
}

/// Every step of every drill.
pub fn plan(scenarios: &Path, arguments: &PlanArgs) -> ExitCode {
    let as_written = if arguments.as_written { AsWritten::Yes } else { AsWritten::No };
    match assignment::prepare(scenarios, &arguments.selection.names, &[], as_written, &BTreeMap::new()) {
        Ok(prepared) => {
            prepared.scenarios.iter().for_each(|scenario| console::out(&scenario.checked.plan.to_string()));
            ExitCode::Passed
        }
        Err(problems) => usage(&problems),
    }
}

/// Coverage and drift. Something uncovered is UNVERIFIED, as it would be of a drill.
pub fn check(scenarios: &Path, selection: &Selection) -> ExitCode {
    let prepared = match assignment::prepare(scenarios, &selection.names, &[], AsWritten::No, &BTreeMap::new()) {
        Ok(prepared) => prepared,
        Err(problems) => return usage(&problems),
    };
    prepared.scenarios.iter().for_each(|scenario| console::out(&scenario.checked.to_string()));
    match prepared.scenarios.iter().all(|scenario| scenario.checked.plan.uncovered.is_empty()) {
        true => ExitCode::Passed,
        false => ExitCode::Unverified,
    }
}

/// Scenarios with their drills, and the runs in the reports' folder.
pub fn list(scenarios: &Path, reports: &Path) -> ExitCode {
    match Scenarios::discover(scenarios, Zoned::now().date()) {
        Ok(scenarios) => console::out(&scenarios.to_string()),
        Err(problems) => return usage(&problems),
    }
    match journal::runs(reports) {
        Ok(runs) => {
            for run in runs {
                console::out(&run.to_string());
            }
            ExitCode::Passed
        }
        Err(error) => unverified(&error),
    }
}

/// What all scenarios need of this machine.
pub async fn doctor(scenarios: &Path, arguments: &DoctorArgs) -> ExitCode {
    let prepared = match assignment::prepare(scenarios, &[], &[], AsWritten::No, &BTreeMap::new()) {
        Ok(prepared) => prepared,
        Err(problems) => return usage(&problems),
    };
    let environment = EnvironmentName::from(arguments.environment);
    if !run::is_built(environment) {
        return run::unverified(run::not_built(environment));
    }
    let mut requirements = prepared.requirements(environment);
    if arguments.tests {
        requirements.tests();
    }
    match machine::examine(&requirements, arguments.install).await {
        Ok(findings) => {
            console::out(&machine::text(&findings));
            let of_cluster = match environment {
                EnvironmentName::Kube => of_cluster(arguments).await,
                EnvironmentName::Local | EnvironmentName::Docker | EnvironmentName::Kind => ExitCode::Passed,
            };
            match findings.iter().any(Finding::is_obstacle) {
                true => ExitCode::Unverified,
                false => of_cluster,
            }
        }
        Err(error) => unverified(&error),
    }
}

/// What the clusters that were named have for drills, and let this account do.
#[cfg(feature = "kube")]
async fn of_cluster(arguments: &DoctorArgs) -> ExitCode {
    if arguments.cluster.contexts.is_empty() {
        console::out("no cluster was looked at: name its context with --context");
        return ExitCode::Passed;
    }
    let looks = match crate::environment::kube::survey::survey(&(&arguments.cluster).into()).await {
        Ok(looks) => looks,
        Err(error) => return unverified(&error),
    };
    for look in &looks {
        match &look.remedy {
            None => console::out(&format!("ok       {}", look.what)),
            Some(remedy) => console::out(&format!("MISSING  {}\n         {remedy}", look.what)),
        }
    }
    if looks.iter().any(|look| look.remedy.is_some()) { ExitCode::Unverified } else { ExitCode::Passed }
}

#[cfg(not(feature = "kube"))]
async fn of_cluster(_: &DoctorArgs) -> ExitCode {
    ExitCode::Passed
}

/// Removes what dead runs left; live ones, this user's or a neighbour's, are left alone.
pub async fn gc(reports: &Path, arguments: &GcArgs) -> ExitCode {
    // Before the directories, whose locks say which runs are dead; one that fails must not keep the others from being done.
    let on_cluster = match arguments.environment {
        Some(EnvironmentArg::Kube) => on_cluster(arguments).await,
        Some(EnvironmentArg::Local | EnvironmentArg::Docker | EnvironmentArg::Kind) | None => ExitCode::Passed,
    };
    let of_kind = of_kind().await;
    let swept = match run_directory::sweep().await {
        Ok(swept) => {
            swept.iter().for_each(|path| console::out(&format!("removed {path}")));
            ExitCode::Passed
        }
        Err(error) => unverified(&error),
    };
    let swept =
        [on_engine().await, on_cluster, of_kind].into_iter().find(|code| *code != ExitCode::Passed).unwrap_or(swept);
    match journal::recover(reports) {
        Ok(outcomes) => {
            for outcome in outcomes {
                console::out(&format!("run {} was killed: it counts as UNVERIFIED now", outcome.run));
            }
            swept
        }
        Err(error) => unverified(&error),
    }
}

/// Clusters that kind made for dead runs.
#[cfg(feature = "kube")]
async fn of_kind() -> ExitCode {
    match crate::environment::kube::kind::sweep_dead_runs().await {
        Ok(removed) => {
            removed.iter().for_each(|what| console::out(&format!("removed {what}")));
            ExitCode::Passed
        }
        Err(error) => unverified(&error),
    }
}

#[cfg(not(feature = "kube"))]
async fn of_kind() -> ExitCode {
    ExitCode::Passed
}

/// What dead runs have on a cluster.
#[cfg(feature = "kube")]
async fn on_cluster(arguments: &GcArgs) -> ExitCode {
    match crate::environment::kube::sweep_dead_runs(&(&arguments.cluster).into()).await {
        Ok((removed, left)) => {
            removed.iter().for_each(|what| console::out(&format!("removed {what}")));
            left.iter().for_each(|what| console::err(&format!("could not remove {what}")));
            if left.is_empty() { ExitCode::Passed } else { ExitCode::Leftovers }
        }
        Err(error) => unverified(&error),
    }
}

#[cfg(not(feature = "kube"))]
async fn on_cluster(_: &GcArgs) -> ExitCode {
    run::unverified(run::not_built(EnvironmentName::Kube))
}

/// What dead runs have on a container engine, where one is named or answers.
#[cfg(feature = "docker")]
async fn on_engine() -> ExitCode {
    match crate::runtime::container::sweep_dead_runs().await {
        Ok((removed, left)) => {
            removed.iter().for_each(|what| console::out(&format!("removed {what}")));
            left.iter().for_each(|what| console::err(&format!("could not remove {what}")));
            if left.is_empty() { ExitCode::Passed } else { ExitCode::Leftovers }
        }
        // On most machines there is none.
        Err(_) if !crate::runtime::container::is_named() => ExitCode::Passed,
        Err(error) => unverified(&error),
    }
}

#[cfg(not(feature = "docker"))]
async fn on_engine() -> ExitCode {
    ExitCode::Passed
}
