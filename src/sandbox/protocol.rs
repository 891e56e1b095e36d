//! What the harness and the fabric say to each other, and how it is framed.
//!
//! A frame is the length of its body (u32, little endian) and the body, JSON; descriptors travel
//! with the length. Both ends are the same binary, so there is no version.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::path::PathBuf;

use nix::sys::socket::{ControlMessage, ControlMessageOwned, MsgFlags, recvmsg, sendmsg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::fault::Fault;
use super::ids::IdRange;
use super::network::AddressRange;
use super::{Variable, program::Account};

/// Longest body: a Secret or ConfigMap is at most 1 MiB, in base64, and a container may mount several.
const LONGEST: usize = 64 << 20;
const MOST_DESCRIPTORS: usize = 4;

/// The first frame, from the harness.
#[derive(Serialize, Deserialize)]
pub(crate) struct Setup {
    pub directory: PathBuf,
    pub drill: String,
    pub addresses: AddressRange,
    pub trusted_ca: Option<String>,
    pub ids: IdRange,
}

/// A number that the harness gives to a container or an exec, and that its end is reported under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Token(pub u64);

#[derive(Serialize, Deserialize)]
pub(crate) struct Call {
    pub number: u64,
    pub request: Request,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Request {
    CreatePod {
        pod: String,
        hostname: String,
        hosts: Vec<Host>,
        /// Without it no name server is asked.
        resolv_conf: Option<String>,
    },
    SetHosts {
        pod: String,
        hosts: Vec<Host>,
    },
    RemovePod {
        pod: String,
    },
    /// Answered with the read end of the program's output.
    Start(Box<Launch>),
    /// Answered with the terminal's master, or with the ends of stdin (if asked for), stdout and stderr.
    Exec {
        token: Token,
        container: Token,
        argv: Vec<String>,
        stdin: bool,
        terminal: Option<Terminal>,
    },
    Signal {
        token: Token,
        signal: i32,
        whole_group: bool,
    },
    CreateVolume {
        directory: String,
    },
    RemoveVolume {
        directory: String,
    },
    /// Answered with a TCP socket of the drill's network.
    Socket,
    Inventory,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Host {
    pub address: IpAddr,
    pub names: Vec<String>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Terminal {
    pub rows: u16,
    pub columns: u16,
}

/// A container to start.
#[derive(Serialize, Deserialize)]
pub(crate) struct Launch {
    pub token: Token,
    /// For the inventory.
    pub name: String,
    pub pod: String,
    pub argv: Vec<String>,
    pub env: Vec<Variable>,
    pub account: Account,
    pub working_dir: PathBuf,
    pub files: Vec<StagedFile>,
    pub mounts: Vec<Binding>,
}

/// A file or directory below the staging directory, shown read-only at `target`.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StagedFile {
    pub staged: String,
    pub target: PathBuf,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Binding {
    pub source: Source,
    pub sub_path: Option<PathBuf>,
    pub target: PathBuf,
    pub read_only: bool,
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Source {
    Volume { directory: String },
    Files(Vec<File>),
}

#[derive(Serialize, Deserialize)]
pub(crate) struct File {
    pub path: PathBuf,
    pub mode: u32,
    /// Base64, because a key of a Secret is bytes.
    pub content: Zeroizing<String>,
}

/// What the fabric says.
#[derive(Serialize, Deserialize)]
pub(crate) enum Notice {
    Ready { bridge: IpAddr },
    Refused(Fault),
    Answer { number: u64, result: Result<Answer, Fault> },
    Ended { token: Token, end: End },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Address(IpAddr),
    Names(Vec<String>),
    /// What was asked for does not exist, or no longer.
    Absent,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) enum End {
    Code(i32),
    Signal(i32),
}

/// Writes one frame; blocks until the other end has room.
pub(crate) fn send(socket: BorrowedFd<'_>, body: &impl Serialize, descriptors: &[RawFd]) -> io::Result<()> {
    let body = Zeroizing::new(serde_json::to_vec(body)?);
    let length = u32::try_from(body.len()).map_err(io::Error::other)?.to_le_bytes();
    let rights = [ControlMessage::ScmRights(descriptors)];
    let control = if descriptors.is_empty() { &[][..] } else { &rights[..] };
    let mut sent = sendmsg::<()>(
        socket.as_raw_fd(),
        &[IoSlice::new(&length), IoSlice::new(&body)],
        control,
        MsgFlags::MSG_NOSIGNAL,
        None,
    )?;
    while sent < length.len() + body.len() {
        let rest = if sent < length.len() { &length[sent..] } else { &body[sent - length.len()..] };
        sent += sendmsg::<()>(socket.as_raw_fd(), &[IoSlice::new(rest)], &[], MsgFlags::MSG_NOSIGNAL, None)?;
    }
    Ok(())
}

/// Reads one frame, blocking; `None` at end of file.
pub(crate) fn receive<T: DeserializeOwned>(socket: BorrowedFd<'_>) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut descriptors = Vec::new();
    let mut length = [0; 4];
    if !fill(socket, &mut length, &mut descriptors)? {
        return Ok(None);
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a frame of {length} bytes")));
    }
    let mut body = Zeroizing::new(vec![0; length]);
    if !fill(socket, &mut body, &mut descriptors)? {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(Some((serde_json::from_slice(&body)?, descriptors)))
}

/// Fills the buffer; `false` if the other end closed before its first byte.
fn fill(socket: BorrowedFd<'_>, buffer: &mut [u8], descriptors: &mut Vec<OwnedFd>) -> io::Result<bool> {
    let mut filled = 0;
    while filled < buffer.len() {
        let mut control = nix::cmsg_space!([RawFd; MOST_DESCRIPTORS]);
        let mut parts = [IoSliceMut::new(&mut buffer[filled..])];
        let received =
            match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), MsgFlags::MSG_CMSG_CLOEXEC) {
                Err(nix::Error::EINTR) => continue,
                received => received?,
            };
        for message in received.cmsgs()? {
            if let ControlMessageOwned::ScmRights(received) = message {
                // SAFETY: the kernel has just installed these descriptors for this process alone.
                descriptors.extend(received.into_iter().map(|fd| unsafe { OwnedFd::from_raw_fd(fd) }));
            }
        }
        match received.bytes {
            0 if filled == 0 => return Ok(false),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            bytes => filled += bytes,
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn a_frame_larger_than_the_socket_buffer_arrives_with_its_descriptors() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let body = vec!["x".repeat(1000); 2000];
        let sent = body.clone();
        let writer = std::thread::spawn(move || send(ours.as_fd(), &sent, &[0, 1]).unwrap());
        let (received, descriptors) = receive::<Vec<String>>(theirs.as_fd()).unwrap().unwrap();
        writer.join().unwrap();
        assert_eq!(received, body);
        assert_eq!(descriptors.len(), 2);
        assert!(receive::<Vec<String>>(theirs.as_fd()).unwrap().is_none(), "end of file after the last frame");
    }
}
