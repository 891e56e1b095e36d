//! Programs started in pods.

use futures::FutureExt as _;
use futures::future::{BoxFuture, Fuse, FusedFuture as _, Shared};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams};

use super::{Kubernetes, KubernetesError, api_error};
use crate::runtime::{ByteReader, ByteWriter};

/// A program started in a pod.
pub struct Exec {
    pub stdin: Option<ByteWriter>,
    pub stdout: ByteReader,
    pub stderr: Option<ByteReader>,
    /// The exit code; `None` when the connection ended without one: then it is not known.
    pub exit: BoxFuture<'static, Option<i32>>,
    /// Aborts the connection, and with it the program, when dropped.
    pub held: kube::api::AttachedProcess,
}

impl Exec {
    /// stdin and stdout, for a program that is talked to until one side hangs up: the connection lives as long as the
    /// reader, and the exit status is not looked at.
    pub fn into_streams(self) -> (ByteWriter, ByteReader) {
        self.split().1
    }

    /// The same, and the exit status beside them.
    pub fn split(self) -> (BoxFuture<'static, Option<i32>>, (ByteWriter, ByteReader)) {
        let exit = self.exit.shared();
        let stdin = self.stdin.unwrap_or_else(|| Box::new(tokio::io::sink()));
        let reader = HeldReader { reader: self.stdout, exit: exit.clone().fuse(), _held: self.held };
        (exit.boxed(), (stdin, Box::new(reader)))
    }
}

/// A reader that keeps the connection it reads from, and ends when that does: the client ends the output only where it was
/// told a status that somebody waits for, and not where the connection broke.
struct HeldReader {
    reader: ByteReader,
    exit: Fuse<Shared<BoxFuture<'static, Option<i32>>>>,
    _held: kube::api::AttachedProcess,
}

impl tokio::io::AsyncRead for HeldReader {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
        buffer: &mut tokio::io::ReadBuf<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        let over = self.exit.is_terminated() || self.exit.poll_unpin(context).is_ready();
        // After the status nothing more is written, so what is not there now never comes.
        match std::pin::Pin::new(&mut self.reader).poll_read(context, buffer) {
            std::task::Poll::Pending if over => std::task::Poll::Ready(Ok(())),
            poll => poll,
        }
    }
}

/// A program to start in a pod.
#[derive(Debug, Clone)]
pub struct ExecRequest<'a> {
    pub namespace: &'a str,
    pub pod: &'a str,
    pub container: Option<&'a str>,
    pub argv: &'a [&'a str],
    pub terminal: Terminal,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Terminal {
    /// stdout carries both streams.
    Yes,
    No,
}

impl Kubernetes {
    /// Starts a program in a running pod.
    pub async fn exec(&self, request: &ExecRequest<'_>) -> Result<Exec, KubernetesError> {
        let doing = format!("exec in pod {}/{}", request.namespace, request.pod);
        let tty = request.terminal == Terminal::Yes;
        let parameters = AttachParams {
            container: request.container.map(str::to_owned),
            stdin: true,
            stdout: true,
            stderr: !tty,
            tty,
            max_stdin_buf_size: Some(256 * 1024),
            max_stdout_buf_size: Some(256 * 1024),
            max_stderr_buf_size: Some(64 * 1024),
        };
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), request.namespace);
        let argv = request.argv.iter().copied();
        let mut held = pods.exec(request.pod, argv, &parameters).await.map_err(api_error(&doing))?;
        let status = held.take_status();
        let exit = async move {
            match status {
                Some(status) => status.await.as_ref().and_then(exit_code),
                None => None,
            }
        };
        Ok(Exec {
            stdin: held.stdin().map(|stdin| Box::new(stdin) as ByteWriter),
            stdout: held.stdout().map_or_else(|| Box::new(tokio::io::empty()) as ByteReader, |out| Box::new(out)),
            stderr: held.stderr().map(|stderr| Box::new(stderr) as ByteReader),
            exit: exit.boxed(),
            held,
        })
    }
}

/// What a `v5.channel.k8s.io` status says of the program's end; `None` where it says that nobody knows.
fn exit_code(status: &Status) -> Option<i32> {
    if status.status.as_deref() == Some("Success") {
        return Some(0);
    }
    let causes = status.details.as_ref().and_then(|details| details.causes.as_ref())?;
    let code = causes.iter().find(|cause| cause.reason.as_deref() == Some("ExitCode"))?;
    code.message.as_deref()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn status(value: Value) -> Status {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_status_without_an_exit_code_is_unknown_and_never_zero() {
        let lost = json!({"metadata": {}, "status": "Failure", "reason": "InternalError", "message": "gone"});
        assert_eq!(exit_code(&status(lost)), None);
        assert_eq!(exit_code(&status(json!({"metadata": {}, "status": "Success"}))), Some(0));
        let seven = json!({"metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": "7"}]}});
        assert_eq!(exit_code(&status(seven)), Some(7));
    }
}
