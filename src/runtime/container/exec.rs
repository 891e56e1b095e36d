//! Programs run in containers of an engine: streams over one connection, their end by the engine's events.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::StreamExt as _;
use futures::stream::BoxStream;
use testcontainers::bollard::container::LogOutput;
use testcontainers::bollard::errors::Error as EngineError;
use testcontainers::bollard::exec::{ResizeExecOptions, StartExecOptions, StartExecResults};
use testcontainers::bollard::models::{EventMessage, ExecConfig, ExecInspectResponse};
use testcontainers::bollard::query_parameters::EventsOptionsBuilder;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, oneshot};

use super::engine::{Engine, RUN, exit, is_status};
use super::pulse::Pulse;
use crate::runtime::{
    ByteReader, ByteWriter, ContainerExit, ExecSession, ExecSpec, RuntimeError, TerminalSize, failed, not_found,
};

const PIPE: usize = 64 << 10;
const END_OF_FILE: u8 = 4;

type Frames = BoxStream<'static, Result<LogOutput, EngineError>>;

/// Those who wait for the end of a program, by the engine's id of it.
#[derive(Clone, Default)]
pub(super) struct Ends(Arc<Mutex<HashMap<String, oneshot::Sender<i64>>>>);

impl Ends {
    /// Listens to the engine, until its events end: then nobody is told any more.
    pub fn listen(engine: &Engine, pulse: &Pulse) -> (Self, tokio::task::AbortHandle) {
        let filters = HashMap::from([
            ("event".to_owned(), vec!["exec_die".to_owned()]),
            ("label".to_owned(), vec![format!("{RUN}={}", engine.run)]),
        ]);
        // From the beginning, so that nothing falls between the request and the engine's listening.
        let options = EventsOptionsBuilder::new().since("1").filters(&filters).build();
        let mut events = Box::pin(engine.docker.events(Some(options)));
        let ends = Self::default();
        let (told, lost) = (ends.clone(), pulse.lost.clone());
        let task = tokio::spawn(async move {
            while let Some(Ok(event)) = events.next().await {
                told.tell(event);
            }
            lost.cancel();
            told.waiting().clear();
        });
        (ends, task.abort_handle())
    }

    fn waiting(&self) -> MutexGuard<'_, HashMap<String, oneshot::Sender<i64>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, event: EventMessage) {
        let attributes = event.actor.and_then(|actor| actor.attributes).unwrap_or_default();
        let waiting = attributes.get("execID").and_then(|id| self.waiting().remove(id));
        let code = attributes.get("exitCode").and_then(|code| code.parse().ok());
        if let (Some(waiting), Some(code)) = (waiting, code) {
            // Who does not wait any more need not be told.
            let _ = waiting.send(code);
        }
    }

    fn listen_for(&self, id: &str) -> oneshot::Receiver<i64> {
        let (sender, receiver) = oneshot::channel();
        self.waiting().insert(id.to_owned(), sender);
        receiver
    }
}

/// Kills the program when it is dropped, unless the program has ended by itself.
struct Guard {
    engine: Engine,
    ends: Ends,
    id: String,
    ended: bool,
}

impl Guard {
    /// The program has ended, or never was. By value, so that a closure captures all of the guard.
    fn disarm(mut self) {
        self.ended = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.ends.waiting().remove(&self.id);
        let Ok(tokio) = tokio::runtime::Handle::try_current() else { return };
        if !self.ended {
            let (engine, id) = (self.engine.clone(), self.id.clone());
            tokio.spawn(async move {
                if let Err(reason) = kill(&engine, &id).await {
                    tracing::warn!("a program that nobody waits for runs until its container ends ({reason})");
                }
            });
        }
    }
}

