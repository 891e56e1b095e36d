//! Statements of a shell, as far as they are simple commands in lists and pipelines.

/// Words that begin something else than a command.
const RESERVED: [&str; 20] = [
    "!", "[[", "{", "}", "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if",
    "select", "then", "time", "until", "while",
];

/// What is no list of simple commands, or does not end.
#[derive(Debug, PartialEq, Eq)]
pub struct Unclear;

/// Up to a line's end or a semicolon.
pub struct Statement<'a> {
    pub text: &'a str,
    /// Words of each command, quotes kept, with their lines.
    commands: Vec<Vec<(usize, String)>>,
    /// Whether some of it runs only where something failed.
    pub is_either: bool,
}

impl Statement<'_> {
    /// For each command its program's name and line; `None` stands for one that is no plain name. No list at all for what may be
    /// more than commands.
    pub fn programs(&self) -> Option<Vec<Option<(usize, String)>>> {
        let mut programs = Vec::new();
        for command in &self.commands {
            let Some((line, word)) = command.iter().find(|(_, word)| !is_assignment(word)) else { continue };
            let reads_on = word == "cat" && command.len() == 1 && programs.is_empty() && !self.text.contains('<');
            if RESERVED.contains(&word.as_str()) || reads_on {
                return None;
            }
            programs.push(is_name(word).then(|| (*line, word.clone())));
        }
        (!self.text.contains("PATH=")).then_some(programs)
    }
}

fn is_assignment(word: &str) -> bool {
    let Some((name, _)) = word.split_once('=') else { return false };
    let name = name.strip_suffix('+').unwrap_or(name);
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn is_name(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._+-".contains(c);
    matches!(word, "[" | ":") || word.starts_with(|c: char| c.is_ascii_alphanumeric()) && word.chars().all(plain)
}

enum Token {
    Word(usize, String),
    /// `&&`, `|`
    And,
    /// `||`
    Or,
    /// A line's end, a semicolon.
    End,
}

/// Reads a text from its beginning.
pub struct Statements<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    /// Ends of here-documents that the current line begins; whether tabs before them are left out.
    documents: Vec<(String, bool)>,
}

impl<'a> Statements<'a> {
    pub fn of(text: &'a str) -> Self {
        Self { text, at: 0, line: 0, documents: Vec::new() }
    }

