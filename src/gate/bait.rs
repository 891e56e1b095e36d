//! Who stands outside a drill and answers whoever reaches him: `redrill __bait PORT`, in a pod of the same cluster; and who waits in
//! each pod of the system until it cannot reach him: `redrill __closed ADDRESS`.

use std::ffi::OsString;
use std::io::{Error, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

/// The first argument that makes the redrill binary a bait.
pub const HELPER: &str = "__bait";
pub const PORT: u16 = 8080;

/// The first argument that makes the redrill binary wait until it is closed in.
pub const WAITER: &str = "__closed";
/// A pod that is open for longer than that stays where it is.
const CLOSES: Duration = Duration::from_secs(60);
/// Nobody in the same cluster is further away.
const PATIENCE: Duration = Duration::from_millis(1000);

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

/// Ends when nobody accepts at the address any more; errs when somebody still does at the deadline.
pub fn wait(arguments: &[OsString]) -> std::io::Result<()> {
    let address = arguments.first().and_then(|address| address.to_str()?.parse().ok());
    let address = address.ok_or_else(|| Error::new(ErrorKind::InvalidInput, "no address was given"))?;
    wait_for(address, CLOSES)
}

fn wait_for(stranger: SocketAddr, deadline: Duration) -> std::io::Result<()> {
    let start = Instant::now();
    while TcpStream::connect_timeout(&stranger, PATIENCE).is_ok() {
        if start.elapsed() >= deadline {
            let reason = format!("{stranger}, outside the drill, is still reached after {}s", deadline.as_secs());
            return Err(Error::new(ErrorKind::TimedOut, reason));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pod_waits_while_somebody_answers_and_no_longer() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let error = wait_for(address, Duration::ZERO).unwrap_err();
        assert!(error.to_string().contains("still reached"), "{error}");
        drop(listener);
        wait_for(address, Duration::from_secs(20)).unwrap();
        assert!(wait(&[]).is_err());
    }
}
