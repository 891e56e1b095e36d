//! The harness's end: starts the fabric, asks it for things, and hears what has ended.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::oneshot;

use super::fault::Fault;
use super::ids::IdRange;
use super::protocol::{self, Answer, Call, End, Notice, Request, Setup, Token};
use super::{HELPER, SandboxConfig, SandboxError};

/// Making an empty sandbox takes 30 ms; a machine that swaps is given this long.
const READY_WITHIN: Duration = Duration::from_secs(20);

pub(crate) type Reply = (Answer, Vec<OwnedFd>);

/// A running fabric. Dropping it ends the drill's processes.
pub(crate) struct Link {
    socket: UnixStream,
    calls: mpsc::Sender<Call>,
    waiting: Arc<Mutex<Waiting>>,
    next: AtomicU64,
    reader: Mutex<Option<JoinHandle<()>>>,
}

/// Who waits for what. Closed with the link: a sender that is dropped tells its receiver.
#[derive(Default)]
struct Waiting {
    closed: bool,
    answers: BTreeMap<u64, oneshot::Sender<Result<Reply, Fault>>>,
    ends: BTreeMap<Token, oneshot::Sender<End>>,
}

impl Link {
    /// Starts a fabric and waits until it is ready. Blocks the thread meanwhile.
    pub fn open(config: &SandboxConfig) -> Result<(Self, IpAddr), SandboxError> {
        let ids = IdRange::of_caller()?;
        let directory = config.run_directory.join("sandbox");
        let log = make_directories(&directory)
            .map_err(|source| SandboxError::Io { doing: format!("make {}", directory.display()), source })?;
        let setup = Setup {
            directory: absolute(&directory)?,
            drill: config.drill.clone(),
            addresses: config.addresses,
            trusted_ca: config.trusted_ca.clone(),
            ids,
        };
        let io = |source| SandboxError::Io {
            doing: format!("start the sandbox helper {}", config.program.display()),
            source,
        };
        let (socket, theirs) = UnixStream::pair().map_err(io)?;
        let mut child = Command::new(&config.program)
            .arg(HELPER)
            .env_clear()
            .stdin(OwnedFd::from(theirs))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(io)?;
        match greet(&socket, &setup) {
            Ok(bridge) => Ok((Self::serve(socket, child).map_err(io)?, bridge)),
            Err(error) => {
                // It may still be half way; its end is certain after this.
                let _ = child.kill();
                let _ = child.wait();
                Err(error.unwrap_or_else(|| SandboxError::Ended {
                    said: fs::read_to_string(directory.join("fabric.log")).unwrap_or_default().trim().to_owned(),
                }))
            }
        }
    }

    fn serve(socket: UnixStream, child: Child) -> io::Result<Self> {
        let (calls, queue) = mpsc::channel();
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let (to_write, to_read) = (socket.try_clone()?, socket.try_clone()?);
        thread::Builder::new().name("sandbox-writer".to_owned()).spawn(move || write(&to_write, &queue))?;
        let heard = Arc::clone(&waiting);
        let reader =
            thread::Builder::new().name("sandbox-reader".to_owned()).spawn(move || read(&to_read, &heard, child))?;
        Ok(Self { socket, calls, waiting, next: AtomicU64::new(1), reader: Mutex::new(Some(reader)) })
    }

