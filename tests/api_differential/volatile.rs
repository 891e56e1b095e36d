//! What is another in every run is replaced by a word for it, by these rules and no others:
//!
//! * the case's own namespace is `taiga`; a null is as good as an absent field;
//! * uids, resource versions, moments of creation and deletion, allocated addresses and node ports become `<word>`, also in texts;
//! * of a generated name only the prefix stays;
//! * an object that an error prints whole, as JSON or as Go prints it, is `<object>`, and a comparison in Go's terms behind a
//!   message goes;
//! * causes are sorted where a server gives them in no order (conflicts of an apply), and one that is there twice counts once;
//! * in tables, ages become `<age>`, and descriptions of columns, which kubectl shows nowhere, go;
//! * managed fields go, unless the case compares them: then without their times and without the `.` of objects and lists
//!   themselves, by name, so that what remains is who manages which leaf.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

static UID: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").unwrap());
static VERSION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"(ResourceVersion in record \(|resource version: \d+, current: )\d+").unwrap());
static OBJECT: LazyLock<Regex> = LazyLock::new(|| {
    let (quoted, go, json) = (r#""\{\\"(?:[^"\\]|\\.)*\}""#, r"(?:core|v1)\.[A-Z]\w*\{.*?\}", r"\{.*?\}");
    Regex::new(&format!("Invalid value: (?:{quoted}|{go}|{json}): ")).unwrap()
});
static COMPARISON: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?s)\n\s*(?:\u{a0})*core\.\w+\{.*\}\n").unwrap());
static AGO: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\(\S+ ago\)").unwrap());
static AGE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"^(\d+[smhdy]){1,2}$").unwrap());
static NODE_PORT: LazyLock<Regex> = LazyLock::new(|| Regex::new(r":3\d{4}/").unwrap());

/// An answer without what is volatile.
pub fn without(mut body: Value, namespace: &str, managers: bool) -> Value {
    let mut columns = Vec::new();
    match &mut body {
        Value::Array(events) => events.iter_mut().for_each(|event| table(&mut event["object"], &mut columns)),
        answer if answer["kind"] == "Table" => table(answer, &mut columns),
        _ => {}
    }
    walk(&mut body, namespace, managers);
    causes(&mut body);
    body
}

fn causes(status: &mut Value) {
    let Some(causes) = status.pointer_mut("/details/causes").and_then(Value::as_array_mut) else { return };
    if causes.iter().all(|cause| cause["reason"] == "FieldManagerConflict") {
        causes.sort_by_key(|cause| cause["field"].to_string());
    }
    causes.dedup();
}

fn walk(value: &mut Value, namespace: &str, managers: bool) {
    match value {
        Value::Object(map) => {
            map.retain(|key, value| !value.is_null() && (managers || key != "managedFields"));
            generated_name(map);
            for (key, value) in map.iter_mut() {
                field(key, value);
                walk(value, namespace, managers);
            }
            let renamed: Vec<_> = map.keys().filter(|key| key.contains(namespace)).cloned().collect();
            for key in renamed {
                let value = map.remove(&key).unwrap();
                map.insert(key.replace(namespace, "taiga"), value);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| walk(item, namespace, managers)),
        Value::String(text) => {
            let replaced = OBJECT.replace_all(text, "Invalid value: <object>: ");
            let replaced = COMPARISON.replace_all(&replaced, "");
            let replaced = UID.replace_all(&replaced, "<uid>");
            let replaced = VERSION.replace_all(&replaced, "$1<resourceVersion>");
            let replaced = AGO.replace_all(&replaced, "(<age> ago)");
            *text = replaced.replace(namespace, "taiga");
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn generated_name(metadata: &mut serde_json::Map<String, Value>) {
    let Some(prefix) = metadata.get("generateName").and_then(Value::as_str).map(str::to_owned) else { return };
    if let Some(suffix) = metadata.get("name").and_then(Value::as_str).and_then(|name| name.strip_prefix(&prefix))
        && suffix.len() == 5
    {
        metadata.insert("name".to_owned(), json!(format!("{prefix}<generated>")));
    }
}

fn field(key: &str, value: &mut Value) {
    match key {
        "uid" | "resourceVersion" | "creationTimestamp" | "deletionTimestamp" if value.is_string() => {
            *value = json!(format!("<{key}>"));
        }
        "clusterIP" if is_address(value) => *value = json!("<address>"),
        "clusterIPs" => value.as_array_mut().into_iter().flatten().filter(|one| is_address(one)).for_each(|one| {
            *one = json!("<address>");
        }),
        "nodePort" if value.is_u64() => *value = json!("<port>"),
        "managedFields" => {
            let entries = value.as_array_mut().expect("a list of managers");
            entries.iter_mut().for_each(manager);
            // A server sorts them by the second of their last write.
            entries.sort_by_key(|entry| entry["manager"].to_string());
        }
        _ => {}
    }
}

fn is_address(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.parse::<std::net::IpAddr>().is_ok())
}

fn manager(entry: &mut Value) {
    if let Value::Object(entry) = entry {
        entry.remove("time");
        entry.values_mut().for_each(leaves);
    }
}

fn leaves(fields: &mut Value) {
    if let Value::Object(fields) = fields {
        fields.remove(".");
        fields.values_mut().for_each(leaves);
    }
}

/// `columns` are those of the last table of a watch that said any.
fn table(table: &mut Value, columns: &mut Vec<String>) {
    if let Some(own) = table["columnDefinitions"].as_array_mut().filter(|own| !own.is_empty()) {
        columns.clear();
        for column in own {
            column.as_object_mut().map(|column| column.remove("description"));
            columns.push(column["name"].as_str().unwrap_or_default().to_owned());
        }
    }
    for row in table["rows"].as_array_mut().into_iter().flatten() {
        let cells = row["cells"].as_array_mut().into_iter().flatten();
        for (column, cell) in columns.iter().zip(cells) {
            let Some(text) = cell.as_str() else { continue };
            match column.as_str() {
                "Age" | "Last Schedule" | "Last Seen" | "First Seen" if AGE.is_match(text) => *cell = json!("<age>"),
                "Cluster-IP" if is_address(cell) => *cell = json!("<address>"),
                "Port(s)" => *cell = json!(NODE_PORT.replace_all(text, ":<port>/")),
                _ => {}
            }
        }
    }
}
