//! Logs of containers: one file per run of a container, only for the eyes of whoever runs redrill.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::sync::watch;
use tokio_util::io::StreamReader;

use super::{ByteReader, ContainerId, LogOptions, PodId, RuntimeError, failed, name, not_found};

const CHUNK: usize = 64 << 10;

/// The logs of all containers, until their pods are removed.
pub(super) struct Logs {
    directory: PathBuf,
    of: Mutex<BTreeMap<ContainerId, Vec<Arc<Log>>>>,
    next: std::sync::atomic::AtomicU64,
}

/// The log of one run of a container.
pub(super) struct Log {
    file: Arc<File>,
    progress: watch::Sender<Progress>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Progress {
    length: u64,
    /// Nothing will be added.
    complete: bool,
}

impl Logs {
    pub fn new(directory: PathBuf) -> Self {
        Self { directory, of: Mutex::default(), next: std::sync::atomic::AtomicU64::new(1) }
    }

    fn of(&self) -> MutexGuard<'_, BTreeMap<ContainerId, Vec<Arc<Log>>>> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins the log of a container's next run. The one before the last is forgotten; its file stays.
    pub fn begin(&self, id: &ContainerId) -> Result<Arc<Log>, RuntimeError> {
        let number = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = self.directory.join(format!("{number:04}-{}.log", id.container));
        let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path);
        let file = file.map_err(|error| failed(format!("make the log {}", path.display()), error))?;
        let log = Arc::new(Log { file: Arc::new(file), progress: watch::Sender::default() });
        let mut of = self.of();
        let runs = of.entry(id.clone()).or_default();
        runs.push(Arc::clone(&log));
        if runs.len() > 2 {
            runs.remove(0);
        }
        Ok(log)
    }

    pub fn remove_pod(&self, pod: &PodId) {
        self.of().retain(|id, _| id.pod != *pod);
    }

    /// Reads a log. Of a container that has `ended`, all that it wrote is there.
    pub async fn read(&self, id: &ContainerId, options: LogOptions, ended: bool) -> Result<ByteReader, RuntimeError> {
        let runs = self.of().get(id).cloned().ok_or_else(|| not_found("container", name(id)))?;
        let log = if options.previous { runs.len().checked_sub(2).map(|index| &runs[index]) } else { runs.last() };
        let log = log.ok_or_else(|| not_found("previous container", name(id)))?;
        let mut progress = log.progress.subscribe();
        if ended {
            // The writer is this process, and its other end is closed: a matter of moments.
            let _ = progress.wait_for(|progress| progress.complete).await;
        }
        let length = progress.borrow().length;
        let start = match options.tail {
            None => 0,
            Some(lines) => tail_start(&log.file, length, lines).map_err(|error| failed("read a log", error))?,
        };
        let end = if options.follow { None } else { Some(length) };
        Ok(reader(Arc::clone(&log.file), progress, start, end))
    }
}

impl Log {
    /// Copies a container's output to the file until its end.
    pub fn record(self: &Arc<Self>, mut output: impl AsyncRead + Send + Unpin + 'static) {
        let log = Arc::clone(self);
        tokio::spawn(async move {
            let mut buffer = vec![0; CHUNK];
            while let Ok(count @ 1..) = output.read(&mut buffer).await {
                if io::Write::write_all(&mut &*log.file, &buffer[..count]).is_err() {
                    // A full disk must not block the container; what is lost is the rest of its log.
                    tracing::warn!("a container's log could not be written");
                    continue;
                }
                log.progress.send_modify(|progress| progress.length += count as u64);
            }
            log.progress.send_modify(|progress| progress.complete = true);
        });
    }

    /// Completes when all that is recorded is in the file.
    #[cfg(feature = "docker")]
    pub async fn completed(&self) {
        // The sender lives in `self`.
        let _ = self.progress.subscribe().wait_for(|progress| progress.complete).await;
    }
}

/// Where the last `lines` lines begin.
fn tail_start(file: &File, length: u64, lines: usize) -> io::Result<u64> {
    let (mut end, mut newlines) = (length, 0);
    let mut buffer = vec![0; CHUNK];
    while end > 0 {
        let start = end.saturating_sub(CHUNK as u64);
        let chunk = &mut buffer[..(end - start) as usize];
        file.read_exact_at(chunk, start)?;
        for (offset, _) in chunk.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + offset as u64 + 1;
            // The newline at the very end closes the last line and begins none.
            newlines += usize::from(after != length);
            if newlines == lines || lines == 0 {
                return Ok(if lines == 0 { length } else { after });
            }
        }
        end = start;
    }
    Ok(if lines == 0 { length } else { 0 })
}

/// Reads from `position` to `end`, or for ever if that is not given: until the log is complete.
fn reader(file: Arc<File>, progress: watch::Receiver<Progress>, position: u64, end: Option<u64>) -> ByteReader {
    let chunks =
        futures::stream::try_unfold((file, progress, position), move |(file, mut progress, position)| async move {
            let now = match end {
                Some(length) => Progress { length, complete: true },
                None => match progress.wait_for(|progress| progress.length > position || progress.complete).await {
                    Ok(now) => *now,
                    Err(_) => return Ok(None),
                },
            };
            let count = CHUNK.min(usize::try_from(now.length - position).unwrap_or(CHUNK));
            if count == 0 {
                return Ok(None);
            }
            let mut chunk = vec![0; count];
            file.read_exact_at(&mut chunk, position)?;
            Ok::<_, io::Error>(Some((Bytes::from(chunk), (file, progress, position + count as u64))))
        });
    Box::new(StreamReader::new(Box::pin(chunks)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tail(text: &str, lines: usize) -> String {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let start = tail_start(&file, text.len() as u64, lines).unwrap();
        text[start as usize..].to_owned()
    }

    #[test]
    fn tail_counts_lines_from_the_end_whether_or_not_the_last_is_closed() {
        assert_eq!(tail("a\nb\nc\n", 2), "b\nc\n");
        assert_eq!(tail("a\nb\nc", 2), "b\nc");
        assert_eq!(tail("a\nb\n", 5), "a\nb\n");
        assert_eq!(tail("a\nb\n", 0), "");
        assert_eq!(tail("", 3), "");
    }
}
