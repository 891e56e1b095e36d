//! What an engine says of long work, heard to its end.

use std::time::Duration;

use futures::{Stream, StreamExt as _};
use testcontainers::bollard::errors::Error;

use crate::error::chain;

/// An engine that has said nothing for so long will not say anything any more.
const SILENCE: Duration = Duration::from_secs(300);
/// Times that the same is asked for.
const ASKED: usize = 3;

/// Whether an engine's words broke off within a line, as far as bollard can tell: it takes a line's end (CR LF) that arrives apart
/// from its line for the beginning of another one (its issue 560, mended after 0.21.1). What became of the work is then the
/// engine's to say.
pub fn is_cut(error: &Error) -> bool {
    matches!(error, Error::IOError { err } if err.to_string() == "bytes remaining on stream")
}

/// Asks for work that an engine does not do twice, such as a pull or a push, again if its words broke off. Errs with the first thing
/// that `hear` or the engine calls wrong.
pub async fn heard<T, S: Stream<Item = Result<T, Error>>>(
    mut ask: impl FnMut() -> S,
    mut hear: impl FnMut(T) -> Result<(), String>,
) -> Result<(), String> {
    for _ in 0..ASKED {
        if is_heard_to_its_end(ask(), &mut hear).await? {
            return Ok(());
        }
        tracing::debug!("the engine's words broke off: it is asked again");
    }
    Err(format!("the engine's words broke off, {ASKED} times"))
}

async fn is_heard_to_its_end<T>(
    words: impl Stream<Item = Result<T, Error>>,
    hear: &mut impl FnMut(T) -> Result<(), String>,
) -> Result<bool, String> {
    let mut words = std::pin::pin!(words);
    loop {
        let word = tokio::time::timeout(SILENCE, words.next()).await;
        match word.map_err(|_| format!("no word from the engine for {} s", SILENCE.as_secs()))? {
            None => return Ok(true),
            Some(Ok(word)) => hear(word)?,
            Some(Err(error)) if is_cut(&error) => return Ok(false),
            Some(Err(error)) => return Err(chain(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use testcontainers::bollard::query_parameters::CreateImageOptions;
    use testcontainers::bollard::{API_DEFAULT_VERSION, Docker};
    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    const LINE: &str = r#"{"status":"done"}"#;

    /// An engine that answers each request with the next of these, each part of an answer a chunk of its own.
    async fn engine(answers: Vec<Vec<&'static str>>) -> Docker {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for answer in answers {
                let (mut connection, _) = listener.accept().await.unwrap();
                let mut request = BufReader::new(&mut connection).lines();
                while request.next_line().await.unwrap().is_some_and(|line| !line.is_empty()) {}
                let chunks = answer.iter().map(|part| format!("{:x}\r\n{part}\r\n", part.len())).collect::<String>();
                let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
                connection.write_all(format!("{head}{chunks}0\r\n\r\n").as_bytes()).await.unwrap();
            }
        });
        Docker::connect_with_http(&address, 10, API_DEFAULT_VERSION).unwrap()
    }

    async fn statuses(docker: &Docker) -> (Result<(), String>, Vec<String>) {
        let mut statuses = Vec::new();
        let ask = || docker.create_image(None::<CreateImageOptions>, None, None);
        let result = heard(ask, |word| {
            statuses.extend(word.status);
            Ok(())
        });
        (result.await, statuses)
    }

    #[tokio::test]
    async fn an_engine_is_asked_again_if_a_lines_end_came_apart_from_it() {
        let docker = engine(vec![vec![LINE, "\r\n"], vec![LINE, "\n"]]).await;
        assert_eq!(statuses(&docker).await, (Ok(()), vec!["done".to_owned(); 2]));
    }

    #[tokio::test]
    async fn words_that_break_off_each_time_are_no_end() {
        let docker = engine(vec![vec![LINE, "\n{\"status\""]; ASKED]).await;
        let (result, statuses) = statuses(&docker).await;
        assert_eq!(result.unwrap_err(), "the engine's words broke off, 3 times");
        assert_eq!(statuses.len(), ASKED);
    }
}
