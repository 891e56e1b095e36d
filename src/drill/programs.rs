//! Whether the workstation has the programs that are typed there: one that it lacks is no fault of the page, and one whose name the
//! page gets wrong is.

use std::collections::BTreeSet;

use crate::drill::Assignment;
use crate::drill::record::Halt;
use crate::drill::stage::{self, Stage};
use crate::kubernetes::Kubernetes;
use crate::plan::program::{self, TypedProgram};
use crate::session::{StepRun, StepStatus};

/// What every workstation is for.
const USUAL: [&str; 6] = ["aws", "helm", "kubectl", "pg_dump", "psql", "restic"];
/// What a shell ends with that finds no such program.
const NOT_FOUND: i32 = 127;

/// Errs with every program that the plan is going to type and the workstation lacks. A name that is one letter off another that is
/// typed is the page's mistake: its step fails, as it would for a person.
pub async fn check(assignment: &Assignment<'_>, stage: &Stage) -> Result<(), Halt> {
    let typed = assignment.plan.programs(&assignment.scenario.errata);
    let names: BTreeSet<&str> = typed.iter().map(|program| program.name.as_str()).collect();
    let lacking = lacking(&stage.kubernetes, &names).await?;
    let is_meant = |name: &str| assignment.scenario.programs.contains_key(name);
    let lacking: Vec<&String> =
        lacking.iter().filter(|name| is_meant(name) || meant_by(name, &names, &lacking).is_none()).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let places = |name: &String| {
        let places = typed.iter().filter(|program| program.name == *name);
        let places: BTreeSet<_> = places.map(|TypedProgram { source, .. }| source.to_string()).collect();
        format!("{}: the workstation has no program `{name}`", Vec::from_iter(places).join(", "))
    };
    let reason = lacking.into_iter().map(places).collect::<Vec<_>>().join("; ");
    let remedy = "name the Debian packages that have them in `workstation.packages` of the scenario; or, where a name is misspelt or \
                  meant for another place than the workstation, correct the page or give it an erratum";
    Err(Halt::unverified(reason, remedy))
}

/// What is to be said of a step that was typed at the workstation's own shell and failed there because it knows no such program.
pub async fn remark(kubernetes: &Kubernetes, run: &StepRun) -> Option<String> {
    let failure = run.first_failure().filter(|failure| failure.status == StepStatus::Exit(NOT_FOUND))?;
    let mut before = run.statements.iter().take_while(|statement| *statement != failure);
    if before.any(|statement| matches!(statement.status, StepStatus::OpenedSession { .. })) {
        return None;
    }
    let names = program::names(&failure.text);
    let names: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let lacking = lacking(kubernetes, &names).await.ok()?;
    let name = lacking.first()?;
    let meant = meant_by(name, &names, &lacking).map(|meant| format!(" (`{meant}`?)")).unwrap_or_default();
    Some(format!(
        "the workstation has no program `{name}`: the page means another{meant}, or the scenario has to name its Debian package in \
         `workstation.packages`"
    ))
}

/// Those that the workstation's shell does not find.
async fn lacking(kubernetes: &Kubernetes, names: &BTreeSet<&str>) -> Result<BTreeSet<String>, Halt> {
    if names.is_empty() {
        return Ok(BTreeSet::new());
    }
    let names = Vec::from_iter(names.iter().copied()).join(" ");
    let script = format!(
        "exec bash --noprofile --norc -c 'for name; do command -v -- \"$name\" >/dev/null || echo \"$name\"; done' bash {names}"
    );
    let found = stage::on_workstation(kubernetes, "look for programs", &script, b"").await?;
    Ok(found.lines().map(str::to_owned).collect())
}

/// The program that is there and whose name differs in one letter, or in the order of two.
fn meant_by<'a>(name: &str, typed: &BTreeSet<&'a str>, lacking: &BTreeSet<String>) -> Option<&'a str> {
    let there = typed.iter().copied().filter(|other| !lacking.contains(*other));
    there.chain(USUAL).find(|other| other.len() > 3 && strsim::osa_distance(name, other) == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_one_letter_off_is_misspelt_and_another_is_not() {
        let typed = BTreeSet::from(["jq", "mongodump", "yq", "mongodmp"]);
        let lacking = BTreeSet::from(["yq".to_owned(), "mongodmp".to_owned()]);
        for (name, meant) in [
            ("kubeclt", Some("kubectl")),
            ("kubctl", Some("kubectl")),
            ("mongodmp", Some("mongodump")),
            ("yq", None),
            ("kustomize", None),
            ("backup.bb", None),
        ] {
            assert_eq!(meant_by(name, &typed, &lacking), meant, "{name}");
        }
    }
}
