//! What a forked child does to become a container's program, or a program in a running container.

use std::fs::{self, File};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;
use nix::sched::{CloneFlags, setns};
use nix::unistd::{chdir, sethostname};
use serde::{Deserialize, Serialize};

use super::etc::Names;
use super::fault::{Doing, Fault};
use super::identity::Accounts;
use super::mounts::{attach, file_system, make_directory, make_mount_point};
use super::program::{self, Account, Streams};
use super::protocol::{self, Binding, Launch, Source, Terminal};
use super::root::{IMAGES, STAGE, VOLUMES, enter_container_root};
use super::syscall::{self, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use super::volume::{give, open_sub_path, write_files};
use super::{Variable, protocol::File as ProjectedFile};

/// What a child tells the fabric before it is the program; end of file means that it has become it.
#[derive(Serialize, Deserialize)]
pub(crate) enum Report {
    Failed(Fault),
    /// Comes with the terminal's master.
    Terminal,
}

/// What the programs of one container have in common.
pub(crate) struct Common {
    pub hostname: String,
    pub env: Vec<Variable>,
    pub account: Account,
    pub working_dir: PathBuf,
    pub trusted_ca: bool,
}

/// Where a container is to be made.
pub(crate) struct Place<'a> {
    pub network: &'a OwnedFd,
    /// The pod's /etc/hosts, in the fabric's root.
    pub hosts: &'a Path,
    pub resolv_conf: Option<&'a str>,
}

/// A child's side of its start.
pub(crate) struct Child {
    pub report: UnixStream,
    pub stdin: Option<OwnedFd>,
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
}

impl Child {
    /// Runs the child and never comes back, by error or by panic.
    pub fn run(self, become_program: impl FnOnce(Self) -> (UnixStream, Fault)) -> ! {
        // Nothing that a panic may have left half done is looked at again.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
            let (report, fault) = become_program(self);
            // The fabric sees the end of the socket when it cannot be told.
            let _ = protocol::send(report.as_fd(), &Report::Failed(fault), &[]);
        }));
        // SAFETY: ends the child without running what the fabric has registered for its exit.
        unsafe { libc::_exit(127) }
    }
}

/// Becomes the container's first process. The caller is in new mount, pid, host name and IPC namespaces.
pub(crate) fn start(child: Child, launch: &Launch, common: &Common, place: &Place<'_>) -> (UnixStream, Fault) {
    let Child { report, stdin, stdout, stderr } = child;
    let prepared = program::reset_signals()
        .and_then(|()| setns(place.network, CloneFlags::CLONE_NEWNET).doing("enter the pod's network"))
        .and_then(|()| sethostname(&common.hostname).doing("set the host name"))
        .and_then(|()| build_root(launch, common, place));
    let fault = match prepared {
        Ok(()) => become_program(&launch.argv, common, Streams::Pipes { stdin, stdout, stderr }),
        Err(fault) => fault,
    };
    (report, fault)
}

/// Becomes a program in a running container. The caller is in the container's pid namespace already.
pub(crate) fn exec(
    child: Child,
    container: &OwnedFd,
    argv: &[String],
    terminal: Option<Terminal>,
    common: &Common,
) -> (UnixStream, Fault) {
    let Child { report, stdin, stdout, stderr } = child;
    let namespaces =
        CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWNET;
    let streams = program::reset_signals()
        .and_then(|()| setns(container, namespaces).doing("enter the container"))
        .and_then(|()| match terminal {
            None => Ok(Streams::Pipes { stdin, stdout, stderr }),
            Some(size) => {
                let (master, slave) = program::open_terminal(size)?;
                let master = std::os::fd::AsRawFd::as_raw_fd(&master);
                protocol::send(report.as_fd(), &Report::Terminal, &[master]).doing("pass the terminal out")?;
                Ok(Streams::Terminal(slave))
            }
        });
    let fault = match streams {
        Ok(streams) => become_program(argv, common, streams),
        Err(fault) => fault,
    };
    (report, fault)
}

