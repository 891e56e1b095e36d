//! The porter's side of each conversation.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::sync::Arc;

use tokio::io::{BufReader, copy_bidirectional};
use tokio::net::unix::pipe;
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use yamux::Mode;

use super::rooms::Rooms;
use super::tunnel::{self, Opener};
use super::{Answer, Ask, Caller, Conversation, hear, names, say};

/// Serves until the standard input ends.
pub fn main() -> ExitCode {
    let served = tokio::runtime::Runtime::new().and_then(|runtime| runtime.block_on(serve()));
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            crate::console::error(&error);
            ExitCode::FAILURE
        }
    }
}

async fn serve() -> std::io::Result<()> {
    // The engine gives pipes; opened again they can be waited for.
    let input = pipe::OpenOptions::new().open_receiver("/proc/self/fd/0")?;
    let output = pipe::OpenOptions::new().open_sender("/proc/self/fd/1")?;
    let (opener, mut conversations, tunnel) = tunnel::over(tokio::io::join(input, output), Mode::Server);
    let rooms = Arc::new(Rooms::default());
    let serving = async {
        while let Some(conversation) = conversations.recv().await {
            tokio::spawn(converse(BufReader::new(conversation), opener.clone(), rooms.clone()));
        }
    };
    tokio::select! {
        () = serving => {}
        () = tunnel => {}
    }
    Ok(())
}

/// What breaks in one conversation is the end of that one, which its other side sees.
async fn converse(mut conversation: Conversation, opener: Opener, rooms: Arc<Rooms>) {
    let Ok(ask) = hear::<Ask>(&mut conversation).await else { return };
    let answer = match ask {
        Ask::Connect(address) => match TcpStream::connect(address).await {
            Ok(stream) => return carry(conversation, stream).await,
            Err(error) => Answer::Failed(error.to_string()),
        },
        Ask::Listen(port) => match TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await {
            Ok(listener) => {
                tokio::spawn(bring_out(listener, port, opener));
                Answer::Done
            }
            Err(error) => Answer::Failed(error.to_string()),
        },
        Ask::ListenForNames(port) => match UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).await {
            Ok(socket) => {
                tokio::spawn(names::bring_out(socket, port, opener));
                Answer::Done
            }
            Err(error) => Answer::Failed(error.to_string()),
        },
        // Whole trees may change hands.
        other => tokio::task::spawn_blocking(move || rooms.answer(other))
            .await
            .unwrap_or_else(|error| Answer::Failed(error.to_string())),
    };
    let _ = say(&mut conversation, &answer).await;
}

async fn carry(mut conversation: Conversation, mut stream: TcpStream) {
    if say(&mut conversation, &Answer::Done).await.is_ok() {
        let _ = copy_bidirectional(&mut conversation, &mut stream).await;
    }
}

async fn bring_out(listener: TcpListener, port: u16, opener: Opener) {
    // An error of accept(2) is one of the connection that was to be accepted.
    loop {
        let Ok::<(TcpStream, SocketAddr), _>((mut stream, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        let opener = opener.clone();
        tokio::spawn(async move {
            let Ok(mut conversation) = opener.open().await else { return };
            if say(&mut conversation, &Caller { port }).await.is_ok() {
                let _ = copy_bidirectional(&mut stream, &mut conversation).await;
            }
        });
    }
}
