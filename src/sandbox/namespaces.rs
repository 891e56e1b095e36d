//! From a process of the caller to the fabric: a user namespace with shifted ids, and the rest inside it.
//!
//! The process that the harness spawned watches the harness; its child stays outside the new pid namespace and waits; that
//! one's child is the fabric. Killing any of them ends those below it.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, ExitCode};

use nix::mount::{MsFlags, mount};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sched::{CloneFlags, unshare};
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, kill};
use nix::sys::socket::getsockopt;
use nix::sys::socket::sockopt::PeerCredentials;
use nix::sys::stat::{Mode, umask};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Gid, Pid, Uid, fork, getpid, getppid, pipe2, setgroups, setresgid, setresuid, setsid};

use super::fabric;
use super::fault::{Doing, Fault};
use super::ids::{COUNT, IdRange};
use super::protocol::{self, Notice, Setup};
use super::syscall;

/// Runs the helper on the socket that is its stdin.
pub(crate) fn run() -> ExitCode {
    let Ok(control) = take_stdin() else { return ExitCode::FAILURE };
    let control = match leave_the_caller().and_then(|()| follow_owner(&control)) {
        Ok(Role::Sandbox) => control,
        Ok(Role::Watcher { handles, child }) => {
            // With a copy of the socket here its end would not be seen.
            drop(control);
            return watch(&handles, child);
        }
        Err(fault) => return refuse(&control, fault),
    };
    let setup = match protocol::receive::<Setup>(control.as_fd()) {
        Ok(Some((setup, _))) => setup,
        Ok(None) | Err(_) => return ExitCode::FAILURE,
    };
    match enter(&setup) {
        Ok(sources) => become_fabric(&setup, sources, control),
        Err(fault) => refuse(&control, fault),
    }
}

/// Directories of the host that the caller can reach and the shifted ids may not, opened beforehand.
pub(crate) struct Sources {
    pub shared: OwnedFd,
    pub images: OwnedFd,
}

fn enter(setup: &Setup) -> Result<Sources, Fault> {
    unshare_mapped(setup.ids, everything())?;
    let source =
        |name: &str| syscall::clone_tree(&setup.directory.join(name)).doing(format!("open `{name}` of the run"));
    Ok(Sources { shared: source("shared")?, images: source("images")? })
}

enum Role {
    Watcher { handles: [OwnedFd; 2], child: Pid },
    Sandbox,
}

/// Forks: the child goes on as the sandbox, and the caller is to [`watch`].
///
/// The fabric hears of the harness's end by its socket too, but only between two requests, and one may take long: a volume
/// with many files to remove, a kernel that is busy with other networks.
fn follow_owner(control: &OwnedFd) -> Result<Role, Fault> {
    let owner = getsockopt(control, PeerCredentials).doing("ask who the harness is")?.pid();
    let owner = Pid::from_raw(owner);
    let handle = syscall::pidfd_open(owner).doing("watch the harness")?;
    // Only now, since a number may be given to another process until somebody holds on to it.
    if getppid() != owner {
        return Err(Fault::new("watch the harness", "it is gone"));
    }
    let watcher = getpid();
    // SAFETY: the helper has one thread.
    match unsafe { fork() }.doing("fork the sandbox")? {
        ForkResult::Child => {
            nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).doing("follow the parent")?;
            match getppid() == watcher {
                true => Ok(Role::Sandbox),
                false => Err(Fault::new("follow the parent", "it is gone")),
            }
        }
        ForkResult::Parent { child } => {
            let other = syscall::pidfd_open(child).doing("watch the sandbox")?;
            Ok(Role::Watcher { handles: [handle, other], child })
        }
    }
}

