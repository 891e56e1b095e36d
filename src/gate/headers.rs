//! Headers of requests, as the cluster is sent them.

use http::{HeaderMap, header};

/// What is said to the gate and to nobody behind it, and forms of answers that it does not read.
pub(super) fn strip(headers: &mut HeaderMap) {
    for name in [header::HOST, header::AUTHORIZATION, header::ACCEPT_ENCODING] {
        headers.remove(name);
    }
    let impersonation: Vec<_> =
        headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in impersonation {
        headers.remove(name);
    }
    let Some(accept) = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()) else { return };
    let readable: Vec<&str> = accept
        .split(',')
        .map(str::trim)
        .filter(|form| {
            !form.starts_with("application/vnd.kubernetes.protobuf") && !form.starts_with("application/cbor")
        })
        .collect();
    let readable = if readable.join("").is_empty() { "application/json".to_owned() } else { readable.join(", ") };
    if let Ok(value) = readable.parse() {
        headers.insert(header::ACCEPT, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_inside_speaks_in_the_name_of_another_and_every_answer_can_be_read() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer x"),
            ("impersonate-user", "admin"),
            ("impersonate-extra-scopes", "all"),
            ("accept-encoding", "gzip"),
            (
                "accept",
                "application/vnd.kubernetes.protobuf,application/json;as=Table;v=v1;g=meta.k8s.io, application/json",
            ),
            ("upgrade", "websocket"),
        ] {
            headers.insert(http::HeaderName::from_static(name), value.parse().unwrap());
        }
        strip(&mut headers);
        assert_eq!(headers.len(), 2, "{headers:?}");
        assert_eq!(headers[header::ACCEPT], "application/json;as=Table;v=v1;g=meta.k8s.io, application/json");
        headers.insert(header::ACCEPT, "application/vnd.kubernetes.protobuf".parse().unwrap());
        strip(&mut headers);
        assert_eq!(headers[header::ACCEPT], "application/json");
        // Who asks for no form at all, as for a connection, is given none.
        headers.remove(header::ACCEPT);
        strip(&mut headers);
        assert!(!headers.contains_key(header::ACCEPT));
    }
}
