//! One container of a pod as testcontainers starts it.

use testcontainers::bollard::errors::Error as EngineError;
use testcontainers::bollard::models::{HostConfig, Mount as EngineMount};
use testcontainers::core::error::ClientError;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _, TestcontainersError};

use super::engine::{CONTAINER, Engine, POD, is_status, kept_log};
use crate::runtime::{ContainerSpec, Limits, RuntimeError, failed, name};

/// Where programs look for the authorities that they trust, and the environment sends those that look elsewhere.
pub(super) const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A container that runs, or did. Dropping it removes it from the engine.
pub(super) struct Held(Option<ContainerAsync<GenericImage>>);

impl Held {
    pub async fn remove(mut self) -> Result<(), TestcontainersError> {
        match self.0.take() {
            Some(container) => container.rm().await,
            None => Ok(()),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // testcontainers panics where there is no tokio; the label still leads to the container.
        if tokio::runtime::Handle::try_current().is_err() {
            std::mem::forget(self.0.take());
        }
    }
}

/// Starts the container in the network of its pod.
pub(super) async fn start(
    engine: &Engine,
    spec: &ContainerSpec,
    mounts: Vec<EngineMount>,
) -> Result<Held, RuntimeError> {
    match request(engine, spec, mounts).start().await {
        Ok(container) => Ok(Held(Some(container))),
        Err(error) => {
            // testcontainers forgets a container that it made and could not start.
            engine.remove_container(&engine.container(&spec.id)).await?;
            Err(explain(spec, &error))
        }
    }
}

fn request(engine: &Engine, spec: &ContainerSpec, mounts: Vec<EngineMount>) -> ContainerRequest<GenericImage> {
    // A reference by digest has its colon, too.
    let (repository, tag) = match spec.image.reference.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (spec.image.reference.as_str(), "latest"),
    };
    let (program, arguments) = spec.argv.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    let mut request = GenericImage::new(repository, tag)
        .with_entrypoint(program)
        .with_cmd(arguments)
        .with_container_name(engine.container(&spec.id))
        .with_labels(engine.labels(&[(POD, &spec.id.pod.0), (CONTAINER, &spec.id.container)]))
        .with_host_config_modifier(host_config(engine, spec, mounts))
        .with_env_var("SSL_CERT_FILE", CERTIFICATES);
    for (name, value) in &spec.image.env {
        request = request.with_env_var(name, value);
    }
    for (name, value) in &spec.env {
        request = request.with_env_var(name, value.expose());
    }
    if let Some(directory) = spec.working_dir.as_ref().or(spec.image.working_dir.as_ref()) {
        request = request.with_working_dir(directory.to_string_lossy());
    }
    match user(spec) {
        Some(user) => request.with_user(user),
        None => request,
    }
}

/// What testcontainers has no word for, or decides otherwise.
fn host_config(
    engine: &Engine,
    spec: &ContainerSpec,
    mounts: Vec<EngineMount>,
) -> impl Fn(&mut HostConfig) + Send + Sync + 'static {
    let pod = format!("container:{}", engine.pod(&spec.id.pod));
    let limits = spec.limits;
    let group = spec.fs_group.map(|group| vec![group.to_string()]);
    move |config| {
        config.network_mode = Some(pod.clone());
        // Else every port that an image exposes is opened on the host.
        config.publish_all_ports = Some(false);
        config.mounts = Some(mounts.clone());
        config.group_add = group.clone();
        config.log_config = Some(kept_log());
        limit(config, limits);
    }
}

/// The period of time that a share of processors is of, in microseconds, and the least share of it, both as a kubelet has them.
const PERIOD: i64 = 100_000;
const LEAST_SHARE: i64 = 1_000;

/// As a kubelet does: no swap beside the memory. An engine refuses processors that it has not, and a share of a period never.
fn limit(config: &mut HostConfig, limits: Limits) {
    config.memory = limits.memory;
    config.memory_swap = limits.memory;
    if let Some(cpu) = limits.cpu {
        config.cpu_period = Some(PERIOD);
        config.cpu_quota = Some(((cpu * PERIOD as f64) as i64).max(LEAST_SHARE));
    }
}

fn user(spec: &ContainerSpec) -> Option<String> {
    let user = spec.run_as_user.map(|user| user.to_string()).or_else(|| spec.image.user.clone());
    match spec.run_as_group {
        None => user,
        Some(group) => {
            let user = user.unwrap_or_else(|| "0".to_owned());
            let user = user.split(':').next().unwrap_or_default();
            Some(format!("{user}:{group}"))
        }
    }
}

/// The engine answers 400 to a program that is absent or not executable, and to little else of a start.
fn explain(spec: &ContainerSpec, error: &TestcontainersError) -> RuntimeError {
    let refused = match error {
        TestcontainersError::Client(ClientError::StartContainer(error) | ClientError::Init(error)) => Some(error),
        _ => None,
    };
    match refused {
        Some(error @ EngineError::DockerResponseServerError { message, .. }) if is_status(error, &[400, 404]) => {
            let program = spec.argv.first().cloned().unwrap_or_default();
            RuntimeError::CannotRun { program, reason: message.clone() }
        }
        Some(error) => failed(format!("start the container {}", name(&spec.id)), error),
        None => failed(format!("start the container {}", name(&spec.id)), error),
    }
}
