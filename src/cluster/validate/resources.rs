//! What containers and claims ask for.

use serde_json::Value;

use super::Errors;
use crate::cluster::status::FieldError;

/// Limits and requests of a container: nothing is requested beyond its limit.
pub fn container(resources: &Value, at: &str, errors: &mut Errors) {
    for (resource, request) in resources["requests"].as_object().into_iter().flatten() {
        let limit = &resources["limits"][resource.as_str()];
        if let (Some(asked), Some(most)) = (amount(request), amount(limit))
            && asked > most
        {
            let why = format!("must be less than or equal to {resource} limit of {}", text(limit));
            errors.push(FieldError::invalid(format!("{at}.requests"), &text(request).into(), &why));
        }
    }
}

fn text(quantity: &Value) -> String {
    quantity.as_str().map_or_else(|| quantity.to_string(), str::to_owned)
}

/// A quantity as a number; `None` for what is no quantity. Exact enough to compare two by.
pub fn amount(quantity: &Value) -> Option<f64> {
    let text = match quantity {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    if let Ok(plain) = text.parse() {
        return Some(plain);
    }
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: f64 = digits.parse().ok()?;
    let factor = match &text[digits.len()..] {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => f64::from(1 << 10),
        "Mi" => f64::from(1 << 20),
        "Gi" => f64::from(1 << 30),
        "Ti" => 1024_f64.powi(4),
        "Pi" => 1024_f64.powi(5),
        "Ei" => 1024_f64.powi(6),
        _ => return None,
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn quantities_are_compared_by_what_they_amount_to() {
        assert!(amount(&json!("1Gi")) > amount(&json!("1G")) && amount(&json!("500m")) < amount(&json!(1)));
        assert_eq!(amount(&json!("2e3")), Some(2000.0));
        assert_eq!(amount(&json!("ten")), None);
    }
}
