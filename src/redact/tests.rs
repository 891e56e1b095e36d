use proptest::prelude::*;

use super::*;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

fn redactor(secrets: &[&str]) -> Redactor {
    let redactor = Redactor::new();
    for secret in secrets {
        redactor.add(&Secret::new(*secret)).expect("long enough");
    }
    redactor
}

#[test]
fn a_secret_is_replaced_and_the_rest_stays() {
    let redactor = redactor(&["hunter2"]);
    assert_eq!(redactor.redact("password=hunter2;"), "password=[redacted];");
}

#[test]
fn secrets_that_overlap_or_touch_are_one_marker() {
    let redactor = redactor(&["abcdef", "defghi"]);
    assert_eq!(redactor.redact("<abcdefghi abcdefabcdef>"), "<[redacted] [redacted]>");
}

#[test]
fn the_longer_of_two_secrets_leaves_no_tail() {
    let redactor = redactor(&["secret", "secret-and-more"]);
    assert_eq!(redactor.redact("secret-and-more secret-and"), "[redacted] [redacted]-and");
}

#[test]
fn a_prompt_is_given_out_at_once() {
    let mut stream = redactor(&["hunter2"]).stream();
    assert_eq!(stream.redact_chunk(b"Password: "), b"Password: ");
    assert_eq!(stream.redact_chunk(b"hun"), b"");
    assert_eq!(stream.redact_chunk(b"ter2"), MARKER.as_bytes());
    assert_eq!(stream.redact_chunk(b"\r\n"), b"\r\n");
}

#[test]
fn a_secret_that_never_completes_is_given_out_in_the_end() {
    let mut stream = redactor(&["hunter2"]).stream();
    assert_eq!(stream.redact_chunk(b"the hun"), b"the ");
    assert_eq!(stream.finish(), b"hun");
}

#[test]
fn a_secret_added_during_a_run_counts_for_streams_that_are_open() {
    let redactor = Redactor::new();
    let mut stream = redactor.stream();
    assert_eq!(stream.redact_chunk(b"fresh-pass "), b"fresh-pass ");
    redactor.add(&Secret::new("fresh-pass")).expect("long enough");
    assert_eq!(stream.redact_chunk(b"fresh-pass "), b"[redacted] ");
}

#[test]
fn bytes_that_are_not_utf8_pass_through() {
    let redactor = redactor(&["hunter2"]);
    assert_eq!(redactor.redact_bytes(b"\xff\xfehunter2\x80"), b"\xff\xfe[redacted]\x80");
}

#[test]
fn a_short_secret_is_refused_and_an_empty_one_hides_nothing() {
    let redactor = Redactor::new();
    let refused = redactor.add(&Secret::new("abc")).expect_err("three bytes");
    assert_eq!(refused.to_string(), "a secret of 3 bytes cannot be kept out of logs (give it at least 4)");
    redactor.add(&Secret::new("")).expect("nothing to hide");
    assert_eq!(redactor.redact("abc"), "abc");
}

#[test]
fn a_secret_of_several_lines_is_found_as_a_terminal_shows_it() {
    let redactor = redactor(&["line one\nline two"]);
    assert_eq!(redactor.redact("key: line one\r\nline two\r\n"), "key: [redacted]\r\n");
}

#[test]
fn neither_a_secret_nor_a_redactor_can_be_printed() {
    let secret = Secret::new("hunter2");
    let redactor = redactor(&["hunter2"]);
    assert!(!format!("{secret:?} {redactor:?}").contains("hunter2"));
}

/// Secrets that are no part of the marker itself, which would stand in the output for a good reason.
fn a_secret() -> impl Strategy<Value = String> {
    "[!-~ äß€😀\n]{4,40}".prop_filter("stands in the marker", |secret| !MARKER.contains(secret.as_str()))
}

/// Text that shares no character with any form of any secret.
fn innocent() -> impl Strategy<Value = String> {
    "[α-ω]{0,30}"
}

/// As the programs around a drill print them, made without the code under test.
fn as_programs_print(secret: &str) -> Vec<Vec<u8>> {
    let json = serde_json::to_string(secret).expect("a string");
    let mut all = vec![
        secret.as_bytes().to_vec(),
        STANDARD.encode(secret).into_bytes(),
        STANDARD.encode(format!("{secret}\n")).into_bytes(),
        STANDARD.encode(secret).trim_end_matches('=').as_bytes().to_vec(),
        URL_SAFE_NO_PAD.encode(secret).into_bytes(),
        secret.bytes().map(|byte| format!("{byte:02x}")).collect::<String>().into_bytes(),
        secret.bytes().map(|byte| format!("{byte:02X}")).collect::<String>().into_bytes(),
        json.as_bytes()[1..json.len() - 1].to_vec(),
        secret.replace('\'', r"'\''").into_bytes(),
    ];
    all.retain(|form| form.len() >= SHORTEST);
    all
}

