//! Questions for names (DNS over UDP) that the porter carries to the harness, one conversation each, framed as over TCP
//! (RFC 1035, 4.2.2).

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UdpSocket;

use super::tunnel::Opener;
use super::{Caller, say};

/// The largest datagram that is taken or sent.
const LARGEST: usize = 4096;

/// Serves for as long as the porter runs.
pub(super) async fn bring_out(socket: UdpSocket, port: u16, opener: Opener) {
    let socket = Arc::new(socket);
    let mut datagram = vec![0; LARGEST];
    // An error of recvfrom(2) is one of an answer that could not be delivered.
    loop {
        let Ok((length, asker)) = socket.recv_from(&mut datagram).await else {
            tokio::task::yield_now().await;
            continue;
        };
        let (question, socket, opener) = (datagram[..length].to_owned(), socket.clone(), opener.clone());
        tokio::spawn(async move {
            // Who gets no answer asks again.
            if let Err(error) = ask(&question, asker, port, &socket, &opener).await {
                tracing::debug!(%error, "a question for a name was not answered");
            }
        });
    }
}

async fn ask(
    question: &[u8],
    asker: SocketAddr,
    port: u16,
    socket: &UdpSocket,
    opener: &Opener,
) -> std::io::Result<()> {
    let mut conversation = BufReader::new(opener.open().await?);
    say(&mut conversation, &Caller { port }).await?;
    let length = u16::try_from(question.len()).map_err(std::io::Error::other)?;
    conversation.write_u16(length).await?;
    conversation.write_all(question).await?;
    conversation.flush().await?;
    let mut answer = vec![0; usize::from(conversation.read_u16().await?)];
    conversation.read_exact(&mut answer).await?;
    socket.send_to(&answer[..answer.len().min(LARGEST)], asker).await.map(drop)
}
