//! Whether workloads answer their readiness probes at this moment: asked directly, as their kubelet asks, for what it says of them may
//! be some seconds old.

use std::time::Duration;

use serde_json::Value;

use crate::drill::stage::{Stage, ask};
use crate::drill::workload;
use crate::kubernetes::{ExecRequest, Kubernetes, KubernetesError, Terminal};
use crate::probe::{Reply, Request};

/// A probe that takes longer answers nobody.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether every pod of a workload that is to stay answers every one of its readiness probes. `false`, too, where one is of a kind
/// that only a kubelet asks.
pub async fn answers(stage: &mut Stage, kubernetes: &Kubernetes, workload: &Value) -> Result<bool, KubernetesError> {
    let mut addresses = Vec::new();
    let mut pods = workload::pods(kubernetes, workload).await?;
    pods.retain(|pod| pod["metadata"]["deletionTimestamp"].is_null());
    for pod in pods {
        for container in pod["spec"]["containers"].as_array().into_iter().flatten() {
            match look(&pod, container) {
                Look::Nobody => {}
                Look::At(address) => addresses.push(address),
                Look::Unknown => return Ok(false),
                Look::Run(argv) => {
                    if !succeeds(kubernetes, &pod, container, &argv).await {
                        return Ok(false);
                    }
                }
            }
        }
    }
    if addresses.is_empty() {
        return Ok(true);
    }
    let wanted = addresses.len();
    // Where the prober cannot say, the kubelet's word will do.
    let reply = ask(&mut stage.prober, Request::Answering { addresses }).await;
    Ok(matches!(reply, Ok(Reply::Reached { addresses }) if addresses.len() == wanted))
}

/// How one finds out whether a container is ready.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    /// Nobody does.
    Nobody,
    /// `http://10.1.0.4:8080/health`, or `tcp://10.1.0.4:5432`.
    At(String),
    Run(Vec<String>),
    Unknown,
}

fn look(pod: &Value, container: &Value) -> Look {
    let probe = &container["readinessProbe"];
    if !probe.is_object() {
        return Look::Nobody;
    }
    let address = |action: &Value| {
        let ip = pod["status"]["podIP"].as_str()?;
        let host = if ip.contains(':') { format!("[{ip}]") } else { ip.to_owned() };
        Some(format!("{host}:{}", port(container, &action["port"])?))
    };
    let (exec, http, tcp) = (&probe["exec"], &probe["httpGet"], &probe["tcpSocket"]);
    let is_plain = http["host"].is_null() && http["httpHeaders"].is_null() && http["scheme"] != "HTTPS";
    let found = if let Some(argv) = exec["command"].as_array() {
        argv.iter().map(|word| word.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>().map(Look::Run)
    } else if http.is_object() && is_plain {
        let path = http["path"].as_str().unwrap_or("/").trim_start_matches('/');
        address(http).map(|address| Look::At(format!("http://{address}/{path}")))
    } else if tcp.is_object() && tcp["host"].is_null() {
        address(tcp).map(|address| Look::At(format!("tcp://{address}")))
    } else {
        None
    };
    found.unwrap_or(Look::Unknown)
}

/// A port by its number, or by the name that the container gives it.
fn port(container: &Value, port: &Value) -> Option<u64> {
    let by_name = |name: &str| {
        let mut ports = container["ports"].as_array()?.iter();
        ports.find(|port| port["name"] == name)?["containerPort"].as_u64()
    };
    port.as_u64().or_else(|| by_name(port.as_str()?))
}

async fn succeeds(kubernetes: &Kubernetes, pod: &Value, container: &Value, argv: &[String]) -> bool {
    let name = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
    let (namespace, pod) = (name(&pod["metadata"]["namespace"]), name(&pod["metadata"]["name"]));
    let container = name(&container["name"]);
    let request = ExecRequest {
        namespace: &namespace,
        pod: &pod,
        container: Some(&container),
        argv: &argv,
        terminal: Terminal::No,
    };
    let run = async {
        // Not running, or gone since.
        let Ok(mut exec) = kubernetes.exec(&request).await else { return false };
        exec.stdin = None;
        // What it prints does not matter, but it has to be able to print.
        let _ = tokio::io::copy(&mut exec.stdout, &mut tokio::io::sink()).await;
        exec.exit.await == Some(0)
    };
    tokio::time::timeout(PATIENCE, run).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_probe_is_asked_as_its_manifest_says() {
        let pod = json!({"status": {"podIP": "10.1.0.4"}});
        let of = |probe: Value| {
            look(&pod, &json!({"ports": [{"name": "web", "containerPort": 8080}], "readinessProbe": probe}))
        };
        assert_eq!(of(Value::Null), Look::Nobody);
        assert_eq!(
            of(json!({"exec": {"command": ["test", "-s", "x"]}})),
            Look::Run(vec!["test".into(), "-s".into(), "x".into()])
        );
        let at = |address: &str| Look::At(address.to_owned());
        assert_eq!(of(json!({"httpGet": {"path": "/health", "port": "web"}})), at("http://10.1.0.4:8080/health"));
        assert_eq!(of(json!({"httpGet": {"port": 80}})), at("http://10.1.0.4:80/"));
        assert_eq!(of(json!({"tcpSocket": {"port": 5432}})), at("tcp://10.1.0.4:5432"));
        let of_a_kubelet = [
            json!({"grpc": {"port": 1}}),
            json!({"httpGet": {"port": "none"}}),
            json!({"httpGet": {"port": 80, "scheme": "HTTPS"}}),
            json!({"tcpSocket": {"port": 80, "host": "elsewhere"}}),
        ];
        for probe in of_a_kubelet {
            assert_eq!(of(probe.clone()), Look::Unknown, "{probe}");
        }
        let unplaced = look(&json!({}), &json!({"readinessProbe": {"tcpSocket": {"port": 1}}}));
        assert_eq!(unplaced, Look::Unknown);
    }
}
