//! Small values of a scenario: durations, sizes, names of objects, and where other values come from.

use std::time::Duration;

use super::reader::Reader;
use super::yaml::{Node, Value};
use super::{Encoding, KeyRef, ObjectName, SeedSize, ValueFrom};

impl ObjectName {
    /// Reads `namespace/name` or `cluster/namespace/name`.
    pub fn parse(text: &str) -> Option<Self> {
        let parts: Vec<&str> = text.split('/').collect();
        let (cluster, namespace, name) = match parts[..] {
            [namespace, name] => (None, namespace, name),
            [cluster, namespace, name] => (Some(cluster), namespace, name),
            _ => return None,
        };
        let valid = |part: &str| {
            let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.');
            !part.is_empty() && part.chars().all(inner) && !part.starts_with('-') && !part.ends_with('-')
        };
        (valid(namespace) && valid(name) && cluster.is_none_or(valid)).then(|| Self {
            cluster: cluster.map(str::to_owned),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl std::fmt::Display for ObjectName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(cluster) = &self.cluster {
            write!(f, "{cluster}/")?;
        }
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// As reports say where a credential is kept: `secret taiga/postgres-secret[postgres-password]`.
impl std::fmt::Display for ValueFrom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Literal(text) => write!(f, "`{text}`"),
            Self::Secret(key) => write!(f, "secret {}[{}]", key.object, key.key),
            Self::ConfigMap(key) => write!(f, "config map {}[{}]", key.object, key.key),
            Self::Generated(name) => write!(f, "generated {name}"),
        }
    }
}

/// Reads `90s`, `15m`, `24h`, `1h30m`; units s, m, h and d. The error says what is strange about it.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    let way_out = "write it as 90s, 15m, 24h or 1h30m";
    if rest.is_empty() {
        return Err(format!("a duration is needed: {way_out}"));
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let after = &rest[digits..];
        let unit = after.len() - after.trim_start_matches(|c: char| !c.is_ascii_digit()).len();
        let count: u64 = match rest[..digits].parse() {
            Ok(count) => count,
            Err(_) => return Err(format!("`{text}` is no duration: {way_out}")),
        };
        let seconds = match after[..unit].trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "" => return Err(format!("`{text}` has no unit: {way_out}")),
            strange => return Err(format!("strange unit `{strange}` in `{text}`: {way_out}")),
        };
        let part = count.checked_mul(seconds).map(Duration::from_secs);
        total = part.and_then(|part| total.checked_add(part)).ok_or_else(|| format!("`{text}` is too long"))?;
        rest = &after[unit..];
    }
    Ok(total)
}

/// Reads `small`, `medium`, `large`, or bytes with KiB, MiB or GiB.
pub fn parse_size(text: &str) -> Result<SeedSize, String> {
    let way_out = "write small, medium, large, or bytes such as 64MiB (KiB, MiB, GiB)";
    let text = text.trim();
    match text {
        "small" => return Ok(SeedSize::Small),
        "medium" => return Ok(SeedSize::Medium),
        "large" => return Ok(SeedSize::Large),
        _ => {}
    }
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let count: u64 = text[..digits].parse().map_err(|_| format!("`{text}` is no size: {way_out}"))?;
    let shift = match text[digits..].trim() {
        "" => 0,
        "KiB" => 10,
        "MiB" => 20,
        "GiB" => 30,
        strange => return Err(format!("strange unit `{strange}` in `{text}`: {way_out}")),
    };
    count.checked_mul(1 << shift).map(SeedSize::Bytes).ok_or_else(|| format!("`{text}` is too large"))
}

impl Reader {
    pub fn duration(&self, node: &Node) -> Option<Duration> {
        // `30` without a unit deserves the same words as `30 parsecs`, not "put it in quotes".
        let text = node.text().map_or_else(|| self.text(node), |text| Some(text.to_owned()))?;
        parse_duration(&text).map_or_else(|message| self.refuse(node.line, message), Some)
    }

    pub fn size(&self, node: &Node) -> Option<SeedSize> {
        let text = node.text().map_or_else(|| self.text(node), |text| Some(text.to_owned()))?;
        parse_size(&text).map_or_else(|message| self.refuse(node.line, message), Some)
    }

