//! The fabric: PID 1 of a drill, which forks every container and every exec on request.
//!
//! It has one thread and does one thing at a time, so that forking is safe and namespaces can be
//! entered and left.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, setns};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, pipe2, sethostname};

use super::container::{self, Child, Common, Place, Report};
use super::fault::{Doing, Fault};
use super::namespaces::{Sources, forbid_nested};
use super::network::{Network, PodNetwork};
use super::protocol::{self, Answer, Call, End, Host, Launch, Notice, Request, Setup, Terminal, Token};
use super::root::{PODS, VOLUMES, enter_fabric_root};
use super::{mounts, syscall};

const CONTAINER: libc::c_int = libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;

type Reply = Result<(Answer, Vec<OwnedFd>), Fault>;

pub(crate) struct Fabric {
    network: Network,
    bridge: IpAddr,
    trusted_ca: bool,
    /// The fabric's own pid namespace, to come back to after forking into another.
    own_pids: File,
    pods: BTreeMap<String, Pod>,
    processes: BTreeMap<Token, Process>,
    next_pod: u64,
}

struct Pod {
    network: PodNetwork,
    hostname: String,
    hosts: PathBuf,
    resolv_conf: Option<String>,
}

/// A running program that the harness has a token for.
struct Process {
    pid: Pid,
    kind: Kind,
}

enum Kind {
    Container { name: String, pod: String, handle: OwnedFd, common: Common },
    Exec,
}

