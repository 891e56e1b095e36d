//! Probes: startup, liveness and readiness by exec, HTTP or TCP.
//!
//! Until a container is ready (or started) for the first time, its probe is repeated every [`EAGER`] rather than every
//! `periodSeconds`: a drill should wait for the system, not for a period. Thresholds keep their meaning in time: a startup
//! probe fails after `failureThreshold * periodSeconds`, however often it was asked.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use tokio::io::AsyncReadExt;
use tokio::time::{Instant, sleep, timeout};

use super::pod::PodWorker;
use crate::runtime::ExecSpec;

/// The period before the first success.
const EAGER: Duration = Duration::from_millis(100);

/// How much of a probe's or hook's output goes into a message.
const OUTPUT: u64 = 1024;

/// Why a container has to be killed.
#[derive(Debug)]
pub struct Unhealthy {
    pub message: String,
    /// Seconds between signal and kill, where the probe says so.
    pub grace: Option<Duration>,
}

/// Keeps `started` and `ready` of a container true to its probes; returns when it has to be killed.
pub async fn watch(pod: &PodWorker, container: &Container) -> Unhealthy {
    if let Some(probe) = &container.startup_probe
        && let Err(unhealthy) = until_started(pod, container, probe).await
    {
        return unhealthy;
    }
    let ready = container.readiness_probe.is_none();
    pod.update(&container.name, |state| (state.started, state.ready) = (true, ready));
    tokio::select! {
        never = keep_ready(pod, container) => match never {},
        unhealthy = until_dead(pod, container) => unhealthy,
    }
}

async fn until_started(pod: &PodWorker, container: &Container, probe: &Probe) -> Result<(), Unhealthy> {
    sleep(seconds(probe.initial_delay_seconds, 0)).await;
    let patience = period(probe) * threshold(probe);
    let begin = Instant::now();
    loop {
        match check(pod, container, probe).await {
            Ok(()) => return Ok(()),
            Err(message) if begin.elapsed() >= patience => {
                return Err(unhealthy(pod, container, probe, "Startup", "startup", &message));
            }
            Err(_) => sleep(EAGER.min(period(probe))).await,
        }
    }
}

async fn until_dead(pod: &PodWorker, container: &Container) -> Unhealthy {
    let Some(probe) = &container.liveness_probe else { return std::future::pending().await };
    sleep(seconds(probe.initial_delay_seconds, 0)).await;
    let mut failures = 0;
    loop {
        match check(pod, container, probe).await {
            Ok(()) => failures = 0,
            Err(message) => {
                failures += 1;
                if failures >= threshold(probe) {
                    return unhealthy(pod, container, probe, "Liveness", "liveness", &message);
                }
                pod.record("Warning", "Unhealthy", &format!("Liveness probe failed: {message}"));
            }
        }
        sleep(period(probe)).await;
    }
}

async fn keep_ready(pod: &PodWorker, container: &Container) -> Infallible {
    let Some(probe) = &container.readiness_probe else { return std::future::pending().await };
    sleep(seconds(probe.initial_delay_seconds, 0)).await;
    let needed = u32::try_from(probe.success_threshold.unwrap_or(1)).unwrap_or(1);
    let (mut successes, mut failures, mut was_ready) = (0, 0, false);
    let mut told: Option<Instant> = None;
    loop {
        match check(pod, container, probe).await {
            Ok(()) => {
                (successes, failures) = (successes + 1, 0);
                if successes >= needed {
                    was_ready = true;
                    pod.update(&container.name, |state| state.ready = true);
                }
            }
            Err(message) => {
                (successes, failures) = (0, failures + 1);
                if was_ready && failures >= threshold(probe) {
                    pod.update(&container.name, |state| state.ready = false);
                }
                if told.is_none_or(|told| told.elapsed() >= period(probe)) {
                    told = Some(Instant::now());
                    pod.record("Warning", "Unhealthy", &format!("Readiness probe failed: {message}"));
                }
            }
        }
        sleep(if was_ready { period(probe) } else { EAGER.min(period(probe)) }).await;
    }
}

fn unhealthy(
    pod: &PodWorker,
    container: &Container,
    probe: &Probe,
    title: &str,
    kind: &str,
    message: &str,
) -> Unhealthy {
    pod.record("Warning", "Unhealthy", &format!("{title} probe failed: {message}"));
    let message = format!("Container {} failed {kind} probe, will be restarted", container.name);
    let grace = probe.termination_grace_period_seconds.and_then(|grace| u64::try_from(grace).ok());
    Unhealthy { message, grace: grace.map(Duration::from_secs) }
}

