//! What is typed to psql: how a step's text is cut into statements, and how psql is brought under control.

use super::sentinel::{LevelId, Nonce};

/// Makes psql print an answer with this number.
pub fn probe(nonce: &Nonce, number: u32) -> String {
    // \x40 is `@`: the typed text, echoed, is no mark.
    format!("\\echo '\\x40{}A:{number}:0@'", nonce.opening_tail())
}

/// What comes before the terminal's modes may have changed: typed and answered first.
pub const QUIET_TERMINAL: &str = "\\! stty -echo -onlcr 2>/dev/null";

/// Turns a psql that answered a probe into level `level`: its prompts are marks and tell how the last statement went.
/// Lines to be typed one after the other; the last one brings the first mark.
pub fn preparation(nonce: &Nonce, level: LevelId) -> [String; 4] {
    let tail = nonce.opening_tail();
    let prompt = |name: &str, body: &str| format!("\\set {name} '\\x40{tail}{body}@'");
    [
        "\\pset pager off".to_owned(),
        prompt("PROMPT2", &format!("q:{level}:%l")),
        prompt("PROMPT3", &format!("c:{level}:%l")),
        prompt("PROMPT1", &format!("Q:{level}:%:ERROR::%:SQLSTATE:")),
    ]
}

/// Where the scanner of a statement stands between two pieces that are typed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SqlState {
    inside: Inside,
    /// Open parentheses: a `;` inside them ends nothing.
    parentheses: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Statement,
    /// `'...'`; with backslash escapes where it began as `E'`.
    Literal { escapes: bool },
    /// `"..."`
    Identifier,
    /// `$tag$...$tag$`, with both dollars.
    Dollar(String),
    /// `/* */`, nested.
    Comment(u32),
}

impl SqlState {
    /// How much of `line` to type at once: up to and with the `;` that ends a statement, if more than a blank or comment
    /// follows, else all of it. A backslash command takes the rest of its line.
    ///
    /// This only cuts; whether a statement is complete is told by psql's prompt. A cut between two
    /// tokens of one statement would do no harm.
    pub fn take_piece(&mut self, line: &str) -> usize {
        let mut at = 0;
        while at < line.len() {
            let rest = &line[at..];
            match &mut self.inside {
                Inside::Statement => match self.token(line, at) {
                    Token::Ends if !is_blank(&rest[1..]) => return at + 1,
                    Token::Ends => at += 1,
                    Token::RestOfLine => return line.len(),
                    Token::Of(length) => at += length,
                },
                Inside::Literal { escapes: true } if rest.starts_with('\\') => {
                    at += 1 + rest[1..].chars().next().map_or(0, char::len_utf8);
                }
                Inside::Literal { .. } => at += self.leave_at(rest, "'"),
                Inside::Identifier => at += self.leave_at(rest, "\""),
                Inside::Dollar(tag) => {
                    let tag = tag.clone();
                    at += self.leave_at(rest, &tag);
                }
                Inside::Comment(depth) => {
                    if rest.starts_with("/*") {
                        *depth += 1;
                        at += 2;
                    } else if rest.starts_with("*/") {
                        *depth -= 1;
                        at += 2;
                        if *depth == 0 {
                            self.inside = Inside::Statement;
                        }
                    } else {
                        at += first_length(rest);
                    }
                }
            }
        }
        line.len()
    }

    fn token(&mut self, line: &str, at: usize) -> Token {
        let rest = &line[at..];
        match rest.as_bytes()[0] {
            b';' if self.parentheses == 0 => Token::Ends,
            b'\\' => Token::RestOfLine,
            b'-' if rest.starts_with("--") => Token::RestOfLine,
            b'/' if rest.starts_with("/*") => self.enter(Inside::Comment(1), 2),
            b'\'' => {
                let before = &line.as_bytes()[..at];
                let escapes =
                    matches!(before.last(), Some(b'e' | b'E')) && !ends_in_word(&line[..at.saturating_sub(1)]);
                self.enter(Inside::Literal { escapes }, 1)
            }
            b'"' => self.enter(Inside::Identifier, 1),
            b'$' if !ends_in_word(&line[..at]) => match dollar_tag(rest) {
                Some(tag) => {
                    let length = tag.len();
                    self.enter(Inside::Dollar(tag), length)
                }
                None => Token::Of(1),
            },
            b'(' => {
                self.parentheses += 1;
                Token::Of(1)
            }
            b')' => {
                self.parentheses = self.parentheses.saturating_sub(1);
                Token::Of(1)
            }
            _ => Token::Of(first_length(rest)),
        }
    }

    fn enter(&mut self, inside: Inside, length: usize) -> Token {
        self.inside = inside;
        Token::Of(length)
    }

    fn leave_at(&mut self, rest: &str, end: &str) -> usize {
        if rest.starts_with(end) {
            self.inside = Inside::Statement;
            end.len()
        } else {
            first_length(rest)
        }
    }
}