/// Runs a program in the container of this name on the engine.
pub(super) async fn start(
    engine: &Engine,
    ends: &Ends,
    container: &str,
    exec: &ExecSpec,
) -> Result<ExecSession, RuntimeError> {
    let doing = || format!("run `{}` in a container", exec.argv.first().map_or("", String::as_str));
    let config = ExecConfig {
        attach_stdin: Some(exec.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(exec.tty.is_none()),
        tty: Some(exec.tty.is_some()),
        console_size: exec.tty.map(|size| vec![size.rows.into(), size.columns.into()]),
        cmd: Some(exec.argv.clone()),
        ..ExecConfig::default()
    };
    let id = match engine.docker.create_exec(container, config).await {
        Err(error) if is_status(&error, &[404, 409]) => return Err(not_found("running container", container)),
        made => made.map_err(|error| failed(doing(), error))?.id,
    };
    let end = ends.listen_for(&id);
    let guard = Guard { engine: engine.clone(), ends: ends.clone(), id: id.clone(), ended: false };
    let options = StartExecOptions { detach: false, tty: exec.tty.is_some(), output_capacity: None };
    let attached = engine.docker.start_exec(&id, Some(options)).await.map_err(|error| failed(doing(), error))?;
    let StartExecResults::Attached { output, input } = attached else {
        return Err(failed(doing(), "the engine did not attach to it"));
    };
    let mut output: Frames = output;
    if never_ran(engine, &id, exec.tty).await.map_err(|error| failed(doing(), error))? {
        guard.disarm();
        return Err(cannot_run(exec, &mut output).await);
    }
    Ok(session(engine, guard, end, exec, (output, input)))
}

/// Whether the program could not be executed.
///
/// The engine answers a start before it starts anything. It answers a change of the terminal's size once
/// the program runs or has failed to: that is waited for, of programs without a terminal too.
async fn never_ran(engine: &Engine, id: &str, terminal: Option<TerminalSize>) -> Result<bool, EngineError> {
    let size = terminal.unwrap_or(TerminalSize { rows: 24, columns: 80 });
    // It fails where there is no terminal, or no program any more.
    let _ = resize(engine, id, size).await;
    loop {
        let program = engine.docker.inspect_exec(id).await?;
        let has_run = program.pid.is_some_and(|pid| pid > 0);
        // For a moment the engine knows neither.
        if has_run || program.exit_code.is_some() {
            return Ok(!has_run);
        }
    }
}

async fn cannot_run(exec: &ExecSpec, output: &mut Frames) -> RuntimeError {
    let mut reason = String::new();
    while let Some(Ok(frame)) = output.next().await {
        reason.push_str(&String::from_utf8_lossy(frame.as_ref()));
    }
    RuntimeError::CannotRun {
        program: exec.argv.first().cloned().unwrap_or_default(),
        reason: reason.trim().to_owned(),
    }
}

fn session(
    engine: &Engine,
    guard: Guard,
    end: oneshot::Receiver<i64>,
    exec: &ExecSpec,
    (output, input): (Frames, Pin<Box<dyn AsyncWrite + Send>>),
) -> ExecSession {
    let (stdout, to_stdout) = tokio::io::duplex(PIPE);
    let (stderr, to_stderr) = tokio::io::duplex(PIPE);
    let (finished, output_ended) = oneshot::channel();
    tokio::spawn(async move {
        share_out(output, to_stdout, to_stderr).await;
        // Nobody may wait for it.
        let _ = finished.send(());
    });
    let stdin = exec.stdin.then(|| {
        let (stdin, from_stdin) = tokio::io::duplex(PIPE);
        tokio::spawn(feed(from_stdin, input, exec.tty.is_some()));
        Box::new(stdin) as ByteWriter
    });
    let resize = exec.tty.map(|_| follow_size(engine.clone(), guard.id.clone()));
    let stderr = exec.tty.is_none().then(|| Box::new(stderr) as ByteReader);
    let exit = async move {
        let exit = ended(&guard, end, output_ended).await?;
        guard.disarm();
        Ok(exit)
    };
    ExecSession { stdin, stdout: Box::new(stdout), stderr, resize, exit: Box::pin(exit) }
}

/// Copies what the program prints to its two readers; one that is gone misses the rest.
async fn share_out(mut output: Frames, mut stdout: DuplexStream, mut stderr: DuplexStream) {
    while let Some(Ok(frame)) = output.next().await {
        let (to, bytes) = match frame {
            LogOutput::StdErr { message } => (&mut stderr, message),
            LogOutput::StdOut { message } | LogOutput::Console { message } | LogOutput::StdIn { message } => {
                (&mut stdout, message)
            }
        };
        // The program must not block because of a reader that is gone.
        let _ = to.write_all(&bytes).await;
    }
}

/// Copies what is typed to the program. The end of it is the terminal's character for that, or closes the stream.
async fn feed(mut stdin: DuplexStream, mut input: Pin<Box<dyn AsyncWrite + Send>>, terminal: bool) {
    let mut buffer = vec![0; PIPE];
    while let Ok(count @ 1..) = stdin.read(&mut buffer).await {
        let written = async {
            input.write_all(&buffer[..count]).await?;
            input.flush().await
        };
        if written.await.is_err() {
            return;
        }
    }
    // A program that has ended needs no end of its input.
    let _ = if terminal { input.write_all(&[END_OF_FILE]).await } else { input.shutdown().await };
    let _ = input.flush().await;
}

async fn resize(engine: &Engine, id: &str, size: TerminalSize) -> Result<(), EngineError> {
    engine.docker.resize_exec(id, ResizeExecOptions { height: size.rows, width: size.columns }).await
}

fn follow_size(engine: Engine, id: String) -> mpsc::Sender<TerminalSize> {
    let (sender, mut sizes) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Some(size) = sizes.recv().await {
            // A terminal whose program has ended has no size to set.
            let _ = resize(&engine, &id, size).await;
        }
    });
    sender
}