    pub fn date(&self, node: &Node) -> Option<jiff::civil::Date> {
        let text = self.text(node)?;
        let date = text.parse();
        date.map_or_else(|_| self.refuse(node.line, format!("`{text}` is no day: write it as 2027-06-30")), Some)
    }

    pub fn object_name(&self, node: &Node) -> Option<ObjectName> {
        let text = self.text(node)?;
        let name = ObjectName::parse(&text);
        name.or_else(|| {
            self.refuse(
                node.line,
                format!("`{text}` names no object: write namespace/name, of several clusters cluster/namespace/name"),
            )
        })
    }

    /// Text as it is, or `{secret|config-map: namespace/name, key: KEY}`, or `{generated: NAME}`.
    pub fn value_from(&self, node: &Node) -> Option<ValueFrom> {
        if !matches!(node.value, Value::Mapping(_)) {
            return self.text(node).map(ValueFrom::Literal);
        }
        let mut fields = self.fields(node)?;
        let kind = fields.one_of(&["secret", "config-map", "generated"]);
        let value = match kind {
            Some(("generated", name)) => self.text(name).map(ValueFrom::Generated),
            Some((kind, object)) => {
                let object = self.object_name(object);
                let key = fields.required("key", |node| self.text(node));
                let encoding = match kind {
                    "secret" => fields.optional("encoding", |node| self.word(node, &[("base64", Encoding::Base64)])),
                    _ => Some(None),
                };
                object.zip(key).zip(encoding).map(|((object, key), encoding)| {
                    let encoding = encoding.unwrap_or(Encoding::Plain);
                    let key = KeyRef { object, key, encoding, source: self.source(node.line) };
                    if kind == "secret" { ValueFrom::Secret(key) } else { ValueFrom::ConfigMap(key) }
                })
            }
            None => {
                fields.node("key");
                None
            }
        };
        fields.close();
        value
    }

    /// A secret is never written into a scenario.
    pub fn secret_from(&self, node: &Node) -> Option<ValueFrom> {
        match self.value_from(node)? {
            ValueFrom::Literal(_) => self.refuse(
                node.line,
                "a password does not belong into this file: name where it is kept, {secret: namespace/name, key: KEY}",
            ),
            kept @ (ValueFrom::Secret(_) | ValueFrom::ConfigMap(_) | ValueFrom::Generated(_)) => Some(kept),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_read_with_their_units() {
        assert_eq!(parse_duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(parse_duration("2d"), Ok(Duration::from_secs(172_800)));
    }

    #[test]
    fn a_strange_unit_is_named_and_the_way_out_is_said() {
        let error = parse_duration("2fortnights").unwrap_err();
        assert!(error.contains("strange unit `fortnights`") && error.contains("15m"), "{error}");
        assert!(parse_duration("30").unwrap_err().contains("no unit"));
        assert!(parse_duration("soon").unwrap_err().contains("no duration"));
        assert!(parse_duration("99999999999999999999d").is_err());
        assert!(parse_duration("300000000000000000d").unwrap_err().contains("too long"));
    }

    #[test]
    fn sizes_are_words_or_bytes() {
        assert_eq!(parse_size("medium"), Ok(SeedSize::Medium));
        assert_eq!(parse_size("64MiB"), Ok(SeedSize::Bytes(64 << 20)));
        assert_eq!(parse_size("1000"), Ok(SeedSize::Bytes(1000)));
        assert!(parse_size("64MB").unwrap_err().contains("strange unit `MB`"));
        assert!(parse_size("99999999999GiB").unwrap_err().contains("too large"));
    }

    proptest! {
        #[test]
        fn any_text_is_a_duration_and_a_size_or_a_message(text in "\\PC{0,12}") {
            prop_assert!(parse_duration(&text).map_or_else(|message| !message.is_empty(), |_| true));
            prop_assert!(parse_size(&text).map_or_else(|message| !message.is_empty(), |_| true));
        }

        #[test]
        fn whole_numbers_of_units_add_up(hours in 0u64..1000, minutes in 0u64..1000, seconds in 0u64..1000) {
            let read = parse_duration(&format!("{hours}h{minutes}m{seconds}s"));
            prop_assert_eq!(read, Ok(Duration::from_secs(hours * 3600 + minutes * 60 + seconds)));
        }
    }
}
