//! A runtime whose containers are programs of this machine, and a kubelet that believes in them: what the served API needs
//! around it to be tried with a real kubectl.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use futures::FutureExt;
use redrill::cluster::kind::{self, Kind};
use redrill::cluster::store::{EventType, Store, names};
use redrill::runtime::*;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::process::Command;
use tokio::sync::mpsc;

#[derive(Default)]
pub struct LocalProcesses {
    /// By container name.
    pub logs: Mutex<BTreeMap<String, String>>,
    /// Process groups that execs started.
    pub groups: Mutex<Vec<i32>>,
}

struct Group(i32);

impl Drop for Group {
    fn drop(&mut self) {
        unsafe { libc::killpg(self.0, libc::SIGKILL) };
    }
}

fn pty(size: TerminalSize) -> (OwnedFd, OwnedFd) {
    let winsize = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    let pair = nix::pty::openpty(Some(&winsize), None).expect("a pseudo terminal");
    (pair.master, pair.slave)
}

impl LocalProcesses {
    fn plain(&self, exec: &ExecSpec) -> std::io::Result<ExecSession> {
        let mut command = Command::new(&exec.argv[0]);
        command.args(&exec.argv[1..]).process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if exec.stdin { Stdio::piped() } else { Stdio::null() });
        let mut child = command.spawn()?;
        let group = Group(child.id().expect("a child that was just started") as i32);
        self.groups.lock().unwrap().push(group.0);
        Ok(ExecSession {
            stdin: child.stdin.take().map(|stdin| Box::new(stdin) as ByteWriter),
            stdout: Box::new(child.stdout.take().expect("piped")),
            stderr: child.stderr.take().map(|stderr| Box::new(stderr) as ByteReader),
            resize: None,
            exit: exit(child, group),
        })
    }

    fn terminal(&self, exec: &ExecSpec, size: TerminalSize) -> std::io::Result<ExecSession> {
        let (master, slave) = pty(size);
        let mut command = Command::new(&exec.argv[0]);
        command.args(&exec.argv[1..]).stdin(slave.try_clone()?).stdout(slave.try_clone()?).stderr(slave.try_clone()?);
        let terminal = slave.as_raw_fd();
        unsafe {
            command.pre_exec(move || {
                libc::setsid();
                libc::ioctl(terminal, libc::TIOCSCTTY, 0);
                for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGTERM, libc::SIGHUP] {
                    libc::signal(signal, libc::SIG_DFL);
                }
                Ok(())
            });
        }
        let child = command.spawn()?;
        drop(command);
        drop(slave);
        let group = Group(child.id().expect("a child that was just started") as i32);
        self.groups.lock().unwrap().push(group.0);
        let (resize, mut sizes) = mpsc::channel::<TerminalSize>(4);
        let resized = master.try_clone()?;
        tokio::spawn(async move {
            while let Some(size) = sizes.recv().await {
                let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
                unsafe { libc::ioctl(resized.as_raw_fd(), libc::TIOCSWINSZ, &size) };
            }
        });
        let file = |fd: OwnedFd| tokio::fs::File::from_std(std::fs::File::from(fd));
        Ok(ExecSession {
            stdin: Some(Box::new(file(master.try_clone()?))),
            stdout: Box::new(file(master)),
            stderr: None,
            resize: Some(resize),
            exit: exit(child, group),
        })
    }
}

fn exit(
    mut child: tokio::process::Child,
    group: Group,
) -> futures::future::BoxFuture<'static, Result<ContainerExit, RuntimeError>> {
    async move {
        let status = child.wait().await.expect("wait for a child");
        // A background child of the program may live on until the session is dropped.
        std::mem::forget(group);
        use std::os::unix::process::ExitStatusExt;
        Ok(match status.code() {
            Some(code) => ContainerExit::Code(code),
            None => ContainerExit::Signal(status.signal().unwrap_or(0)),
        })
    }
    .boxed()
}

