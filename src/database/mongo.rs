//! Connections to MongoDB, over TCP only.

use std::time::Duration;

use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::error::{Error as DriverError, ErrorKind, WriteFailure};
use mongodb::options::{Acknowledgment, ClientOptions, Credential, ServerAddress, WriteConcern};
use mongodb::{Client, Collection, Cursor, Database};
use tokio::net::TcpStream;

use super::Error;
use crate::outcome::Observation;
use crate::probe::DatabaseTarget;
use crate::redact::Secret;

/// Where users are kept that no single database has.
const SERVER_WIDE: &str = "admin";
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// What a server, or the way to it, answered. The driver's own text goes on with the whole reply, data included.
#[derive(Debug, thiserror::Error)]
#[error("{}", said(.0))]
pub struct Said(Box<DriverError>);

/// A connection; dropping it closes it.
#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    database: Database,
}

/// A collection with what `create` was given for it.
#[derive(Debug)]
pub(super) struct Listed {
    pub name: String,
    /// `collection`, `view` or `timeseries`.
    pub kind: String,
    pub options: Document,
}

impl Error {
    pub(super) fn mongo(doing: impl Into<String>) -> impl FnOnce(DriverError) -> Self {
        let doing = doing.into();
        move |source| Self::Mongodb { doing, source: Said(Box::new(source)) }
    }
}

impl Session {
    /// Connects and logs in. Errors on a path to a local socket in place of a host.
    pub(super) async fn open(target: &DatabaseTarget) -> Result<Self, Error> {
        Self::open_with(target, &target.password).await
    }

    /// As a user of the whole server, and as one of the database itself where there is no such user with that password.
    async fn open_with(target: &DatabaseTarget, password: &Secret) -> Result<Self, Error> {
        super::require_tcp(target)?;
        let doing = || format!("connect to {}", target.place());
        reach(target).await.map_err(|error| Error::mongo(doing())(error.into()))?;
        match Self::log_in(target, password, SERVER_WIDE).await {
            Err(error) if target.database != SERVER_WIDE && is_login_refused(&error) => {
                Self::log_in(target, password, &target.database).await
            }
            entered => entered,
        }
        .map_err(Error::mongo(doing()))
    }

    /// As a user that is kept in this database.
    async fn log_in(target: &DatabaseTarget, password: &Secret, kept_in: &str) -> Result<Self, DriverError> {
        let client = Client::with_options(options(target, password, kept_in))?;
        let database = client.database(&target.database);
        // The driver connects when something is asked for, and logs in before it asks.
        database.run_command(doc! { "ping": 1 }).await?;
        Ok(Self { client, database })
    }

    pub(super) fn collection(&self, name: &str) -> Collection<RawDocumentBuf> {
        self.database.collection(name)
    }

    /// Runs a command on the database; `doing` says what for.
    pub(super) async fn run(&self, doing: impl Into<String>, command: Document) -> Result<Document, Error> {
        self.database.run_command(command).await.map_err(Error::mongo(doing))
    }

    pub(super) async fn try_command(&self, command: Document) -> Result<Document, DriverError> {
        self.database.run_command(command).await
    }

    /// Users of the database and of the whole server, each as a server tells it; which it does to those only who may ask.
    pub(super) async fn users(&self) -> Result<Vec<Document>, Error> {
        let mut found = Vec::new();
        let own = self.database.name();
        for kept_in in [own, SERVER_WIDE].into_iter().take(if own == SERVER_WIDE { 1 } else { 2 }) {
            let told = match self.client.database(kept_in).run_command(doc! { "usersInfo": 1 }).await {
                Ok(told) => told,
                Err(error) if code(&error) == Some(UNAUTHORIZED) => continue,
                Err(error) => return Err(Error::mongo(format!("list the users of {kept_in}"))(error)),
            };
            let users = told.get_array("users").map(Vec::as_slice).unwrap_or_default();
            found.extend(users.iter().filter_map(Bson::as_document).cloned());
        }
        Ok(found)
    }

