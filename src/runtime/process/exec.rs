//! Programs run in containers: their streams as tokio sees them, and their end.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::{failed, not_found};
use crate::runtime::{ByteWriter, ContainerExit, ExecSession, ExecSpec, RuntimeError, TerminalSize};
use crate::sandbox::link::Link;
use crate::sandbox::protocol::{Answer, Request, Terminal, Token};

/// Kills the program's process group when it is dropped, unless the program has ended by itself.
struct Guard {
    link: Arc<Link>,
    token: Token,
    ended: bool,
}

impl Guard {
    /// The program has ended, or never was. By value, so that a closure captures all of the guard.
    fn disarm(mut self) {
        self.ended = true;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.ended {
            self.link.tell(Request::Signal { token: self.token, signal: libc::SIGKILL, whole_group: true });
        }
        self.link.forget_end(self.token);
    }
}

pub(super) async fn start(
    link: &Arc<Link>,
    container: Token,
    container_name: &str,
    exec: &ExecSpec,
) -> Result<ExecSession, RuntimeError> {
    let token = link.token();
    let end = link.expect_end(token);
    let guard = Guard { link: Arc::clone(link), token, ended: false };
    let terminal = exec.tty.map(|size| Terminal { rows: size.rows, columns: size.columns });
    let request = Request::Exec { token, container, argv: exec.argv.clone(), stdin: exec.stdin, terminal };
    let answer = link.call(request).await;
    let descriptors = match answer {
        Ok((Answer::Absent, _)) => Err(not_found("running container", container_name)),
        Ok((_, descriptors)) => Ok(descriptors),
        Err(fault) => Err(fault.into()),
    };
    let descriptors = match descriptors {
        Ok(descriptors) => descriptors,
        Err(error) => {
            guard.disarm();
            return Err(error);
        }
    };
    let exit = async move {
        // Without a fabric nothing runs any more, and it was killed.
        let exit = end.await.map_or(ContainerExit::Signal(libc::SIGKILL), ContainerExit::from);
        guard.disarm();
        Ok(exit)
    };
    let session = session(descriptors.into_iter(), exec);
    let session = session.map_err(|error| failed("connect to the program's streams", error))?;
    Ok(ExecSession { exit: Box::pin(exit), ..session })
}

/// The session around the descriptors; its end is filled in by the caller.
fn session(mut descriptors: impl Iterator<Item = OwnedFd>, exec: &ExecSpec) -> io::Result<ExecSession> {
    let mut next = || descriptors.next().ok_or_else(|| io::Error::other("the sandbox gave too few descriptors"));
    let exit = Box::pin(std::future::pending());
    if exec.tty.is_some() {
        let master = Arc::new(Master::new(next()?)?);
        let stdin =
            exec.stdin.then(|| Box::new(MasterWriter { master: Arc::clone(&master), closed: false }) as ByteWriter);
        let resize = Some(follow_size(&master));
        return Ok(ExecSession { stdin, stdout: Box::new(MasterReader(master)), stderr: None, resize, exit });
    }
    let stdin = if exec.stdin { Some(Box::new(pipe::Sender::from_owned_fd(next()?)?) as ByteWriter) } else { None };
    let stdout = Box::new(pipe::Receiver::from_owned_fd(next()?)?);
    let stderr = Box::new(pipe::Receiver::from_owned_fd(next()?)?);
    Ok(ExecSession { stdin, stdout, stderr: Some(stderr), resize: None, exit })
}

/// The harness's side of a pseudo terminal.
struct Master(AsyncFd<OwnedFd>);

struct MasterReader(Arc<Master>);

/// Its end of file is the terminal's: closing one direction of a terminal is a character.
struct MasterWriter {
    master: Arc<Master>,
    closed: bool,
}

const END_OF_FILE: u8 = 4;

impl Master {
    fn new(master: OwnedFd) -> io::Result<Self> {
        let flags = OFlag::from_bits_retain(fcntl(&master, FcntlArg::F_GETFL)?);
        fcntl(&master, FcntlArg::F_SETFL(flags | OFlag::O_NONBLOCK))?;
        // SAFETY: the owned descriptor stays open, and the same, for as long as the AsyncFd has it.
        Ok(Self(unsafe { AsyncFd::register(master) }?))
    }

    fn set_size(&self, size: TerminalSize) -> io::Result<()> {
        let size = libc::winsize { ws_row: size.rows, ws_col: size.columns, ws_xpixel: 0, ws_ypixel: 0 };
        // SAFETY: the request takes a winsize, which outlives the call.
        match unsafe { libc::ioctl(self.0.get_ref().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) } {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }

    fn poll_write(&self, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut ready = ready!(self.0.poll_write_ready(context))?;
            match ready.try_io(|master| Ok(nix::unistd::write(master.get_ref(), bytes)?)) {
                Ok(written) => return Poll::Ready(written),
                Err(_would_block) => continue,
            }
        }
    }
}

/// Sets the terminal's size to what is sent, as long as anyone may send.
fn follow_size(master: &Arc<Master>) -> mpsc::Sender<TerminalSize> {
    let (sender, mut sizes) = mpsc::channel(1);
    let master = Arc::downgrade(master);
    tokio::spawn(async move {
        while let Some(size) = sizes.recv().await {
            let Some(master) = master.upgrade() else { return };
            // A terminal whose program has ended has no size to set.
            let _ = master.set_size(size);
        }
    });
    sender
}

impl AsyncRead for MasterReader {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut ready = ready!(self.0.0.poll_read_ready(context))?;
            let read = ready.try_io(|master| Ok(nix::unistd::read(master.get_ref(), buffer.initialize_unfilled())?));
            return Poll::Ready(match read {
                Err(_would_block) => continue,
                Ok(Ok(count)) => {
                    buffer.advance(count);
                    Ok(())
                }
                // What a terminal says when its last program has closed it.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => Ok(()),
                Ok(Err(error)) => Err(error),
            });
        }
    }
}

impl AsyncWrite for MasterWriter {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.master.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.closed {
            ready!(self.master.poll_write(context, &[END_OF_FILE]))?;
            self.closed = true;
        }
        Poll::Ready(Ok(()))
    }
}

impl Drop for MasterWriter {
    fn drop(&mut self) {
        if !self.closed {
            // If the terminal is full its program reads nothing, an end of file neither.
            let _ = nix::unistd::write(self.master.0.get_ref(), &[END_OF_FILE]);
        }
    }
}
