//! One container of a pod as testcontainers starts it, and what cannot be kept of a spec.

use testcontainers::bollard::errors::Error as EngineError;
use testcontainers::bollard::models::{HostConfig, Mount as EngineMount, MountType, MountVolumeOptions};
use testcontainers::core::error::ClientError;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, ContainerRequest, GenericImage, ImageExt as _, TestcontainersError};

use super::engine::{CONTAINER, Engine, POD, is_status, kept_log};
use crate::runtime::{ContainerSpec, Mount, MountSource, RuntimeError, failed, name};

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

/// Refuses what containers of an engine do not do yet, by its name: a pod that quietly lacks a part of
/// its spec would prove nothing.
pub(super) fn refuse_what_is_not_done(spec: &ContainerSpec) -> Result<(), RuntimeError> {
    let refuse = |what: String| Err(failed(format!("make the container {}", name(&spec.id)), what));
    for mount in &spec.mounts {
        let target = mount.target.display();
        match &mount.source {
            MountSource::Files(_) => {
                return refuse(format!("projected files (at {target}) are not done yet in containers of an engine"));
            }
            MountSource::Volume(_) if mount.sub_path.is_some() => {
                return refuse(format!("the subPath of {target} is not done yet in containers of an engine"));
            }
            MountSource::Volume(_) if spec.fs_group.is_some() => {
                return refuse(format!("fsGroup on the volume at {target} is not done yet in containers of an engine"));
            }
            MountSource::Volume(_) => {}
        }
    }
    Ok(())
}

/// Starts the container in the network of its pod.
pub(super) async fn start(engine: &Engine, spec: &ContainerSpec) -> Result<Held, RuntimeError> {
    match request(engine, spec).start().await {
        Ok(container) => Ok(Held(Some(container))),
        Err(error) => {
            // testcontainers forgets a container that it made and could not start.
            engine.remove_container(&engine.container(&spec.id)).await?;
            Err(explain(spec, &error))
        }
    }
}

fn request(engine: &Engine, spec: &ContainerSpec) -> ContainerRequest<GenericImage> {
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
        .with_host_config_modifier(host_config(engine, spec));
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
fn host_config(engine: &Engine, spec: &ContainerSpec) -> impl Fn(&mut HostConfig) + Send + Sync + 'static {
    let pod = format!("container:{}", engine.pod(&spec.id.pod));
    let mounts: Vec<EngineMount> = spec.mounts.iter().filter_map(|mount| volume(engine, mount)).collect();
    let group = spec.fs_group.map(|group| vec![group.to_string()]);
    move |config| {
        config.network_mode = Some(pod.clone());
        // Else every port that an image exposes is opened on the host.
        config.publish_all_ports = Some(false);
        config.mounts = Some(mounts.clone());
        config.group_add = group.clone();
        config.log_config = Some(kept_log());
    }
}

fn volume(engine: &Engine, mount: &Mount) -> Option<EngineMount> {
    let MountSource::Volume(volume) = &mount.source else { return None };
    Some(EngineMount {
        typ: Some(MountType::VOLUME),
        source: Some(engine.volume(volume)),
        target: Some(mount.target.to_string_lossy().into_owned()),
        read_only: Some(mount.read_only),
        // An engine fills an empty volume with what the image has there; Kubernetes does not.
        volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
        ..EngineMount::default()
    })
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
