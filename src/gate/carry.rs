//! Connections that become something else (exec, attach, port-forward): what both sides say from then on is carried as it is.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::answer::View;
use super::passage::{Passage, Turned};
use bytes::Bytes;

/// Whether a request asks for its connection to become something else: a WebSocket, or SPDY as clients before 1.30 have it.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    headers.contains_key(header::UPGRADE)
}

/// Asks the cluster the same, and joins both connections where it agrees.
pub(super) async fn over(passage: &Passage, mut request: Request<Body>, view: View) -> Result<Response, Turned> {
    let caller = hyper::upgrade::on(&mut request);
    let (parts, _) = request.into_parts();
    let mut sent = Request::new(kube::client::Body::from(Bytes::new()));
    *sent.uri_mut() = parts.uri;
    *sent.method_mut() = parts.method;
    *sent.headers_mut() = parts.headers;
    let mut response = passage.client.send(sent).await.map_err(|error| passage.unanswered(&error))?;
    if response.status() != StatusCode::SWITCHING_PROTOCOLS {
        let (parts, body) = response.into_parts();
        let body = body.collect_bytes().await.unwrap_or_default();
        return Ok(Response::from_parts(parts, Body::from(view.of(body))));
    }
    let cluster = hyper::upgrade::on(&mut response);
    let stop = passage.closing.stop.clone();
    passage.closing.sessions.spawn(async move {
        let joined = async {
            let (caller, cluster) = tokio::try_join!(caller, cluster)?;
            let (mut caller, mut cluster) = (TokioIo::new(caller), TokioIo::new(cluster));
            // Either may hang up without a word.
            let _ = copy_bidirectional(&mut caller, &mut cluster).await;
            Ok::<(), hyper::Error>(())
        };
        tokio::select! {
            () = stop.cancelled() => {}
            joined = joined => if let Err(error) = joined {
                tracing::debug!(%error, "a connection through the gate did not come about");
            }
        }
    });
    let (parts, _) = response.into_parts();
    Ok(Response::from_parts(parts, Body::empty()))
}
