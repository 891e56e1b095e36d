//! Namespaces that hold a drill: nothing inside reaches the host, and nothing is left when redrill dies.
//!
//! One helper process per drill, the *fabric* (`redrill __fabric`), is PID 1 of the drill's pid
//! namespace. It lives in a user namespace whose ids are shifted (0 is 100000 outside), in a network
//! of its own without any route out, and in a root made from an allow-list; every container is forked
//! from it. The harness talks to it over one socket: end of file there means that the harness is gone,
//! so the fabric exits and the kernel ends everything that it held.
//!
//! The ids are shifted for root too, never mapped one to one: under an identity map the root of a
//! container opens `/proc/sys/kernel/core_pattern` and `/etc/shadow` of the host for writing.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::redact::Secret;

pub(crate) mod container;
pub(crate) mod devices;
pub(crate) mod etc;
pub(crate) mod fabric;
pub(crate) mod fault;
pub(crate) mod identity;
pub(crate) mod ids;
pub(crate) mod link;
pub(crate) mod mounts;
pub(crate) mod namespaces;
pub(crate) mod netlink;
pub(crate) mod network;
pub(crate) mod program;
pub(crate) mod protocol;
pub(crate) mod remove;
pub(crate) mod root;
pub(crate) mod syscall;
pub(crate) mod volume;

pub use network::AddressRange;
pub use remove::remove_run_directory;

/// The first argument that makes the redrill binary a sandbox helper.
pub(crate) const HELPER: &str = "__fabric";

/// What one drill's sandbox is made from.
#[derive(Debug, Clone)]
pub struct SandboxConfig {
    /// The redrill executable, run again as the fabric.
    pub program: PathBuf,
    /// Holds volumes, staged image files and logs, below `sandbox/`; made if absent. It is left behind:
    /// [`remove_run_directory`] takes it away.
    pub run_directory: PathBuf,
    /// Names the drill in the fabric's host name.
    pub drill: String,
    /// Addresses of the drill's network. Each drill has a network of its own, so two drills may use the same.
    pub addresses: AddressRange,
    /// A certificate authority in PEM that every container trusts, beside the host's.
    pub trusted_ca: Option<String>,
}

impl SandboxConfig {
    /// A sandbox made by the running executable, with the usual address range.
    ///
    /// # Errors
    /// When the path of the running executable cannot be found out.
    pub fn new(run_directory: impl Into<PathBuf>, drill: impl Into<String>) -> Result<Self, SandboxError> {
        let program = std::env::current_exe()
            .map_err(|source| SandboxError::Io { doing: "find the running executable".to_owned(), source })?;
        Ok(Self {
            program,
            run_directory: run_directory.into(),
            drill: drill.into(),
            addresses: AddressRange::default(),
            trusted_ca: None,
        })
    }
}

/// Why there is no sandbox: always a matter of the machine, never of what is drilled.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    #[error("{doing}")]
    Io { doing: String, source: std::io::Error },
    #[error(
        "user `{user}` has no range of {} ids in {file}; give it one: `sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}`",
        ids::COUNT
    )]
    NoSubordinateIds { user: String, file: &'static str },
    #[error("`{program}` is not installed; `sudo apt-get install {package}`")]
    MissingProgram { program: &'static str, package: &'static str },
    /// The kernel, or the container redrill runs in, forbids a part.
    #[error("{doing}: {reason}{remedy}")]
    Refused { doing: String, reason: String, remedy: &'static str },
    #[error("the sandbox helper ended before it was ready; it said: {said}")]
    Ended { said: String },
}

/// Runs the sandbox helper if the arguments (without the program's name) ask for it.
///
/// `main` calls this before any thread or async runtime exists: the kernel lets only a single-threaded
/// process enter a user namespace, and forking is only safe in one.
pub fn dispatch(arguments: impl IntoIterator<Item = std::ffi::OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter();
    if arguments.next()? != HELPER {
        return None;
    }
    Some(match arguments.next() {
        Some(what) if what == remove::MODE => remove::run(),
        _ => namespaces::run(),
    })
}

/// Finds out whether this machine lets the caller have a sandbox, by making an empty one.
///
/// # Errors
/// The part that was refused, with the kernel's reason and the way out.
pub fn probe(program: &Path) -> Result<(), SandboxError> {
    let directory = tempfile::Builder::new()
        .prefix("redrill-probe-")
        .tempdir()
        .map_err(|source| SandboxError::Io { doing: "make a directory for the probe".to_owned(), source })?;
    let config = SandboxConfig {
        program: program.to_owned(),
        run_directory: directory.path().to_owned(),
        drill: "probe".to_owned(),
        addresses: AddressRange::default(),
        trusted_ca: None,
    };
    let (link, _bridge) = link::Link::open(&config)?;
    link.close();
    Ok(())
}

/// A value for one environment variable of a contained program.
pub(crate) type Variable = (String, Secret);
