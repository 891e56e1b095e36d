//! What the served cluster does not have.

pub fn refusals(_: &[serde_json::Value]) -> Vec<String> {
    Vec::new()
}
