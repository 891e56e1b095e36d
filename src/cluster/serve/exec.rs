//! Exec over WebSockets: the protocols `v5.channel.k8s.io` and `v4.channel.k8s.io`.
//!
//! Format: every message is a channel number and bytes. 0 stdin, 1 stdout, 2 stderr, 3 the final `Status` as JSON,
//! 4 the terminal's size as `{"Width", "Height"}`; in v5, 255 and a channel number: that channel has ended.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt, StreamExt};
use http::request::Parts;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::Api;
use super::call::Parameters;
use super::logs::{container_of, status_of};
use super::read;
use super::route::Target;
use super::spool::Spool;
use crate::cluster::store::{ApiError, names};
use crate::runtime::{
    ByteReader, ByteWriter, ContainerExit, ContainerId, ExecSession, ExecSpec, RuntimeError, TerminalSize,
};

const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

/// How long output may be silent after the program has ended, before what holds it open (a background child that
/// inherited it) is no longer waited for.
const SILENCE: Duration = Duration::from_millis(500);

/// How long the client has to answer the closing handshake.
const CLOSING: Duration = Duration::from_secs(5);

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const STATUS: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// What an exec asks for, checked against the pod.
struct Exec {
    container: ContainerId,
    spec: ExecSpec,
    stdout: bool,
    stderr: bool,
}

/// Answers a WebSocket upgrade. What is wrong with the request is said before the upgrade, as a `Status`.
pub async fn websocket(
    api: Arc<Api>,
    target: &Target,
    parts: &mut Parts,
    parameters: &Parameters,
) -> Result<Response, ApiError> {
    let exec = check(&api, target, parameters)?;
    let upgrade = WebSocketUpgrade::from_request_parts(parts, &()).await.map_err(|rejection| {
        ApiError::bad_request(format!("exec is served over WebSockets only: {}", rejection.body_text()))
    })?;
    let upgrade = upgrade.protocols(PROTOCOLS);
    if upgrade.selected_protocol().is_none() {
        let supported = PROTOCOLS.join(", ");
        return Err(ApiError::bad_request(format!("no WebSocket sub-protocol in common; supported are {supported}")));
    }
    let sessions = api.sessions.clone();
    Ok(upgrade.on_upgrade(move |socket| {
        let session = async move {
            tokio::select! {
                () = api.stop.cancelled() => {}
                () = serve(&api, exec, socket) => {}
            }
        };
        sessions.track_future(session)
    }))
}

/// Answers SPDY, which kubectl below 1.30 speaks first and newer ones when the upgrade was refused.
pub fn spdy(api: &Api, target: &Target, parameters: &Parameters) -> Result<Response, ApiError> {
    check(api, target, parameters)?;
    Err(ApiError::bad_request(
        "exec is served over WebSockets, not SPDY: use kubectl 1.30 or newer \
         (with 1.29, set KUBECTL_REMOTE_COMMAND_WEBSOCKETS=true)",
    ))
}

fn check(api: &Api, target: &Target, parameters: &Parameters) -> Result<Exec, ApiError> {
    let pod = read::find(api, target)?;
    let container = container_of(&pod, parameters.get("container"))?;
    let argv = parameters.all("command");
    if argv.is_empty() {
        return Err(ApiError::bad_request("you must specify at least one command for the container"));
    }
    let phase = pod["status"]["phase"].as_str().unwrap_or_default();
    if ["Succeeded", "Failed"].contains(&phase) {
        let message = format!("cannot exec into a container in a completed pod; current phase is {phase}");
        return Err(ApiError::bad_request(message));
    }
    let status = status_of(&pod, &container);
    if status.is_none_or(|status| status["state"]["running"].is_null()) {
        let (_, name) = names(&pod);
        return Err(ApiError {
            code: 404,
            reason: "NotFound",
            message: format!("container not found ({container:?}): it is not running in pod {name:?}"),
            details: None,
        });
    }
    let tty = parameters.is_true("tty");
    let stdout = parameters.is_true("stdout");
    let stderr = parameters.is_true("stderr") && !tty;
    let spec = ExecSpec {
        argv,
        stdin: parameters.is_true("stdin"),
        // Until the client tells its size, which kubectl does at once.
        tty: tty.then_some(TerminalSize { rows: 24, columns: 80 }),
    };
    Ok(Exec { container: api.containers.container_id(&pod, &container), spec, stdout, stderr })
}

async fn serve(api: &Api, exec: Exec, socket: WebSocket) {
    let (mut sink, stream) = socket.split();
    let session = match api.containers.runtime.exec(&exec.container, &exec.spec).await {
        Ok(session) => session,
        Err(error) => return finish(&mut sink, stream, Err(error)).await,
    };
    let ExecSession { stdin, stdout, stderr, resize, mut exit } = session;
    let spool = Arc::new(Spool::default());
    let (frames, mut output) = mpsc::channel(16);
    // Dropping the set at the end of this function stops what still runs in it.
    let mut tasks = JoinSet::new();
    if let Some(stdin) = stdin {
        tasks.spawn(feed(spool.clone(), stdin));
    }
    tasks.spawn(forward(stdout, exec.stdout.then_some(STDOUT), frames.clone()));
    if let Some(stderr) = stderr {
        tasks.spawn(forward(stderr, exec.stderr.then_some(STDERR), frames.clone()));
    }
    drop(frames);
    let mut input = tokio::spawn(receive(stream, spool.clone(), resize));
    let abort = AbortOnDrop(input.abort_handle());

    let ended = loop {
        tokio::select! {
            biased;
            // The client is gone: returning drops the session, and that kills the program's process group.
            _ = &mut input => return,
            frame = output.recv() => match frame {
                Some(frame) => if sink.send(Message::Binary(frame)).await.is_err() { return },
                None => tokio::select! {
                    _ = &mut input => return,
                    ended = &mut exit => break ended,
                },
            },
            ended = &mut exit => break ended,
        }
    };
    while let Ok(Some(frame)) = tokio::time::timeout(SILENCE, output.recv()).await {
        if sink.send(Message::Binary(frame)).await.is_err() {
            return;
        }
    }
    tell(&mut sink, ended).await;
    // The receiving side ends with the client's answer to the close.
    let _ = tokio::time::timeout(CLOSING, &mut input).await;
    drop(abort);
}

struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Reads the socket until the client is gone, never waiting for anything else.
async fn receive(mut stream: SplitStream<WebSocket>, spool: Arc<Spool>, resize: Option<mpsc::Sender<TerminalSize>>) {
    while let Some(Ok(message)) = stream.next().await {
        let frame = match message {
            Message::Binary(frame) => frame,
            // The Python client sends its strings so.
            Message::Text(text) => Bytes::from(text),
            Message::Close(_) => break,
            Message::Ping(_) | Message::Pong(_) => continue,
        };
        match (frame.first(), frame.slice(1.min(frame.len())..)) {
            (Some(&STDIN), bytes) => {
                if let Err(error) = spool.push(bytes) {
                    tracing::warn!(%error, "keep what a program has not read from its stdin yet");
                    break;
                }
            }
            (Some(&RESIZE), bytes) => {
                if let (Some(resize), Some(size)) = (&resize, terminal_size(&bytes)) {
                    // A full channel has a size before this one that is not applied yet; the next one will come.
                    let _ = resize.try_send(size);
                }
            }
            (Some(&CLOSE), channel) if channel.first() == Some(&STDIN) => spool.close(),
            _ => {}
        }
    }
    spool.close();
}

fn terminal_size(bytes: &[u8]) -> Option<TerminalSize> {
    let size: Value = serde_json::from_slice(bytes).ok()?;
    let field = |name: &str| size[name].as_u64().and_then(|number| u16::try_from(number).ok());
    Some(TerminalSize { rows: field("Height")?, columns: field("Width")? })
}

/// Writes what arrived to the program's stdin; a program that reads no more makes the rest void.
async fn feed(spool: Arc<Spool>, mut stdin: ByteWriter) {
    while let Ok(Some(bytes)) = spool.pop().await {
        if stdin.write_all(&bytes).await.is_err() || stdin.flush().await.is_err() {
            return spool.close();
        }
    }
    let _ = stdin.shutdown().await;
}

/// Passes output on as frames; without a channel it is read and thrown away, so that the program does not block.
async fn forward(mut reader: ByteReader, channel: Option<u8>, frames: mpsc::Sender<Bytes>) {
    loop {
        let mut frame = BytesMut::with_capacity(32 << 10);
        frame.put_u8(channel.unwrap_or_default());
        match reader.read_buf(&mut frame).await {
            // A pseudo terminal whose last holder is gone reads as an error.
            Ok(0) | Err(_) => return,
            Ok(_) if channel.is_none() => {}
            Ok(_) => {
                if frames.send(frame.freeze()).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn finish(
    sink: &mut SplitSink<WebSocket, Message>,
    mut stream: SplitStream<WebSocket>,
    ended: Result<ContainerExit, RuntimeError>,
) {
    tell(sink, ended).await;
    let drain = async { while let Some(Ok(_)) = stream.next().await {} };
    let _ = tokio::time::timeout(CLOSING, drain).await;
}

/// The final status, then a close WITH a code: kubectl loses the status of a session that closes without one.
async fn tell(sink: &mut SplitSink<WebSocket, Message>, ended: Result<ContainerExit, RuntimeError>) {
    let mut frame = vec![STATUS];
    frame.extend(status(ended).to_string().into_bytes());
    let close = CloseFrame { code: axum::extract::ws::close_code::NORMAL, reason: "".into() };
    // The client may be gone already; then there is nobody to tell.
    if sink.send(Message::Binary(frame.into())).await.is_ok() {
        let _ = sink.send(Message::Close(Some(close))).await;
    }
}

fn status(ended: Result<ContainerExit, RuntimeError>) -> Value {
    match ended.map(ContainerExit::code) {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]}}),
        Err(error) => json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "code": 500,
            "message": format!("Internal error occurred: error executing command in container: {error}"),
            "details": {"causes": [{"message": format!("error executing command in container: {error}")}]}}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_reported_as_a_shell_would() {
        let status = status(Ok(ContainerExit::Signal(9)));
        assert_eq!(status["details"]["causes"][0], json!({"reason": "ExitCode", "message": "137"}));
    }

    #[test]
    fn a_terminal_size_needs_both_numbers() {
        let size = terminal_size(br#"{"Width":132,"Height":43}"#);
        assert_eq!(size, Some(TerminalSize { rows: 43, columns: 132 }));
        assert_eq!(terminal_size(br#"{"Width":132}"#), None);
        assert_eq!(terminal_size(b"{"), None);
    }
}
