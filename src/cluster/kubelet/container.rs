//! One container: made, started, watched, ended, and started again as its pod's policy says.

use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, LifecycleHandler};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::config;
use super::pod::PodWorker;
use super::probes::{self, Unhealthy};
use super::restart::{Backoff, RestartPolicy};
use super::state::{Run, Terminated};
use crate::cluster::store::now;
use crate::runtime::{ContainerExit, ContainerSpec, Image, RuntimeError};

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// How long a killed program may take to be reported as ended.
const REAP: Duration = Duration::from_secs(5);

/// How a container came to its final end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    Succeeded,
    Failed,
    /// The pod is being stopped.
    Stopped,
}

/// Runs a container until its policy does not start it again, or the pod is stopped. Nothing of it runs afterwards.
pub async fn run(pod: &PodWorker, container: &Container, policy: RestartPolicy) -> End {
    let mut backoff = Backoff::default();
    loop {
        let Some(spec) = ready_to_make(pod, container).await else { return End::Stopped };
        let started = Instant::now();
        let ended = run_once(pod, container, spec).await;
        let (name, code) = (&container.name, ended.exit_code);
        pod.update(name, |state| {
            state.run = Run::Terminated(ended.clone());
            (state.started, state.ready) = (false, false);
        });
        if pod.is_stopping() {
            return End::Stopped;
        }
        if !policy.restarts(code) {
            return if code == 0 { End::Succeeded } else { End::Failed };
        }
        if !wait_for_restart(pod, container, &ended, backoff.after(started)).await {
            return End::Stopped;
        }
    }
}

/// A kubelet looks once a second whether containers have ended. Whoever watches the pod sees each end of one.
const NOTICED: Duration = Duration::from_secs(1);

/// Waits out the back-off and counts the restart. `false` when the pod is stopped meanwhile.
async fn wait_for_restart(pod: &PodWorker, container: &Container, ended: &Terminated, wait: Duration) -> bool {
    if !wait.is_zero() {
        let message = format!("back-off {}s restarting failed container={}", wait.as_secs(), container.name);
        pod.record("Warning", "BackOff", &format!("Back-off restarting failed container {}", container.name));
        pod.update(&container.name, |state| {
            state.last = Some(ended.clone());
            state.run = Run::Waiting { reason: "CrashLoopBackOff", message: message.clone() };
        });
    }
    tokio::select! {
        () = sleep(wait.max(NOTICED)) => {}
        () = pod.stopping() => return false,
    }
    pod.update(&container.name, |state| {
        state.last = Some(ended.clone());
        state.restarts += 1;
    });
    true
}

/// Waits for the image and for what the container refers to. `None` when the pod is stopped meanwhile.
async fn ready_to_make(pod: &PodWorker, container: &Container) -> Option<ContainerSpec> {
    let image = image(pod, container).await?;
    let mut changes = pod.kubelet.changes.subscribe();
    loop {
        if pod.is_stopping() {
            return None;
        }
        changes.borrow_and_update();
        let message = match config::container(pod, container, image.clone()) {
            Ok(spec) => return Some(spec),
            Err(message) => message,
        };
        pod.wait_with(container, "CreateContainerConfigError", &message);
        pod.record("Warning", "Failed", &format!("Error: {message}"));
        tokio::select! {
            changed = changes.changed() => changed.ok()?,
            () = pod.stopping() => return None,
        }
    }
}

async fn image(pod: &PodWorker, container: &Container) -> Option<Image> {
    let reference = container.image.as_deref().unwrap_or_default();
    let mut backoff = Backoff::default();
    backoff.after(Instant::now());
    loop {
        let reason = match pod.kubelet.images.resolve(reference) {
            Ok(image) => {
                let message = format!("Container image \"{reference}\" already present on machine");
                pod.record("Normal", "Pulled", &message);
                return Some(image);
            }
            Err(reason) => reason,
        };
        pod.record("Warning", "Failed", &format!("Failed to pull image \"{reference}\": {reason}"));
        pod.record("Warning", "Failed", "Error: ErrImagePull");
        pod.wait_with(container, "ErrImagePull", &reason);
        let message = format!("Back-off pulling image \"{reference}\": {reason}");
        pod.record("Normal", "BackOff", &format!("Back-off pulling image \"{reference}\""));
        pod.wait_with(container, "ImagePullBackOff", &message);
        tokio::select! {
            () = sleep(backoff.after(Instant::now())) => {}
            () = pod.stopping() => return None,
        }
    }
}