    /// Every collection in the order of names, but those that a server keeps for itself.
    pub(super) async fn collections(&self) -> Result<Vec<Listed>, Error> {
        const OWN: [&str; 3] = ["system.buckets.", "system.profile", "system.views"];
        let failed = || Error::mongo("list the collections");
        let listing = doc! { "listCollections": 1, "cursor": {} };
        let mut cursor = self.database.run_cursor_command(listing).await.map_err(failed())?;
        let mut found = Vec::new();
        while cursor.advance().await.map_err(failed())? {
            let listed: Document = cursor.deserialize_current().map_err(failed())?;
            let name = text(&listed, "name");
            if !OWN.iter().any(|own| name.starts_with(own)) {
                let options = listed.get_document("options").cloned().unwrap_or_default();
                found.push(Listed { name, kind: text(&listed, "type"), options });
            }
        }
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    /// Indexes of a collection in the order of names.
    pub(super) async fn indexes(&self, collection: &str) -> Result<Vec<Document>, Error> {
        let failed = || Error::mongo(format!("list the indexes of {collection}"));
        let listing = doc! { "listIndexes": collection, "cursor": {} };
        let mut cursor = self.database.run_cursor_command(listing).await.map_err(failed())?;
        let mut found = Vec::new();
        while cursor.advance().await.map_err(failed())? {
            found.push(cursor.deserialize_current().map_err(failed())?);
        }
        found.sort_by_key(|index: &Document| text(index, "name"));
        Ok(found)
    }

    /// Errors as a refusal where there is no such collection: a write would make it, and prove nothing.
    pub(super) async fn require(&self, collection: &str) -> Result<Collection<RawDocumentBuf>, Error> {
        match self.collections().await?.iter().any(|listed| listed.name == collection) {
            true => Ok(self.collection(collection)),
            false => Err(Error::NoCollection { name: collection.to_owned() }),
        }
    }

    /// The documents of a collection as they are stored.
    pub(super) async fn documents(&self, collection: &str) -> Result<Cursor<RawDocumentBuf>, Error> {
        let found = self.collection(collection).find(doc! {}).await;
        found.map_err(Error::mongo(format!("read the documents of {collection}")))
    }
}

pub(super) fn text(document: &Document, field: &str) -> String {
    document.get_str(field).unwrap_or_default().to_owned()
}

/// Whether anything listens: the driver itself looks again twice a second, until its deadline.
async fn reach(target: &DatabaseTarget) -> Result<(), std::io::Error> {
    let connect = TcpStream::connect((target.host.as_str(), target.port));
    tokio::time::timeout(CONNECT_DEADLINE, connect).await.map_err(std::io::Error::from)?.map(drop)
}

fn options(target: &DatabaseTarget, password: &Secret, kept_in: &str) -> ClientOptions {
    let mut credential = Credential::default();
    credential.username = Some(target.user.clone());
    credential.password = Some(password.expose().to_owned());
    credential.source = Some(kept_in.to_owned());
    let mut durable = WriteConcern::default();
    durable.w = Some(Acknowledgment::Majority);
    durable.journal = Some(true);
    let mut options = ClientOptions::default();
    options.hosts = vec![ServerAddress::Tcp { host: target.host.clone(), port: Some(target.port) }];
    options.app_name = Some("redrill".to_owned());
    options.credential = Some(credential);
    options.write_concern = Some(durable);
    options.direct_connection = Some(true);
    // A write that was not confirmed is not written again: the ledger would have it twice, or be refused its own row.
    options.retry_writes = Some(false);
    options.retry_reads = Some(false);
    options.max_pool_size = Some(1);
    options.connect_timeout = Some(CONNECT_DEADLINE);
    options.server_selection_timeout = Some(CONNECT_DEADLINE);
    options
}

/// Tries a login with another password than the target's own.
pub(super) async fn log_in(target: &DatabaseTarget, password: &Secret) -> Observation {
    let error = match Session::open_with(target, password).await {
        Ok(_) => return Observation::Accepted,
        Err(error) => error,
    };
    let reason = crate::error::chain(&error);
    match error {
        Error::Mongodb { source, .. } if is_login_refused(&source.0) => Observation::Refused { reason },
        _ => Observation::Unknown { reason },
    }
}

/// Of MongoDB's `error_codes.yml`, as all codes here.
const UNAUTHORIZED: i32 = 13;

/// Those that mean the name or the password.
const LOGIN_REFUSED: [i32; 2] = [11, 18];

fn is_login_refused(error: &DriverError) -> bool {
    code(error).is_some_and(|code| LOGIN_REFUSED.contains(&code))
}

/// Whether a server that is up has judged what it was asked, or its own data.
pub(super) fn is_judgement(said: &Said) -> bool {
    // Codes of MongoDB's `error_codes.yml`: user not found, unauthorized, authentication failed, namespace not found, index not found,
    // data corruption detected.
    const REFUSALS: [i32; 6] = [11, 13, 18, 26, 27, 301];
    // A stand-in that keeps its data in SQLite hands on what that says of a file (sqlite3_errstr of SQLITE_CORRUPT and
    // SQLITE_NOTADB).
    const BROKEN: [&str; 2] = ["database disk image is malformed", "file is not a database"];
    let text = said.to_string();
    code(&said.0).is_some_and(|code| REFUSALS.contains(&code)) || BROKEN.iter().any(|broken| text.contains(broken))
}

/// The server's code, wherever the driver has put it.
pub(super) fn code(error: &DriverError) -> Option<i32> {
    let own = match error.kind.as_ref() {
        ErrorKind::Command(command) => Some(command.code),
        ErrorKind::Write(WriteFailure::WriteError(write)) => Some(write.code),
        ErrorKind::Write(WriteFailure::WriteConcernError(concern)) => Some(concern.code),
        ErrorKind::InsertMany(many) => many.write_errors.as_ref().and_then(|errors| Some(errors.first()?.code)),
        _ => None,
    };
    let source = || std::error::Error::source(error)?.downcast_ref::<Box<DriverError>>();
    own.or_else(|| code(source()?))
}

/// Whether the connection was lost, and no answer came over it.
pub(super) fn is_disconnected(error: &DriverError) -> bool {
    matches!(error.kind.as_ref(), ErrorKind::Io(_) | ErrorKind::ConnectionPoolCleared { .. })
}

fn said(error: &DriverError) -> String {
    match error.kind.as_ref() {
        ErrorKind::Command(command) => format!("{} ({}, {})", command.message, command.code, command.code_name),
        ErrorKind::Write(WriteFailure::WriteError(write)) => format!("{} ({})", write.message, write.code),
        ErrorKind::InsertMany(many) => {
            let first = many.write_errors.as_ref().and_then(|errors| errors.first());
            first.map_or_else(
                || "not all were inserted".to_owned(),
                |first| format!("{} ({})", first.message, first.code),
            )
        }
        ErrorKind::Authentication { message, .. } => match code(error) {
            Some(code) => format!("{message} ({code})"),
            None => message.clone(),
        },
        kind => kind.to_string(),
    }
}

/// A value in words, fields in their order: a setting, a key, a list of roles.
pub(super) fn shown(value: impl Into<Bson>) -> String {
    value.into().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::DatabaseKind;

    fn target(host: &str, port: u16) -> DatabaseTarget {
        DatabaseTarget {
            kind: DatabaseKind::Mongodb,
            host: host.into(),
            port,
            database: "chat".into(),
            user: "chat".into(),
            password: Secret::new("s3cret"),
        }
    }

    #[tokio::test]
    async fn a_local_socket_is_never_used() {
        let target = target("/tmp/mongodb-27017.sock", 27017);
        assert!(matches!(Session::open(&target).await, Err(Error::Socket { .. })));
        assert!(matches!(log_in(&target, &target.password).await, Observation::Unknown { .. }));
    }

    #[tokio::test]
    async fn where_nobody_listens_nobody_refuses() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
        let Observation::Unknown { reason } = log_in(&target("127.0.0.1", free), &Secret::new("x")).await else {
            panic!("believed a server that is not there")
        };
        assert!(reason.starts_with("connect to chat@127.0.0.1:") && !reason.contains("s3cret"), "{reason}");
    }
}
