//! The last steps of a forked child before it is the program that was asked for.

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use nix::fcntl::{OFlag, open};
use nix::sys::signal::{SigSet, SigmaskHow, sigprocmask};
use nix::sys::stat::Mode;
use nix::unistd::{Gid, Uid, dup2_stderr, dup2_stdin, dup2_stdout, execve, fchown, setsid};
use serde::{Deserialize, Serialize};

use super::fault::{Doing, Fault};
use super::identity::Identity;
use super::protocol::Terminal;
use super::{Variable, syscall};

const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Group `tty`, which terminals belong to.
const TTY: u32 = 5;

/// Who a program shall run as, before anything is looked up.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Account {
    pub image_user: Option<String>,
    pub run_as_user: Option<u32>,
    pub run_as_group: Option<u32>,
    pub fs_group: Option<u32>,
}

/// What a program's standard streams are.
pub(crate) enum Streams {
    Pipes { stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd },
    Terminal(OwnedFd),
}

/// A new pseudo terminal of the root that the caller is in: its master, and its slave.
pub(crate) fn open_terminal(size: Terminal) -> Result<(OwnedFd, OwnedFd), Fault> {
    let master = open("/dev/ptmx", OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC, Mode::empty())
        .doing("open a terminal")?;
    let raw = master.as_raw_fd();
    let unlocked: libc::c_int = 0;
    let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: each request gets the argument that it is defined with; the pointers outlive the calls.
    let slave = unsafe {
        if libc::ioctl(raw, libc::TIOCSPTLCK, &raw const unlocked) < 0
            || libc::ioctl(raw, libc::TIOCSWINSZ, &raw const size) < 0
        {
            -1
        } else {
            libc::ioctl(raw, libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC)
        }
    };
    if slave < 0 {
        return Err(io::Error::last_os_error()).doing("open the terminal's other side");
    }
    // SAFETY: TIOCGPTPEER has just returned this descriptor.
    Ok((master, unsafe { OwnedFd::from_raw_fd(slave) }))
}

/// Leads a session of its own with these streams.
pub(crate) fn take_streams(streams: &Streams, owner: &Identity) -> Result<(), Fault> {
    setsid().doing("start a session")?;
    let (user, tty) = (Some(Uid::from_raw(owner.uid)), Some(Gid::from_raw(TTY)));
    match streams {
        Streams::Pipes { stdin, stdout, stderr } => {
            // A program that opens /dev/stdout again is checked against the pipe's owner.
            for stream in [Some(stdout), Some(stderr), stdin.as_ref()].into_iter().flatten() {
                fchown(stream, user, Some(Gid::from_raw(owner.gid))).doing("hand over a stream")?;
            }
            match stdin {
                Some(stdin) => dup2_stdin(stdin).doing("set stdin")?,
                None => dup2_stdin(File::open("/dev/null").doing("open /dev/null")?).doing("set stdin")?,
            }
            dup2_stdout(stdout).doing("set stdout")?;
            dup2_stderr(stderr).doing("set stderr")
        }
        Streams::Terminal(slave) => {
            fchown(slave, user, tty).doing("hand over the terminal")?;
            // SAFETY: the request takes an integer; the caller leads a session without a terminal.
            if unsafe { libc::ioctl(slave.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) } < 0 {
                return Err(io::Error::last_os_error()).doing("control the terminal");
            }
            dup2_stdin(slave).doing("set stdin")?;
            dup2_stdout(slave).doing("set stdout")?;
            dup2_stderr(slave).doing("set stderr")
        }
    }
}

/// What is inherited ignored stays ignored over exec, and a shell could not even trap it.
pub(crate) fn reset_signals() -> Result<(), Fault> {
    for signal in 1..=libc::SIGRTMAX() {
        // Refused for the two that nobody can ignore.
        let _ = syscall::reset_signal(signal);
    }
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&SigSet::empty()), None).doing("unblock signals")
}

