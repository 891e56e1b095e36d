//! Fills the open places of a step, by byte span, right before it runs.

use regex::Regex;

use crate::drill::operator::Operator;
use crate::drill::record::Halt;
use crate::drill::stage::Stage;
use crate::error::chain;
use crate::kubernetes::{self, TypeName};
use crate::plan::{Filled, PlannedStep, Slot};
use crate::redact::Secret;
use crate::scenario::{SlotSource, StepRef};

/// Looks every value up now and puts it in its place. Zero or two matches are the procedure's fault; what cannot be asked is
/// the harness's.
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
            let value = stage.values.secret(from).await;
            value.map_err(|error| {
                Halt::failed(format!("{}: no value for `{}`: {}", slot.source, slot.place, chain(&error)))
            })
        }
        SlotSource::Output { step, pattern } => from_output(slot, operator, step, pattern).map(Secret::new),
        SlotSource::Selector { kind, namespace, labels } => {
            by_selector(slot, stage, kind, namespace, labels).await.map(Secret::new)
        }
    }
}

fn from_output(slot: &Slot, operator: &Operator, step: &StepRef, pattern: &str) -> Result<String, Halt> {
    let output = operator.output_of(step).ok_or_else(|| {
        Halt::failed(format!("{}: the step that `{}` comes from has not run", slot.source, slot.place))
    })?;
    let regex = Regex::new(pattern).map_err(|error| {
        Halt::unverified(format!("{}: {error}", slot.source), "correct the pattern in the scenario")
    })?;
    let found: Vec<_> = regex.captures_iter(output).filter_map(|captures| captures.get(1)).collect();
    match found[..] {
        [one] => Ok(one.as_str().to_owned()),
        _ => Err(Halt::failed(format!(
            "{}: `{}` is to be found once in the output of line {}, it is there {} times",
            slot.source,
            slot.place,
            step.source.line,
            found.len()
        ))),
    }
}

async fn by_selector(slot: &Slot, stage: &Stage, kind: &str, namespace: &str, labels: &str) -> Result<String, Halt> {
    let known: [TypeName; 4] = [kubernetes::POD, kubernetes::JOB, kubernetes::DEPLOYMENT, kubernetes::STATEFUL_SET];
    let Some(type_name) = known.into_iter().find(|(_, name)| name.eq_ignore_ascii_case(kind)) else {
        let reason = format!("{}: a selector cannot look for `{kind}`", slot.source);
        return Err(Halt::unverified(reason, "use pod, job, deployment or statefulset"));
    };
    let objects = stage.kubernetes.list(type_name, namespace).await?;
    let matching: Vec<_> = objects
        .iter()
        .filter(|object| object["metadata"]["deletionTimestamp"].is_null())
        .filter(|object| {
            labels.split(',').all(|label| match label.split_once('=') {
                Some((key, value)) => object["metadata"]["labels"][key] == value,
                None => object["metadata"]["labels"].get(label).is_some(),
            })
        })
        .filter_map(|object| object["metadata"]["name"].as_str())
        .collect();
    match matching[..] {
        [one] => Ok(one.to_owned()),
        _ => Err(Halt::failed(format!(
            "{}: `{labels}` finds {} objects of kind {kind} in {namespace}, not one: {}",
            slot.source,
            matching.len(),
            matching.join(", ")
        ))),
    }
}
