//! Answers of the query protocol: a JSON value as XML, lists as `member` elements.

use quick_xml::escape::escape;
use serde_json::Value;

/// The answer to an operation.
pub fn answer(operation: &str, namespace: &str, result: &Value) -> String {
    let mut text = format!("<{operation}Response xmlns=\"{namespace}\"><{operation}Result>");
    write(result, &mut text);
    text.push_str(&format!(
        "</{operation}Result><ResponseMetadata><RequestId>0</RequestId></ResponseMetadata></{operation}Response>"
    ));
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Null => {}
        Value::Object(fields) => {
            for (name, value) in fields.iter().filter(|(_, value)| !value.is_null()) {
                element(name, value, text);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| element("member", item, text)),
        Value::String(plain) => text.push_str(&escape(plain)),
        Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
    }
}

fn element(name: &str, value: &Value, text: &mut String) {
    text.push_str(&format!("<{name}>"));
    write(value, text);
    text.push_str(&format!("</{name}>"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_lists_and_odd_characters_become_elements() {
        let text = answer("List", "urn:x", &json!({"A": "<&>", "B": [{"C": 1}, {"C": true}], "D": null}));
        let inner = "<A>&lt;&amp;&gt;</A><B><member><C>1</C></member><member><C>true</C></member></B>";
        assert!(text.contains(&format!("<ListResult>{inner}</ListResult>")), "{text}");
    }
}
