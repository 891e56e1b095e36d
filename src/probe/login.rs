//! Logging in for real, as the principal whose secret it is.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rand::Rng as _;
use rand::distr::Alphanumeric;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{LoginTarget, Reply, ResticTarget};
use crate::error::chain;
use crate::outcome::Observation;
use crate::redact::Secret;
use crate::{command, database};

/// restic derives a key for each password it tries: half a second of work, more on a busy machine.
const RESTIC_DEADLINE: Duration = Duration::from_secs(120);
const HTTP_DEADLINE: Duration = Duration::from_secs(15);

/// Logs in twice: with a random password, which a login that proves anything refuses, then with the one that was given. Where a
/// random one was refused a moment ago, once.
pub(super) async fn log_in(target: &LoginTarget, random_refused: bool) -> Reply {
    let random_refused =
        random_refused || matches!(try_password(target, &random_password()).await, Observation::Refused { .. });
    let password = match target {
        LoginTarget::Database(target) => &target.password,
        LoginTarget::Restic(target) => &target.password,
        LoginTarget::Http { password, .. } => password,
    };
    Reply::Login { observed: try_password(target, password).await, random_refused }
}

async fn try_password(target: &LoginTarget, password: &Secret) -> Observation {
    match target {
        LoginTarget::Database(target) => database::log_in(target, password).await,
        LoginTarget::Restic(target) => restic(target, password).await,
        LoginTarget::Http { url, user, password: _ } => page(url, user, password).await,
    }
}

/// A page that does not answer yet, or says that it cannot tell, is asked again until the deadline: a program that has just been
/// started takes a moment before it listens.
async fn page(url: &str, user: &str, password: &Secret) -> Observation {
    const POLL: Duration = Duration::from_millis(100);
    let deadline = Instant::now() + HTTP_DEADLINE;
    loop {
        let answer = tokio::time::timeout_at(deadline, http_basic(url, user, password)).await;
        let answer = answer.unwrap_or_else(|_| Observation::Unknown { reason: format!("{url} did not answer") });
        if !matches!(answer, Observation::Unknown { .. }) || Instant::now() + POLL >= deadline {
            return answer;
        }
        tokio::time::sleep(POLL).await;
    }
}

fn random_password() -> Secret {
    let letters = rand::rng().sample_iter(Alphanumeric).take(32);
    Secret::new(letters.map(char::from).collect::<String>())
}

/// Opens the repository, which takes its password, by reading its configuration. No lock and no cache are left behind.
async fn restic(target: &ResticTarget, password: &Secret) -> Observation {
    let mut env: BTreeMap<String, Secret> = target.env.clone();
    // Without these restic reads the password from its input, the one place that nobody else can read.
    for name in ["RESTIC_PASSWORD", "RESTIC_PASSWORD_FILE", "RESTIC_PASSWORD_COMMAND"] {
        env.insert(name.to_owned(), Secret::new(""));
    }
    let argv = ["restic", "--repo", &target.repository, "--no-lock", "--no-cache", "cat", "config"];
    let line = zeroize::Zeroizing::new(format!("{}\n", password.expose()));
    match command::run(&argv, &env, line.as_bytes(), RESTIC_DEADLINE).await {
        Ok(output) if output.status.success() => Observation::Accepted,
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let reason = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason given").to_owned();
            if said.contains("wrong password or no key found") {
                Observation::Refused { reason }
            } else {
                Observation::Unknown { reason }
            }
        }
        Err(error) => Observation::Unknown { reason: chain(&error) },
    }
}

