//! The prober's side of its protocol: requests in, replies out.

use std::io;
use std::process::ExitCode;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

use super::{DatabaseTarget, Error, Reply, Request, archive, files, health, isolation, ledger, login};
use crate::database::cockroach_schedule::ScheduleRun;
use crate::database::{self, LedgerRows};

/// No request is anywhere near this long: a greater length is a stream out of step.
const REQUEST_LIMIT: usize = 16 << 20;

/// `redrill __probe`: serves stdin and stdout until stdin ends.
pub fn main() -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return ExitCode::from(2),
    };
    let served = runtime.block_on(serve(tokio::io::stdin(), tokio::io::stdout()));
    // A read of stdin cannot be called off: waiting for it would keep a prober whose stdout is gone.
    runtime.shutdown_background();
    if served.is_ok() { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

/// Answers every request of `stdin` on `stdout`, in order, until `stdin` ends. Errors only when `stdout` cannot be written.
pub async fn serve(stdin: impl AsyncRead + Unpin + Send + 'static, stdout: impl AsyncWrite + Unpin) -> io::Result<()> {
    let mut requests = read_requests(stdin);
    let mut replies = Replies { stdout };
    while let Some(request) = requests.recv().await {
        match request {
            Ok(Request::Ledger { target, pause_micros }) => {
                ledger::write(&target, pause_micros, &mut requests, &mut replies).await?;
            }
            Ok(request) => replies.send(&answer(request).await).await?,
            Err(reason) => {
                let reply = Reply::Error { doing: "read a request".into(), reason, refused: false };
                replies.send(&reply).await?;
            }
        }
    }
    Ok(())
}

/// Requests, or why one could not be read. In a task of its own, so that a `Stop` is seen while a ledger runs and a
/// half-read frame is never lost.
pub(super) type Requests = mpsc::Receiver<Result<Request, String>>;

fn read_requests(mut stdin: impl AsyncRead + Unpin + Send + 'static) -> Requests {
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        while let Ok(length) = stdin.read_u32().await {
            let length = length as usize;
            if length > REQUEST_LIMIT {
                let _ = sender.send(Err(format!("a request of {length} bytes"))).await;
                return;
            }
            let mut frame = zeroize::Zeroizing::new(vec![0; length]);
            if stdin.read_exact(&mut frame).await.is_err() {
                return;
            }
            // The error's text may quote the input, and with it a secret: only its position is passed on.
            let request = serde_json::from_slice(&frame)
                .map_err(|error| format!("not a request of this version, at column {}", error.column()));
            if sender.send(request).await.is_err() {
                return;
            }
        }
    });
    receiver
}

/// Writes replies as lines.
pub(super) struct Replies<W> {
    stdout: W,
}

impl<W: AsyncWrite + Unpin> Replies<W> {
    pub(super) async fn send(&mut self, reply: &Reply) -> io::Result<()> {
        let mut line = serde_json::to_vec(reply)?;
        line.push(b'\n');
        self.stdout.write_all(&line).await?;
        self.stdout.flush().await
    }
}

async fn answer(request: Request) -> Reply {
    let doing = doing(&request);
    match carry_out(request).await {
        Ok(reply) => reply,
        Err(error) => Reply::error(doing, &error),
    }
}

