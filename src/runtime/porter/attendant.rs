//! The harness's side of a porter, over the standard streams of its program, whoever runs that.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt as _, BufReader, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use yamux::Mode;

use super::tunnel::{self, Opener, Stream};
use super::{Answer, Ask, Caller, hear, say};
use crate::runtime::{ByteReader, ByteStream, ByteWriter, RuntimeError, failed};

/// A porter's program that runs.
pub(crate) struct Program {
    pub stdin: ByteWriter,
    pub stdout: ByteReader,
    /// What it says here is nothing unless it ends.
    pub stderr: Option<ByteReader>,
    /// Held until it completes, since who drops it may kill the program.
    pub held: BoxFuture<'static, ()>,
}

/// Asks a porter, and brings in who calls at its ports. Dropping it ends the porter, and with it every connection that it carries.
pub(crate) struct Attendant {
    opener: Opener,
    /// Where those are brought who connect to a port.
    doors: Arc<Mutex<BTreeMap<u16, SocketAddr>>>,
    complaint: Arc<Mutex<String>>,
    #[cfg_attr(not(feature = "kube"), allow(dead_code))]
    ended: CancellationToken,
    _tasks: JoinSet<()>,
}

impl Attendant {
    pub fn of(program: Program) -> Self {
        let Program { stdin, stdout, stderr, held } = program;
        let (opener, mut callers, tunnel) = tunnel::over(tokio::io::join(stdout, stdin), Mode::Client);
        let doors: Arc<Mutex<BTreeMap<u16, SocketAddr>>> = Arc::default();
        let complaint: Arc<Mutex<String>> = Arc::default();
        let ended = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let end = ended.clone();
        tasks.spawn(async move {
            tunnel.await;
            end.cancel();
        });
        tasks.spawn(held);
        let heard = complaint.clone();
        tasks.spawn(async move {
            let mut said = String::new();
            if let Some(mut stderr) = stderr
                && stderr.read_to_string(&mut said).await.is_ok()
            {
                *heard.lock().unwrap_or_else(PoisonError::into_inner) = said;
            }
        });
        let open = doors.clone();
        tasks.spawn(async move {
            while let Some(caller) = callers.recv().await {
                tokio::spawn(bring_in(caller, open.clone()));
            }
        });
        Self { opener, doors, complaint, ended, _tasks: tasks }
    }

    /// Completes when the porter's program, or the connection to it, has ended.
    #[cfg(feature = "kube")]
    pub fn ended(&self) -> CancellationToken {
        self.ended.clone()
    }

    /// Brings whoever connects to this port of its address to a listener of the harness.
    pub async fn listen(&self, port: u16, to: SocketAddr) -> Result<(), RuntimeError> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).insert(port, to);
        self.done(Ask::Listen(port)).await
    }

    /// The same for whoever asks it for a name (RFC 1035), by datagrams and by connections.
    #[cfg(feature = "kube")]
    pub async fn listen_for_names(&self, port: u16, to: SocketAddr) -> Result<(), RuntimeError> {
        self.listen(port, to).await?;
        self.done(Ask::ListenForNames(port)).await
    }

    /// A connection from inside.
    pub async fn connect(&self, address: SocketAddr) -> Result<ByteStream, RuntimeError> {
        let (answer, conversation) = self.ask(&Ask::Connect(address)).await?;
        match answer {
            Answer::Failed(reason) => Err(failed(format!("connect to {address}"), reason)),
            Answer::Done | Answer::Names(_) | Answer::Prepared(_) => Ok(Box::new(conversation)),
        }
    }

    /// Asks for something that has no answer but that it is done.
    pub async fn done(&self, ask: Ask) -> Result<(), RuntimeError> {
        match self.ask(&ask).await?.0 {
            Answer::Done => Ok(()),
            answer => Err(unexpected(answer)),
        }
    }

    /// Asks, and gives the conversation with its answer.
    pub async fn ask(&self, ask: &Ask) -> Result<(Answer, BufReader<Stream>), RuntimeError> {
        let asked = async {
            let mut conversation = BufReader::new(self.opener.open().await?);
            say(&mut conversation, ask).await?;
            let answer = hear(&mut conversation).await?;
            Ok::<_, std::io::Error>((answer, conversation))
        };
        asked.await.map_err(|error| {
            let complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned();
            failed("ask the drill's porter", format!("{error} {complaint}").trim_end())
        })
    }
}

/// An answer to something else, or a refusal.
pub(crate) fn unexpected(answer: Answer) -> RuntimeError {
    let reason = match answer {
        Answer::Failed(reason) => reason,
        Answer::Done | Answer::Names(_) | Answer::Prepared(_) => "it gave another answer".to_owned(),
    };
    failed("have the drill's porter work", reason)
}

/// Who calls at a port that nobody listens behind any more is turned away by the end of the conversation.
async fn bring_in(caller: Stream, doors: Arc<Mutex<BTreeMap<u16, SocketAddr>>>) {
    let mut caller = BufReader::new(caller);
    let Ok(Caller { port }) = hear(&mut caller).await else { return };
    let door = doors.lock().unwrap_or_else(PoisonError::into_inner).get(&port).copied();
    let Some(door) = door else { return };
    if let Ok(mut stream) = TcpStream::connect(door).await {
        let _ = copy_bidirectional(&mut caller, &mut stream).await;
    }
}
