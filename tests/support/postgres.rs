//! A private PostgreSQL server for tests: its own directory, its own port on 127.0.0.1, passwords required.

use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use redrill::database::DatabaseKind;
use redrill::database::postgres::connect;
use redrill::probe::DatabaseTarget;
use redrill::redact::Secret;

pub const SUPERUSER: &str = "taiga";
pub const PASSWORD: &str = "s3cret of the tests";
/// Of the clients, and of the server unless `REDRILL_TEST_POSTGRES` names the `bin` of another version.
const BIN: &str = "/usr/lib/postgresql/15/bin";
const START_DEADLINE: Duration = Duration::from_secs(60);

/// A running server; dropping it kills it and removes its directory.
pub struct Server {
    process: Child,
    port: u16,
    directory: tempfile::TempDir,
}

impl Server {
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With more settings, each as `name=value`.
    pub async fn start_with(settings: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("make a directory for PostgreSQL");
        let account = Account::of_postgres();
        account.give(directory.path());
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o700))
            .expect("close the directory");
        let password_file = directory.path().join("password");
        std::fs::File::create(&password_file)
            .and_then(|mut file| writeln!(file, "{PASSWORD}"))
            .expect("write the password");
        account.give(&password_file);
        let data = directory.path().join("data");
        let made = account
            .command("initdb")
            .args([
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale=C.UTF-8",
                "--no-sync",
                "--username",
                SUPERUSER,
                "--pwfile",
            ])
            .arg(&password_file)
            .arg(&data)
            .output()
            .expect("run initdb of PostgreSQL 15");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));
        let port = free_port();
        let process = account
            .command("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="])
            .args([
                "-c",
                "fsync=off",
                "-c",
                "full_page_writes=off",
                "-c",
                "max_wal_size=8GB",
                "-c",
                "logging_collector=off",
            ])
            .args(settings.iter().flat_map(|setting| ["-c", setting]))
            .stderr(std::fs::File::create(directory.path().join("log")).expect("make a log"))
            .spawn()
            .expect("start postgres");
        let mut server = Self { process, port, directory };
        server.wait_until_ready().await;
        server
    }

    pub fn target(&self, database: &str) -> DatabaseTarget {
        DatabaseTarget {
            kind: DatabaseKind::Postgres,
            host: "127.0.0.1".into(),
            port: self.port,
            database: database.into(),
            user: SUPERUSER.into(),
            password: Secret::new(PASSWORD),
        }
    }

    /// Makes an empty database.
    pub async fn database(&self, name: &str) -> DatabaseTarget {
        self.execute("postgres", &format!("CREATE DATABASE \"{name}\"")).await;
        self.target(name)
    }

    /// Makes a database as a copy of another, byte by byte.
    pub async fn copy(&self, from: &str, to: &str) -> DatabaseTarget {
        self.execute("postgres", &format!("CREATE DATABASE \"{to}\" TEMPLATE \"{from}\"")).await;
        self.target(to)
    }

    pub async fn execute(&self, database: &str, sql: &str) {
        let session = connect(&self.target(database)).await.expect("connect");
        session.batch_execute(sql).await.unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    /// `pg_dump FROM | psql TO`, as a runbook would.
    pub fn dump_and_restore(&self, from: &str, to: &str) {
        let mut dump = self.client("pg_dump", from).stdout(Stdio::piped()).spawn().expect("run pg_dump");
        let restored = self
            .client("psql", to)
            .args(["-v", "ON_ERROR_STOP=1", "-q"])
            .stdin(dump.stdout.take().expect("the dump's output"))
            .output()
            .expect("run psql");
        assert!(restored.status.success(), "psql: {}", String::from_utf8_lossy(&restored.stderr));
        assert!(dump.wait().expect("wait for pg_dump").success());
    }

    fn client(&self, program: &str, database: &str) -> Command {
        let mut command = Command::new(Path::new(BIN).join(program));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", SUPERUSER, database]);
        command.env("PGPASSWORD", PASSWORD).env("PSQLRC", "/dev/null");
        command
    }

    /// Whether a file of that name is in the server's directory, beside its data.
    #[allow(dead_code, reason = "each test program uses its own part of this")]
    pub fn has_file(&self, name: &str) -> bool {
        self.directory.path().join(name).is_file()
    }

    /// As a crash would.
    #[allow(dead_code, reason = "each test program uses its own part of this")]
    pub fn kill(&mut self) {
        self.process.kill().expect("kill postgres");
        self.process.wait().expect("wait for postgres");
    }

    async fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + START_DEADLINE;
        loop {
            let last = match connect(&self.target("postgres")).await {
                Ok(_) => return,
                Err(error) => error,
            };
            let ended = self.process.try_wait().expect("look at postgres");
            if ended.is_some() || Instant::now() > deadline {
                let log = std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
                panic!("PostgreSQL is not ready ({last}), ended: {ended:?}\n{log}");
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its children notice and end by themselves.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// PostgreSQL refuses to run as root.
enum Account {
    Own,
    Postgres { user: u32, group: u32 },
}

impl Account {
    fn of_postgres() -> Self {
        if !nix::unistd::geteuid().is_root() {
            return Self::Own;
        }
        let user = nix::unistd::User::from_name("postgres").ok().flatten().expect("the user postgres");
        Self::Postgres { user: user.uid.as_raw(), group: user.gid.as_raw() }
    }

    fn give(&self, path: &Path) {
        if let Self::Postgres { user, group } = self {
            chown(path, Some(*user), Some(*group)).expect("give a file to postgres");
        }
    }

    fn command(&self, program: &str) -> Command {
        let bin = std::env::var_os("REDRILL_TEST_POSTGRES").map_or_else(|| PathBuf::from(BIN), PathBuf::from);
        let mut command = Command::new(bin.join(program));
        if let Self::Postgres { user, group } = self {
            command.uid(*user).gid(*group);
        }
        command.current_dir("/");
        command
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("find a free port");
    listener.local_addr().expect("the free port").port()
}