/// Becomes the program. Returns only if that fails.
pub(crate) fn execute(argv: &[String], environment: &BTreeMap<String, String>) -> Fault {
    let Some(program) = argv.first() else {
        return Fault::cannot_run("", "no command given");
    };
    let path = environment.get("PATH").map_or(DEFAULT_PATH, String::as_str);
    let strings = |texts: &mut dyn Iterator<Item = String>| texts.map(CString::new).collect::<Result<Vec<_>, _>>();
    let argv = strings(&mut argv.iter().cloned());
    let variables = strings(&mut environment.iter().map(|(name, value)| format!("{name}={value}")));
    let (Ok(argv), Ok(variables)) = (argv, variables) else {
        return Fault::cannot_run(program, "an argument or a variable has a NUL byte in it");
    };
    if let Err(fault) = syscall::close_others_on_exec().doing("close descriptors") {
        return fault;
    }
    Fault::cannot_run(program, try_each(program, path, &argv, &variables))
}

/// Tries the places where the program may be; gives the reason that counts, as container engines word it.
fn try_each(program: &str, path: &str, argv: &[CString], variables: &[CString]) -> String {
    if program.contains('/') {
        return reason(run(Path::new(program), argv, variables));
    }
    let mut denied = false;
    for directory in path.split(':').filter(|directory| !directory.is_empty()) {
        match run(&Path::new(directory).join(program), argv, variables).raw_os_error() {
            Some(libc::ENOENT | libc::ENOTDIR) => {}
            Some(libc::EACCES) => denied = true,
            error => return reason(io::Error::from_raw_os_error(error.unwrap_or(libc::EINVAL))),
        }
    }
    if denied { "permission denied".to_owned() } else { "executable file not found in $PATH".to_owned() }
}

fn run(path: &Path, argv: &[CString], variables: &[CString]) -> io::Error {
    use std::os::unix::ffi::OsStrExt as _;
    match CString::new(path.as_os_str().as_bytes()) {
        Ok(path) => match execve(&path, argv, variables) {
            Err(error) => error.into(),
            Ok(never) => match never {},
        },
        Err(error) => error.into(),
    }
}

fn reason(error: io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT) => "no such file or directory".to_owned(),
        Some(libc::EACCES) => "permission denied".to_owned(),
        Some(libc::ENOEXEC) => "exec format error".to_owned(),
        _ => error.to_string(),
    }
}

/// The environment: what every container has, then what was asked for, the later entry of a name counting.
pub(crate) fn environment(
    asked: &[Variable],
    hostname: &str,
    identity: &Identity,
    terminal: bool,
    trusted_ca: bool,
) -> BTreeMap<String, String> {
    let mut variables = BTreeMap::from([
        ("PATH".to_owned(), DEFAULT_PATH.to_owned()),
        ("HOSTNAME".to_owned(), hostname.to_owned()),
        ("HOME".to_owned(), identity.home.clone()),
    ]);
    if terminal {
        variables.insert("TERM".to_owned(), "xterm".to_owned());
    }
    if trusted_ca {
        // OpenSSL looks in a hashed directory otherwise, which does not have the drill's authority.
        variables.insert("SSL_CERT_FILE".to_owned(), "/etc/ssl/certs/ca-certificates.crt".to_owned());
    }
    variables.extend(asked.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())));
    variables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::redact::Secret;

    #[test]
    fn the_later_value_of_a_variable_counts_and_home_follows_the_user() {
        let asked = [("A", "1"), ("PATH", "/opt/bin"), ("A", "2")];
        let asked: Vec<Variable> = asked.map(|(name, value)| (name.to_owned(), Secret::new(value))).to_vec();
        let identity = Identity { uid: 101, gid: 104, groups: vec![], home: "/var/lib/postgresql".to_owned() };
        let environment = environment(&asked, "db-0", &identity, false, false);
        assert_eq!(environment["A"], "2");
        assert_eq!(environment["PATH"], "/opt/bin");
        assert_eq!(environment["HOME"], "/var/lib/postgresql");
        assert_eq!(environment["HOSTNAME"], "db-0");
        assert!(!environment.contains_key("TERM"));
    }
}
