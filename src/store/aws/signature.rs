//! Whether a request was signed with the account's secret key: signature version 4.

use axum::http::{StatusCode, request::Parts};
use ring::hmac;
use sha2::{Digest, Sha256};

use super::fault::Fault;
use crate::store::s3::Credentials;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Errs with what the service says to a stranger.
pub fn check(parts: &Parts, body: &[u8], credentials: &Credentials) -> Result<(), Fault> {
    let refuse = |code, message: &str| Fault::new(code, message).with_status(StatusCode::FORBIDDEN);
    let missing = || refuse("MissingAuthenticationTokenException", "the request is not signed with version 4");
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let authorization = header("authorization").and_then(|value| value.strip_prefix(ALGORITHM)).ok_or_else(missing)?;
    let field =
        |name: &str| authorization.split(',').find_map(|field| field.trim().strip_prefix(name)?.strip_prefix('='));
    let (Some(credential), Some(signed), Some(signature), Some(date)) =
        (field("Credential"), field("SignedHeaders"), field("Signature"), header("x-amz-date"))
    else {
        return Err(missing());
    };
    let (key, scope) = credential.split_once('/').ok_or_else(missing)?;
    if key != credentials.access_key {
        return Err(refuse("UnrecognizedClientException", "the access key is not the account's"));
    }
    let hash = hex::encode(Sha256::digest(canonical(parts, signed, body)));
    let text = format!("{ALGORITHM}\n{date}\n{scope}\n{hash}");
    let start = format!("AWS4{}", credentials.secret_key.expose()).into_bytes();
    let sign = |key: Vec<u8>, part: &str| hmac::sign(&mac_key(&key), part.as_bytes()).as_ref().to_vec();
    let key = scope.split('/').fold(start, sign);
    let given = hex::decode(signature).unwrap_or_default();
    hmac::verify(&mac_key(&key), text.as_bytes(), &given)
        .map_err(|_| refuse("SignatureDoesNotMatch", "the secret key is not the account's, or the request was changed"))
}

fn mac_key(key: &[u8]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, key)
}

/// What was signed. The path is encoded once more, as for every service but S3.
fn canonical(parts: &Parts, signed: &str, body: &[u8]) -> String {
    let path: String = parts.uri.path().bytes().map(encoded).collect();
    let mut query: Vec<&str> =
        parts.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()).collect();
    query.sort_unstable();
    let headers = signed.split(';').map(|name| {
        let values = parts.headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        let values: Vec<String> =
            values.map(|value| value.split_ascii_whitespace().collect::<Vec<_>>().join(" ")).collect();
        format!("{name}:{}\n", values.join(","))
    });
    let headers: String = headers.collect();
    let body = hex::encode(Sha256::digest(body));
    format!("{}\n{path}\n{}\n{headers}\n{signed}\n{body}", parts.method, query.join("&"))
}

fn encoded(byte: u8) -> String {
    match byte {
        b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;
    use crate::redact::Secret;

    /// The example that the service's documentation works out step by step.
    fn example(signature: &str) -> Parts {
        let authorization = format!(
            "{ALGORITHM} Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date, Signature={signature}"
        );
        let request = Request::get("https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08")
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("host", "iam.amazonaws.com")
            .header("x-amz-date", "20150830T123600Z")
            .header("authorization", authorization);
        request.body(()).unwrap().into_parts().0
    }

    fn credentials(secret: &str) -> Credentials {
        Credentials { access_key: "AKIDEXAMPLE".to_owned(), secret_key: Secret::new(secret) }
    }

    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const SIGNATURE: &str = "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";

    #[test]
    fn the_documented_example_is_accepted() {
        assert_eq!(check(&example(SIGNATURE), b"", &credentials(SECRET)), Ok(()));
    }

    #[test]
    fn another_secret_another_body_and_no_signature_are_refused_by_name() {
        let code =
            |parts: &Parts, body: &[u8], secret: &str| check(parts, body, &credentials(secret)).unwrap_err().code;
        assert_eq!(code(&example(SIGNATURE), b"", "other"), "SignatureDoesNotMatch");
        assert_eq!(code(&example(SIGNATURE), b"more", SECRET), "SignatureDoesNotMatch");
        assert_eq!(code(&example(""), b"", SECRET), "SignatureDoesNotMatch");
        let stranger = Credentials { access_key: "other".to_owned(), ..credentials(SECRET) };
        assert_eq!(check(&example(SIGNATURE), b"", &stranger).unwrap_err().code, "UnrecognizedClientException");
        let unsigned = Request::get("https://iam.amazonaws.com/").body(()).unwrap().into_parts().0;
        assert_eq!(code(&unsigned, b"", SECRET), "MissingAuthenticationTokenException");
    }
}
