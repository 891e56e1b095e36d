//! Whether anything outside the drill can be reached from inside.

use std::io::ErrorKind;
use std::time::Duration;

use futures::future::join_all;
use tokio::net::TcpStream;

use super::Refusals;

/// Nothing that is reachable from a drill's network is further away than this.
const PATIENCE: Duration = Duration::from_millis(1500);

/// Which of the addresses (`IP:port`) answered.
pub async fn reached(addresses: &[String], refusals: Refusals) -> Vec<String> {
    let tries =
        addresses.iter().map(|address| async move { answers(address, refusals).await.then(|| address.clone()) });
    join_all(tries).await.into_iter().flatten().collect()
}

async fn answers(address: &str, refusals: Refusals) -> bool {
    match tokio::time::timeout(PATIENCE, TcpStream::connect(address)).await {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => match refusals {
            Refusals::FromThere => matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset),
            Refusals::FromTheWay => false,
        },
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
        assert_eq!(reached(&addresses, Refusals::FromThere).await, addresses[..2]);
        assert_eq!(reached(&addresses, Refusals::FromTheWay).await, addresses[..1]);
    }
}
