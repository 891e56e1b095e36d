//! A document, or a block of it, as reStructuredText sees it: indented with blanks, lines without their ends.

use std::ops::Range;

/// Columns between tab stops, as docutils has them.
const TAB: usize = 8;

/// Text with a way back to the bytes of the document that it came from.
#[derive(Debug)]
pub struct Text {
    text: String,
    /// At least one.
    lines: Vec<Line>,
}

#[derive(Debug, Clone, Copy)]
struct Line {
    /// Byte in the text at which it begins.
    start: usize,
    /// Leading blanks in the text; what stands for them in the document may be tabs.
    indent: usize,
    /// Byte in the document of what follows the blanks.
    at: usize,
}

impl Text {
    /// Tabs that indent become blanks, line ends `\n`; blanks at the end of a line go, as docutils has it. NUL becomes a
    /// blank: the parser takes it for the end of the text.
    pub fn of_document(document: &str) -> Self {
        let mut text = Self { text: String::with_capacity(document.len()), lines: Vec::new() };
        for span in line_spans(document) {
            let line = &document[span.clone()];
            let content = line.trim_start_matches([' ', '\t']);
            let blanks = &line[..line.len() - content.len()];
            let indent = blanks.bytes().fold(0, |at, byte| if byte == b'\t' { (at / TAB + 1) * TAB } else { at + 1 });
            text.push(indent, content.trim_end_matches([' ', '\t']), span.start + blanks.len());
        }
        text.text = text.text.replace('\0', " ");
        text
    }

    fn push(&mut self, indent: usize, content: &str, at: usize) {
        if !self.lines.is_empty() {
            self.text.push('\n');
        }
        let indent = if content.is_empty() { 0 } else { indent };
        self.lines.push(Line { start: self.text.len(), indent, at });
        self.text.extend(std::iter::repeat_n(' ', indent));
        self.text.push_str(content);
    }

    /// The rest of each line from a column on, as a text of its own.
    pub fn part(&self, rests: impl IntoIterator<Item = (usize, usize)>) -> Self {
        let mut part = Self { text: String::new(), lines: Vec::new() };
        for (number, column) in rests {
            let line = self.line(number);
            let rest = line.get(column..).unwrap_or("");
            let content = rest.trim_start_matches(' ');
            let indent = rest.len() - content.len();
            let at = self.in_document(self.lines[number].start + (column + indent).min(line.len()));
            part.push(indent, content, at);
        }
        if part.lines.is_empty() {
            part.push(0, "", 0);
        }
        part
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub fn line_count(&self) -> usize {
        self.lines.len()
    }

    /// Of a byte of the text: the line's number from 0, and how far into it, in bytes.
    pub fn place(&self, offset: usize) -> (usize, usize) {
        let number = self.lines.partition_point(|line| line.start <= offset).saturating_sub(1);
        (number, offset - self.lines[number].start)
    }

    /// Without its end.
    pub fn line(&self, number: usize) -> &str {
        let start = self.lines[number].start;
        let end = self.lines.get(number + 1).map_or(self.text.len(), |next| next.start - 1);
        &self.text[start..end]
    }

    /// Leading blanks; `None` for a line with nothing else.
    pub fn indent(&self, number: usize) -> Option<usize> {
        (!self.line(number).is_empty()).then_some(self.lines[number].indent)
    }

    /// The byte of the document that a byte of the text stands for.
    pub fn in_document(&self, offset: usize) -> usize {
        let (number, column) = self.place(offset);
        let Line { indent, at, .. } = self.lines[number];
        at + column.saturating_sub(indent)
    }

    /// What lies between two bytes of the text, in the document.
    pub fn span_in_document(&self, span: Range<usize>) -> Range<usize> {
        let start = self.in_document(span.start);
        start..self.in_document(span.end).max(start)
    }
}

/// Lines end in `\n`, `\r\n` or `\r`.
fn line_spans(document: &str) -> Vec<Range<usize>> {
    let mut spans = Vec::new();
    let mut start = 0;
    let bytes = document.as_bytes();
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' if at > 0 && bytes[at - 1] == b'\r' => start = at + 1,
            b'\n' | b'\r' => {
                spans.push(start..at);
                start = at + 1;
            }
            _ => {}
        }
    }
    spans.push(start..document.len());
    spans
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tabs_and_line_ends_are_evened_out_and_every_byte_is_found_again() {
        let document = "a\r\n\tb  \r\n \t c\rd";
        let text = Text::of_document(document);
        assert_eq!(text.as_str(), "a\n        b\n         c\nd");
        for (offset, byte) in text.as_str().bytes().enumerate().filter(|(_, byte)| !byte.is_ascii_whitespace()) {
            assert_eq!(document.as_bytes()[text.in_document(offset)], byte);
        }
    }

    #[test]
    fn a_part_of_a_part_still_knows_the_document() {
        let document = "x\n\t\tkey\n\t\t  in\n";
        let inner = Text::of_document(document).part([(1, 10), (2, 10)]);
        assert_eq!(inner.as_str(), "      key\n        in");
        let innermost = inner.part([(0, 6), (1, 6)]);
        assert_eq!(innermost.as_str(), "key\n  in");
        assert_eq!(&document[innermost.in_document(0)..][..3], "key");
        assert_eq!(&document[innermost.in_document(6)..][..2], "in");
    }
}
