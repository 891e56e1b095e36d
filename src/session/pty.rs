//! A terminal on this machine: a program on a pseudo terminal of its own.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::process::Stdio;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures::FutureExt;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::pty::{OpenptyResult, Winsize, openpty};
use nix::sys::signal::{SigHandler, Signal, signal};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::Command;

use super::Terminal;
use crate::runtime::TerminalSize;

/// Starts `command` on a new pseudo terminal, in a session of its own; its stdio is replaced.
///
/// The program is killed when the terminal's `exit` is dropped before it ended. This spawns apart from `command.rs`
/// because a controlling terminal has to be taken between fork and exec.
pub fn spawn(mut command: Command, size: TerminalSize) -> io::Result<Terminal> {
    let window = Winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
    let OpenptyResult { master, slave } = openpty(&window, None)?;
    // openpty cannot set this itself, and a program started meanwhile that inherits it would hold the terminal open.
    for fd in [&master, &slave] {
        fcntl(fd, FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC))?;
    }
    fcntl(&master, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    command.stdin(Stdio::from(slave.try_clone()?)).stdout(Stdio::from(slave.try_clone()?)).stderr(Stdio::from(slave));
    command.kill_on_drop(true);
    // SAFETY: between fork and exec only async-signal-safe calls are made, and nothing is allocated.
    unsafe { command.pre_exec(take_terminal) };
    let mut child = command.spawn()?;
    drop(command);
    // SAFETY: the descriptor is owned by the AsyncFd, never replaced, and closed when it is dropped.
    let master = unsafe { AsyncFd::register(master) }.map_err(io::Error::from)?;
    let master = PtyMaster(Arc::new(master));
    let exit = async move { child.wait().await.ok().map(exit_code) };
    Ok(Terminal { input: Box::new(master.clone()), output: Box::new(master), exit: exit.boxed() })
}

/// As a shell shows it: 128 + n for signal n.
fn exit_code(status: std::process::ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0))
}

fn take_terminal() -> io::Result<()> {
    // A program started in the background of a script has these ignored, and ctrl-C would do nothing.
    for reset in [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP, Signal::SIGPIPE] {
        // SAFETY: the default action runs no code of ours.
        unsafe { signal(reset, SigHandler::SigDfl) }?;
    }
    nix::unistd::setsid()?;
    // SAFETY: descriptor 0 is the slave; the call takes no pointer.
    let result = unsafe { libc::ioctl(0, libc::TIOCSCTTY, 0) };
    nix::errno::Errno::result(result).map(drop).map_err(io::Error::from)
}

#[derive(Clone)]
struct PtyMaster(Arc<AsyncFd<OwnedFd>>);

impl AsyncRead for PtyMaster {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(cx))?;
            let read = guard.try_io(|fd| Ok(nix::unistd::read(fd.get_ref(), buffer.initialize_unfilled())?));
            match read {
                Ok(Ok(length)) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                // How Linux tells that the last program has let go of the terminal.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => return Poll::Ready(Ok(())),
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for PtyMaster {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(cx))?;
            match guard.try_io(|fd| Ok(nix::unistd::write(fd.get_ref(), bytes)?)) {
                Ok(result) => return Poll::Ready(result),
                Err(_would_block) => {}
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl std::fmt::Debug for PtyMaster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PtyMaster({})", self.0.get_ref().as_raw_fd())
    }
}