/// Waits for the end of the harness or of the sandbox, and sees to it that the second has ended too.
fn watch(handles: &[OwnedFd; 2], child: Pid) -> ExitCode {
    let mut ended = handles.each_ref().map(|handle| PollFd::new(handle.as_fd(), PollFlags::POLLIN));
    while poll(&mut ended, PollTimeout::NONE) == Err(nix::Error::EINTR) {}
    if ended[1].any() != Some(true) {
        // It has not been reaped, so its number is its own.
        let _ = kill(child, Signal::SIGKILL);
    }
    match waitpid(child, None) {
        Ok(WaitStatus::Exited(_, 0)) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn everything() -> CloneFlags {
    CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWIPC
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWCGROUP
}

fn refuse(control: &OwnedFd, fault: Fault) -> ExitCode {
    // Nobody is left to tell when this fails.
    let _ = protocol::send(control.as_fd(), &Notice::Refused(fault), &[]);
    ExitCode::FAILURE
}

/// The socket must not be inherited by what runs inside, so it moves away from descriptor 0.
fn take_stdin() -> std::io::Result<OwnedFd> {
    let control = std::io::stdin().as_fd().try_clone_to_owned()?;
    let null = File::options().read(true).write(true).open("/dev/null")?;
    nix::unistd::dup2_stdin(&null)?;
    nix::unistd::dup2_stdout(&null)?;
    Ok(control)
}

/// Gives up what a process has from whoever started it and what would be found inside.
fn leave_the_caller() -> Result<(), Fault> {
    // A ctrl-C on the terminal is for the harness, which tears down in order.
    setsid().doing("leave the caller's session")?;
    umask(Mode::from_bits_truncate(0o022));
    // The host may hand core dumps to a program of its own, and they hold what the drill holds.
    setrlimit(Resource::RLIMIT_CORE, 0, 0).doing("forbid core dumps")?;
    // Without keyrings in the kernel there is none to leave.
    let _ = syscall::join_new_keyring();
    syscall::close_others_on_exec().doing("mark descriptors close-on-exec")
}

/// Makes a user namespace with shifted ids for the caller, and the given namespaces inside it. The
/// caller keeps its outer id until [`become_root`], so it still reaches what belongs to it.
pub(crate) fn unshare_mapped(ids: IdRange, namespaces: CloneFlags) -> Result<(), Fault> {
    let (ready, unshared) = pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing("make a pipe")?;
    let (outcome, mut report) =
        pipe2(nix::fcntl::OFlag::O_CLOEXEC).doing("make a pipe").map(|(r, w)| (r, File::from(w)))?;
    let target = getpid();
    // SAFETY: the helper has one thread.
    match unsafe { fork() }.doing("fork")? {
        ForkResult::Child => {
            drop(unshared);
            // End of file says that the namespaces are made.
            let _ = File::from(ready).read(&mut [0]);
            if let Err(fault) = write_maps(target, ids) {
                let _ = report.write_all(serde_json::to_string(&fault).unwrap_or_default().as_bytes());
            }
            // SAFETY: ends the child without running what the parent has registered for its exit.
            unsafe { libc::_exit(0) }
        }
        ForkResult::Parent { child } => {
            drop((ready, report));
            let unshare = unshare(CloneFlags::CLONE_NEWUSER | namespaces).doing("make namespaces");
            drop(unshared);
            let mut said = String::new();
            let read = File::from(outcome).read_to_string(&mut said).doing("read the id mapper's answer");
            waitpid(child, None).doing("wait for the id mapper")?;
            unshare.and(read)?;
            if said.is_empty() {
                return mount_privately();
            }
            Err(serde_json::from_str(&said).unwrap_or_else(|_| Fault::new("map ids", said)))
        }
    }
}

fn mount_privately() -> Result<(), Fault> {
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
        .doing("keep mounts from spreading to the host")
}

fn write_maps(target: Pid, ids: IdRange) -> Result<(), Fault> {
    let maps = [("uid_map", "newuidmap", ids.first_uid), ("gid_map", "newgidmap", ids.first_gid)];
    for (file, program, first) in maps {
        if ids.by_newuidmap {
            let arguments = [target.to_string(), "0".to_owned(), first.to_string(), COUNT.to_string()];
            let output = Command::new(program)
                .args(arguments)
                .env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin")
                .output()
                .doing(format!("run {program}"))?;
            if !output.status.success() {
                return Err(Fault::new(
                    format!("map ids with {program}"),
                    String::from_utf8_lossy(&output.stderr).trim(),
                ));
            }
        } else {
            std::fs::write(format!("/proc/{target}/{file}"), format!("0 {first} {COUNT}\n"))
                .doing(format!("map ids from {first} on ({file})"))?;
        }
    }
    Ok(())
}

/// Takes the namespace's root for good: the caller's own id does not exist in the namespace.
pub(crate) fn become_root() -> Result<(), Fault> {
    setgroups(&[]).doing("leave the caller's groups")?;
    setresgid(Gid::from_raw(0), Gid::from_raw(0), Gid::from_raw(0)).doing("become the namespace's root group")?;
    setresuid(Uid::from_raw(0), Uid::from_raw(0), Uid::from_raw(0)).doing("become the namespace's root")
}

fn become_fabric(setup: &Setup, sources: Sources, control: OwnedFd) -> ExitCode {
    // SAFETY: the helper has one thread.
    match unsafe { fork() } {
        Ok(ForkResult::Child) => {
            let prepared = become_root()
                // Cleared by every change of user, so it is set after the last.
                .and_then(|()| nix::sys::prctl::set_pdeathsig(Signal::SIGKILL).doing("follow the parent"))
                .and_then(|()| fabric::Fabric::make(setup, sources));
            match prepared {
                Ok(fabric) => fabric.serve(UnixStream::from(control)),
                Err(fault) => refuse(&control, fault),
            }
        }
        Ok(ForkResult::Parent { child }) => {
            // With a copy of the socket here its end would not be seen.
            drop((control, sources));
            match waitpid(child, None) {
                Ok(WaitStatus::Exited(_, 0)) => ExitCode::SUCCESS,
                _ => ExitCode::FAILURE,
            }
        }
        Err(error) => refuse(&control, Fault::new("fork the fabric", error.to_string())),
    }
}

/// Forbids user namespaces inside: in one of its own a process would have every capability again.
pub(crate) fn forbid_nested() -> Result<(), Fault> {
    let limit = Path::new("/proc/sys/user/max_user_namespaces");
    std::fs::write(limit, "0\n").doing("forbid user namespaces inside the drill")
}
