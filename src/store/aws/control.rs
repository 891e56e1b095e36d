//! What the drill asks of the endpoint that no client of the service could: to run a plan as its clock would, and whether the running
//! service was left alone. Over a socket that only the endpoint's pod has.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::account::Account;
use super::disturbance;
use super::job::{self, BackupRequest};

/// Where it listens, in the endpoint's own pod.
pub const SOCKET: &str = "/run/redrill/account/control";
/// A folder of that pod alone.
pub const FOLDER: &str = "/run/redrill/account";

/// Between two looks at jobs that run.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "kebab-case")]
pub enum Request {
    /// Runs a plan of the stack to its end, dated back by so many seconds.
    RunPlan { name: String, age: u32 },
    /// What restore jobs did so far is nobody's business any more.
    Forget,
    /// What happened to the running service since the newest restore job began.
    Undisturbed,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "kebab-case")]
pub enum Reply {
    /// Every job of the plan has ended; what failed, in words.
    Ran {
        jobs: u32,
        failures: Vec<String>,
    },
    NoSuchPlan,
    /// Empty: it was left alone.
    Disturbed {
        by: Vec<String>,
    },
    NoRestoreJob,
    Forgotten,
}

/// Answers until the endpoint ends.
pub async fn listen(account: Arc<Account>, socket: &Path) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    loop {
        let (stream, _) = listener.accept().await?;
        let account = account.clone();
        tokio::spawn(async move {
            // Who hangs up early wants no answer.
            let _ = exchange(stream, &account).await;
        });
    }
}

async fn exchange(stream: UnixStream, account: &Arc<Account>) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).await?;
    let reply = answer(account, serde_json::from_str(&line)?).await;
    writer.write_all(format!("{}\n", serde_json::to_string(&reply)?).as_bytes()).await
}

/// Asks the endpoint of this pod, and says what it said.
pub async fn ask(socket: &Path, request: &str) -> io::Result<String> {
    let (reader, mut writer) = UnixStream::connect(socket).await?.into_split();
    writer.write_all(format!("{request}\n").as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(reader).read_line(&mut line).await?;
    Ok(line)
}

async fn answer(account: &Arc<Account>, request: Request) -> Reply {
    match request {
        Request::RunPlan { name, age } => run_plan(account, &name, SignedDuration::from_secs(age.into())).await,
        Request::Forget => {
            account.state().await.watch = None;
            Reply::Forgotten
        }
        Request::Undisturbed => {
            let state = account.state().await;
            match &state.watch {
                Some(watch) => Reply::Disturbed { by: disturbance::found(&state, watch).await },
                None => Reply::NoRestoreJob,
            }
        }
    }
}

async fn run_plan(account: &Arc<Account>, name: &str, age: SignedDuration) -> Reply {
    let mut state = account.state().await;
    let Some(plan) = state.stack.plans.values().find(|plan| plan.name == name).cloned() else {
        return Reply::NoSuchPlan;
    };
    let mut ids = Vec::new();
    for file_system in plan.file_systems {
        let (vault, plan) = (plan.vault.clone(), Some(plan.name.clone()));
        let request = BackupRequest { vault, file_system, role: String::new(), plan, age };
        ids.push(job::start_backup(account, &mut state, request).id);
    }
    drop(state);
    let mut look = tokio::time::interval(LOOK);
    loop {
        look.tick().await;
        let state = account.state().await;
        let jobs: Vec<_> = state.backup_jobs.iter().filter(|job| ids.contains(&job.id)).collect();
        if jobs.iter().all(|job| job.ended.is_some()) {
            let failure = |job: &&job::BackupJob| {
                let failure = job.ended.as_ref()?.failure.as_ref()?;
                Some(format!("{}: {failure}", job.point.file_system))
            };
            let failures = jobs.iter().filter_map(failure).collect();
            return Reply::Ran { jobs: u32::try_from(jobs.len()).unwrap_or(u32::MAX), failures };
        }
    }
}
