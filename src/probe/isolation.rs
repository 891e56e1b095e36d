//! Whether anything outside the drill can be reached from inside.

use std::io::ErrorKind;
use std::time::Duration;

use futures::future::join_all;
use tokio::net::TcpStream;

/// Nothing that is reachable from a drill's network is further away than this.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Which of the addresses (`IP:port`) answered. A refusal is an answer too: the packet got there.
pub async fn reached(addresses: &[String]) -> Vec<String> {
    let tries = addresses.iter().map(|address| async move { answers(address).await.then(|| address.clone()) });
    join_all(tries).await.into_iter().flatten().collect()
}

async fn answers(address: &str) -> bool {
    match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_and_a_refusal_are_both_reached() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap().to_string();
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let refused = closed.local_addr().unwrap().to_string();
        drop(closed);
        let addresses = [open, refused, "not an address".to_owned()];
        assert_eq!(reached(&addresses).await, addresses[..2]);
    }
}
