//! Fills the open places of a step, by byte span, right before it runs.

use regex::Regex;

use crate::drill::operator::Operator;
use crate::drill::record::Halt;
use crate::drill::stage::Stage;
use crate::error::chain;
use crate::kubernetes::{self, TypeName};
use crate::plan::{Action, PlannedStep, Slot, SlotText};
use crate::scenario::{SlotSource, StepRef};

/// A step's texts with every open place filled.
pub struct Filled {
    pub command: String,
    /// The file that goes with it, where there is one.
    pub content: Option<String>,
}

/// Looks every value up now. Zero or two matches are the procedure's fault; what cannot be asked is the harness's.
pub async fn fill(step: &PlannedStep, stage: &Stage, operator: &Operator) -> Result<Filled, Halt> {
    let mut values = Vec::new();
    for slot in &step.slots {
        let value = look_up(slot, stage, operator).await?;
        if let Some(strange) = value.chars().find(|&c| !is_plain(c)) {
            let reason = format!("{}: the value for `{}` has a {strange:?} in it, which a shell could take for more than text", slot.source, slot.place);
            return Err(Halt::unverified(reason, "choose a source whose value is letters, digits and ._-/:@+=,"));
        }
        values.push((slot, value));
    }
    let command = replace(&step.text, SlotText::Command, &values);
    let content = match &step.action {
        Action::Apply { content } | Action::Compare { content } => Some(replace(content, SlotText::Content, &values)),
        Action::Shell | Action::CronJob { .. } | Action::Human => None,
    };
    Ok(Filled { command, content })
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || "._-/:@+=,".contains(c)
}

fn replace(text: &str, within: SlotText, values: &[(&Slot, String)]) -> String {
    let mut inside: Vec<_> = values.iter().filter(|(slot, _)| slot.within == within).collect();
    inside.sort_by_key(|(slot, _)| std::cmp::Reverse(slot.span.start));
    let mut text = text.to_owned();
    for (slot, value) in inside {
        text.replace_range(slot.span.clone(), value);
    }
    text
}

async fn look_up(slot: &Slot, stage: &Stage, operator: &Operator) -> Result<String, Halt> {
    match &slot.from {
        SlotSource::Value(from) => {
            let value = stage.values.secret(from).await;
            value.map(|value| value.expose().to_owned()).map_err(|error| {
                Halt::failed(format!("{}: no value for `{}`: {}", slot.source, slot.place, chain(&error)))
            })
        }
        SlotSource::Output { step, pattern } => from_output(slot, operator, step, pattern),
        SlotSource::Selector { kind, namespace, labels } => by_selector(slot, stage, kind, namespace, labels).await,
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

async fn by_selector(
    slot: &Slot,
    stage: &Stage,
    kind: &str,
    namespace: &str,
    labels: &str,
) -> Result<String, Halt> {
    let known: [TypeName; 4] =
        [kubernetes::POD, kubernetes::JOB, kubernetes::DEPLOYMENT, kubernetes::STATEFUL_SET];
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::SourceRef;
    use crate::scenario::ValueFrom;

    fn slot(within: SlotText, span: std::ops::Range<usize>) -> Slot {
        let source = SourceRef { file: "s.yaml".into(), line: 1 };
        let from = SlotSource::Value(ValueFrom::Literal(String::new()));
        Slot { place: "X".into(), within, span, from, source }
    }

    #[test]
    fn every_place_is_replaced_by_its_span_whatever_the_lengths() {
        let (first, second) = (slot(SlotText::Command, 3..6), slot(SlotText::Command, 7..10));
        let other = slot(SlotText::Content, 0..3);
        let values = [(&first, "a-long-one".to_owned()), (&second, "b".to_owned()), (&other, "no".to_owned())];
        assert_eq!(replace("cp OLD NEW now", SlotText::Command, &values), "cp a-long-one b now");
    }

    #[test]
    fn what_a_shell_reads_as_more_than_text_is_not_plain() {
        for c in [' ', ';', '$', '`', '\'', '"', '\n', '|', '&', '*', '~', '\\', '!', '#'] {
            assert!(!is_plain(c), "{c:?}");
        }
    }
}
