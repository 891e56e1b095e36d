//! How Go prints values and words the errors of its decoders: the texts of an API server are made of them.

use serde_json::{Value, json};

/// A value as `%v` prints it: `map[spec:map[replicas:3]]`.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(map) => {
            let mut fields: Vec<_> = map.iter().map(|(key, value)| format!("{key}:{}", plain(value))).collect();
            fields.sort_unstable();
            format!("map[{}]", fields.join(" "))
        }
    }
}

/// A map of strings as `%#v` prints it.
pub fn string_map(value: &Value) -> String {
    let Some(map) = value.as_object().filter(|map| !map.is_empty()) else { return "map[string]string(nil)".to_owned() };
    let mut fields: Vec<_> = map.iter().map(|(key, value)| format!("{}:{value}", json!(key))).collect();
    fields.sort_unstable();
    format!("map[string]string{{{}}}", fields.join(", "))
}

/// A list of strings as `%#v` prints it.
pub fn string_list<'a>(items: impl IntoIterator<Item = &'a str>) -> String {
    format!("[]string{{{}}}", items.into_iter().map(|item| json!(item).to_string()).collect::<Vec<_>>().join(", "))
}

/// What Go calls the JSON type of a value.
pub fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Why a text is no JSON, as `encoding/json` says it.
pub fn json_error(text: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let message = error.to_string();
    let place = match message.split(" at line ").next().unwrap_or_default() {
        "key must be a string" | "trailing comma" => "looking for beginning of object key string",
        "expected `:`" => "after object key",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "trailing characters" => "after top-level value",
        "expected ident" => "in literal",
        "control character (\\u0000-\\u001F) found while parsing a string" => "in string literal",
        _ => "looking for beginning of value",
    };
    let line = text.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let character = line.get(error.column().saturating_sub(1)).map_or('\n', |byte| char::from(*byte));
    format!("invalid character {character:?} {place}")
}

/// Why a text is no YAML, nearly as Go's parser says it: the line and the problem.
pub fn yaml_error(error: &serde_yaml_ng::Error) -> String {
    let message = error.to_string();
    let problem = message.split(" at line ").next().unwrap_or_default();
    let lines = message.split(" at line ").skip(1).filter_map(|rest| rest.split(' ').next()?.parse::<usize>().ok());
    // Where the thing began that did not end, if the parser knows.
    format!("yaml: line {}: {problem}", lines.last().unwrap_or(1))
}

/// The beginning of a body that could not be read, as the server shows it.
pub fn summary(body: &[u8]) -> String {
    const SHOWN: usize = 30;
    let more = if body.len() > SHOWN { " ..." } else { "" };
    let shown = &body[..body.len().min(SHOWN)];
    match body.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(shown)),
        Some(_) => format!("{}{more}", hex::encode(shown)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_printed_in_the_order_of_their_keys() {
        assert_eq!(plain(&json!({"b": [1, "x"], "a": {"c": true}})), "map[a:map[c:true] b:[1 x]]");
        assert_eq!(string_map(&json!({"b": "1", "a": "x\"y"})), r#"map[string]string{"a":"x\"y", "b":"1"}"#);
        assert_eq!(string_list(["a", "b"]), r#"[]string{"a", "b"}"#);
    }

    #[test]
    fn what_is_wrong_with_json_is_said_as_go_says_it() {
        for (text, why) in [
            ("{x", "invalid character 'x' looking for beginning of object key string"),
            ("{\"a\": }", "invalid character '}' looking for beginning of value"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\": 1", "unexpected end of JSON input"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
        ] {
            let error = serde_json::from_str::<Value>(text).unwrap_err();
            assert_eq!(json_error(text.as_bytes(), &error), why, "{text}");
        }
    }
}
