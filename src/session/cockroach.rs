//! What is typed to `cockroach sql`: how it is brought under control, and how it says that a statement failed.
//!
//! It has no variable that tells how the last statement went, and the prompt of a statement's further lines cannot be
//! chosen: it is made of as many blanks as the first one is long, and an arrow.

use super::sentinel::{LevelId, Nonce};
use super::shell;

/// What its prompts hold at least, more blanks than any output puts in front of an arrow at its end.
const BLANKS: usize = 40;
const ARROW: &[u8] = b"-> ";

/// Whether it gets its statements from the terminal: `cockroach sql` without `-e`, `-f` and the like.
pub fn is_interactive(arguments: &[String]) -> bool {
    const ENDING: [&str; 6] = ["--execute", "-e", "--file", "-f", "--help", "-h"];
    let ends = |word: &String| {
        let name = word.split('=').next().unwrap_or(word);
        ENDING.contains(&name)
            || !word.starts_with("--") && word.len() > 2 && ["-e", "-f"].iter().any(|short| word.starts_with(short))
    };
    arguments.first().is_some_and(|verb| verb == "sql") && !arguments.iter().any(ends)
}

/// Makes it print an answer with this number, by its own shell: the server sees nothing of it.
pub fn probe(nonce: &Nonce, number: u32) -> String {
    format!("\\! {}", shell::probe(nonce, number))
}

/// Turns one that answered a probe into level `level`: its prompt is a mark, and `%>` in it the server's port, which
/// proves that it was expanded.
pub fn preparation(nonce: &Nonce, level: LevelId) -> String {
    format!("\\set prompt1 @{}P:{level}:%>@", nonce.opening_tail())
}

/// Output in which the prompt for the rest of a statement is looked for. It is no output: it stands where the next line of
/// it would begin.
#[derive(Debug, Default)]
pub struct Output {
    /// What has printed since the statement was typed; its prompt has a blank behind it.
    begun: bool,
    /// An end of it that may become the prompt.
    held: Vec<u8>,
}

impl Output {
    /// Takes what was printed, gives what is certain to be output, and whether the prompt was seen.
    pub fn take(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let blank = usize::from(!self.begun && bytes.starts_with(b" "));
        self.begun |= !bytes.is_empty();
        let mut output = std::mem::take(&mut self.held);
        output.extend_from_slice(&bytes[blank..]);
        let arrow = (0..=ARROW.len()).rev().find(|&length| output.ends_with(&ARROW[..length])).unwrap_or(0);
        let before = output[..output.len() - arrow].iter().rev().take_while(|&&byte| byte == b' ').count();
        if arrow == ARROW.len() && before >= BLANKS {
            output.truncate(output.len() - arrow - before);
            return (output, true);
        }
        self.held = output.split_off(output.len() - arrow - before);
        (output, false)
    }

    /// What was held back after all: something else than output came.
    pub fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        shell_words::split(line).expect("words")
    }

    #[test]
    fn statements_come_from_the_terminal_unless_they_come_from_elsewhere() {
        for line in
            ["sql", "sql --certs-dir=/cockroach-certs --host=estafette-ci-db-public", "sql --insecure -u root -d shop"]
        {
            assert!(is_interactive(&words(line)), "{line}");
        }
        for line in [
            "",
            "start",
            "version",
            "sql -e 'select 1'",
            "sql --execute='select 1'",
            "sql -f x.sql",
            "sql --file x",
            "sql -e'x'",
        ] {
            assert!(!is_interactive(&words(line)), "{line}");
        }
    }

    /// All output of these pieces, and whether the prompt was seen behind the last.
    fn taken(pieces: &[&str]) -> (String, bool) {
        let (mut output, mut all, mut more) = (Output::default(), Vec::new(), false);
        for piece in pieces {
            let (certain, seen) = output.take(piece.as_bytes());
            all.extend(certain);
            more = seen;
        }
        all.extend(output.rest());
        (String::from_utf8(all).expect("text"), more)
    }

    #[test]
    fn only_the_prompt_of_a_further_line_wants_more_and_it_is_no_output() {
        let blanks = " ".repeat(BLANKS + 20);
        assert_eq!(taken(&[&format!(" {blanks}-> ")]), (String::new(), true));
        assert_eq!(taken(&[" x\n", &blanks, "-", "> "]), ("x\n".to_owned(), true));
        for other in ["a -> ", "a", "-> x\n", &format!("x{blanks}->"), &format!("x{blanks}-> FROM 'x'")] {
            assert_eq!(taken(&[other]), (other.to_owned(), false));
        }
    }

    #[test]
    fn what_is_typed_is_no_mark_when_it_is_echoed() {
        let nonce = Nonce::random();
        let mut marks = 0;
        let mut scanner = super::super::sentinel::Scanner::new(&nonce);
        for typed in [probe(&nonce, 1), preparation(&nonce, 2)] {
            scanner.feed(format!("{typed}\n").as_bytes(), |piece| {
                marks += usize::from(matches!(piece, super::super::sentinel::Piece::Mark(_)));
            });
        }
        assert_eq!(marks, 0);
    }
}
