//! The line to the terminal: types text, gives what comes back cut into output and marks.

use std::collections::VecDeque;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::sentinel::{Mark, Nonce, Piece, Scanner};
use super::{SessionError, Terminal};
use crate::runtime::{ByteReader, ByteWriter};

/// How long a terminal whose program has ended may take to hand over the rest of its output.
const REST_OF_OUTPUT: Duration = Duration::from_millis(500);
/// How long the exit status may take once the output has ended.
const EXIT_STATUS: Duration = Duration::from_secs(5);
/// How long the terminal may refuse a line. One is typed only when a program reads, so it takes it at once.
const TYPING: Duration = Duration::from_secs(30);

/// What comes from the terminal.
#[derive(Debug, PartialEq, Eq)]
pub enum Received {
    Output(Vec<u8>),
    Mark(Mark),
    /// Nothing until the moment asked for.
    Quiet,
    /// The shell has ended, with its status, or the connection was lost.
    Gone(Option<i32>),
}

pub struct Line {
    input: ByteWriter,
    output: ByteReader,
    exit: Option<BoxFuture<'static, Option<i32>>>,
    exited: Option<Option<i32>>,
    ended: bool,
    scanner: Scanner,
    received: VecDeque<Received>,
    buffer: Vec<u8>,
    /// The terminal still puts `\r` before `\n`; the flag tells whether one was held back.
    carriage_returns: Option<bool>,
}

impl Line {
    pub fn new(terminal: Terminal, nonce: &Nonce) -> Self {
        Self {
            input: terminal.input,
            output: terminal.output,
            exit: Some(terminal.exit),
            exited: None,
            ended: false,
            scanner: Scanner::new(nonce),
            received: VecDeque::new(),
            buffer: vec![0; 64 << 10],
            carriage_returns: None,
        }
    }

    /// Says whether `\r\n` of the program stands for `\n`.
    pub fn map_carriage_returns(&mut self, mapped: bool) {
        self.carriage_returns = mapped.then_some(false);
    }

    /// Types a line and presses enter.
    pub async fn type_line(&mut self, line: &str) -> Result<(), SessionError> {
        let mut typed = quoted(line);
        typed.push(b'\n');
        self.press(&typed).await
    }

    /// Types bytes as they are: control characters do what they do.
    pub async fn press(&mut self, keys: &[u8]) -> Result<(), SessionError> {
        let written = timeout(TYPING, async {
            self.input.write_all(keys).await?;
            self.input.flush().await
        });
        match written.await {
            Ok(Ok(())) => Ok(()),
            // That nobody is there any more is told by what is read.
            Ok(Err(error))
                if matches!(error.kind(), std::io::ErrorKind::BrokenPipe | std::io::ErrorKind::ConnectionReset) =>
            {
                Ok(())
            }
            Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => Ok(()),
            Ok(Err(source)) => Err(SessionError::Type { source }),
            Err(_elapsed) => Err(SessionError::Type { source: std::io::ErrorKind::TimedOut.into() }),
        }
    }

    /// The next thing that comes from the terminal before `until`.
    pub async fn receive(&mut self, until: Instant) -> Result<Received, SessionError> {
        loop {
            if let Some(received) = self.received.pop_front() {
                return Ok(received);
            }
            if self.ended {
                return Ok(Received::Gone(self.exit_status().await));
            }
            let until = match self.exited {
                Some(_) => Instant::now() + REST_OF_OUTPUT,
                None => until,
            };
            let exiting = async {
                match &mut self.exit {
                    Some(exit) => exit.await,
                    None => std::future::pending().await,
                }
            };
            let next = tokio::select! {
                biased;
                read = timeout_at(until, self.output.read(&mut self.buffer)) => Next::Read(read),
                exit = exiting => Next::Exited(exit),
            };
            match next {
                Next::Read(Ok(Ok(0))) => self.end(),
                Next::Read(Ok(Ok(length))) => self.scan(length),
                // A connection that broke off has ended too; what is missing is the status.
                Next::Read(Ok(Err(_broken))) => self.end(),
                Next::Read(Err(_elapsed)) if self.exited.is_some() => self.end(),
                Next::Read(Err(_elapsed)) => return Ok(Received::Quiet),
                Next::Exited(status) => {
                    self.exit = None;
                    self.exited = Some(status);
                }
            }
        }
    }

    /// Hangs up: drops both directions and gives the shell's status.
    pub async fn hang_up(mut self) -> Option<i32> {
        self.input = Box::new(tokio::io::sink());
        self.output = Box::new(tokio::io::empty());
        self.exit_status().await
    }

    async fn exit_status(&mut self) -> Option<i32> {
        if let Some(exit) = self.exit.take() {
            self.exited = Some(timeout(EXIT_STATUS, exit).await.ok().flatten());
        }
        self.exited.flatten()
    }

    fn end(&mut self) {
        self.ended = true;
        let rest = self.scanner.finish();
        if !rest.is_empty() {
            self.received.push_back(Received::Output(rest));
        }
    }

    fn scan(&mut self, length: usize) {
        let (received, carriage_returns) = (&mut self.received, &mut self.carriage_returns);
        self.scanner.feed(&self.buffer[..length], |piece| match piece {
            Piece::Text(bytes) => {
                let bytes = match carriage_returns {
                    Some(held) => without_carriage_returns(bytes, held),
                    None => bytes.to_vec(),
                };
                received.push_back(Received::Output(bytes));
            }
            Piece::Mark(mark) => received.push_back(Received::Mark(mark)),
        });
    }
}

enum Next {
    Read(Result<std::io::Result<usize>, tokio::time::error::Elapsed>),
    Exited(Option<i32>),
}

/// The text with ctrl-V before every control character, as a person would type one that is meant: the terminal and
/// readline alike then take it as text (a tab completes nothing).
fn quoted(line: &str) -> Vec<u8> {
    const LITERAL_NEXT: u8 = 0x16;
    let mut typed = Vec::with_capacity(line.len() + 1);
    for byte in line.bytes() {
        if byte.is_ascii_control() {
            typed.push(LITERAL_NEXT);
        }
        typed.push(byte);
    }
    typed
}

fn without_carriage_returns(bytes: &[u8], held: &mut bool) -> Vec<u8> {
    let mut mapped = Vec::with_capacity(bytes.len() + 1);
    for &byte in bytes {
        if std::mem::take(held) && byte != b'\n' {
            mapped.push(b'\r');
        }
        if byte == b'\r' {
            *held = true;
        } else {
            mapped.push(byte);
        }
    }
    mapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_typed_as_text() {
        assert_eq!(quoted("a\tb\x03é"), b"a\x16\tb\x16\x03\xc3\xa9");
    }

    #[test]
    fn line_ends_are_mapped_across_pieces_and_lone_returns_stay() {
        let mut held = false;
        let mut all = Vec::new();
        for piece in [b"a\r".as_slice(), b"\nb\rc\r", b"\r\n"] {
            all.extend(without_carriage_returns(piece, &mut held));
        }
        assert_eq!(all, b"a\nb\rc\r\n");
    }
}
