//! The porter: redrill itself (`redrill __porter`) in a container of a drill's network. It carries connections between the
//! drill and the harness, and fills the volumes that the drill's pods mount.
//!
//! Everything that it does is asked of it over the standard streams of one program that the engine runs, many conversations on
//! one connection. So nothing of the machine that redrill runs on is opened to the drill: no port, no address, no route; the
//! engine may be behind a socket, a virtual machine or another host; and the porter ends when its streams do.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use zeroize::Zeroizing;

use crate::sandbox::protocol::Binding;

pub(crate) mod attendant;
mod names;
mod rooms;
mod serve;
pub(crate) mod tunnel;

pub use serve::main;

/// The first argument that makes the redrill binary a porter.
pub const HELPER: &str = "__porter";
/// Where the porter has the volume with what pods keep.
pub(crate) const DISK: &str = "/run/redrill/disk";
/// Where it has the volume in memory, for Secrets and ConfigMaps.
pub(crate) const MEMORY: &str = "/run/redrill/memory";

/// What the porter is asked; each in a conversation of its own.
#[derive(Serialize, Deserialize)]
pub(crate) enum Ask {
    /// Answered at once, by whoever is still there.
    Ping,
    /// What follows the answer is the connection.
    Connect(SocketAddr),
    /// From now on whoever connects to this port is brought out, as a conversation that begins with [`Caller`].
    Listen(u16),
    /// From now on whoever sends a datagram to this port is brought out the same way, with its length before it, and so is what
    /// comes back: as names are asked for (RFC 1035, 4.2.2).
    ListenForNames(u16),
    /// Makes what all pods are shown: no name server, and the image's certificates with this one.
    Furnish {
        trusted_ca: Option<String>,
    },
    MakeVolume {
        directory: String,
    },
    RemoveVolume {
        directory: String,
    },
    /// Answered with the directories of all volumes.
    Volumes,
    /// Sets the names that a pod resolves.
    WriteHosts {
        pod: String,
        content: String,
    },
    RemovePod {
        pod: String,
    },
    /// Makes what a container mounts. Answered with the places, in the order of the bindings.
    Prepare {
        container: String,
        bindings: Vec<Binding>,
        fs_group: Option<u32>,
    },
    /// Forgets what a container had in memory.
    Forget {
        container: String,
    },
}

#[derive(Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Names(Vec<String>),
    Prepared(Vec<Place>),
    Failed(String),
}

/// A file or directory of one of the two volumes, without a link in its path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Place {
    pub in_memory: bool,
    pub path: PathBuf,
}

impl Place {
    pub fn on_disk(path: impl Into<PathBuf>) -> Self {
        Self { in_memory: false, path: path.into() }
    }
}

/// Who is at a port inside.
#[derive(Serialize, Deserialize)]
pub(crate) struct Caller {
    pub port: u16,
}

/// The hosts file of a pod, on the disk.
pub(crate) fn hosts_of(pod: &str) -> PathBuf {
    PathBuf::from("pods").join(pod)
}

/// What every pod is shown as /etc/resolv.conf.
pub(crate) const RESOLV_CONF: &str = "shared/resolv.conf";
/// What every pod is shown as the certificates that it trusts.
pub(crate) const CERTIFICATES: &str = "shared/ca-certificates.crt";

/// One conversation.
pub(crate) type Conversation = BufReader<tunnel::Stream>;

/// Sends one line. Its bytes may be secret, and are wiped after it.
pub(crate) async fn say<T: Serialize>(to: &mut (impl AsyncWrite + Unpin), what: &T) -> std::io::Result<()> {
    let mut line = Zeroizing::new(serde_json::to_vec(what).map_err(std::io::Error::other)?);
    line.push(b'\n');
    to.write_all(&line).await?;
    to.flush().await
}

/// Reads one line.
pub(crate) async fn hear<T: DeserializeOwned>(from: &mut Conversation) -> std::io::Result<T> {
    let mut line = Zeroizing::new(Vec::new());
    from.read_until(b'\n', &mut line).await?;
    if line.is_empty() {
        return Err(std::io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&line).map_err(std::io::Error::other)
}
