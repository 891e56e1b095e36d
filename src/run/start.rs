//! One drill: it is given its place, when there is room for it, and runs there.

use tokio_util::sync::CancellationToken;

use super::queue::Places;
use super::{Ready, place};
use crate::assignment::PreparedScenario;
use crate::cli::RunArgs;
use crate::drill::record::{Halt, Record};
use crate::drill::{self, Assignment};
use crate::environment::{Environment, EnvironmentError};
use crate::error::chain;
use crate::outcome::DrillOutcome;
use crate::scenario::EnvironmentName;

/// Why a drill has no place.
enum NoPlace {
    Environment(EnvironmentError),
    Other(Halt),
}

impl NoPlace {
    fn is_full(&self) -> bool {
        matches!(self, Self::Environment(error) if error.is_for_room())
    }
}

impl From<EnvironmentError> for NoPlace {
    fn from(error: EnvironmentError) -> Self {
        Self::Environment(error)
    }
}

impl From<NoPlace> for Halt {
    fn from(no_place: NoPlace) -> Self {
        match no_place {
            NoPlace::Environment(error) if error.is_for_room() => Self::unverified(
                chain(&error),
                "give the cluster room for one drill at least, or free what others have of it",
            ),
            NoPlace::Environment(error) => Self::unverified(chain(&error), "run `redrill doctor`"),
            NoPlace::Other(halt) => halt,
        }
    }
}

/// Runs a drill in a place of its own. Where there is none now, since other drills of the run have taken all the room, it waits for them.
pub async fn in_its_place(
    assignment: &Assignment<'_>,
    scenario: &PreparedScenario,
    ready: &Ready,
    places: &Places,
    arguments: &RunArgs,
    mut record: Record,
    interrupt: &CancellationToken,
) -> DrillOutcome {
    let start = async || environment(assignment, scenario, ready, arguments, &record, interrupt).await;
    let waits = |no_place: &NoPlace| {
        if let NoPlace::Environment(error) = no_place {
            record.notice(&format!("waits for another drill to end: {}", chain(error)));
        }
    };
    match places.take(start, NoPlace::is_full, waits, interrupt).await {
        Ok((environment, _taken)) => {
            record.outcome.digests.extend(environment.digests());
            drill::run(assignment, &environment, record, interrupt).await
        }
        Err(_) if interrupt.is_cancelled() => drill::not_run(record, drill::interrupted()),
        Err(no_place) => drill::not_run(record, no_place.into()),
    }
}

async fn environment(
    assignment: &Assignment<'_>,
    scenario: &PreparedScenario,
    ready: &Ready,
    arguments: &RunArgs,
    record: &Record,
    interrupt: &CancellationToken,
) -> Result<Environment, NoPlace> {
    let tools = &ready.tools;
    Ok(match assignment.environment {
        EnvironmentName::Local => place::local(assignment, scenario, tools, record).await?,
        #[cfg(feature = "docker")]
        EnvironmentName::Docker => {
            let existing = place::existing_images(scenario, record, interrupt).await.map_err(NoPlace::Other)?;
            place::docker(assignment, scenario, tools, record, existing).await?
        }
        #[cfg(feature = "kube")]
        EnvironmentName::Kube | EnvironmentName::Kind => {
            place::kube(assignment, scenario, tools, record, &arguments.cluster).await?
        }
        #[cfg(not(feature = "kube"))]
        other => {
            let _ = (arguments, interrupt);
            return Err(NoPlace::Other(super::not_built(other)));
        }
    })
}
