//! Connections to PostgreSQL, and to CockroachDB, which speaks its protocol; over TCP only.

use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, NoTls, Socket};

use super::{DatabaseKind, Error, cockroach};
use crate::outcome::Observation;
use crate::probe::DatabaseTarget;
use crate::redact::Secret;

const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// A connection; dropping it closes it.
#[derive(Debug)]
pub struct Session {
    client: Client,
    driver: JoinHandle<()>,
}

impl Session {
    /// The server's version, as `server_version_num`. Errors before 11: neither seed nor fingerprint speaks to those.
    pub async fn version(&self) -> Result<i32, Error> {
        const OLDEST: i32 = 110_000;
        let row = self.query_one("SELECT current_setting('server_version_num')::int4, version()", &[]).await;
        let row = row.map_err(Error::postgres("ask for the server's version"))?;
        let version = row.get(0);
        if version < OLDEST { Err(Error::TooOld { version: row.get(1) }) } else { Ok(version) }
    }
}

impl Deref for Session {
    type Target = Client;
    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Connects and logs in. Errors on a path to a local socket in place of a host.
pub async fn connect(target: &DatabaseTarget) -> Result<Session, Error> {
    connect_with(target, &target.password).await
}

async fn connect_with(target: &DatabaseTarget, password: &Secret) -> Result<Session, Error> {
    match target.kind {
        DatabaseKind::Postgres => open(target, password, SslMode::Disable, NoTls).await,
        kind @ DatabaseKind::Mongodb => Err(Error::OfPostgres { what: "its protocol", kind, place: target.place() }),
        // A secure one takes no password without.
        DatabaseKind::Cockroach => open(target, password, SslMode::Prefer, cockroach::tls()?).await,
    }
}

/// How long a cluster may take to lead the address of a Service, which is no machine's, to a pod that has just become ready.
const ROUTED: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// Nothing leads there, which says nothing of whether a server is there.
fn is_unrouted(error: &tokio_postgres::Error) -> bool {
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    source.is_some_and(|error| error.kind() == std::io::ErrorKind::NetworkUnreachable)
}

async fn open<T>(target: &DatabaseTarget, password: &Secret, mode: SslMode, tls: T) -> Result<Session, Error>
where
    T: MakeTlsConnect<Socket, Stream: Send + 'static> + Clone,
{
    super::require_tcp(target)?;
    let mut config = Config::new();
    config
        .host(&target.host)
        .port(target.port)
        .dbname(&target.database)
        .user(&target.user)
        .password(password.expose())
        .application_name("redrill")
        .ssl_mode(mode)
        .connect_timeout(CONNECT_DEADLINE);
    let since = Instant::now();
    let (client, connection) = loop {
        match config.connect(tls.clone()).await {
            Err(error) if is_unrouted(&error) && since.elapsed() < ROUTED => tokio::time::sleep(LOOK_AGAIN).await,
            connected => break connected.map_err(Error::postgres(format!("connect to {}", target.place())))?,
        }
    };
    // The client reports what ends a connection; the driver's copy of it adds nothing.
    let driver = tokio::spawn(async move { drop(connection.await) });
    Ok(Session { client, driver })
}

/// Tries a login with another password than the target's own.
pub async fn log_in(target: &DatabaseTarget, password: &Secret) -> Observation {
    let error = match connect_with(target, password).await {
        Ok(session) => match session.simple_query("SELECT 1").await {
            Ok(_) => return Observation::Accepted,
            Err(source) => Error::postgres("ask the first question")(source),
        },
        Err(error) => error,
    };
    let reason = crate::error::chain(&error);
    match error {
        Error::Postgres { source, .. } if is_refusal(source.code()) => Observation::Refused { reason },
        _ => Observation::Unknown { reason },
    }
}

/// Whether a server that is up has judged what it was asked, or its own data.
pub(super) fn is_judgement(error: &tokio_postgres::Error) -> bool {
    // Classes of appendix A of PostgreSQL's manual: authorization, catalog name, schema name, syntax error or access
    // rule, internal error (XX001 and XX002 are corrupted data and indexes), and a file of the server's that is gone.
    const REFUSALS: [&str; 7] = ["28", "3D", "3F", "42", "XX001", "XX002", "58P01"];
    error.code().is_some_and(|code| REFUSALS.iter().any(|refusal| code.code().starts_with(refusal)))
}

fn is_refusal(code: Option<&SqlState>) -> bool {
    code.is_some_and(|code| {
        *code == SqlState::INVALID_PASSWORD || *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION
    })
}

/// Sets a role's password by its SCRAM verifier, made here: a statement with the password in plain would end up in the
/// server's log.
pub async fn set_password(target: &DatabaseTarget, role: &str, password: &Secret) -> Result<(), Error> {
    let verifier = postgres_protocol::password::scram_sha_256(password.expose().as_bytes());
    let statement = format!("ALTER ROLE {} PASSWORD {}", quote_name(role), quote_text(&verifier));
    let session = connect(target).await?;
    session.batch_execute(&statement).await.map_err(Error::postgres(format!("set the password of {role}")))
}

/// As an SQL identifier.
pub(super) fn quote_name(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// As an SQL string, whatever `standard_conforming_strings` says.
pub(super) fn quote_text(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_local_socket_is_never_used() {
        let target = DatabaseTarget {
            kind: crate::database::DatabaseKind::Postgres,
            host: "/var/run/postgresql".into(),
            port: 5432,
            database: "postgres".into(),
            user: "postgres".into(),
            password: Secret::new("x"),
        };
        assert!(matches!(connect(&target).await, Err(Error::Socket { .. })));
        assert!(matches!(log_in(&target, &target.password).await, Observation::Unknown { .. }));
    }

    #[test]
    fn names_and_texts_are_quoted() {
        assert_eq!(quote_name("Odd \"name\""), "\"Odd \"\"name\"\"\"");
        assert_eq!(quote_text(r"it's a \ "), r"E'it''s a \\ '");
    }
}