/// One run, from making the container to removing it.
async fn run_once(pod: &PodWorker, container: &Container, spec: ContainerSpec) -> Terminated {
    let runtime = &pod.kubelet.runtime;
    let since = now();
    let made = async {
        runtime.create(&spec).await?;
        pod.record("Normal", "Created", &format!("Created container: {}", container.name));
        runtime.start(&spec.id).await
    };
    let ended = match made.await {
        Ok(()) => {
            pod.record("Normal", "Started", &format!("Started container {}", container.name));
            pod.update(&container.name, |state| state.run = Run::Running { since: since.clone() });
            supervise(pod, container, &spec).await
        }
        Err(error) => Err(error),
    };
    if let Err(error) = runtime.remove(&spec.id).await {
        tracing::warn!(%error, container = ?spec.id, "container not removed");
    }
    match ended {
        Ok(exit) => terminated(exit, since),
        Err(error) => {
            pod.record("Warning", "Failed", &format!("Error: {error}"));
            let exit_code = if matches!(error, RuntimeError::CannotRun { .. }) { 127 } else { 128 };
            Terminated {
                message: error.to_string(),
                reason: "StartError",
                ..terminated(ContainerExit::Code(exit_code), since)
            }
        }
    }
}

fn terminated(exit: ContainerExit, started: String) -> Terminated {
    let signal = match exit {
        ContainerExit::Signal(signal) => Some(signal),
        ContainerExit::Code(_) | ContainerExit::OutOfMemory(_) => None,
    };
    let reason = match exit {
        ContainerExit::OutOfMemory(_) => "OOMKilled",
        _ if exit.code() == 0 => "Completed",
        _ => "Error",
    };
    Terminated { exit_code: exit.code(), signal, reason, message: String::new(), started, finished: now() }
}

/// Waits for the end of a started container, which its probes or the pod's stop may bring about.
async fn supervise(
    pod: &PodWorker,
    container: &Container,
    spec: &ContainerSpec,
) -> Result<ContainerExit, RuntimeError> {
    let mut exit = pin!(pod.kubelet.runtime.wait(&spec.id));
    let health = async {
        match post_start(pod, container).await {
            Ok(()) => probes::watch(pod, container).await,
            Err(unhealthy) => unhealthy,
        }
    };
    let grace = tokio::select! {
        exit = &mut exit => return exit,
        unhealthy = health => {
            pod.record("Normal", "Killing", &unhealthy.message);
            unhealthy.grace.unwrap_or(pod.grace())
        }
        () = pod.stopping() => {
            pod.record("Normal", "Killing", &format!("Stopping container {}", container.name));
            pod.grace()
        }
    };
    pod.update(&container.name, |state| state.ready = false);
    let begin = Instant::now();
    let ended = async {
        tokio::select! {
            exit = &mut exit => return exit,
            () = pre_stop(pod, container) => {}
        }
        let signal = spec.image.stop_signal.unwrap_or(SIGTERM);
        // A program that ended just now cannot be signalled, and `wait` says so.
        let _ = pod.kubelet.runtime.signal(&spec.id, signal).await;
        exit.as_mut().await
    };
    tokio::select! {
        // Killed at once means without hooks, and without a word that it could act on.
        ended = ended, if !grace.is_zero() => return ended,
        () = deadline(pod, begin, grace) => {}
    }
    // Same here: it may have ended in this moment.
    let _ = pod.kubelet.runtime.signal(&spec.id, SIGKILL).await;
    let killed = timeout_at(Instant::now() + REAP, exit).await;
    killed.unwrap_or(Ok(ContainerExit::Signal(SIGKILL)))
}

/// Completes when the grace is over; a deletion with a shorter one cuts it short while it runs.
async fn deadline(pod: &PodWorker, begin: Instant, grace: Duration) {
    let mut stops = pod.stops();
    loop {
        let grace = stops.borrow_and_update().map_or(grace, |asked| asked.min(grace));
        tokio::select! {
            () = sleep_until(begin + grace) => return,
            Ok(()) = stops.changed() => {}
        }
    }
}

async fn post_start(pod: &PodWorker, container: &Container) -> Result<(), Unhealthy> {
    let Some(hook) = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref()) else {
        return Ok(());
    };
    run_hook(pod, container, hook).await.map_err(|error| {
        pod.record("Warning", "FailedPostStartHook", &format!("PostStartHook failed: {error}"));
        Unhealthy { message: "FailedPostStartHook".to_owned(), grace: None }
    })
}

async fn pre_stop(pod: &PodWorker, container: &Container) {
    let hook = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
    if let Some(hook) = hook
        && let Err(error) = run_hook(pod, container, hook).await
    {
        pod.record("Warning", "FailedPreStopHook", &format!("PreStopHook failed: {error}"));
    }
}

async fn run_hook(pod: &PodWorker, container: &Container, hook: &LifecycleHandler) -> Result<(), String> {
    if let Some(action) = &hook.exec {
        probes::exec(pod, container, action).await
    } else if let Some(action) = &hook.http_get {
        probes::http_get(pod, container, action).await
    } else if let Some(action) = &hook.sleep {
        sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
        Ok(())
    } else {
        Err("a kind of hook that redrill does not provide".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_a_container_ended_is_said_as_a_kubelet_says_it() {
        let reason = |exit| terminated(exit, now()).reason;
        assert_eq!(reason(ContainerExit::Code(0)), "Completed");
        assert_eq!(reason(ContainerExit::Code(137)), "Error");
        let killed = terminated(ContainerExit::OutOfMemory(137), now());
        assert_eq!((killed.reason, killed.exit_code, killed.signal), ("OOMKilled", 137, None));
    }
}
