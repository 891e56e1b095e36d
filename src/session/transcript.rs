//! What a step printed: all of it, redacted, to a sink; the end of it in memory.

use std::io;
use std::sync::Arc;

use memchr::{memchr, memmem, memrchr};

use super::step::StepText;

/// Takes secrets out of a block of whole lines.
pub type Redact = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// Where the whole output of every step goes, already redacted.
pub trait OutputSink: Send {
    /// A step begins.
    fn started(&mut self, step: &StepText) -> io::Result<()>;
    fn output(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// The step has ended: everything of it was written.
    fn finished(&mut self) -> io::Result<()>;
}

/// Appends the output of all steps to one writer.
pub struct Append<W>(pub W);

impl<W: io::Write + Send> OutputSink for Append<W> {
    fn started(&mut self, _: &StepText) -> io::Result<()> {
        Ok(())
    }

    fn output(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn finished(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A line longer than this is redacted in parts, cut at a blank where there is one.
const LONGEST_LINE: usize = 256 << 10;
/// What of a statement's output is looked at to tell whether a psql backslash command failed.
const HEAD: usize = 4 << 10;
const MOST_ERRORS: usize = 5;

/// The output of the step that runs.
pub struct Transcript {
    redact: Redact,
    sink: Box<dyn OutputSink>,
    /// The unfinished last line.
    line: Vec<u8>,
    raw: Tail,
    redacted: Tail,
    printed: u64,
    statement: StatementOutput,
    /// What a reader sees in the last line.
    shown: Tail,
}

/// What of a single statement's output is looked at.
#[derive(Debug, Default, Clone)]
pub struct StatementOutput {
    pub head: Vec<u8>,
    /// The first lines that PostgreSQL programs mark as errors.
    pub errors: Vec<String>,
    /// A line as `cockroach sql` begins an error with; what it says for a command of its own that it does not know.
    pub cockroach_failed: bool,
    /// Of the last error, as `cockroach sql` tells it.
    pub sqlstate: Option<String>,
    /// The last line that is not empty, redacted.
    pub last_line: String,
}

impl Transcript {
    pub fn new(redact: Redact, sink: Box<dyn OutputSink>, tail: usize) -> Self {
        Self {
            redact,
            sink,
            line: Vec::new(),
            raw: Tail::new(tail),
            redacted: Tail::new(tail),
            printed: 0,
            statement: StatementOutput::default(),
            shown: Tail::new(400),
        }
    }

    pub fn start(&mut self, step: &StepText) -> io::Result<()> {
        // What came before a step (the first prompt of the shell, a job in the background) belongs to none.
        self.line.clear();
        self.statement = StatementOutput::default();
        for tail in [&mut self.raw, &mut self.redacted, &mut self.shown] {
            tail.take();
        }
        self.printed = 0;
        self.sink.started(step)
    }

    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.printed += bytes.len() as u64;
        self.raw.push(bytes);
        self.shown.push(bytes);
        let room = HEAD.saturating_sub(self.statement.head.len());
        self.statement.head.extend_from_slice(&bytes[..room.min(bytes.len())]);
        match memrchr(b'\n', bytes) {
            Some(end) => {
                let mut lines = std::mem::take(&mut self.line);
                lines.extend_from_slice(&bytes[..=end]);
                self.line.extend_from_slice(&bytes[end + 1..]);
                self.write(&lines)
            }
            None => {
                self.line.extend_from_slice(bytes);
                self.cut_long_line()
            }
        }
    }

    /// Ends the statement that ran.
    pub fn take_statement(&mut self) -> io::Result<StatementOutput> {
        self.flush()?;
        self.shown.take();
        Ok(std::mem::take(&mut self.statement))
    }

    /// Ends the step: the tail as redacted, as printed, and how much there was.
    pub fn finish(&mut self) -> io::Result<(Vec<u8>, Vec<u8>, u64)> {
        self.flush()?;
        self.sink.finished()?;
        Ok((self.redacted.take(), self.raw.take(), self.printed))
    }

    /// The line that the cursor stands in, as a terminal shows it; empty after a line end.
    pub fn cursor_line(&self) -> String {
        let bytes = self.shown.last();
        let start = memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        plain_text(&bytes[start..])
    }

    /// A text as it may be shown.
    pub fn redacted(&self, text: &str) -> String {
        String::from_utf8_lossy(&(self.redact)(text.as_bytes())).into_owned()
    }

    /// The last lines printed, redacted.
    pub fn last_output(&self) -> String {
        plain_text(&(self.redact)(self.shown.last()))
    }

    fn flush(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        self.write(&line)
    }

    fn cut_long_line(&mut self) -> io::Result<()> {
        if self.line.len() < LONGEST_LINE {
            return Ok(());
        }
        let cut = memrchr(b' ', &self.line).map_or(self.line.len(), |at| at + 1);
        let rest = self.line.split_off(cut);
        let line = std::mem::replace(&mut self.line, rest);
        self.write(&line)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let redacted = (self.redact)(bytes);
        self.note_errors(&redacted);
        self.note_cockroach_errors(&redacted);
        self.note_last_line(&redacted);
        self.redacted.push(&redacted);
        self.sink.output(&redacted)
    }

    fn note_last_line(&mut self, lines: &[u8]) {
        let line = lines.rsplit(|&byte| byte == b'\n').map(<[u8]>::trim_ascii).find(|line| !line.is_empty());
        if let Some(line) = line {
            self.statement.last_line = plain_text(line).trim().to_owned();
        }
    }

    fn note_cockroach_errors(&mut self, lines: &[u8]) {
        for line in lines.split(|&byte| byte == b'\n') {
            self.statement.cockroach_failed |= line.starts_with(b"ERROR: ") || line.starts_with(b"invalid syntax: ");
            if let Some(state) = line.strip_prefix(b"SQLSTATE: ") {
                self.statement.sqlstate = Some(plain_text(state).trim().to_owned());
            }
        }
    }

    fn note_errors(&mut self, lines: &[u8]) {
        for marker in [b"ERROR:  ".as_slice(), b"FATAL:  "] {
            for at in memmem::find_iter(lines, marker) {
                if self.statement.errors.len() == MOST_ERRORS {
                    return;
                }
                let start = memrchr(b'\n', &lines[..at]).map_or(0, |at| at + 1);
                // psql puts nothing or `psql:file:line: ` before it, other programs `name: error: `.
                let before = &lines[start..at];
                if before.is_empty() || before.starts_with(b"psql:") {
                    let end = memchr(b'\n', &lines[at..]).map_or(lines.len(), |end| at + end);
                    self.statement.errors.push(plain_text(&lines[start..end]));
                }
            }
        }
    }
}

/// The last bytes of a stream.
struct Tail {
    /// Up to twice as many as asked for, so that the front is cut off seldom.
    bytes: Vec<u8>,
    most: usize,
}

impl Tail {
    fn new(most: usize) -> Self {
        Self { bytes: Vec::new(), most }
    }

    fn push(&mut self, bytes: &[u8]) {
        let bytes = &bytes[bytes.len().saturating_sub(self.most)..];
        self.bytes.extend_from_slice(bytes);
        if self.bytes.len() >= 2 * self.most {
            self.bytes.drain(..self.bytes.len() - self.most);
        }
    }

    fn last(&self) -> &[u8] {
        &self.bytes[self.bytes.len().saturating_sub(self.most)..]
    }

    fn take(&mut self) -> Vec<u8> {
        let last = self.last().to_vec();
        self.bytes.clear();
        last
    }
}

/// Text without the control sequences that programs send to a terminal.
pub fn plain_text(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' && chars.next_if_eq(&'[').is_some() {
            // A control sequence ends with a letter or one of `@[\]^_{|}~`.
            for c in chars.by_ref() {
                if ('@'..='~').contains(&c) {
                    break;
                }
            }
        } else if !c.is_control() || c == '\n' || c == '\t' {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn hiding_hunter2(tail: usize) -> (Transcript, Shared) {
        let sink = Shared::default();
        let redact: Redact = Arc::new(|bytes| String::from_utf8_lossy(bytes).replace("hunter2", "***").into_bytes());
        (Transcript::new(redact, Box::new(Append(sink.clone())), tail), sink)
    }

    #[test]
    fn a_secret_cut_by_the_stream_is_still_taken_out() {
        let (mut transcript, sink) = hiding_hunter2(100);
        for piece in ["password hun", "ter", "2\nnext hunt", "er2"] {
            transcript.push(piece.as_bytes()).unwrap();
        }
        let (redacted, raw, printed) = transcript.finish().unwrap();
        assert_eq!(redacted, b"password ***\nnext ***");
        assert_eq!(raw, b"password hunter2\nnext hunter2");
        assert_eq!(printed, 29);
        assert_eq!(*sink.0.lock().unwrap(), b"password ***\nnext ***");
    }

    #[test]
    fn a_line_without_end_is_handed_on_in_parts_cut_at_blanks() {
        let (mut transcript, sink) = hiding_hunter2(10);
        for _ in 0..200_000 {
            transcript.push(b"hunter2 ").unwrap();
            assert!(transcript.line.len() < LONGEST_LINE);
        }
        transcript.finish().unwrap();
        assert_eq!(*sink.0.lock().unwrap(), b"*** ".repeat(200_000));
    }

    #[test]
    fn the_tail_keeps_the_end_only() {
        let (mut transcript, _) = hiding_hunter2(4);
        transcript.push(b"abc").unwrap();
        transcript.push(b"def\n").unwrap();
        assert_eq!(transcript.finish().unwrap().1, b"def\n");
    }

    #[test]
    fn errors_are_only_what_psql_marks_as_such() {
        let (mut transcript, _) = hiding_hunter2(100);
        let lines = "ERROR:  a\npsql:f.sql:3: ERROR:  b\nlog says ERROR:  c\nERROR: d\nFATAL:  e";
        transcript.push(lines.as_bytes()).unwrap();
        let errors = transcript.take_statement().unwrap().errors;
        assert_eq!(errors, ["ERROR:  a", "psql:f.sql:3: ERROR:  b", "FATAL:  e"]);
    }

    #[test]
    fn control_sequences_are_not_shown() {
        assert_eq!(plain_text(b"\x1b[?2004hbash-5.2# \x1b[6n"), "bash-5.2# ");
        assert_eq!(plain_text(b"\xffa\x07b\r\n"), "\u{fffd}ab\n");
    }
}
