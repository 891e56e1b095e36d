//! Fills the open places of a step, by byte span, right before it runs.

use crate::drill::found;
use crate::drill::operator::Operator;
use crate::drill::provisioned::Query;
use crate::drill::record::Halt;
use crate::drill::stage::Stage;
use crate::error::chain;
use crate::kubernetes;
use crate::plan::{Filled, PlannedStep, Slot};
use crate::redact::Secret;
use crate::scenario::{Find, SlotSource, StepRef};

/// Looks every value up now and puts it in its place. Zero or two matches are the procedure's fault unless the system was
/// provisioned that way; what cannot be asked is the harness's.
pub async fn fill(step: &PlannedStep, stage: &Stage, operator: &Operator) -> Result<Filled, Halt> {
    let mut values: Vec<(&SlotSource, Secret)> = Vec::new();
    for slot in &step.slots {
        if !values.iter().any(|(from, _)| *from == &slot.from) {
            values.push((&slot.from, look_up(slot, stage, operator).await?));
        }
    }
    let value = |wanted: &SlotSource| values.iter().find(|(from, _)| *from == wanted).map(|(_, value)| value.clone());
    step.fill(value).map_err(|error| Halt::unverified(chain(&error), "name a source whose value is plain text"))
}

async fn look_up(slot: &Slot, stage: &Stage, operator: &Operator) -> Result<Secret, Halt> {
    match &slot.from {
        SlotSource::Value(from) => {
            let value = stage.values.known(from).await;
            value.map_err(|error| {
                Halt::failed(format!("{}: no value for `{}`: {}", slot.source, slot.place, chain(&error)))
            })
        }
        SlotSource::RecoveryTarget => match &stage.recovery_target {
            Some(moment) => Ok(Secret::new(moment.as_str())),
            None => Err(Halt::unverified(
                format!("{}: this drill has no moment to recover to", slot.source),
                "say `recovery-target: time` in the drill",
            )),
        },
        SlotSource::Output { step, find } => from_output(slot, stage, operator, step, find).map(Secret::new),
        SlotSource::Selector { cluster, kind, namespace, labels } => {
            let Some(kind) = kubernetes::type_of(kind) else {
                let reason = format!("{}: a selector cannot look for `{kind}`", slot.source);
                return Err(Halt::unverified(reason, "name a pod, a job, a cronjob, a deployment or a statefulset"));
            };
            let (cluster, namespace, labels) = (cluster.clone(), namespace.clone(), labels.clone());
            by_selector(slot, stage, &Query { cluster, kind, namespace, labels }).await.map(Secret::new)
        }
    }
}

fn from_output(slot: &Slot, stage: &Stage, operator: &Operator, step: &StepRef, find: &Find) -> Result<String, Halt> {
    let (producer, output) = operator.output_of(step).ok_or_else(|| {
        Halt::failed(format!("{}: the step that `{}` comes from has not run", slot.source, slot.place))
    })?;
    let found = found::values(output, find).map_err(|error| {
        Halt::unverified(format!("{}: {error}", slot.source), "correct the pattern in the scenario")
    })?;
    if let [one] = found.as_slice() {
        return Ok(one.clone());
    }
    let what = match find {
        Find::Column(title) => format!("rows below {title}"),
        Find::Pattern(_) => "places that fit".to_owned(),
    };
    let reason = format!(
        "{}: what {} printed has {} {what} for `{}`, not one: {}",
        slot.source,
        producer.source,
        found.len(),
        slot.place,
        found.join(", ")
    );
    let query = Query::of_command(&producer.text, &stage.context_namespace);
    Err(stage.provisioned.blame(query.as_ref(), found.len(), reason))
}

async fn by_selector(slot: &Slot, stage: &Stage, query: &Query) -> Result<String, Halt> {
    let Query { cluster, kind, namespace, labels } = query;
    let objects = stage.clusters.of(cluster.as_deref()).list(*kind, namespace).await?;
    let matching = query.matching(&objects);
    if let [one] = matching[..] {
        return Ok(one.to_owned());
    }
    let reason = format!(
        "{}: `{labels}` finds {} objects of kind {} in {namespace} for `{}`, not one: {}",
        slot.source,
        matching.len(),
        kind.1,
        slot.place,
        matching.join(", ")
    );
    Err(stage.provisioned.blame(Some(query), matching.len(), reason))
}