    pub fn token(&self) -> Token {
        Token(self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Asks the fabric for something.
    pub async fn call(&self, request: Request) -> Result<Reply, Fault> {
        let gone = || Fault::new("ask the sandbox", "the sandbox has ended");
        let number = self.token().0;
        let (sender, receiver) = oneshot::channel();
        {
            let mut waiting = lock(&self.waiting);
            if waiting.closed {
                return Err(gone());
            }
            waiting.answers.insert(number, sender);
        }
        self.calls.send(Call { number, request }).map_err(|_| gone())?;
        receiver.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Asks without hearing the answer, for destructors.
    pub fn tell(&self, request: Request) {
        // A fabric that has ended has ended what this is about too.
        let _ = self.calls.send(Call { number: self.token().0, request });
    }

    /// The end of a program, asked for before it is started.
    pub fn expect_end(&self, token: Token) -> oneshot::Receiver<End> {
        let (sender, receiver) = oneshot::channel();
        let mut waiting = lock(&self.waiting);
        if !waiting.closed {
            waiting.ends.insert(token, sender);
        }
        receiver
    }

    pub fn forget_end(&self, token: Token) {
        lock(&self.waiting).ends.remove(&token);
    }

    /// Ends the fabric, without waiting.
    pub fn end(&self) {
        // One that has ended already has closed its side.
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Ends the fabric and waits until it is gone, and with it every process of the drill.
    pub fn close(&self) {
        self.end();
        let reader = self.reader.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(reader) = reader {
            let _ = reader.join();
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.end();
    }
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write(socket: &UnixStream, queue: &mpsc::Receiver<Call>) {
    while let Ok(call) = queue.recv() {
        if protocol::send(socket.as_fd(), &call, &[]).is_err() {
            return;
        }
    }
}

fn read(socket: &UnixStream, waiting: &Mutex<Waiting>, mut child: Child) {
    while let Ok(Some((notice, descriptors))) = protocol::receive::<Notice>(socket.as_fd()) {
        let mut waiting = lock(waiting);
        match notice {
            Notice::Answer { number, result } => {
                if let Some(sender) = waiting.answers.remove(&number) {
                    // Whoever asked may have gone.
                    let _ = sender.send(result.map(|answer| (answer, descriptors)));
                }
            }
            Notice::Ended { token, end } => {
                if let Some(sender) = waiting.ends.remove(&token) {
                    let _ = sender.send(end);
                }
            }
            Notice::Ready { .. } | Notice::Refused(_) => {}
        }
    }
    // After a garbled frame the fabric may be waiting still.
    let _ = socket.shutdown(Shutdown::Both);
    let _ = child.wait();
    let mut waiting = lock(waiting);
    *waiting = Waiting { closed: true, ..Waiting::default() };
}

fn greet(socket: &UnixStream, setup: &Setup) -> Result<IpAddr, Option<SandboxError>> {
    let io = |source| Some(SandboxError::Io { doing: "talk to the sandbox helper".to_owned(), source });
    socket.set_read_timeout(Some(READY_WITHIN)).map_err(io)?;
    if protocol::send(socket.as_fd(), setup, &[]).is_err() {
        return Err(None);
    }
    let notice = protocol::receive::<Notice>(socket.as_fd());
    socket.set_read_timeout(None).map_err(io)?;
    match notice {
        Ok(Some((Notice::Ready { bridge }, _))) => Ok(bridge),
        Ok(Some((Notice::Refused(fault), _))) => Err(Some(refused(fault))),
        Ok(Some(_) | None) => Err(None),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(None),
        Err(error) => Err(io(error)),
    }
}

/// Adds the way out that the part and its errno point to.
fn refused(fault: Fault) -> SandboxError {
    let remedy = match (fault.doing.as_str(), fault.errno) {
        ("make namespaces", Some(libc::EPERM | libc::EACCES)) => {
            "; in a container, run it with `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`; \
             on Ubuntu, `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`"
        }
        ("make namespaces", Some(libc::ENOSPC)) => "; `sudo sysctl user.max_user_namespaces=15000`",
        ("make namespaces", Some(libc::EINVAL)) => "; this kernel was built without user namespaces",
        (doing, Some(libc::EPERM)) if doing.starts_with("mount proc") => {
            "; in a container, run it with `--security-opt systempaths=unconfined`"
        }
        (doing, Some(libc::EOPNOTSUPP)) if doing.contains("bridge") => "; `sudo modprobe -a bridge veth`",
        (_, Some(libc::ENOSYS)) => "; Linux 5.12 or newer is needed",
        _ => "",
    };
    SandboxError::Refused { doing: fault.doing, reason: fault.reason, remedy }
}

/// The run's part of the sandbox: private to the caller, but for what is shown inside.
fn make_directories(directory: &Path) -> io::Result<File> {
    let make = |path: &Path, mode| {
        fs::DirBuilder::new().recursive(true).mode(mode).create(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
    };
    make(directory, 0o700)?;
    // The namespace's root makes the volumes in here; nobody else gets past the directory above.
    make(&directory.join("shared"), 0o777)?;
    make(&directory.join("images"), 0o755)?;
    make(&directory.join("logs"), 0o700)?;
    OpenOptions::new().create(true).append(true).mode(0o600).open(directory.join("fabric.log"))
}

fn absolute(path: &Path) -> Result<std::path::PathBuf, SandboxError> {
    fs::canonicalize(path).map_err(|source| SandboxError::Io { doing: format!("resolve {}", path.display()), source })
}
