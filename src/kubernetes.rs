//! The harness's own hand on a cluster, through kube-rs: the same code for the served API and for a real one.

use std::time::Duration;

use futures::future::{BoxFuture, Fuse, FusedFuture, FutureExt, Shared};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kube::api::{Api, AttachParams, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::discovery::{ApiCapabilities, Discovery, Scope};
use serde_json::Value;
use tokio::time::Instant;

use crate::runtime::{ByteReader, ByteWriter};

/// What keeps redrill from finding something out on a cluster.
#[derive(Debug, thiserror::Error)]
pub enum KubernetesError {
    #[error("{doing}")]
    Api {
        doing: String,
        #[source]
        source: Box<kube::Error>,
    },
    #[error("the cluster does not serve {kind} ({api_version})")]
    NotServed { api_version: String, kind: String },
    #[error("{doing}: the answer is not the object that was asked for")]
    Unreadable {
        doing: String,
        #[source]
        source: serde_json::Error,
    },
    #[error("{condition}: not so after {}s, last seen: {last}", deadline.as_secs())]
    Deadline { condition: String, deadline: Duration, last: String },
}

impl KubernetesError {
    /// Whether a cluster answered, if only to refuse.
    pub fn is_answer(&self) -> bool {
        match self {
            Self::Api { source, .. } => matches!(**source, kube::Error::Api(_)),
            Self::NotServed { .. } | Self::Unreadable { .. } | Self::Deadline { .. } => true,
        }
    }
}

/// A kind by its apiVersion and name, as manifests write it.
pub type TypeName<'a> = (&'a str, &'a str);

pub const POD: TypeName<'static> = ("v1", "Pod");
pub const SECRET: TypeName<'static> = ("v1", "Secret");
pub const CONFIG_MAP: TypeName<'static> = ("v1", "ConfigMap");
pub const CLAIM: TypeName<'static> = ("v1", "PersistentVolumeClaim");
pub const SERVICE: TypeName<'static> = ("v1", "Service");
pub const NAMESPACE: TypeName<'static> = ("v1", "Namespace");
pub const EVENT: TypeName<'static> = ("v1", "Event");
pub const JOB: TypeName<'static> = ("batch/v1", "Job");
pub const DEPLOYMENT: TypeName<'static> = ("apps/v1", "Deployment");
pub const STATEFUL_SET: TypeName<'static> = ("apps/v1", "StatefulSet");

pub const CRON_JOB: TypeName<'static> = ("batch/v1", "CronJob");

/// A kind by any of the names that kubectl takes for it: `pods`, `po`, `CronJob`, `deploy`.
pub fn type_of(name: &str) -> Option<TypeName<'static>> {
    let name = name.to_ascii_lowercase();
    let kinds: [(TypeName<'static>, &[&str]); 7] = [
        (POD, &["pod", "pods", "po"]),
        (JOB, &["job", "jobs"]),
        (CRON_JOB, &["cronjob", "cronjobs", "cj"]),
        (DEPLOYMENT, &["deployment", "deployments", "deploy"]),
        (STATEFUL_SET, &["statefulset", "statefulsets", "sts"]),
        (SECRET, &["secret", "secrets"]),
        (CLAIM, &["persistentvolumeclaim", "persistentvolumeclaims", "pvc"]),
    ];
    kinds.into_iter().find(|(_, names)| names.contains(&name.as_str())).map(|(kind, _)| kind)
}

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

/// One cluster, as its administrator.
#[derive(Clone)]
pub struct Kubernetes {
    client: kube::Client,
    kinds: std::sync::Arc<Discovery>,
}

impl Kubernetes {
    /// Asks the cluster what it serves.
    pub async fn connect(client: kube::Client) -> Result<Self, KubernetesError> {
        let kinds = Discovery::new(client.clone()).run().await;
        let kinds = kinds.map_err(api_error("ask the cluster what it serves"))?;
        Ok(Self { client, kinds: std::sync::Arc::new(kinds) })
    }

    fn resource(&self, kind: TypeName) -> Result<(ApiResource, ApiCapabilities), KubernetesError> {
        let (api_version, name) = kind;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        self.kinds
            .resolve_gvk(&GroupVersionKind::gvk(group, version, name))
            .ok_or_else(|| KubernetesError::NotServed { api_version: api_version.into(), kind: name.into() })
    }

    fn api(&self, kind: TypeName, namespace: &str) -> Result<Api<DynamicObject>, KubernetesError> {
        let (resource, capabilities) = self.resource(kind)?;
        Ok(match (capabilities.scope, namespace) {
            (Scope::Namespaced, "") => Api::default_namespaced_with(self.client.clone(), &resource),
            (Scope::Namespaced, namespace) => Api::namespaced_with(self.client.clone(), namespace, &resource),
            (Scope::Cluster, _) => Api::all_with(self.client.clone(), &resource),
        })
    }

    /// Creates one object as its manifest has it.
    pub async fn create(&self, object: &Value) -> Result<Value, KubernetesError> {
        let doing = format!("create {}", describe(object));
        let api = self.api(type_name(object), object["metadata"]["namespace"].as_str().unwrap_or_default())?;
        let body = from_value(&doing, object.clone())?;
        let created = api.create(&PostParams::default(), &body).await.map_err(api_error(&doing))?;
        to_value(&doing, created)
    }

    /// `None` where there is no such object.
    pub async fn get(&self, kind: TypeName<'_>, namespace: &str, name: &str) -> Result<Option<Value>, KubernetesError> {
        let doing = format!("get {} {namespace}/{name}", kind.1);
        let found = self.api(kind, namespace)?.get_opt(name).await.map_err(api_error(&doing))?;
        found.map(|object| to_value(&doing, object)).transpose()
    }

    pub async fn list(&self, kind: TypeName<'_>, namespace: &str) -> Result<Vec<Value>, KubernetesError> {
        let doing = format!("list {} in {namespace}", kind.1);
        let list = self.api(kind, namespace)?.list(&ListParams::default()).await.map_err(api_error(&doing))?;
        list.items.into_iter().map(|object| to_value(&doing, object)).collect()
    }

    /// A merge patch.
    pub async fn patch(
        &self,
        kind: TypeName<'_>,
        namespace: &str,
        name: &str,
        patch: &Value,
    ) -> Result<Value, KubernetesError> {
        let doing = format!("patch {} {namespace}/{name}", kind.1);
        let api = self.api(kind, namespace)?;
        let patched = api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await;
        to_value(&doing, patched.map_err(api_error(&doing))?)
    }

    /// Asks for the deletion of an object; what is not there any more is fine.
    pub async fn delete(&self, kind: TypeName<'_>, namespace: &str, name: &str) -> Result<(), KubernetesError> {
        let doing = format!("delete {} {namespace}/{name}", kind.1);
        match self.api(kind, namespace)?.delete(name, &DeleteParams::background()).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(api_error(&doing)(error)),
        }
    }

    /// Deletes a pod without grace, as a disaster does.
    pub async fn kill_pod(&self, namespace: &str, name: &str) -> Result<(), KubernetesError> {
        let doing = format!("kill pod {namespace}/{name}");
        let parameters = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::background() };
        match self.api(POD, namespace)?.delete(name, &parameters).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(api_error(&doing)(error)),
        }
    }

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

    /// The log of a pod's container, whole.
    pub async fn log(&self, namespace: &str, pod: &str) -> Result<String, KubernetesError> {
        let pods: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(self.client.clone(), namespace);
        let doing = format!("read the log of pod {namespace}/{pod}");
        pods.logs(pod, &kube::api::LogParams::default()).await.map_err(api_error(&doing))
    }
}