async fn carry_out(request: Request) -> Result<Reply, Error> {
    Ok(match request {
        Request::SeedDatabase { target, second_role, bytes, rng } => {
            Reply::Seeded { left_out: database::seed(&target, second_role.as_deref(), bytes, rng).await? }
        }
        Request::SeedFiles { root, bytes, rng, owner, group } => {
            blocking(move || files::seed(root.as_ref(), bytes, rng, files::Owner { user: owner, group })).await?;
            Reply::Done
        }
        Request::SetPassword { target, role, password } => {
            database::set_password(&target, &role, &password).await?;
            Reply::Done
        }
        Request::PrepareLedger { target } => {
            database::prepare_ledger(&target).await?;
            Reply::Done
        }
        // `serve` hands a ledger its requests; a stop that comes after its end is fine.
        Request::Ledger { .. } | Request::Stop => Reply::Done,
        Request::ReadLedger { target } => read_ledger(&target).await?,
        Request::WriteNonce { target, label, value } => {
            database::write_nonce(&target, &label, &value).await?;
            Reply::Done
        }
        Request::ReadNonces { target } => Reply::Nonces { values: database::read_nonces(&target).await? },
        Request::Login { target, expected: _, random_refused } => login::log_in(&target, random_refused).await,
        Request::FingerprintDatabase { target, except, known } => {
            Reply::Fingerprint { fingerprint: database::fingerprint(&target, &except, known).await? }
        }
        Request::FingerprintFiles { root } => {
            let fingerprint = blocking(move || crate::fingerprint::tree::fingerprint(root.as_ref())).await?;
            Reply::Fingerprint { fingerprint }
        }
        Request::DrainArchive { target, deadline_millis } => archive::drain(&target, deadline_millis).await?,
        Request::ReadArchiver { target } => archive::state(&target).await?,
        Request::ReadIdentifier { target } => archive::identifier(&target).await?,
        Request::CorruptDatabase { target } => {
            database::corrupt(&target).await?;
            Reply::Done
        }
        Request::RunSchedule { target, name, deadline_millis } => {
            match database::run_schedule(&target, &name, Duration::from_millis(deadline_millis)).await? {
                ScheduleRun::NoSuchSchedule => Reply::NoSuchSchedule,
                ScheduleRun::Ended { job, error } => Reply::ScheduleRan { job, error },
            }
        }
        Request::Isolation { addresses, refusals } => {
            Reply::Reached { addresses: isolation::reached(&addresses, refusals).await }
        }
        Request::Answering { addresses } => Reply::Reached { addresses: health::answering(&addresses).await },
        Request::FirstWrite { target, deadline_millis } => {
            Reply::Wrote { at_micros: ledger::first_write(&target, deadline_millis).await? }
        }
    })
}

async fn read_ledger(target: &DatabaseTarget) -> Result<Reply, Error> {
    let LedgerRows { rows, first, last, gaps, last_at_micros } = database::read_ledger(target).await?;
    Ok(Reply::Ledger { rows, first, last, gaps, last_at_micros })
}

/// File work blocks: it must not hold up a ledger's or a login's connection.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Error> + Send + 'static) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(panicked) => Err(Error::Io { doing: "work on files".into(), source: io::Error::other(panicked) }),
    }
}

/// What a request does, for the person who reads that it failed.
fn doing(request: &Request) -> String {
    match request {
        Request::SeedDatabase { target, .. } => format!("seed {}", target.place()),
        Request::SeedFiles { root, .. } => format!("seed files below {root}"),
        Request::SetPassword { target, role, .. } => format!("set the password of {role} in {}", target.place()),
        Request::PrepareLedger { target } => format!("make the ledger in {}", target.place()),
        Request::Ledger { target, .. } => format!("keep the ledger in {}", target.place()),
        Request::Stop => "stop the ledger".into(),
        Request::ReadLedger { target } => format!("read the ledger in {}", target.place()),
        Request::WriteNonce { target, label, .. } => format!("write nonce {label} to {}", target.place()),
        Request::ReadNonces { target } => format!("read the nonces in {}", target.place()),
        Request::Login { .. } => "log in".into(),
        Request::FingerprintDatabase { target, .. } => format!("fingerprint {}", target.place()),
        Request::FingerprintFiles { root } => format!("fingerprint the files below {root}"),
        Request::DrainArchive { target, .. } => format!("ship the log of {}", target.place()),
        Request::ReadArchiver { target } => format!("ask for the archiver of {}", target.place()),
        Request::ReadIdentifier { target } => format!("ask whose data is in {}", target.place()),
        Request::CorruptDatabase { target } => format!("corrupt {}", target.place()),
        Request::RunSchedule { target, name, .. } => format!("run the schedule {name} of {}", target.place()),
        Request::Isolation { .. } => "probe isolation".into(),
        Request::Answering { .. } => "ask whether workloads answer".into(),
        Request::FirstWrite { target, .. } => format!("write to {}", target.place()),
    }
}
