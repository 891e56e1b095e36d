//! A queue of bytes that takes everything at once: in memory at first, beyond a cap in a file without a name.
//!
//! An exec session must read its socket all the time, or kubectl's pings wait behind data and it gives the session up
//! after a minute; a program that does not read its stdin must not stop that.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;
use tokio::sync::Notify;

/// Bytes kept in memory.
const IN_MEMORY: usize = 4 << 20;

/// Bytes read back from the file at once.
const CHUNK: u64 = 64 << 10;

#[derive(Default)]
struct State {
    memory: VecDeque<Bytes>,
    memory_len: usize,
    file: Option<File>,
    read: u64,
    written: u64,
    closed: bool,
}

/// See the module. One side pushes and closes, the other pops.
pub struct Spool {
    state: Mutex<State>,
    changed: Notify,
    in_memory: usize,
}

impl Default for Spool {
    fn default() -> Self {
        Self { state: Mutex::default(), changed: Notify::new(), in_memory: IN_MEMORY }
    }
}

impl Spool {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes bytes. After `close` they are dropped. An error (the disk is full) leaves the queue without them.
    pub fn push(&self, bytes: Bytes) -> io::Result<()> {
        let mut state = self.state();
        if state.closed || bytes.is_empty() {
            return Ok(());
        }
        let in_file = state.read < state.written;
        if !in_file && state.memory_len + bytes.len() <= self.in_memory {
            state.memory_len += bytes.len();
            state.memory.push_back(bytes);
        } else {
            let at = state.written;
            let file = match &state.file {
                Some(file) => file,
                None => state.file.insert(tempfile::tempfile()?),
            };
            file.write_all_at(&bytes, at)?;
            state.written += bytes.len() as u64;
        }
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Nothing follows what was pushed.
    pub fn close(&self) {
        self.state().closed = true;
        self.changed.notify_one();
    }

    /// The next bytes, waiting for them; `None` when closed and empty.
    pub async fn pop(&self) -> io::Result<Option<Bytes>> {
        loop {
            {
                let mut state = self.state();
                if let Some(bytes) = state.take()? {
                    return Ok(Some(bytes));
                }
                if state.closed {
                    return Ok(None);
                }
            }
            self.changed.notified().await;
        }
    }
}

impl State {
    fn take(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(bytes) = self.memory.pop_front() {
            self.memory_len -= bytes.len();
            return Ok(Some(bytes));
        }
        let Some(file) = self.file.as_ref().filter(|_| self.read < self.written) else { return Ok(None) };
        let mut bytes = vec![0; (self.written - self.read).min(CHUNK) as usize];
        file.read_exact_at(&mut bytes, self.read)?;
        self.read += bytes.len() as u64;
        if self.read == self.written {
            file.set_len(0)?;
            (self.read, self.written) = (0, 0);
        }
        Ok(Some(bytes.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn bytes_come_out_in_the_order_they_went_in(
            chunks in proptest::collection::vec((proptest::collection::vec(any::<u8>(), 0..9), any::<bool>()), 0..40),
        ) {
            let spool = Spool { in_memory: 16, ..Spool::default() };
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (mut pushed, mut popped) = (Vec::new(), Vec::new());
            for (chunk, pop) in chunks {
                pushed.extend_from_slice(&chunk);
                spool.push(chunk.into()).unwrap();
                if pop && popped.len() < pushed.len() {
                    popped.extend(runtime.block_on(spool.pop()).unwrap().unwrap());
                }
            }
            spool.close();
            while let Some(bytes) = runtime.block_on(spool.pop()).unwrap() {
                popped.extend(bytes);
            }
            prop_assert_eq!(pushed, popped);
        }
    }

    #[tokio::test]
    async fn a_reader_that_waits_is_woken_by_close() {
        let spool = Spool::default();
        let (popped, ()) = tokio::join!(spool.pop(), async { spool.close() });
        assert!(popped.unwrap().is_none());
    }
}