#[async_trait]
impl PodRuntime for LocalProcesses {
    async fn create_pod(&self, _: &PodSandbox) -> Result<IpAddr, RuntimeError> {
        Ok(IpAddr::V4(Ipv4Addr::LOCALHOST))
    }
    async fn set_hosts(&self, _: &PodId, _: &[HostEntry]) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn remove_pod(&self, _: &PodId) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn create(&self, _: &ContainerSpec) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn start(&self, _: &ContainerId) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn wait(&self, _: &ContainerId) -> Result<ContainerExit, RuntimeError> {
        futures::future::pending().await
    }
    async fn exec(&self, _: &ContainerId, exec: &ExecSpec) -> Result<ExecSession, RuntimeError> {
        let session = match exec.tty {
            Some(size) => self.terminal(exec, size),
            None => self.plain(exec),
        };
        session.map_err(|error| RuntimeError::CannotRun { program: exec.argv[0].clone(), reason: error.to_string() })
    }
    async fn signal(&self, _: &ContainerId, _: i32) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn logs(&self, container: &ContainerId, options: LogOptions) -> Result<ByteReader, RuntimeError> {
        let logs = self.logs.lock().unwrap();
        let name =
            if options.previous { format!("{}-previous", container.container) } else { container.container.clone() };
        let log = logs.get(&name).ok_or(RuntimeError::NotFound { what: "log", id: name })?;
        let lines: Vec<&str> = log.lines().collect();
        let from = options.tail.map_or(0, |tail| lines.len().saturating_sub(tail));
        let text: String = lines[from..].iter().map(|line| format!("{line}\n")).collect();
        let written = std::io::Cursor::new(text.into_bytes());
        if !options.follow {
            return Ok(Box::new(written));
        }
        let later = std::io::Cursor::new(b"later\n".to_vec());
        Ok(Box::new(written.chain(later)))
    }
    async fn remove(&self, _: &ContainerId) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn create_volume(&self, _: &VolumeId) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn remove_volume(&self, _: &VolumeId) -> Result<(), RuntimeError> {
        Ok(())
    }
    async fn connect(&self, address: SocketAddr) -> Result<ByteStream, RuntimeError> {
        let connected = tokio::net::TcpStream::connect(address).await;
        connected
            .map(|stream| Box::new(stream) as ByteStream)
            .map_err(|error| RuntimeError::Failed { doing: "connect".to_owned(), reason: error.to_string() })
    }
    async fn inventory(&self) -> Result<Vec<String>, RuntimeError> {
        Ok(Vec::new())
    }
}

/// Makes every pod run at once, every workload ready and every deletion end.
pub async fn kubelet(store: Arc<Store>) {
    let (missed, mut events) = store.watch(0).expect("nothing is forgotten yet");
    for event in missed {
        react(&store, event.kind, event.event, &event.object);
    }
    while let Ok(event) = events.recv().await {
        react(&store, event.kind, event.event, &event.object);
    }
}

fn react(store: &Store, kind: &'static Kind, event: EventType, object: &Value) {
    if event == EventType::Deleted {
        return;
    }
    let (namespace, name) = names(object);
    if object["metadata"]["deletionTimestamp"].is_string() {
        if kind == &kind::NAMESPACE {
            for (kind, object) in store.list_namespace(&name) {
                store.remove(kind, &name, &names(&object).1);
            }
        }
        return store.remove(kind, &namespace, &name);
    }
    let _ = store.modify(kind, &namespace, &name, |object| match kind.kind {
        "Pod" => {
            let containers = object["spec"]["containers"].as_array().cloned().unwrap_or_default();
            let statuses: Vec<_> = containers
                .iter()
                .map(|container| {
                    json!({"name": container["name"], "ready": true, "restartCount": 0, "image": container["image"],
                        "state": {"running": {"startedAt": "2024-01-01T00:00:00Z"}}})
                })
                .collect();
            object["status"] = json!({"phase": "Running", "podIP": "127.0.0.1", "containerStatuses": statuses,
                "conditions": [{"type": "Ready", "status": "True"}]});
        }
        "Deployment" => {
            let replicas = object["spec"]["replicas"].clone();
            object["status"] = json!({"observedGeneration": object["metadata"]["generation"], "replicas": replicas,
                "updatedReplicas": replicas, "readyReplicas": replicas, "availableReplicas": replicas,
                "conditions": [{"type": "Available", "status": "True"}]});
        }
        "Job" => object["status"] = json!({"succeeded": 1, "conditions": [{"type": "Complete", "status": "True"}]}),
        _ => {}
    });
}
