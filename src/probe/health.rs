//! Whether programs answer, asked as a kubelet asks: over HTTP, or by a connection alone.

use std::time::Duration;

use futures::future::join_all;
use tokio::net::TcpStream;

use super::login;

/// A program that takes longer answers nobody.
const PATIENCE: Duration = Duration::from_secs(10);

/// Which of the addresses (`http://IP:port/path`, `tcp://IP:port`) answered.
pub(super) async fn answering(addresses: &[String]) -> Vec<String> {
    let tries = addresses.iter().map(|address| async move {
        let answered = tokio::time::timeout(PATIENCE, answers(address)).await.unwrap_or(false);
        answered.then(|| address.clone())
    });
    join_all(tries).await.into_iter().flatten().collect()
}

async fn answers(address: &str) -> bool {
    match address.strip_prefix("tcp://") {
        Some(address) => TcpStream::connect(address).await.is_ok(),
        None => {
            login::http_status(address, None).await.is_ok_and(|status| status.is_success() || status.is_redirection())
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::*;

    #[tokio::test]
    async fn what_a_kubelet_calls_ready_answers_and_nothing_else() {
        let routes = axum::Router::new()
            .route("/up", get(|| async {}))
            .route("/moved", get(|| async { StatusCode::FOUND }))
            .route("/down", get(|| async { StatusCode::SERVICE_UNAVAILABLE }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, routes).await });
        let closed = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let good = [format!("http://{place}/up"), format!("http://{place}/moved"), format!("tcp://{place}")];
        let bad = [format!("http://{place}/down"), format!("tcp://{closed}"), format!("http://{closed}/")];
        let all: Vec<String> = good.iter().zip(&bad).flat_map(|(good, bad)| [bad.clone(), good.clone()]).collect();
        assert_eq!(answering(&all).await, good);
    }
}