impl Fabric {
    /// Takes the namespaces that the caller is PID 1 of.
    pub fn make(setup: &Setup, sources: Sources) -> Result<Self, Fault> {
        enter_fabric_root(setup, sources)?;
        forbid_nested()?;
        sethostname(host_name(&format!("redrill-{}", setup.drill))).doing("set the host name")?;
        let network = Network::make(setup.addresses)?;
        let own_pids = File::open("/proc/self/ns/pid").doing("open the fabric's pid namespace")?;
        sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::all()), None).doing("block signals")?;
        Ok(Self {
            network,
            bridge: setup.addresses.bridge().into(),
            trusted_ca: setup.trusted_ca.is_some(),
            own_pids,
            pods: BTreeMap::new(),
            processes: BTreeMap::new(),
            next_pod: 0,
        })
    }

    /// Serves the harness until it closes the socket or dies. The kernel ends whatever still runs then.
    pub fn serve(mut self, control: UnixStream) -> ExitCode {
        match self.serve_until_closed(&control) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE,
        }
    }

    fn serve_until_closed(&mut self, control: &UnixStream) -> io::Result<()> {
        let children =
            SignalFd::with_flags(&SigSet::from(Signal::SIGCHLD), SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK)?;
        protocol::send(control.as_fd(), &Notice::Ready { bridge: self.bridge }, &[])?;
        loop {
            let mut ready =
                [PollFd::new(control.as_fd(), PollFlags::POLLIN), PollFd::new(children.as_fd(), PollFlags::POLLIN)];
            match poll(&mut ready, PollTimeout::NONE) {
                Err(nix::Error::EINTR) => continue,
                polled => polled?,
            };
            let asked = ready[0].any().unwrap_or(false);
            while children.read_signal()?.is_some() {}
            self.report_ended(control)?;
            if asked {
                let Some((call, _)) = protocol::receive::<Call>(control.as_fd())? else { return Ok(()) };
                self.answer(control, call)?;
            }
        }
    }

    fn answer(&mut self, control: &UnixStream, call: Call) -> io::Result<()> {
        let (result, descriptors) = match self.handle(call.request) {
            Ok((answer, descriptors)) => (Ok(answer), descriptors),
            Err(fault) => (Err(fault), Vec::new()),
        };
        let raw: Vec<_> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        protocol::send(control.as_fd(), &Notice::Answer { number: call.number, result }, &raw)
    }

    /// Reaps every child that has ended, and tells of those that have a token.
    fn report_ended(&mut self, control: &UnixStream) -> io::Result<()> {
        loop {
            let (pid, end) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid, End::Code(code)),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid, End::Signal(signal as i32)),
                Ok(WaitStatus::StillAlive) | Err(nix::Error::ECHILD) => return Ok(()),
                Ok(_) | Err(nix::Error::EINTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let token = self.processes.iter().find(|(_, process)| process.pid == pid).map(|(token, _)| *token);
            if let Some(token) = token {
                self.processes.remove(&token);
                protocol::send(control.as_fd(), &Notice::Ended { token, end }, &[])?;
            }
        }
    }

    fn handle(&mut self, request: Request) -> Reply {
        let done = |()| (Answer::Done, Vec::new());
        match request {
            Request::CreatePod { pod, hostname, hosts, resolv_conf } => {
                self.create_pod(pod, hostname, &hosts, resolv_conf)
            }
            Request::SetHosts { pod, hosts } => match self.pods.get(&pod) {
                Some(pod) => pod.write_hosts(&hosts).map(done),
                None => Ok((Answer::Absent, Vec::new())),
            },
            Request::RemovePod { pod } => self.remove_pod(&pod).map(done),
            Request::Start(launch) => self.start(*launch),
            Request::Exec { token, container, argv, stdin, terminal } => {
                self.exec(token, container, &argv, stdin, terminal)
            }
            Request::Signal { token, signal, whole_group } => {
                Ok((self.signal(token, signal, whole_group)?, Vec::new()))
            }
            Request::CreateVolume { directory } => {
                mounts::make_directory(&Path::new(VOLUMES).join(directory), 0o777).map(done)
            }
            Request::RemoveVolume { directory } => remove_volume(&directory).map(done),
            Request::Socket => {
                let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)
                    .doing("make a socket in the drill's network")?;
                Ok((Answer::Done, vec![socket]))
            }
            Request::Inventory => Ok((Answer::Names(self.inventory()?), Vec::new())),
        }
    }

    fn create_pod(&mut self, id: String, hostname: String, hosts: &[Host], resolv_conf: Option<String>) -> Reply {
        if self.pods.contains_key(&id) {
            return Err(Fault::new(format!("make the pod {id}"), "it exists already"));
        }
        let hostname = host_name(&hostname);
        self.next_pod += 1;
        let hosts_file = Path::new(PODS).join(self.next_pod.to_string());
        let pod = Pod { network: self.network.add_pod()?, hostname, hosts: hosts_file, resolv_conf };
        let address = pod.network.address.into();
        let written = pod.write_hosts(hosts);
        self.pods.insert(id, pod);
        written.map(|()| (Answer::Address(address), Vec::new()))
    }

    fn remove_pod(&mut self, id: &str) -> Result<(), Fault> {
        let Some(pod) = self.pods.remove(id) else { return Ok(()) };
        for process in self.processes.values() {
            if matches!(&process.kind, Kind::Container { pod, .. } if pod == id) {
                process.kill(libc::SIGKILL)?;
            }
        }
        fs::remove_file(&pod.hosts).doing("remove the pod's hosts file")?;
        self.network.remove_pod(pod.network)
    }

    fn start(&mut self, launch: Launch) -> Reply {
        let Some(pod) = self.pods.get(&launch.pod) else { return Ok((Answer::Absent, Vec::new())) };
        let mut launch = launch;
        let common = Common {
            hostname: pod.hostname.clone(),
            env: std::mem::take(&mut launch.env),
            account: launch.account.clone(),
            working_dir: launch.working_dir.clone(),
            trusted_ca: self.trusted_ca,
        };
        let (output, stdout) = pipe2(OFlag::O_CLOEXEC).doing("make a pipe")?;
        // One pipe for both streams keeps them in the order written.
        let stderr = stdout.try_clone().doing("make a pipe")?;
        let (ours, report) = UnixStream::pair().doing("make a socket pair")?;
        let place =
            Place { network: &pod.network.namespace, hosts: &pod.hosts, resolv_conf: pod.resolv_conf.as_deref() };
        let child = Child { report, stdin: None, stdout, stderr };
        let Some(pid) = syscall::fork_into(CONTAINER).doing("fork the container")? else {
            child.run(|child| container::start(child, &launch, &common, &place));
        };
        drop(child);
        await_program(&ours, pid)?;
        let handle = syscall::pidfd_open(pid).doing("open the container's process")?;
        let kind = Kind::Container { name: launch.name, pod: launch.pod, handle, common };
        self.processes.insert(launch.token, Process { pid, kind });
        Ok((Answer::Done, vec![output]))
    }

    fn exec(
        &mut self,
        token: Token,
        container: Token,
        argv: &[String],
        stdin: bool,
        terminal: Option<Terminal>,
    ) -> Reply {
        let Some(Process { kind: Kind::Container { handle, common, .. }, .. }) = self.processes.get(&container) else {
            return Ok((Answer::Absent, Vec::new()));
        };
        let pipe = || pipe2(OFlag::O_CLOEXEC).doing("make a pipe");
        let (output, stdout) = pipe()?;
        let (errors, stderr) = pipe()?;
        let (stdin, input) =
            if stdin && terminal.is_none() { pipe().map(|(r, w)| (Some(r), Some(w)))? } else { (None, None) };
        let (ours, report) = UnixStream::pair().doing("make a socket pair")?;
        let child = Child { report, stdin, stdout, stderr };
        // Only children are born into the entered pid namespace; this process stays where it is.
        setns(handle, CloneFlags::CLONE_NEWPID).doing("enter the container's pid namespace")?;
        let forked = syscall::fork_into(0);
        if let Ok(None) = forked {
            child.run(|child| container::exec(child, handle, argv, terminal, common));
        }
        setns(&self.own_pids, CloneFlags::CLONE_NEWPID).doing("return to the fabric's pid namespace")?;
        drop(child);
        let Some(pid) = forked.doing("fork into the container")? else { unreachable!("the child does not come here") };
        let master = await_program(&ours, pid)?;
        self.processes.insert(token, Process { pid, kind: Kind::Exec });
        Ok((
            Answer::Done,
            match master {
                Some(master) => vec![master],
                None => input.into_iter().chain([output, errors]).collect(),
            },
        ))
    }

    fn signal(&self, token: Token, signal: i32, whole_group: bool) -> Result<Answer, Fault> {
        let Some(process) = self.processes.get(&token) else { return Ok(Answer::Absent) };
        if whole_group {
            process.kill_group(signal)?
        } else {
            process.kill(signal)?
        }
        Ok(Answer::Done)
    }

    fn inventory(&self) -> Result<Vec<String>, Fault> {
        let mut names: Vec<String> = self.pods.keys().map(|pod| format!("pod {pod}")).collect();
        names.extend(self.processes.iter().map(|(token, process)| match &process.kind {
            Kind::Container { name, .. } => format!("container {name}"),
            Kind::Exec => format!("exec {}", token.0),
        }));
        for entry in fs::read_dir(VOLUMES).doing("list the volumes")? {
            let entry = entry.doing("list the volumes")?;
            names.push(format!("volume {}", entry.file_name().to_string_lossy()));
        }
        names.sort();
        Ok(names)
    }
}

