//! A session on a terminal of this machine.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redrill::outcome::SourceRef;
use redrill::runtime::TerminalSize;
use redrill::session::{
    Append, Deadlines, Redact, Session, SessionConfig, StatementStatus, StepRun, StepStatus, StepText,
    WORKSTATION_SHELL, pty,
};
use tokio::process::Command;

pub const SIZE: TerminalSize = TerminalSize { rows: 24, columns: 80 };

pub fn quick() -> Deadlines {
    Deadlines {
        step: Duration::from_secs(60),
        open: Duration::from_secs(10),
        question: Duration::from_millis(800),
        interrupt: Duration::from_secs(3),
    }
}

#[derive(Clone, Default)]
pub struct Log(pub Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub fn as_is() -> Redact {
    Arc::new(|bytes| bytes.to_vec())
}

pub fn config(deadlines: Deadlines, log: &Log) -> SessionConfig {
    SessionConfig { deadlines, tail: 64 << 10, redact: as_is(), sink: Box::new(Append(log.clone())) }
}

pub fn command(argv: &[&str]) -> Command {
    let mut command = Command::new(argv[0]);
    command
        .args(&argv[1..])
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap())
        .env("LANG", "C.UTF-8")
        .env("HOME", "/tmp");
    command
}

pub async fn sit_down(argv: &[&str]) -> Session {
    let terminal = pty::spawn(command(argv), SIZE).unwrap();
    Session::open(terminal, config(quick(), &Log::default())).await.unwrap()
}

pub async fn bash() -> Session {
    sit_down(&WORKSTATION_SHELL).await
}

/// Every kind of shell that sessions have to work in.
pub const SHELLS: [&[&str]; 3] = [&WORKSTATION_SHELL, &["dash", "-i"], &["busybox", "sh", "-i"]];

pub fn step(text: &str) -> StepText {
    StepText { text: text.to_owned(), source: SourceRef { file: "runbook.md".to_owned(), line: 10 } }
}

pub async fn run(session: &mut Session, text: &str) -> StepRun {
    session.run(&step(text)).await.unwrap()
}

pub fn printed(run: &StepRun) -> String {
    String::from_utf8(run.output.clone()).unwrap()
}

pub fn statuses(run: &StepRun) -> Vec<StepStatus> {
    run.statements.iter().map(|statement: &StatementStatus| statement.status.clone()).collect()
}