/// Completes with the engine's event, or once the output has ended and the engine knows the end by then.
async fn ended(
    guard: &Guard,
    mut end: oneshot::Receiver<i64>,
    output_ended: oneshot::Receiver<()>,
) -> Result<ContainerExit, RuntimeError> {
    let told = tokio::select! {
        told = &mut end => told,
        _ = output_ended => match known_end(&guard.engine, &guard.id).await? {
            Some(exit) => return Ok(exit),
            // It has closed its output and runs on.
            None => end.await,
        },
    };
    match told {
        Ok(code) => Ok(exit(code)),
        Err(_) => known_end(&guard.engine, &guard.id).await?.ok_or_else(|| {
            failed("wait for a program in a container", "the engine's events ended before the program did")
        }),
    }
}

async fn known_end(engine: &Engine, id: &str) -> Result<Option<ContainerExit>, RuntimeError> {
    match engine.docker.inspect_exec(id).await {
        Ok(ExecInspectResponse { exit_code, .. }) => Ok(exit_code.map(exit)),
        // Its container is gone, which killed it.
        Err(error) if is_status(&error, &[404, 409]) => Ok(Some(ContainerExit::Signal(libc::SIGKILL))),
        Err(error) => Err(failed("wait for a program in a container", error)),
    }
}

/// Kills a program's process group. An engine has no request for that: it is done on the engine's host if this is it.
async fn kill(engine: &Engine, id: &str) -> Result<(), String> {
    let program = match engine.docker.inspect_exec(id).await {
        Err(error) if is_status(&error, &[404, 409]) => return Ok(()),
        program => program.map_err(|error| error.to_string())?,
    };
    if program.running == Some(false) {
        return Ok(());
    }
    let pid = program.pid.and_then(|pid| i32::try_from(pid).ok()).filter(|pid| *pid > 1);
    let (Some(pid), Some(container)) = (pid, program.container_id.filter(|id| !id.is_empty())) else {
        return Err("the engine does not say which process it is".to_owned());
    };
    let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    if !groups.contains(&container) {
        return Err(format!("process {pid} is not on this machine"));
    }
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::killpg(pid, nix::sys::signal::Signal::SIGKILL).map_err(|error| error.to_string())
}
