//! What is typed to `cockroach sql`: how it is brought under control, and how it says that a statement failed.
//!
//! It has no variable that tells how the last statement went, and the prompt of a statement's further lines cannot be
//! chosen: it is made of as many blanks as the first one is long, and an arrow.

use super::sentinel::{LevelId, Nonce};
use super::shell;

/// What its prompts hold at least, more blanks than any output puts in front of an arrow at its end.
const BLANKS: usize = 40;
const ARROW: &str = "-> ";
/// What of the output has to be kept to tell a prompt of a further line.
pub const PROMPT_LENGTH: usize = BLANKS + ARROW.len();

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

/// Whether the output ends with its prompt for the rest of a statement.
pub fn wants_more(output: &[u8]) -> bool {
    output.strip_suffix(ARROW.as_bytes()).is_some_and(|before| {
        before.len() >= BLANKS && before[before.len() - BLANKS..].iter().all(|&byte| byte == b' ')
    })
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

    #[test]
    fn only_the_prompt_of_a_further_line_wants_more() {
        let prompt = format!("{}-> ", " ".repeat(BLANKS + 20));
        assert!(wants_more(prompt.as_bytes()) && wants_more(format!("x\n{prompt}").as_bytes()));
        for other in ["-> ", "    -> ", "", "shop=> ", &format!("{}->", " ".repeat(60)), &format!("{prompt}FROM 'x'")] {
            assert!(!wants_more(other.as_bytes()), "{other}");
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
