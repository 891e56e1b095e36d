//! The S3 store under the real restic, over TLS, as a runbook would use it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use redrill::fingerprint::tree;
use redrill::probe::files::{Owner, seed};
use redrill::redact::Secret;
use redrill::store::s3::{Credentials, Store, tls};

/// A store on 127.0.0.1 with one bucket, and a restic repository in it.
struct Fixture {
    directory: tempfile::TempDir,
    port: u16,
}

impl Fixture {
    async fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let certificate = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        std::fs::write(path("cert.pem"), certificate.cert.pem()).unwrap();
        std::fs::write(path("key.pem"), certificate.signing_key.serialize_pem()).unwrap();
        std::fs::write(path("new-password"), "second\n").unwrap();
        let credentials = Credentials { access_key: "AKDRILL".into(), secret_key: Secret::new("s3cret") };
        let store = Store::open(&path("root"), &["backups".into()], credentials).unwrap();
        let acceptor = tls(&path("cert.pem"), &path("key.pem")).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move { store.serve(listener, Some(acceptor)).await });
        Self { directory, port }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn restic(&self, password: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("restic");
        command
            .args(["--repo", &format!("s3:https://127.0.0.1:{}/backups/taiga", self.port), "--no-cache", "--cacert"])
            .arg(self.path("cert.pem"))
            .args(arguments)
            .env("RESTIC_PASSWORD", password)
            .env("AWS_ACCESS_KEY_ID", "AKDRILL")
            .env("AWS_SECRET_ACCESS_KEY", "s3cret");
        command
    }

    async fn run(&self, password: &str, arguments: &[&str]) -> Output {
        let command = self.restic(password, arguments);
        let shown = format!("restic {}", arguments.join(" "));
        let output = output(command).await;
        assert!(output.status.success(), "{shown}: {}", String::from_utf8_lossy(&output.stderr));
        output
    }
}

/// Elsewhere, because the store runs on this test's threads.
async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

async fn backup_stdin(fixture: &Fixture, content: &Path) {
    let mut command = fixture.restic("first", &["backup", "--stdin"]);
    command.stdin(std::fs::File::open(content).unwrap());
    let output = output(command).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_backs_up_restores_rotates_checks_and_prunes() {
    let fixture = Fixture::start().await;
    let media = fixture.path("media");
    let (user, group) = (nix::unistd::geteuid().as_raw(), nix::unistd::getegid().as_raw());
    seed(&media, 24 << 20, 7, Owner { user, group }).unwrap();
    let dump = media.join("uploads/00/upload-0.bin");

    fixture.run("first", &["init"]).await;
    backup_stdin(&fixture, &dump).await;
    fixture.run("first", &["backup", media.to_str().unwrap()]).await;
    fixture.run("first", &["check", "--read-data"]).await;

    let dumped = fixture.run("first", &["dump", "--path", "/stdin", "latest", "stdin"]).await;
    assert!(dumped.stdout == std::fs::read(&dump).unwrap(), "{} bytes", dumped.stdout.len());
    let target = fixture.path("restored");
    fixture
        .run("first", &["restore", "latest", "--path", media.to_str().unwrap(), "--target", target.to_str().unwrap()])
        .await;
    let before = tree::fingerprint(&media).unwrap();
    let restored = tree::fingerprint(&target.join(media.strip_prefix("/").unwrap())).unwrap();
    assert_eq!(before.differences(&restored), []);

    let new_password = fixture.path("new-password");
    fixture.run("first", &["key", "passwd", "--new-password-file", new_password.to_str().unwrap()]).await;
    let old = output(fixture.restic("first", &["snapshots"])).await;
    assert!(String::from_utf8_lossy(&old.stderr).contains("wrong password or no key found"));
    fixture.run("second", &["forget", "--group-by", "", "--keep-last", "1", "--prune"]).await;
    fixture.run("second", &["check", "--read-data"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_key_is_refused() {
    let fixture = Fixture::start().await;
    let mut command = fixture.restic("first", &["init"]);
    command.env("AWS_SECRET_ACCESS_KEY", "wrong");
    let refused = output(command).await;
    assert!(!refused.status.success());
    let nothing: Vec<_> = std::fs::read_dir(fixture.path("root/backups")).unwrap().collect();
    assert!(nothing.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement: cargo test --test s3 -- --ignored --nocapture"]
async fn two_hundred_megabytes_there_and_back() {
    let fixture = Fixture::start().await;
    let big = fixture.path("big");
    let urandom = std::io::Read::take(std::fs::File::open("/dev/urandom").unwrap(), 200 << 20);
    std::io::copy(&mut { urandom }, &mut std::fs::File::create(&big).unwrap()).unwrap();
    fixture.run("first", &["init"]).await;
    let start = std::time::Instant::now();
    backup_stdin(&fixture, &big).await;
    let backed_up = start.elapsed();
    let start = std::time::Instant::now();
    let dumped = fixture.run("first", &["dump", "latest", "stdin"]).await;
    println!("200 MiB: backup {backed_up:.1?}, dump {:.1?}", start.elapsed());
    assert!(dumped.stdout == std::fs::read(&big).unwrap());
}
