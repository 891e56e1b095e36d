//! The account that a stack is in: `redrill __aws`, which answers as CloudFormation, ECS, EFS and AWS Backup do, as far as somebody who
//! looks after the stack needs them. File systems are claims and tasks are pods of the drill's cluster; what is not served is refused.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Extracted;
use axum::http::request::Parts;
use axum::http::{Method, header};
use axum::response::{IntoResponse, Response};
use clap::Parser;
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::kubernetes::{Kubernetes, KubernetesError};
use crate::problem::Problems;
use crate::store::s3::{self, Credentials};
use crate::system::cloud_formation::{Identity, Stack, Values};

pub mod account;
mod backup;
pub mod control;
mod disturbance;
mod fault;
mod files;
mod job;
mod scheduler;
mod service;
mod signature;
mod stack;
mod task;
mod tree;
mod xml;

use account::{Account, Settings};
use fault::{Fault, Protocol};

/// Who may use the account, from the environment: arguments can be read by everyone on a machine.
pub const ACCESS_KEY: &str = "REDRILL_AWS_ACCESS_KEY";
pub const SECRET_KEY: &str = "REDRILL_AWS_SECRET_KEY";
/// A client that has not finished its handshake by then is none.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
/// The largest template that CloudFormation takes is a tenth of it.
const LARGEST_REQUEST: usize = 1 << 20;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Usage(#[from] clap::Error),
    #[error("{doing}")]
    Io { doing: String, source: io::Error },
    #[error(transparent)]
    Store(#[from] s3::Error),
    #[error("the template cannot be honoured: {0}")]
    Template(Problems),
    #[error("read {path}: {reason}")]
    Kubeconfig { path: PathBuf, reason: String },
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
}

/// Answers as the account of a stack.
#[derive(Debug, Parser)]
#[command(name = "__aws", no_binary_name = true)]
pub struct Arguments {
    /// Ask the account of this pod instead of being one
    #[arg(long)]
    ask: Option<String>,
    /// Address to listen on
    #[arg(long, default_value = "0.0.0.0:443")]
    listen: SocketAddr,
    /// Name of the stack
    #[arg(long, default_value = "")]
    stack: String,
    #[arg(long, default_value = "")]
    region: String,
    /// Where claims and pods are
    #[arg(long, default_value = "")]
    namespace: String,
    /// This pod
    #[arg(long, default_value = "")]
    pod: String,
    /// Folder with the template, the parameters, the kubeconfig and the certificate, each in a folder of its own
    #[arg(long, default_value = "/account")]
    folder: PathBuf,
    /// Folder that every file system is mounted in, under the name of its claim
    #[arg(long, default_value = "/efs")]
    efs: PathBuf,
    /// Folder for recovery points
    #[arg(long, default_value = "/vault")]
    vault: PathBuf,
}

/// `redrill __aws`: serves until it is killed, or asks the one that does. `arguments` come without the program's and the helper's name.
/// What was answered is the result.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> Result<Option<String>, Error> {
    let arguments = Arguments::try_parse_from(arguments)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|source| Error::Io { doing: "start".into(), source })?;
    runtime.block_on(async {
        if let Some(request) = &arguments.ask {
            let asked = control::ask(Path::new(control::SOCKET), request).await;
            return asked.map(Some).map_err(|source| Error::Io { doing: "ask the account".into(), source });
        }
        let account = open(&arguments).await?;
        serve(account, &arguments).await.map(|()| None)
    })
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|source| Error::Io { doing: format!("read {}", path.display()), source })
}

/// The values of the parameters, each in a file of its name.
fn parameters(folder: &Path) -> Result<BTreeMap<String, String>, Error> {
    let failed = |source| Error::Io { doing: format!("read {}", folder.display()), source };
    let mut values = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_file() && !name.starts_with('.') {
            values.insert(name.to_owned(), read(&path)?);
        }
    }
    Ok(values)
}

async fn open(arguments: &Arguments) -> Result<Arc<Account>, Error> {
    let credentials = Credentials::from_environment(ACCESS_KEY, SECRET_KEY)?;
    let parameters = parameters(&arguments.folder.join("parameters"))?;
    let template = read(&arguments.folder.join("template/template.yaml"))?;
    let identity = Identity { stack: arguments.stack.clone(), region: arguments.region.clone() };
    let stack = Stack::read("template", &template, identity, Values::Known(&parameters)).map_err(Error::Template)?;
    let kubeconfig = arguments.folder.join("kubeconfig/config");
    let unusable = |reason: String| Error::Kubeconfig { path: kubeconfig.clone(), reason };
    let config =
        kube::config::Kubeconfig::from_yaml(&read(&kubeconfig)?).map_err(|error| unusable(error.to_string()))?;
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await;
    let client = kube::Client::try_from(config.map_err(|error| unusable(error.to_string()))?);
    let kubernetes = Kubernetes::connect(client.map_err(|error| unusable(error.to_string()))?).await?;
    let settings = Settings {
        namespace: arguments.namespace.clone(),
        pod: arguments.pod.clone(),
        efs: arguments.efs.clone(),
        vault: arguments.vault.clone(),
        credentials,
        parameters,
    };
    let account = Arc::new(Account::new(settings, kubernetes, stack, template));
    // Before anybody can see the pod as ready: what is under way is said by then.
    let mut state = account.state().await;
    scheduler::look(&account, &mut state).await?;
    drop(state);
    Ok(account)
}