enum Token {
    Of(usize),
    Ends,
    RestOfLine,
}

fn first_length(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

fn ends_in_word(text: &str) -> bool {
    text.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '$')
}

fn dollar_tag(text: &str) -> Option<String> {
    let end = text[1..].find('$')? + 1;
    let name = &text[1..end];
    let valid =
        !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    valid.then(|| text[..=end].to_owned())
}

/// Whether a line does nothing at the start of a statement.
pub fn is_blank(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with("--")
}

/// Whether a line, typed where a statement begins, ends psql.
pub fn leaves(line: &str) -> bool {
    matches!(line.trim().trim_end_matches(';').trim_end(), "exit" | "quit" | "\\q")
}

/// Whether a statement is a backslash command: psql before 16 has no status for those, so that what they print is
/// what there is to go by.
pub fn is_backslash_command(statement: &str) -> bool {
    statement.trim_start().starts_with('\\')
}

/// Whether a backslash command sends something to the server, so that `:ERROR` tells how that went.
pub fn sends_a_statement(command: &str) -> bool {
    const SENDING: [&str; 8] = ["g", "gx", "gset", "gexec", "gdesc", "crosstabview", "watch", "copy"];
    let name = command.trim_start().trim_start_matches('\\');
    let end = name.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(name.len());
    SENDING.contains(&&name[..end])
}

/// Whether a backslash command complained.
pub fn backslash_command_failed(printed: &str) -> bool {
    printed.lines().any(|line| {
        let line = line.trim_end();
        line.starts_with("invalid command \\")
            || line.starts_with('\\') && line.contains(": ")
            || line.starts_with("connection to server ")
            || line == "Previous connection kept"
            || line.ends_with(": No such file or directory")
            || line.ends_with(": Permission denied")
            || line.starts_with("Did not find any ")
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pieces(text: &str) -> Vec<String> {
        let mut state = SqlState::default();
        let mut pieces = Vec::new();
        for mut line in text.lines() {
            loop {
                let length = state.take_piece(line);
                pieces.push(line[..length].to_owned());
                line = &line[length..];
                if line.is_empty() {
                    break;
                }
            }
        }
        pieces
    }

    #[test]
    fn statements_on_one_line_are_typed_one_by_one() {
        assert_eq!(pieces("select 1; select 2;  -- both"), ["select 1;", " select 2;  -- both"]);
        assert_eq!(pieces("DROP ROLE db_ro_user;\nexit;"), ["DROP ROLE db_ro_user;", "exit;"]);
    }

    #[test]
    fn semicolons_that_end_nothing_cut_nothing() {
        for line in [
            "select ';', E'it\\'s; x', \"a;b\", $$;$$, $x$ ; $$ ; $x$ x",
            "select 1 /* ; /* ; */ ; */ x",
            "select 1 -- ; select 2; select 3",
            "create rule r as on insert to t do (select 1; select 2) x",
            "select a$b$ from t where c = $1 x",
            "\\echo a; b; c",
            "select 'it''s; fine' x",
        ] {
            assert_eq!(pieces(line), [line]);
        }
    }

    #[test]
    fn quotes_reach_over_lines() {
        let body = "create function f() returns int as $f$\nbegin; a; end;\n$f$ language plpgsql; select 1;";
        let last = ["$f$ language plpgsql;", " select 1;"];
        assert_eq!(pieces(body)[2..], last);
    }

    #[test]
    fn backslash_commands_that_send_a_statement_have_a_status() {
        assert!(sends_a_statement("\\copy t from 'x'") && sends_a_statement("\\g"));
        assert!(!sends_a_statement("\\d t") && !sends_a_statement("\\i x.sql"));
        assert!(is_backslash_command(" \\d t") && !is_backslash_command("select 1 \\gexec"));
    }

    #[test]
    fn a_plan_knows_by_the_words_what_reads_the_next_text() {
        use crate::session::{SessionKind, after};
        let in_pod = after(SessionKind::Shell, "# look\nkubectl exec -it db-0 bash");
        assert_eq!(in_pod, SessionKind::Shell);
        let in_sql = after(in_pod, "# First, connect\npsql -U$POSTGRES_USER $POSTGRES_USER");
        assert_eq!(in_sql, SessionKind::Sql);
        assert_eq!(after(in_sql, "SELECT 1; -- exit"), SessionKind::Sql);
        assert_eq!(after(in_sql, "DROP ROLE a;\nexit;"), SessionKind::Shell);
        assert_eq!(after(in_sql, "\\q"), SessionKind::Shell);
        assert_eq!(after(SessionKind::Shell, "psql -f dump"), SessionKind::Shell);
    }

    proptest! {
        #[test]
        fn pieces_put_together_are_the_line(lines in "[a-zE$'\";()*/\\\\ é-]{0,60}") {
            prop_assert_eq!(pieces(&lines).concat(), lines);
        }
    }
}