fn contains(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

/// Which bytes stand in one of these places.
fn covered(places: &[(usize, usize)], length: usize) -> Vec<bool> {
    (0..length).map(|at| places.iter().any(|(start, end)| (*start..*end).contains(&at))).collect()
}

#[test]
fn secrets_that_begin_alike_are_told_apart() {
    let redactor =
        redactor(&["-----BEGIN CERTIFICATE-----one", "-----BEGIN CERTIFICATE-----one and more", "-----BEGIN"]);
    assert_eq!(redactor.redact("-----BEGIN CERTIFICATE-----two"), "[redacted] CERTIFICATE-----two");
    assert_eq!(redactor.redact("-----BEGIN CERTIFICATE-----one and no"), "[redacted] and no");
    assert_eq!(redactor.redact("-----BEGIN CERTIFICATE-----one and more."), "[redacted].");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn no_secret_survives_in_any_form(secrets in prop::collection::vec(a_secret(), 1..4), before in innocent(), after in innocent()) {
        let redactor = Redactor::new();
        for secret in &secrets {
            redactor.add(&Secret::new(secret.clone())).expect("long enough");
        }
        for secret in &secrets {
            for form in as_programs_print(secret) {
                let text = [before.as_bytes(), &form, after.as_bytes()].concat();
                let clean = redactor.redact_bytes(&text);
                prop_assert_eq!(clean, [before.as_bytes(), MARKER.as_bytes(), after.as_bytes()].concat());
            }
        }
    }

    #[test]
    fn looking_for_beginnings_finds_what_looking_for_each_pattern_finds(
        patterns in prop::collection::btree_set("(abababababababab)?[ab]{1,12}", 1..6),
        text in "((abababababababab)?[abc]{1,12}){0,6}",
    ) {
        let patterns = Patterns::new(patterns.into_iter().map(String::into_bytes).collect());
        let (text, length) = (text.as_bytes(), text.len());
        prop_assert_eq!(covered(&patterns.places(text), length), covered(&patterns.places_one_by_one(text), length));
    }

    #[test]
    fn a_secret_inside_something_base64_encoded_does_not_survive(secret in a_secret(), before in "[a-z]{0,9}", after in "[a-z]{0,9}") {
        let redactor = Redactor::new();
        redactor.add(&Secret::new(secret.clone())).expect("long enough");
        let larger = format!("{before}{secret}{after}");
        for encoded in [STANDARD.encode(&larger), URL_SAFE_NO_PAD.encode(&larger)] {
            let clean = redactor.redact(&encoded);
            prop_assert!(clean.contains(MARKER), "{} is still whole", clean);
            // At most the bytes at either edge, which share a character with a neighbour, can be guessed at.
            let left = clean.len() - MARKER.len();
            prop_assert!(left <= (before.len() + after.len()) * 4 / 3 + 8, "too much left: {}", clean);
        }
    }

    #[test]
    fn text_without_secrets_is_unchanged(secret in a_secret(), text in "[α-ω\n\r\t]{0,200}") {
        let redactor = Redactor::new();
        redactor.add(&Secret::new(secret)).expect("long enough");
        prop_assert_eq!(redactor.redact(&text), text);
    }

    #[test]
    fn how_the_bytes_are_cut_does_not_matter(
        secrets in prop::collection::vec("[ab]{4,8}", 1..4),
        text in prop::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), any::<u8>()], 0..200),
        cuts in prop::collection::vec(1usize..9, 1..60),
    ) {
        let redactor = Redactor::new();
        for secret in &secrets {
            redactor.add(&Secret::new(secret.clone())).expect("long enough");
        }
        let whole = redactor.redact_bytes(&text);
        let mut stream = redactor.stream();
        let mut pieces = Vec::new();
        let mut rest = text.as_slice();
        for cut in cuts.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            pieces.extend(stream.redact_chunk(piece));
            rest = behind;
        }
        pieces.extend(stream.finish());
        prop_assert_eq!(&pieces, &whole);
        for secret in &secrets {
            prop_assert!(!contains(&whole, secret.as_bytes()));
        }
    }
}