fn become_program(argv: &[String], common: &Common, streams: Streams) -> Fault {
    let terminal = matches!(streams, Streams::Terminal(_));
    let prepared = Accounts::read(Path::new("/")).and_then(|accounts| {
        let identity = accounts.resolve(&common.account)?;
        program::take_streams(&streams, &identity)?;
        chdir(&common.working_dir).doing(format!("enter the directory {}", common.working_dir.display()))?;
        identity.assume()?;
        Ok(identity)
    });
    match prepared {
        Ok(identity) => {
            let environment =
                program::environment(&common.env, &common.hostname, &identity, terminal, common.trusted_ca);
            program::execute(argv, &environment)
        }
        Err(fault) => fault,
    }
}

/// A mount that is open but nowhere yet, and where it goes.
struct Pending {
    tree: OwnedFd,
    directory: bool,
    target: PathBuf,
    attributes: u64,
    given_to: Option<u32>,
}

/// Opens everything that is mounted before the old root goes, and mounts it afterwards: targets are
/// then resolved in the container's own root, where no link leads anywhere else.
fn build_root(launch: &Launch, common: &Common, place: &Place<'_>) -> Result<(), Fault> {
    let mut pending = Vec::new();
    for file in &launch.files {
        let source = Path::new(IMAGES).join(&file.staged);
        let tree = syscall::clone_tree(&source).doing(format!("open {}", source.display()))?;
        pending.push(Pending::new(tree, file.target.clone(), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID)?);
    }
    file_system("tmpfs", Path::new(STAGE), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=0700")?;
    for (number, binding) in launch.mounts.iter().enumerate() {
        pending.push(open_binding(binding, number, common.account.fs_group)?);
    }
    let names = Names { hostname: &common.hostname, hosts: place.hosts, resolv_conf: place.resolv_conf };
    enter_container_root(&names, common.account.image_user.as_deref())?;
    // Outer mounts first, so that none hides an inner one.
    pending.sort_by_key(|mount| mount.target.components().count());
    for mount in pending {
        mount.attach()?;
    }
    if !common.working_dir.exists() {
        fs::create_dir_all(&common.working_dir)
            .doing(format!("make the directory {}", common.working_dir.display()))?;
    }
    Ok(())
}

impl Pending {
    fn new(tree: OwnedFd, target: PathBuf, attributes: u64) -> Result<Self, Fault> {
        let file = File::from(tree.try_clone().doing("look at a mount")?);
        let directory = file.metadata().doing("look at a mount")?.is_dir();
        Ok(Self { tree, directory, target, attributes, given_to: None })
    }

    fn attach(self) -> Result<(), Fault> {
        make_mount_point(&self.target, self.directory)?;
        attach(&self.tree, &self.target, self.attributes)?;
        match self.given_to {
            Some(group) => give(&self.target, group),
            None => Ok(()),
        }
    }
}

fn open_binding(binding: &Binding, number: usize, fs_group: Option<u32>) -> Result<Pending, Fault> {
    let read_only = if binding.read_only { MOUNT_ATTR_RDONLY } else { 0 };
    let (root, attributes) = match &binding.source {
        Source::Volume { directory } => (Path::new(VOLUMES).join(directory), read_only),
        Source::Files(files) => (project(files, number, fs_group)?, MOUNT_ATTR_RDONLY),
    };
    let opened = File::open(&root).doing(format!("open the volume for {}", binding.target.display()))?;
    let tree = match &binding.sub_path {
        None => syscall::clone_tree_at(opened.as_fd()),
        Some(path) => open_sub_path(&opened, path).and_then(|below| syscall::clone_tree_at(below.as_fd())),
    };
    let tree = tree.doing(format!("open what is mounted on {}", binding.target.display()))?;
    let mut pending = Pending::new(tree, binding.target.clone(), attributes | MOUNT_ATTR_NOSUID)?;
    pending.given_to = fs_group.filter(|_| attributes & MOUNT_ATTR_RDONLY == 0);
    Ok(pending)
}

/// Writes files to memory of this mount namespace.
fn project(files: &[ProjectedFile], number: usize, fs_group: Option<u32>) -> Result<PathBuf, Fault> {
    let root = Path::new(STAGE).join(number.to_string());
    make_directory(&root, 0o755)?;
    file_system("tmpfs", &root, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=0755")?;
    write_files(&root, files, fs_group)?;
    Ok(root)
}