    pub fn next(&mut self) -> Result<Option<Statement<'a>>, Unclear> {
        let start = self.at;
        let (mut commands, mut is_either) = (vec![Vec::new()], false);
        loop {
            let token = self.token()?;
            let is_empty = commands.last().is_none_or(Vec::is_empty);
            match token {
                Some(Token::Word(line, word)) => commands.last_mut().ok_or(Unclear)?.push((line, word)),
                Some(Token::And | Token::Or) if is_empty => return Err(Unclear),
                Some(Token::And) => commands.push(Vec::new()),
                Some(Token::Or) => {
                    is_either = true;
                    commands.push(Vec::new());
                }
                // An operator goes on in the next line.
                Some(Token::End) if is_empty => {}
                None if is_empty && commands.len() > 1 => return Err(Unclear),
                None if is_empty => return Ok(None),
                Some(Token::End) | None => {
                    return Ok(Some(Statement { text: &self.text[start..self.at], commands, is_either }));
                }
            }
        }
    }

    fn token(&mut self) -> Result<Option<Token>, Unclear> {
        loop {
            let line = self.line;
            let Some(c) = self.peek() else { return if self.documents.is_empty() { Ok(None) } else { Err(Unclear) } };
            match c {
                ' ' | '\t' | '\r' => drop(self.take()),
                '#' => while self.take_if(|c| c != '\n').is_some() {},
                '\n' => {
                    self.take();
                    self.skip_documents()?;
                    return Ok(Some(Token::End));
                }
                ';' | '|' | '&' => return self.operator(c).map(Some),
                '<' | '>' => self.redirection()?,
                _ => {
                    let word = self.word()?;
                    // `2>`: of a redirection.
                    let is_number = word.chars().all(|c| c.is_ascii_digit()) && matches!(self.peek(), Some('<' | '>'));
                    if !word.is_empty() && !is_number {
                        return Ok(Some(Token::Word(line, word)));
                    }
                }
            }
        }
    }

    fn operator(&mut self, c: char) -> Result<Token, Unclear> {
        self.take();
        let is_double = self.take_if(|next| next == c).is_some();
        match (c, is_double) {
            (';', false) => Ok(Token::End),
            ('|', true) => Ok(Token::Or),
            ('|', false) => {
                self.take_if(|c| c == '&');
                Ok(Token::And)
            }
            ('&', true) => Ok(Token::And),
            _ => Err(Unclear),
        }
    }

    /// To the end of what it names.
    fn redirection(&mut self) -> Result<(), Unclear> {
        let is_document = self.take() == Some('<') && self.take_if(|c| c == '<').is_some();
        let is_document = is_document && self.take_if(|c| c == '<').is_none();
        let without_tabs = is_document && self.take_if(|c| c == '-').is_some();
        if !is_document {
            self.take_if(|c| c == '>');
            self.take_if(|c| matches!(c, '&' | '|'));
        }
        while self.take_if(|c| matches!(c, ' ' | '\t')).is_some() {}
        let target = self.word()?;
        if target.is_empty() {
            return Err(Unclear);
        }
        if is_document {
            self.documents.push((target.replace(['\'', '"', '\\'], ""), without_tabs));
        }
        Ok(())
    }

    fn skip_documents(&mut self) -> Result<(), Unclear> {
        for (end, without_tabs) in std::mem::take(&mut self.documents) {
            loop {
                let rest = &self.text[self.at..];
                if rest.is_empty() {
                    return Err(Unclear);
                }
                let line = rest.split('\n').next().unwrap_or(rest);
                self.at = (self.at + line.len() + 1).min(self.text.len());
                self.line += 1;
                if if without_tabs { line.trim_start_matches('\t') } else { line } == end {
                    break;
                }
            }
        }
        Ok(())
    }

    /// With its quotes; empty where there is none.
    fn word(&mut self) -> Result<String, Unclear> {
        let mut word = String::new();
        while let Some(c) = self.peek() {
            match c {
                ' ' | '\t' | '\r' | '\n' | ';' | '|' | '&' | '<' | '>' => break,
                '(' | ')' | '`' => return Err(Unclear),
                '\\' => {
                    self.take();
                    match self.take().ok_or(Unclear)? {
                        '\n' => {}
                        escaped => word.extend(['\\', escaped]),
                    }
                }
                '\'' => word.push_str(self.literal()?),
                '"' => word.push_str(self.quoted()?),
                '$' => {
                    word.push_str(self.dollar()?);
                    if matches!(self.peek(), Some('\'' | '"')) && word.ends_with('$') {
                        return Err(Unclear);
                    }
                }
                _ => word.extend(self.take()),
            }
        }
        Ok(word)
    }

    /// Between single quotes.
    fn literal(&mut self) -> Result<&'a str, Unclear> {
        let start = self.at;
        self.take();
        while self.take().ok_or(Unclear)? != '\'' {}
        Ok(&self.text[start..self.at])
    }

    /// Between double quotes.
    fn quoted(&mut self) -> Result<&'a str, Unclear> {
        let start = self.at;
        self.take();
        loop {
            match self.peek().ok_or(Unclear)? {
                '"' => {
                    self.take();
                    return Ok(&self.text[start..self.at]);
                }
                '`' => return Err(Unclear),
                '$' => drop(self.dollar()?),
                c => {
                    self.take();
                    if c == '\\' {
                        self.take();
                    }
                }
            }
        }
    }

    /// A variable or a substitution; what else begins so is no plain word.
    fn dollar(&mut self) -> Result<&'a str, Unclear> {
        let start = self.at;
        self.take();
        match self.peek() {
            Some('(') => self.substitution()?,
            Some('{') => {
                self.take();
                while self.take_if(|c| c.is_ascii_alphanumeric() || c == '_').is_some() {}
                self.take_if(|c| c == '}').ok_or(Unclear)?;
            }
            _ => {}
        }
        Ok(&self.text[start..self.at])
    }

    /// To the parenthesis that closes it.
    fn substitution(&mut self) -> Result<(), Unclear> {
        let mut depth = 0;
        loop {
            match self.peek().ok_or(Unclear)? {
                '\'' => drop(self.literal()?),
                '"' => drop(self.quoted()?),
                '`' | '#' | '<' => return Err(Unclear),
                c => {
                    self.take();
                    match c {
                        '\\' => drop(self.take()),
                        '(' => depth += 1,
                        ')' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 {
                        return Ok(());
                    }
                }
            }
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn take(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn take_if(&mut self, is_it: impl Fn(char) -> bool) -> Option<char> {
        self.peek().filter(|c| is_it(*c)).and_then(|_| self.take())
    }
}
