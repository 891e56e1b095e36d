//! Many conversations over one connection.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt as _, TokioAsyncReadCompatExt as _};
use yamux::{Config, Connection, Mode};

/// One side of a conversation.
pub(crate) type Stream = Compat<yamux::Stream>;

/// Conversations at once: those of probes, of kubectl, of whoever waits.
const MOST: usize = 8192;

/// Begins conversations. The tunnel ends when all of these are gone.
#[derive(Clone)]
pub(crate) struct Opener(mpsc::UnboundedSender<oneshot::Sender<Stream>>);

impl Opener {
    /// Errs when the tunnel has ended.
    pub async fn open(&self) -> io::Result<Stream> {
        let (sender, receiver) = oneshot::channel();
        let ended = || io::Error::new(io::ErrorKind::BrokenPipe, "its streams have ended");
        self.0.send(sender).map_err(|_| ended())?;
        receiver.await.map_err(|_| ended())
    }
}

/// A tunnel over a connection: what begins conversations, those that the other side began, and what has to be run for either.
pub(crate) fn over(
    connection: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
    mode: Mode,
) -> (Opener, mpsc::UnboundedReceiver<Stream>, impl Future<Output = ()> + Send + 'static) {
    let mut config = Config::default();
    // 256 KiB of each at least may be under way.
    config.set_max_connection_receive_window(None).set_max_num_streams(MOST);
    let connection = Connection::new(connection.compat(), config, mode);
    let (opener, asked) = mpsc::unbounded_channel();
    let (arrive, arrivals) = mpsc::unbounded_channel();
    (Opener(opener), arrivals, drive(connection, asked, arrive))
}

async fn drive<T>(
    mut connection: Connection<T>,
    mut asked: mpsc::UnboundedReceiver<oneshot::Sender<Stream>>,
    arrive: mpsc::UnboundedSender<Stream>,
) where
    T: futures::AsyncRead + futures::AsyncWrite + Unpin,
{
    let mut waiting = VecDeque::new();
    let ended = poll_fn(|context| {
        loop {
            match asked.poll_recv(context) {
                Poll::Ready(Some(sender)) => {
                    waiting.push_back(sender);
                    continue;
                }
                Poll::Ready(None) => return Poll::Ready(()),
                Poll::Pending => {}
            }
            if !waiting.is_empty() {
                match connection.poll_new_outbound(context) {
                    Poll::Ready(Ok(stream)) => {
                        if let Some(sender) = waiting.pop_front() {
                            // Who does not wait any more drops it, which ends it.
                            let _: Result<(), Stream> = sender.send(stream.compat());
                        }
                        continue;
                    }
                    Poll::Ready(Err(_)) => return Poll::Ready(()),
                    Poll::Pending => {}
                }
            }
            match connection.poll_next_inbound(context) {
                // Dropped where nobody takes it, which ends it.
                Poll::Ready(Some(Ok(stream))) => drop(arrive.send(stream.compat())),
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    });
    ended.await;
    // The other side sees the end of its stream when this one's is dropped; what it then says matters to nobody.
    let _ = poll_fn(|context| connection.poll_close(context)).await;
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    #[tokio::test]
    async fn conversations_from_both_sides_keep_their_bytes_apart_and_end_one_way_at_a_time() {
        let (here, there) = tokio::io::duplex(1 << 16);
        let (opener, mut arrivals, driver) = over(here, Mode::Client);
        let (other, mut others, other_driver) = over(there, Mode::Server);
        tokio::spawn(driver);
        tokio::spawn(other_driver);
        let mut asks = Vec::new();
        for number in 0..50_u8 {
            let mut ask = opener.open().await.unwrap();
            ask.write_all(&[number; 70_000]).await.unwrap();
            ask.shutdown().await.unwrap();
            asks.push(ask);
        }
        for (number, mut ask) in asks.into_iter().enumerate() {
            let mut at = others.recv().await.unwrap();
            let mut heard = Vec::new();
            at.read_to_end(&mut heard).await.unwrap();
            assert_eq!(heard, vec![number as u8; 70_000]);
            // Its other direction is still open.
            at.write_all(b"heard").await.unwrap();
            drop(at);
            let mut answer = String::new();
            ask.read_to_string(&mut answer).await.unwrap();
            assert_eq!(answer, "heard");
        }
        let mut back = other.open().await.unwrap();
        back.write_all(b"x").await.unwrap();
        assert_eq!(arrivals.recv().await.unwrap().read_u8().await.unwrap(), b'x');
        drop((other, back));
        assert!(arrivals.recv().await.is_none());
        assert!(opener.open().await.is_err());
    }
}
