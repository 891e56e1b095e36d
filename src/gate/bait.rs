//! Who stands outside a drill and answers whoever reaches him: `redrill __bait PORT`, in a pod of the same cluster.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener};

/// The first argument that makes the redrill binary a bait.
pub const HELPER: &str = "__bait";
pub const PORT: u16 = 8080;

/// Accepts connections, and ends them, until it is killed.
pub fn main(arguments: &[OsString]) -> std::io::Result<()> {
    let port = arguments.first().and_then(|port| port.to_str()?.parse().ok()).unwrap_or(PORT);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    for connection in listener.incoming() {
        // One that broke off was there all the same.
        drop(connection);
    }
    Ok(())
}