async fn check(pod: &PodWorker, container: &Container, probe: &Probe) -> Result<(), String> {
    let limit = seconds(probe.timeout_seconds, 1);
    let asked = async {
        if let Some(action) = &probe.exec {
            exec(pod, container, action).await
        } else if let Some(action) = &probe.http_get {
            http_get(pod, container, action).await
        } else if let Some(action) = &probe.tcp_socket {
            let address = address(pod, container, action.host.as_deref(), &action.port)?;
            let connected = pod.kubelet.runtime.connect(address).await;
            connected.map(drop).map_err(|error| format!("dial tcp {address}: {error}"))
        } else {
            Err("a kind of probe that redrill does not provide".to_owned())
        }
    };
    timeout(limit, asked).await.unwrap_or_else(|_| Err(format!("timed out after {}s", limit.as_secs())))
}

/// Runs a command in the container; a code other than 0 is an error with the output.
pub async fn exec(pod: &PodWorker, container: &Container, action: &ExecAction) -> Result<(), String> {
    let argv = action.command.clone().unwrap_or_default();
    let spec = ExecSpec { argv, stdin: false, tty: None };
    let session = pod.kubelet.runtime.exec(&pod.container_id(&container.name), &spec).await;
    let session = session.map_err(|error| error.to_string())?;
    let output = async |stream: Option<crate::runtime::ByteReader>| {
        let mut shown = Vec::new();
        if let Some(mut stream) = stream {
            // Output is only for the message; its end must not decide the probe.
            let _ = (&mut stream).take(OUTPUT).read_to_end(&mut shown).await;
            let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
        }
        String::from_utf8_lossy(&shown).trim().to_owned()
    };
    let streams = async { tokio::join!(output(Some(session.stdout)), output(session.stderr)) };
    let (exit, (stdout, stderr)) = tokio::join!(session.exit, streams);
    match exit.map_err(|error| error.to_string())?.code() {
        0 => Ok(()),
        code => Err(format!("exit code {code}: {stdout}{stderr}")),
    }
}

/// Asks over HTTP; anything but 200-399 is an error.
pub async fn http_get(pod: &PodWorker, container: &Container, action: &HTTPGetAction) -> Result<(), String> {
    let address = address(pod, container, action.host.as_deref(), &action.port)?;
    let path = action.path.as_deref().unwrap_or("/");
    let url = format!("http://{address}/{}", path.trim_start_matches('/'));
    let failed = |error: &dyn std::fmt::Display| format!("Get \"{url}\": {error}");
    let stream = pod.kubelet.runtime.connect(address).await.map_err(|error| failed(&error))?;
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io).await.map_err(|error| failed(&error))?;
    let mut request = http::Request::get(format!("/{}", path.trim_start_matches('/')))
        .header("User-Agent", "kube-probe/redrill")
        .header("Accept", "*/*")
        .header("Connection", "close");
    let headers = action.http_headers.iter().flatten();
    if !headers.clone().any(|header| header.name.eq_ignore_ascii_case("host")) {
        request = request.header("Host", address.to_string());
    }
    for header in headers {
        request = request.header(&header.name, &header.value);
    }
    let request = request.body(String::new()).map_err(|error| failed(&error))?;
    let mut response = pin!(sender.send_request(request));
    let response = tokio::select! {
        response = &mut response => response,
        // A server that closes right after its answer ends both in one step.
        _ = connection => response.await,
    };
    let response = response.map_err(|error| failed(&error))?;
    match response.status().as_u16() {
        200..400 => Ok(()),
        status => Err(format!("HTTP probe failed with statuscode: {status}")),
    }
}

fn address(
    pod: &PodWorker,
    container: &Container,
    host: Option<&str>,
    port: &IntOrString,
) -> Result<SocketAddr, String> {
    let ip = match host {
        Some(host) if !host.is_empty() => host.parse().map_err(|_| format!("host {host} is not an address"))?,
        Some(_) | None => pod.address().ok_or("the pod has no address")?,
    };
    let number = match port {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => {
            let ports = container.ports.iter().flatten();
            let named = ports.into_iter().find(|port| port.name.as_deref() == Some(name));
            named.map(|port| port.container_port).or_else(|| name.parse().ok())
        }
    };
    let number = number.and_then(|number| u16::try_from(number).ok());
    let number = number.ok_or_else(|| format!("no port {port:?} in container {}", container.name))?;
    Ok(SocketAddr::new(ip, number))
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(value.and_then(|value| u64::try_from(value).ok()).unwrap_or(default))
}

fn period(probe: &Probe) -> Duration {
    seconds(probe.period_seconds.filter(|period| *period > 0), 10)
}

fn threshold(probe: &Probe) -> u32 {
    probe.failure_threshold.and_then(|threshold| u32::try_from(threshold).ok()).unwrap_or(3)
}
