//! The stage: the drill's own pods on a running environment, and the hands that reach into them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::AsyncReadExt;

use crate::drill::Logs;
use crate::drill::provisioned::Provisioned;
use crate::drill::record::Halt;
use crate::drill::site::Site;
use crate::drill::station::{self, NAMESPACE};
use crate::drill::unanswered::Unanswered;
use crate::drill::value::Values;
use crate::environment::Clusters;
use crate::kubernetes::{self, ExecRequest, Kubernetes, KubernetesError, Terminal, wait_for};
use crate::plan::PlannedStep;
use crate::probe::client::{Prober, RunningLedger};
use crate::probe::{Reply, Request};
use crate::runtime::{ByteReader, ByteWriter};
use crate::scenario::ObjectName;
use crate::system::{Object, Systems};

/// How long a pod of the drill's own may take; they need no data and no network.
const OWN_POD: Duration = Duration::from_secs(60);

/// What provisioning made, and what the phases hand on.
pub struct Stage {
    /// Where the drill's own pods are.
    pub kubernetes: Kubernetes,
    pub clusters: Clusters,
    pub values: Values,
    pub prober: PodProber,
    pub ledger: Option<Ledger>,
    pub sites: Vec<Site>,
    /// Where the operator's commands look that name no namespace.
    pub context_namespace: String,
    /// Where the operator's shells start: in the checkout, where the scenario has one.
    pub folder: Option<String>,
    pub logs: Logs,
    /// What the system had before anything was done to it.
    pub provisioned: Provisioned,
    /// What each step so far printed, for the slots of later ones.
    pub outputs: Vec<(PlannedStep, String)>,
    /// The moment between two commits that this drill recovers to, as the database's clock has it.
    pub recovery_target: Option<String>,
    /// Whether the system's Secrets come from templates that may draw other values at any time.
    pub draws_secrets: bool,
    /// Values of Secrets that are names, too: they are no secrets.
    pub public_names: BTreeSet<String>,
    /// When something was last done to the system: what a probe said before may no longer be so.
    pub acted_at: Instant,
    /// When the loss was proven.
    pub lost_at: Option<Instant>,
    /// Since then, in redrill's own looks at what came back: nobody waits for them in earnest.
    pub looking: Duration,
    /// What the manifests ask for, by cluster and `Kind namespace/name`.
    replicas: BTreeMap<(Option<String>, String), i64>,
}

impl Stage {
    pub fn new(
        clusters: Clusters,
        values: Values,
        prober: PodProber,
        logs: Logs,
        systems: &Systems,
        context_namespace: &str,
    ) -> Self {
        let of_object = |cluster: Option<&str>, object: &Object| {
            let wanted = object.value["spec"]["replicas"].as_i64().unwrap_or(1);
            let name = format!("{} {}/{}", object.kind.kind, object.namespace, object.name);
            ((cluster.map(str::to_owned), name), wanted)
        };
        let replicas = systems
            .iter()
            .flat_map(|(cluster, system)| system.objects().iter().map(move |object| of_object(cluster, object)))
            .collect();
        let sites = Site::all(&clusters, systems);
        let kubernetes = clusters.home().clone();
        Self {
            kubernetes,
            clusters,
            values,
            prober,
            ledger: None,
            sites,
            context_namespace: context_namespace.to_owned(),
            folder: None,
            logs,
            provisioned: Provisioned::default(),
            outputs: Vec::new(),
            recovery_target: None,
            draws_secrets: false,
            public_names: BTreeSet::new(),
            acted_at: Instant::now(),
            lost_at: None,
            looking: Duration::ZERO,
            replicas,
        }
    }

    /// The cluster that an object of the scenario is in.
    pub fn cluster_of(&self, object: &ObjectName) -> &Kubernetes {
        self.clusters.of(object.cluster.as_deref())
    }

    /// How many replicas a workload has when the system is as its manifests say; 0 for one they do not know.
    pub fn wanted_replicas(&self, site: &Site, workload: &Value) -> i64 {
        let key = (site.cluster.clone(), kubernetes::describe(workload));
        self.replicas.get(&key).copied().unwrap_or_default()
    }

    /// A second connection to the prober, for something that runs beside the questions.
    pub async fn another_prober(&self) -> Result<PodProber, KubernetesError> {
        connect_prober(&self.kubernetes, NAMESPACE, station::PROBER).await
    }

    /// The state of every pod of the system that is not ready.
    pub async fn pod_states(&self) -> Result<String, KubernetesError> {
        let mut states = Vec::new();
        for site in &self.sites {
            for pod in site.list(&[kubernetes::POD]).await? {
                if !is_ready(&pod) {
                    states.push(format!("{}: {}", site.describe(&pod), pod_state(&pod)));
                }
            }
        }
        Ok(states.join("; "))
    }
}

/// Creates the objects and waits until every pod among them is ready.
pub async fn put_up(kubernetes: &Kubernetes, objects: &[Value]) -> Result<(), KubernetesError> {
    for object in objects {
        kubernetes.create(object).await?;
    }
    for pod in objects.iter().filter(|object| object["kind"] == "Pod") {
        let name = pod["metadata"]["name"].as_str().unwrap_or_default();
        let namespace = pod["metadata"]["namespace"].as_str().unwrap_or_default();
        wait_ready(kubernetes, namespace, name, OWN_POD).await?;
    }
    Ok(())
}

