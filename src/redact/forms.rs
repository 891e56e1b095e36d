//! The forms in which programs print a secret.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

/// Every form of it that is looked for. A secret of several lines is looked for with both line ends, since a
/// terminal makes CR LF of LF.
pub(super) fn of(secret: &str) -> BTreeSet<Vec<u8>> {
    let mut forms = BTreeSet::new();
    let mut variants = vec![secret.to_owned(), format!("{secret}\n")];
    if secret.contains('\n') {
        let unix = secret.replace("\r\n", "\n");
        variants.push(unix.replace('\n', "\r\n"));
        variants.push(unix);
    }
    for (index, variant) in variants.iter().enumerate() {
        // With a line end behind it (`echo secret | base64`) only what encodes it together with the secret is new.
        if index != 1 {
            forms.insert(variant.clone().into_bytes());
            forms.extend(texts(variant).into_iter().map(String::into_bytes));
        }
        forms.extend(base64_forms(variant.as_bytes()).into_iter().map(String::into_bytes));
    }
    forms
}

/// Escaped for something that reads text.
fn texts(secret: &str) -> Vec<String> {
    let lower = hex::encode(secret);
    let upper = hex::encode_upper(secret);
    let percent = percent_encoded(secret, "%20", char::is_ascii_alphanumeric);
    let form = percent_encoded(secret, "+", char::is_ascii_alphanumeric);
    let reserved_kept =
        percent_encoded(secret, "%20", |c| c.is_ascii_alphanumeric() || "!*'();:@&=+$,/?#[]".contains(*c));
    let user_info = percent_encoded(secret, "%20", |c| c.is_ascii_alphanumeric() || "!$&'()*+,;=:".contains(*c));
    let json = json_escaped(secret);
    let mut texts = vec![lower, upper];
    for encoded in [percent, form, reserved_kept, user_info] {
        texts.push(lower_percent(&encoded));
        texts.push(encoded);
    }
    texts.push(json.replace('/', "\\/"));
    // As Go writes JSON, kubectl for one, and as Python does.
    texts.push(json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026"));
    texts.push(ascii_only(&json));
    texts.push(json);
    texts.extend(shell_forms(secret));
    texts
}

/// The body of a JSON string.
fn json_escaped(secret: &str) -> String {
    let quoted = serde_json::Value::from(secret).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

fn ascii_only(json: &str) -> String {
    let mut text = String::new();
    for character in json.chars() {
        if character.is_ascii() {
            text.push(character);
        } else {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a string cannot fail.
                let _ = write!(text, "\\u{unit:04x}");
            }
        }
    }
    text
}

fn percent_encoded(secret: &str, space: &str, keep: impl Fn(&char) -> bool) -> String {
    let mut text = String::new();
    for byte in secret.bytes() {
        let character = char::from(byte);
        if keep(&character) || "-_.~".contains(character) {
            text.push(character);
        } else if byte == b' ' {
            text.push_str(space);
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// `%2F` as `%2f`, everything else as it is.
fn lower_percent(encoded: &str) -> String {
    let mut text = String::with_capacity(encoded.len());
    let mut in_escape = 0;
    for character in encoded.chars() {
        if character == '%' {
            in_escape = 3;
        }
        text.push(if in_escape > 0 { character.to_ascii_lowercase() } else { character });
        in_escape = usize::saturating_sub(in_escape, 1);
    }
    text
}

/// As `set -x`, `printf %q`, Python's shlex and hand-written scripts quote it, without the outer quotes.
fn shell_forms(secret: &str) -> Vec<String> {
    let backslashed: String = secret
        .chars()
        .flat_map(|c| if c.is_alphanumeric() || "-_./:,@%+=".contains(c) { vec![c] } else { vec!['\\', c] })
        .collect();
    let in_double_quotes: String =
        secret.chars().flat_map(|c| if "\"\\$`".contains(c) { vec!['\\', c] } else { vec![c] }).collect();
    let ansi_c = secret.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n").replace('\t', "\\t");
    vec![
        secret.replace('\'', "'\\''"),
        secret.replace('\'', "'\"'\"'"),
        secret.replace('\'', "''"),
        backslashed,
        in_double_quotes,
        ansi_c,
    ]
}

/// On its own with and without padding, wrapped as `base64` wraps, and as part of something larger.
fn base64_forms(secret: &[u8]) -> Vec<String> {
    let mut forms = vec![
        STANDARD.encode(secret),
        STANDARD_NO_PAD.encode(secret),
        URL_SAFE.encode(secret),
        URL_SAFE_NO_PAD.encode(secret),
    ];
    for width in [64, 76] {
        for end in ["\n", "\r\n"] {
            forms.push(wrapped(&forms[0], width, end));
        }
    }
    for before in 0..3 {
        forms.extend([inside(&STANDARD_NO_PAD, secret, before), inside(&URL_SAFE_NO_PAD, secret, before)]);
    }
    forms
}

fn wrapped(encoded: &str, width: usize, end: &str) -> String {
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(width).map(|line| std::str::from_utf8(line).unwrap_or_default()).collect();
    lines.join(end)
}

/// The characters that the secret alone decides when it stands `before` bytes behind a boundary of three: the ones
/// at its edges mix with its neighbours and are left out.
fn inside(engine: &impl base64::Engine, secret: &[u8], before: usize) -> String {
    let mut padded = vec![0; before];
    padded.extend_from_slice(secret);
    let encoded = engine.encode(&padded);
    let first = (before * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    encoded[first..last].to_owned()
}
