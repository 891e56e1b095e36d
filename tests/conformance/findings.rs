//! What a drill found out, for one to be held against another.

use redrill::outcome::DrillOutcome;
use serde_json::Value;

/// What depends on where and when a drill ran, and on nothing that it found out.
const OF_THE_PLACE: [&str; 9] = [
    "environment",
    "digests",
    "versions",
    "duration",
    "duration_seconds",
    "measured",
    "measured_seconds",
    "waited",
    "log",
];

/// Without what names have of the moment that they were given in, and behind those of a chart's pods of what the chart drew.
pub fn nameless(text: &str) -> String {
    let drawn = [
        "-[0-9bcdfghjklmnpqrstvwxz]{10}-[0-9bcdfghjklmnpqrstvwxz]{5}",
        "[0-9]{8}_[0-9]{6}",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}-[0-9]{3}Z",
    ];
    regex::Regex::new(&drawn.join("|")).unwrap().replace_all(text, "").into_owned()
}

pub fn findings(drill: &DrillOutcome) -> Value {
    let mut findings = serde_json::to_value(drill).unwrap();
    // How many rows a writer gets in, and how long something took, are the machine's.
    findings["objectives"].as_array_mut().unwrap().iter_mut().for_each(|objective| objective["detail"] = Value::Null);
    strip(&mut findings);
    findings
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.retain(|name, _| !OF_THE_PLACE.contains(&name.as_str()));
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
