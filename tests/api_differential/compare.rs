//! Two JSON values, compared field by field.

use serde_json::Value;

/// One line for every place at which the answer is another than expected.
pub fn differences(expected: &Value, answer: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    walk(expected, answer, "", &mut lines);
    lines
}

fn walk(expected: &Value, answer: &Value, at: &str, lines: &mut Vec<String>) {
    match (expected, answer) {
        (Value::Object(left), Value::Object(right)) => {
            let mut keys: Vec<_> = left.keys().chain(right.keys()).collect();
            keys.sort_unstable();
            keys.dedup();
            for key in keys {
                let of = |map: &serde_json::Map<String, Value>| map.get(key).cloned().unwrap_or_default();
                let escaped = key.replace('~', "~0").replace('/', "~1");
                walk(&of(left), &of(right), &format!("{at}/{escaped}"), lines);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (index, (left, right)) in left.iter().zip(right).enumerate() {
                walk(left, right, &format!("{at}/{index}"), lines);
            }
        }
        _ if expected == answer => {}
        _ => lines.push(format!("{at}:\n    recorded {expected}\n    redrill  {answer}")),
    }
}

/// Sets the value at a pointer, whose parent is there; null takes it away.
pub fn set(value: &mut Value, pointer: &str, new: Value) {
    let (parent, last) = pointer.rsplit_once('/').expect("a JSON pointer");
    let last = last.replace("~1", "/").replace("~0", "~");
    match value.pointer_mut(parent) {
        Some(Value::Object(map)) if new.is_null() => drop(map.remove(&last)),
        Some(Value::Object(map)) => drop(map.insert(last, new)),
        Some(Value::Array(items)) => items[last.parse::<usize>().expect("an index")] = new,
        other => panic!("{pointer}: nothing to set in {other:?}"),
    }
}