/// How long until the next look at something that has been waited for this long: 20 ms at first, so that short waits
/// cost little more than they are, up to half a second.
pub fn look_again(waited: Duration) -> Duration {
    (waited / 20).clamp(Duration::from_millis(20), Duration::from_millis(500))
}

/// Looks until `condition` holds: it answers `Ok(value)`, or `Err(what is seen instead)`.
///
/// Looks at once, then as [`look_again`] has it; at the deadline it errs with the last thing seen.
pub async fn wait_for<T, F>(what: &str, deadline: Duration, mut condition: F) -> Result<T, KubernetesError>
where
    F: AsyncFnMut() -> Result<Result<T, String>, KubernetesError>,
{
    let start = Instant::now();
    loop {
        match condition().await? {
            Ok(value) => return Ok(value),
            Err(last) if start.elapsed() >= deadline => {
                return Err(KubernetesError::Deadline { condition: what.to_owned(), deadline, last });
            }
            Err(_) => tokio::time::sleep(look_again(start.elapsed())).await,
        }
    }
}

/// `Deployment taiga/backup-restore`.
pub fn describe(object: &Value) -> String {
    let kind = object["kind"].as_str().unwrap_or("object");
    let name = object["metadata"]["name"].as_str().unwrap_or("?");
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

fn type_name(object: &Value) -> TypeName<'_> {
    (object["apiVersion"].as_str().unwrap_or_default(), object["kind"].as_str().unwrap_or_default())
}

fn api_error(doing: &str) -> impl FnOnce(kube::Error) -> KubernetesError + use<> {
    let doing = doing.to_owned();
    move |source| KubernetesError::Api { doing, source: Box::new(source) }
}

fn from_value(doing: &str, object: Value) -> Result<DynamicObject, KubernetesError> {
    serde_json::from_value(object).map_err(|source| KubernetesError::Unreadable { doing: doing.to_owned(), source })
}

fn to_value(doing: &str, object: DynamicObject) -> Result<Value, KubernetesError> {
    serde_json::to_value(object).map_err(|source| KubernetesError::Unreadable { doing: doing.to_owned(), source })
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
    use serde_json::json;

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

    #[tokio::test(start_paused = true)]
    async fn a_condition_that_never_holds_errs_with_the_last_thing_seen() {
        let error = wait_for("pod ready", Duration::from_secs(3), async || Ok(Err::<(), _>("Pending".to_owned())))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "pod ready: not so after 3s, last seen: Pending");
    }
}