impl Pod {
    /// Rewrites the file in place: running containers have this very file mounted.
    fn write_hosts(&self, hosts: &[Host]) -> Result<(), Fault> {
        let mut text = "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n".to_owned();
        text.push_str(&format!("{}\t{}\n", self.network.address, self.hostname));
        for host in hosts {
            text.push_str(&format!("{}\t{}\n", host.address, host.names.join(" ")));
        }
        let write = || {
            let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&self.hosts)?;
            file.write_all(text.as_bytes())?;
            let end = file.stream_position()?;
            file.set_len(end)
        };
        write().doing("write the pod's hosts file")
    }
}

impl Process {
    fn kill(&self, signal: i32) -> Result<(), Fault> {
        kill(self.pid.as_raw(), signal)
    }

    /// An exec leads its own group.
    fn kill_group(&self, signal: i32) -> Result<(), Fault> {
        kill(-self.pid.as_raw(), signal)
    }
}

/// The kernel takes 64 bytes, Kubernetes cuts at 63.
fn host_name(name: &str) -> String {
    name.chars().filter(char::is_ascii).take(63).collect()
}

/// By number: real-time signals have no name.
fn kill(target: libc::pid_t, signal: i32) -> Result<(), Fault> {
    // SAFETY: takes integers; the target has not been reaped, so its number is its own.
    if unsafe { libc::kill(target, signal) } == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
        error => Err(error).doing(format!("send signal {signal}")),
    }
}

/// Waits until a child is the program asked for; gives the master if it has opened a terminal.
fn await_program(report: &UnixStream, pid: Pid) -> Result<Option<OwnedFd>, Fault> {
    let mut master = None;
    let fault = loop {
        match protocol::receive::<Report>(report.as_fd()) {
            Ok(None) => return Ok(master),
            Ok(Some((Report::Terminal, descriptors))) => master = descriptors.into_iter().next(),
            Ok(Some((Report::Failed(fault), _))) => break fault,
            Err(error) => break Fault::new("start the program", error.to_string()),
        }
    };
    // It is ending by itself; nobody is to hear of a program that never was.
    waitpid(pid, None).doing("reap the failed program")?;
    Err(fault)
}

fn remove_volume(directory: &str) -> Result<(), Fault> {
    match fs::remove_dir_all(Path::new(VOLUMES).join(directory)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.doing(format!("remove the volume {directory}")),
    }
}