async fn serve(account: Arc<Account>, arguments: &Arguments) -> Result<(), Error> {
    let tls = arguments.folder.join("tls");
    let tls = s3::tls(&tls.join("tls.crt"), &tls.join("tls.key"))?;
    tokio::spawn(scheduler::run(account.clone()));
    let control = control::listen(account.clone(), Path::new(control::SOCKET));
    let listening = |source| Error::Io { doing: format!("listen on {}", arguments.listen), source };
    let listener = TcpListener::bind(arguments.listen).await.map_err(listening)?;
    let router =
        Router::new().fallback(answer).layer(axum::extract::DefaultBodyLimit::max(LARGEST_REQUEST)).with_state(account);
    let served = axum::serve(TlsListener { listener, tls }, router);
    let failed = |doing: &str| {
        let doing = doing.to_owned();
        move |source| Error::Io { doing, source }
    };
    tokio::select! {
        ended = async { served.await } => ended.map_err(failed("serve")),
        ended = control => ended.map_err(failed("be asked")),
        stopped = s3::asked_to_stop() => stopped.map_err(failed("wait for signals")),
    }
}

struct TlsListener {
    listener: TcpListener,
    tls: TlsAcceptor,
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = axum::serve::Listener::accept(&mut self.listener).await;
            // Who only looks whether the port is open shakes no hands.
            if let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_DEADLINE, self.tls.accept(stream)).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A service by the name that it is reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    CloudFormation,
    Ecs,
    Efs,
    Backup,
    Sts,
}

impl Service {
    fn of(parts: &Parts) -> Option<Self> {
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok())?;
        Some(match host.split('.').next()? {
            "cloudformation" => Self::CloudFormation,
            "ecs" => Self::Ecs,
            "elasticfilesystem" => Self::Efs,
            "backup" => Self::Backup,
            "sts" => Self::Sts,
            _ => return None,
        })
    }

    fn protocol(self) -> Protocol {
        match self {
            Self::CloudFormation | Self::Sts => Protocol::Query,
            Self::Ecs => Protocol::Json,
            Self::Efs | Self::Backup => Protocol::RestJson,
        }
    }
}

async fn answer(Extracted(account): Extracted<Arc<Account>>, parts: Parts, body: Bytes) -> Response {
    let Some(service) = Service::of(&parts) else {
        return Fault::unserved("this service").into_response(Protocol::RestJson);
    };
    let result = match signature::check(&parts, &body, &account.settings.credentials) {
        Ok(()) => operate(&account, service, &parts, &body).await,
        Err(fault) => Err(fault),
    };
    account.changed.notify_one();
    result.unwrap_or_else(|fault| fault.into_response(service.protocol()))
}

async fn operate(account: &Arc<Account>, service: Service, parts: &Parts, body: &[u8]) -> Result<Response, Fault> {
    let path: Vec<String> = parts
        .uri
        .path()
        .split('/')
        .filter(|part| !part.is_empty())
        .map(|part| percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned())
        .collect();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let query: BTreeMap<String, String> = pairs(parts.uri.query().unwrap_or_default());
    match service {
        Service::CloudFormation | Service::Sts => {
            let form = form_urlencoded::parse(body).into_owned().collect::<BTreeMap<_, _>>();
            let operation = form.get("Action").cloned().unwrap_or_default();
            let form = form.into_iter().filter(|(name, _)| name != "Action" && name != "Version").collect();
            let (result, namespace) = match service {
                Service::CloudFormation => (
                    stack::serve(account, &operation, &form).await?,
                    "http://cloudformation.amazonaws.com/doc/2010-05-15/",
                ),
                _ => (identity(&operation)?, "https://sts.amazonaws.com/doc/2011-06-15/"),
            };
            let body = xml::answer(&operation, namespace, &result);
            Ok(([(header::CONTENT_TYPE, "text/xml")], body).into_response())
        }
        Service::Ecs => {
            let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok()).unwrap_or_default();
            let operation = target.rsplit('.').next().unwrap_or_default();
            let input = json_of(body)?;
            service::serve(account, operation, &input).await.map(|result| axum::Json(result).into_response())
        }
        Service::Efs => match (&parts.method, path.as_slice()) {
            (&Method::GET, ["2015-02-01", noun]) => {
                files::serve(account, noun, &query).await.map(|result| axum::Json(result).into_response())
            }
            (method, path) => Err(Fault::unserved(&format!("EFS's {method} /{}", path.join("/")))),
        },
        Service::Backup => {
            let input = json_of(body)?;
            let result = backup::serve(account, &parts.method, &path, &input).await;
            result.map(|result| axum::Json(result).into_response())
        }
    }
}

fn identity(operation: &str) -> Result<Value, Fault> {
    match operation {
        "GetCallerIdentity" => {
            let account = crate::system::cloud_formation::ACCOUNT;
            let arn = format!("arn:aws:iam::{account}:user/operator");
            Ok(serde_json::json!({"Account": account, "Arn": arn, "UserId": "AIDAOPERATOR"}))
        }
        other => Err(Fault::unserved(&format!("STS's {other}"))),
    }
}

fn json_of(body: &[u8]) -> Result<Value, Fault> {
    match body.is_empty() {
        true => Ok(Value::Null),
        false => serde_json::from_slice(body).map_err(|error| Fault::new("SerializationException", error.to_string())),
    }
}

/// `a=b&c=d`, as forms and queries have it.
fn pairs(text: &str) -> BTreeMap<String, String> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}