/// 2xx is accepted, 401 and 403 are refused. Plain HTTP only: inside a drill's own network there is nobody to hide from.
async fn http_basic(url: &str, user: &str, password: &Secret) -> Observation {
    let credentials = BASE64.encode(format!("{user}:{}", password.expose()));
    match http_status(url, Some(format!("Basic {credentials}"))).await {
        Ok(status) if status.is_success() => Observation::Accepted,
        Ok(status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)) => {
            Observation::Refused { reason: format!("{url} answered {status}") }
        }
        Ok(status) => Observation::Unknown { reason: format!("{url} answered {status}") },
        Err(error) => Observation::Unknown { reason: format!("{url}: {}", chain(&error)) },
    }
}

/// The status of one answer, with what `Authorization` is to say.
pub(super) async fn http_status(url: &str, authorization: Option<String>) -> io::Result<StatusCode> {
    let uri: Uri = url.parse().map_err(io::Error::other)?;
    let (Some("http"), Some(host)) = (uri.scheme_str(), uri.host()) else {
        return Err(io::Error::new(io::ErrorKind::Unsupported, "not an http:// address"));
    };
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), uri.port_u16().unwrap_or(80))).await?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(io::Error::other)?;
    let driver = tokio::spawn(async move { drop(connection.await) });
    let mut request = Request::get(uri.path_and_query().map_or("/", |path| path.as_str()))
        .header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()));
    if let Some(authorization) = authorization {
        request = request.header(header::AUTHORIZATION, authorization);
    }
    let request = request.body(axum::body::Body::empty()).map_err(io::Error::other)?;
    let response = sender.send_request(request).await.map_err(io::Error::other);
    driver.abort();
    Ok(response?.status())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderMap;
    use axum::routing::get;

    async fn served(path: &str, password: &str) -> Reply {
        served_when(false, path, password).await
    }

    async fn served_when(random_refused: bool, path: &str, password: &str) -> Reply {
        async fn guarded(headers: HeaderMap) -> StatusCode {
            let right = format!("Basic {}", BASE64.encode("anna:s3cret"));
            if headers.get("authorization").is_some_and(|value| value == &right) {
                StatusCode::NO_CONTENT
            } else {
                StatusCode::UNAUTHORIZED
            }
        }
        let routes = axum::Router::new()
            .route("/guarded", get(guarded))
            .route("/open", get(|| async { "come in" }))
            .route("/broken", get(|| async { StatusCode::BAD_GATEWAY }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{path}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        log_in(&LoginTarget::Http { url, user: "anna".into(), password: Secret::new(password) }, random_refused).await
    }

    #[tokio::test]
    async fn the_right_password_is_accepted_after_a_random_one_was_refused() {
        let Reply::Login { observed, random_refused } = served("/guarded", "s3cret").await else { panic!() };
        assert_eq!((observed, random_refused), (Observation::Accepted, true));
    }

    #[tokio::test]
    async fn a_wrong_password_is_refused() {
        let Reply::Login { observed, random_refused } = served("/guarded", "wrong").await else { panic!() };
        assert!(matches!(observed, Observation::Refused { .. }) && random_refused);
    }

    #[tokio::test]
    async fn a_door_that_is_open_to_anyone_is_told() {
        let Reply::Login { observed, random_refused } = served("/open", "s3cret").await else { panic!() };
        assert_eq!((observed, random_refused), (Observation::Accepted, false));
    }

    #[tokio::test]
    async fn a_random_password_that_was_refused_a_moment_ago_is_not_tried_again() {
        let Reply::Login { observed, random_refused } = served_when(true, "/open", "s3cret").await else { panic!() };
        assert_eq!((observed, random_refused), (Observation::Accepted, true), "as it would not be, had it been tried");
        let Reply::Login { observed, .. } = served_when(true, "/guarded", "wrong").await else { panic!() };
        assert!(matches!(observed, Observation::Refused { .. }), "{observed:?}");
    }

    #[tokio::test]
    async fn a_broken_server_is_neither_accepted_nor_refused() {
        let Reply::Login { observed, random_refused } = served("/broken", "s3cret").await else { panic!() };
        assert!(matches!(observed, Observation::Unknown { .. }) && !random_refused);
    }
}
