//! Programs run from outside a sandbox: the one place that spawns them.

use std::collections::BTreeMap;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use crate::redact::Secret;

/// More of an output than this is read and dropped.
const OUTPUT_LIMIT: u64 = 8 << 20;

/// What a program did. Its output may hold secrets: redact before it is stored.
#[derive(Debug)]
pub struct Output {
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("start `{program}` (is it installed and in PATH?)")]
    Start { program: String, source: io::Error },
    #[error("talk to `{program}`")]
    Talk { program: String, source: io::Error },
    #[error("`{program}` did not end within {deadline:?} and was killed")]
    Deadline { program: String, deadline: Duration },
    #[error("no program to run")]
    Empty,
}

/// Runs a program to its end, with `env` added to this process's own and `stdin` as all of its input.
///
/// Arguments are visible to every user of a machine: secrets go into `env` or `stdin`. At the deadline, and when the
/// future is dropped, the program is killed.
pub async fn run(
    argv: &[&str],
    env: &BTreeMap<String, Secret>,
    stdin: &[u8],
    deadline: Duration,
) -> Result<Output, Error> {
    let (program, arguments) = argv.split_first().ok_or(Error::Empty)?;
    let program = (*program).to_owned();
    let mut child = Command::new(&program)
        .args(arguments)
        .envs(env.iter().map(|(name, value)| (name, value.expose())))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|source| Error::Start { program: program.clone(), source })?;
    match tokio::time::timeout(deadline, talk(&mut child, stdin)).await {
        Ok(output) => output.map_err(|source| Error::Talk { program, source }),
        Err(_) => {
            // The status is of no interest; a child that cannot be killed any more has ended.
            let _ = child.kill().await;
            Err(Error::Deadline { program, deadline })
        }
    }
}

/// Runs a program that reads what is on this machine and ends, without input, where nothing can be awaited yet.
pub fn run_now(argv: &[&str]) -> Result<Output, Error> {
    let (program, arguments) = argv.split_first().ok_or(Error::Empty)?;
    let output = std::process::Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.map_err(|source| Error::Start { program: (*program).to_owned(), source })?;
    Ok(Output { status: output.status, stdout: output.stdout, stderr: output.stderr })
}

/// A program that outlives this one.
pub struct Apart {
    /// Ends when it is dropped, and when this process ends, however that comes about.
    pub input: std::process::ChildStdin,
    pub child: std::process::Child,
}

/// Starts a program that signals for this one's terminal do not reach.
pub fn start_apart(argv: &[&str]) -> Result<Apart, Error> {
    use std::os::unix::process::CommandExt as _;
    let (program, arguments) = argv.split_first().ok_or(Error::Empty)?;
    let child = std::process::Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn();
    let mut child = child.map_err(|source| Error::Start { program: (*program).to_owned(), source })?;
    match child.stdin.take() {
        Some(input) => Ok(Apart { input, child }),
        None => Err(Error::Talk { program: (*program).to_owned(), source: io::ErrorKind::BrokenPipe.into() }),
    }
}

/// Starts this program anew in its own place, with the arguments that it was given and `env` added. Returns only the reason why
/// it could not.
pub fn anew(env: &BTreeMap<String, Secret>) -> io::Error {
    use std::os::unix::process::CommandExt as _;
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => return error,
    };
    let mut arguments = std::env::args_os();
    let mut command = std::process::Command::new(program);
    if let Some(name) = arguments.next() {
        command.arg0(name);
    }
    command.args(arguments).envs(env.iter().map(|(name, value)| (name, value.expose()))).exec()
}

async fn talk(child: &mut Child, input: &[u8]) -> io::Result<Output> {
    let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A program that ends without reading its input has said what it wanted by its status.
            let _ = stdin.write_all(input).await;
        }
    };
    let ((), stdout, stderr) = tokio::join!(write, read(stdout), read(stderr));
    Ok(Output { status: child.wait().await?, stdout: stdout?, stderr: stderr? })
}

async fn read(stream: Option<impl AsyncRead + Unpin>) -> io::Result<Vec<u8>> {
    let mut kept = Vec::new();
    if let Some(mut stream) = stream {
        (&mut stream).take(OUTPUT_LIMIT).read_to_end(&mut kept).await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await?;
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOON: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn input_environment_and_both_outputs_are_connected() {
        let env = BTreeMap::from([("TOKEN".to_owned(), Secret::new("t0p"))]);
        let script = "cat; echo $TOKEN >&2; exit 3";
        let output = run(&["sh", "-c", script], &env, b"in", SOON).await.unwrap();
        assert_eq!((output.status.code(), &*output.stdout, &*output.stderr), (Some(3), &b"in"[..], &b"t0p\n"[..]));
    }

    #[tokio::test]
    async fn a_program_that_does_not_end_is_killed_at_the_deadline() {
        let ended = run(&["sleep", "60"], &BTreeMap::new(), b"", Duration::from_millis(50)).await;
        assert!(matches!(ended, Err(Error::Deadline { .. })), "{ended:?}");
    }

    #[tokio::test]
    async fn a_missing_program_is_named() {
        let ended = run(&["redrill-no-such-program"], &BTreeMap::new(), b"", SOON).await.unwrap_err();
        assert!(ended.to_string().contains("redrill-no-such-program"));
    }

    #[tokio::test]
    async fn input_that_nobody_reads_is_no_error() {
        let output = run(&["true"], &BTreeMap::new(), &[b'x'; 1 << 20], SOON).await.unwrap();
        assert!(output.status.success());
    }
}