async fn wait_ready(
    kubernetes: &Kubernetes,
    namespace: &str,
    name: &str,
    deadline: Duration,
) -> Result<(), KubernetesError> {
    wait_for(&format!("pod {namespace}/{name} ready"), deadline, async || {
        let pod = kubernetes.get(kubernetes::POD, namespace, name).await?;
        Ok(match &pod {
            Some(pod) if is_ready(pod) => Ok(()),
            Some(pod) => Err(pod_state(pod)),
            None => Err("not there".to_owned()),
        })
    })
    .await
}

pub fn is_ready(pod: &Value) -> bool {
    let mut conditions = pod["status"]["conditions"].as_array().into_iter().flatten();
    conditions.any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

/// Why no node has been found for a pod, in the scheduler's words.
pub fn unplaced(pod: &Value) -> Option<&str> {
    let mut conditions = pod["status"]["conditions"].as_array()?.iter();
    conditions.find(|condition| condition["type"] == "PodScheduled" && condition["status"] == "False")?["message"]
        .as_str()
}

/// What a pod says of itself: its phase, why it is nowhere yet, and why a container waits or how it ended.
pub fn pod_state(pod: &Value) -> String {
    let mut words = vec![pod["status"]["phase"].as_str().unwrap_or("no phase yet").to_owned()];
    words.extend(unplaced(pod).map(str::to_owned));
    for status in pod["status"]["containerStatuses"].as_array().into_iter().flatten() {
        for (state, fields) in status["state"].as_object().into_iter().flatten() {
            let name = status["name"].as_str().unwrap_or_default();
            let reason = fields["reason"].as_str().unwrap_or_default();
            let message = fields["message"].as_str().unwrap_or_default();
            words.push(format!("{name} {state} {reason} {message}").trim_end().to_owned());
        }
    }
    words.join(", ")
}

/// A prober in a pod.
pub type PodProber = Prober<ByteWriter, ByteReader>;
/// A ledger that such a prober is writing.
pub type Ledger = RunningLedger<ByteWriter>;

/// Starts the prober's program in one of its pods.
pub async fn connect_prober(kubernetes: &Kubernetes, namespace: &str, pod: &str) -> Result<PodProber, KubernetesError> {
    let argv = ["redrill", "__probe"];
    let request = ExecRequest { namespace, pod, container: None, argv: &argv, terminal: Terminal::No };
    let exec = kubernetes.exec(&request).await?;
    let (stdin, stdout) = exec.into_streams();
    Ok(Prober::new(stdin, stdout))
}

/// Asks a prober.
pub async fn ask(prober: &mut PodProber, request: Request) -> Result<Reply, Unanswered> {
    Ok(prober.ask(&request).await?)
}

/// A short-lived prober that mounts claims: made, used, removed.
pub struct FileProber<'a> {
    kubernetes: &'a Kubernetes,
    namespace: String,
    name: String,
    pub prober: PodProber,
}

impl<'a> FileProber<'a> {
    pub async fn put_up(
        kubernetes: &'a Kubernetes,
        namespace: &str,
        trees: &[(&str, &crate::scenario::FileTree)],
    ) -> Result<Self, KubernetesError> {
        let name = "redrill-file-prober".to_owned();
        put_up(kubernetes, &[station::file_prober(&name, namespace, trees)]).await?;
        let prober = connect_prober(kubernetes, namespace, &name).await?;
        Ok(Self { kubernetes, namespace: namespace.to_owned(), name, prober })
    }

    /// Returns once the pod is gone, so that it holds no claim any more.
    pub async fn take_down(self) -> Result<(), KubernetesError> {
        drop(self.prober);
        self.kubernetes.kill_pod(&self.namespace, &self.name).await?;
        wait_for(&format!("pod {}/{} gone", self.namespace, self.name), OWN_POD, async || {
            let there = self.kubernetes.get(kubernetes::POD, &self.namespace, &self.name).await?;
            Ok(there.map_or(Ok(()), |pod| Err(pod_state(&pod))))
        })
        .await
    }
}

/// Writes a file on the workstation that only the operator can read.
pub async fn write_file(kubernetes: &Kubernetes, path: &str, content: &str) -> Result<(), Halt> {
    let path = shell_words::quote(path);
    // By length, since not every server can tell the end of stdin.
    let script = format!("umask 077 && mkdir -p \"$(dirname {path})\" && head -c {} > {path}", content.len());
    on_workstation(kubernetes, "write a file", &script, content.as_bytes()).await.map(drop)
}

/// Runs a script on the workstation beside whatever the operator does, and says what it printed. Secrets go in as `input`: a
/// script is an argument, for all to read.
pub async fn on_workstation(kubernetes: &Kubernetes, doing: &str, script: &str, input: &[u8]) -> Result<String, Halt> {
    use tokio::io::AsyncWriteExt;
    // The shell keeps its standard error open beside it: some container runtimes close the input when any of the outputs has ended.
    let script = format!("{{ {script}\n}} 2>&1");
    let argv = ["sh", "-c", &script];
    let terminal = Terminal::No;
    let request =
        ExecRequest { namespace: NAMESPACE, pod: station::WORKSTATION, container: None, argv: &argv, terminal };
    let mut exec = kubernetes.exec(&request).await?;
    let failed =
        |reason: String| Halt::unverified(format!("on the workstation, {doing}: {reason}"), "run the drill again");
    if let Some(stdin) = &mut exec.stdin {
        stdin.write_all(input).await.map_err(|error| failed(error.to_string()))?;
        stdin.flush().await.map_err(|error| failed(error.to_string()))?;
    }
    let mut output = String::new();
    let _ = exec.stdout.read_to_string(&mut output).await;
    match exec.exit.await {
        Some(0) => Ok(output),
        Some(code) => Err(failed(format!("exit {code}: {}", output.trim_end()))),
        None => Err(failed("no exit status".to_owned())),
    }
}
