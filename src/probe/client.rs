//! The harness's side of the prober's protocol, over whatever carries bytes: an exec session, a pipe, a socket.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::ledger::Acknowledged;
use super::{DatabaseTarget, Reply, Request};

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("talk to the prober")]
    Io(#[from] io::Error),
    #[error("the prober ended without an answer")]
    Ended,
    #[error("the prober answered with something that is no reply of this version")]
    NotAReply(#[source] serde_json::Error),
    #[error("the prober did not answer within {0:?}")]
    Deadline(Duration),
    /// The prober's own words: what it was doing, and why that could not be done.
    #[error("{doing}: {reason}")]
    Refused {
        doing: String,
        reason: String,
        /// It was the system's own answer: a login refused, a table that is not there.
        by_the_system: bool,
    },
    #[error("the task that reads the prober's replies was lost")]
    Lost(#[source] tokio::task::JoinError),
}

/// A prober that can be asked, one request after the other.
#[derive(Debug)]
pub struct Prober<W, R> {
    writer: W,
    replies: ReplyReader<R>,
}

#[derive(Debug)]
struct ReplyReader<R> {
    reader: BufReader<R>,
    line: Vec<u8>,
}

impl<W: AsyncWrite + Unpin, R: AsyncRead + Unpin> Prober<W, R> {
    /// `writer` is the prober's stdin, `reader` its stdout.
    pub fn new(writer: W, reader: R) -> Self {
        Self { writer, replies: ReplyReader { reader: BufReader::new(reader), line: Vec::new() } }
    }

    /// Asks and returns the answer; [`Reply::Error`] comes back as [`ClientError::Refused`]. For a ledger see
    /// [`Self::keep_ledger`]. When the future is dropped before it ends, the answers are out of step: drop the prober too.
    pub async fn ask(&mut self, request: &Request) -> Result<Reply, ClientError> {
        send(&mut self.writer, request).await?;
        match self.replies.next().await? {
            Reply::Error { doing, reason, refused } => {
                Err(ClientError::Refused { doing, reason, by_the_system: refused })
            }
            reply => Ok(reply),
        }
    }
}

impl<W, R> Prober<W, R>
where
    W: AsyncWrite + Unpin,
    R: AsyncRead + Unpin + Send + 'static,
{
    /// Starts a ledger that keeps committing rows until it is stopped or the database goes away.
    /// Returns once the first row is acknowledged; errors when none can be.
    pub async fn keep_ledger(
        mut self,
        target: &DatabaseTarget,
        pause: Duration,
    ) -> Result<RunningLedger<W>, ClientError> {
        let pause_micros = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        send(&mut self.writer, &Request::Ledger { target: target.clone(), pause_micros }).await?;
        let first = match self.replies.next().await? {
            Reply::Committed { k, at_micros } => Acknowledged { k, at_micros },
            Reply::Error { doing, reason, refused } => {
                return Err(ClientError::Refused { doing, reason, by_the_system: refused });
            }
            _ => return Err(ClientError::Ended),
        };
        let (sender, latest) = watch::channel(first);
        let collector = tokio::spawn(collect(self.replies, first, sender));
        Ok(RunningLedger { writer: self.writer, latest, collector })
    }
}

/// A ledger that is being written.
#[derive(Debug)]
pub struct RunningLedger<W> {
    writer: W,
    latest: watch::Receiver<Acknowledged>,
    collector: JoinHandle<LedgerEnd>,
}

/// All that a ledger's writer was told, and why it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEnd {
    /// In the order of `k`.
    pub acknowledged: Vec<Acknowledged>,
    /// `None`: it was stopped on request. Otherwise the prober's words: usually the loss took its connection.
    pub broken: Option<String>,
}

impl<W: AsyncWrite + Unpin> RunningLedger<W> {
    /// The row acknowledged last.
    pub fn latest(&self) -> Acknowledged {
        *self.latest.borrow()
    }

    /// Waits until row `k` is acknowledged; `false` when the writer has ended before.
    pub async fn reached(&mut self, k: u64) -> bool {
        self.latest.wait_for(|latest| latest.k >= k).await.is_ok()
    }

    /// Stops the writer with a message, because servers before Kubernetes 1.30 cannot pass on the end of stdin, and
    /// returns every acknowledged row. At the deadline (a prober that is gone without a word) what arrived so far is
    /// lost to the caller and an error returned.
    pub async fn stop(mut self, deadline: Duration) -> Result<LedgerEnd, ClientError> {
        // A writer that has ended by itself need not hear it; what it said is in the collector.
        let _ = send(&mut self.writer, &Request::Stop).await;
        match tokio::time::timeout(deadline, &mut self.collector).await {
            Ok(end) => end.map_err(ClientError::Lost),
            Err(_) => {
                self.collector.abort();
                Err(ClientError::Deadline(deadline))
            }
        }
    }
}

async fn collect<R: AsyncRead + Unpin>(
    mut replies: ReplyReader<R>,
    first: Acknowledged,
    latest: watch::Sender<Acknowledged>,
) -> LedgerEnd {
    let mut acknowledged = vec![first];
    let broken = loop {
        match replies.next().await {
            Ok(Reply::Committed { k, at_micros }) => {
                let row = Acknowledged { k, at_micros };
                acknowledged.push(row);
                latest.send_replace(row);
            }
            Ok(Reply::Done) => break None,
            Ok(Reply::Error { doing, reason, refused: _ }) => break Some(format!("{doing}: {reason}")),
            Ok(_) => break Some("the prober answered something else than rows".into()),
            Err(error) => break Some(crate::error::chain(&error)),
        }
    };
    LedgerEnd { acknowledged, broken }
}

async fn send(writer: &mut (impl AsyncWrite + Unpin), request: &Request) -> Result<(), ClientError> {
    let json = zeroize::Zeroizing::new(serde_json::to_vec(request).map_err(io::Error::from)?);
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    let mut frame = zeroize::Zeroizing::new(Vec::with_capacity(json.len() + 4));
    frame.extend(length.to_be_bytes());
    frame.extend_from_slice(&json);
    writer.write_all(&frame).await?;
    writer.flush().await?;
    Ok(())
}

impl<R: AsyncRead + Unpin> ReplyReader<R> {
    async fn next(&mut self) -> Result<Reply, ClientError> {
        self.line.clear();
        self.reader.read_until(b'\n', &mut self.line).await?;
        match self.line.strip_suffix(b"\n") {
            Some(line) => serde_json::from_slice(line).map_err(ClientError::NotAReply),
            None => Err(ClientError::Ended),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prober() -> Prober<impl AsyncWrite + Unpin, impl AsyncRead + Unpin> {
        let (stdin, prober_stdin) = tokio::io::duplex(64);
        let (prober_stdout, stdout) = tokio::io::duplex(64);
        tokio::spawn(crate::probe::serve(prober_stdin, prober_stdout));
        Prober::new(stdin, stdout)
    }

    #[tokio::test]
    async fn several_requests_are_answered_in_one_process() {
        let mut prober = prober();
        let missing = Request::FingerprintFiles { root: "/dev/null/redrill".into() };
        let refused = prober.ask(&missing).await.unwrap_err();
        assert!(refused.to_string().starts_with("fingerprint the files below /dev/null/redrill: "), "{refused}");
        assert!(matches!(prober.ask(&Request::Stop).await, Ok(Reply::Done)));
    }

    #[tokio::test]
    async fn a_request_of_another_version_is_refused_without_quoting_it() {
        let (mut stdin, prober_stdin) = tokio::io::duplex(4096);
        let (prober_stdout, stdout) = tokio::io::duplex(4096);
        tokio::spawn(crate::probe::serve(prober_stdin, prober_stdout));
        let json = br#"{"ask":"login","target":{"into":"carrier_pigeon","password":"hunter2"}}"#;
        stdin.write_u32(json.len() as u32).await.unwrap();
        stdin.write_all(json).await.unwrap();
        let mut replies = ReplyReader { reader: BufReader::new(stdout), line: Vec::new() };
        let Ok(Reply::Error { reason, .. }) = replies.next().await else { panic!("accepted") };
        assert!(
            reason.contains("not a request") && !reason.contains("hunter2") && !reason.contains("pigeon"),
            "{reason}"
        );
    }

    #[tokio::test]
    async fn a_prober_that_is_gone_is_said_to_be_gone() {
        let (stdin, _) = tokio::io::duplex(64);
        let (_, stdout) = tokio::io::duplex(64);
        let gone = Prober::new(stdin, stdout).ask(&Request::Stop).await;
        assert!(matches!(gone, Err(ClientError::Io(_) | ClientError::Ended)), "{gone:?}");
    }
}
