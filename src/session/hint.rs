//! What the line that the cursor stands in tells about the program that printed it.

use std::time::Duration;

/// Whether it looks like the prompt of a shell or of psql.
pub fn is_prompt(line: &str) -> bool {
    let line = line.trim_end_matches(' ');
    line.len() <= 200 && line.ends_with(['$', '#', '>', '%'])
}

/// Whether it asks a person for something.
pub fn is_question(line: &str) -> bool {
    let line = line.trim_end().to_lowercase();
    let asks_for = ["password", "passphrase", "passwort", "username", "login", "token", "otp", "code"];
    line.ends_with('?')
        || ["[y/n]", "(y/n)", "(yes/no)", "[y/n]:", "(y/n):"].iter().any(|end| line.ends_with(end))
        || line.ends_with(':') && asks_for.iter().any(|word| line.contains(word))
}

/// What a person would say about a program that does not end.
pub fn waiting_for_input(line: &str, printed: bool, silent: Duration) -> Option<String> {
    let shown = line.trim();
    if is_question(line) || is_prompt(line) && !shown.is_empty() {
        return Some(format!("waits for input: it shows `{shown}`"));
    }
    if !shown.is_empty() && silent >= Duration::from_secs(1) {
        return Some(format!("may wait for input: the last line, `{shown}`, is unfinished"));
    }
    (!printed).then(|| "may wait for input: it has printed nothing".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_and_questions_are_told_apart() {
        for prompt in ["bash-5.2# ", "$ ", "app=> ", "/work # ", "user@host % "] {
            assert!(is_prompt(prompt) && !is_question(prompt), "{prompt}");
        }
        for question in
            ["Password: ", "Password for user postgres: ", "Really? ", "Continue [y/N] ", "Enter passphrase for key:"]
        {
            assert!(is_question(question) && !is_prompt(question), "{question}");
        }
        for output in ["", "restoring", "total: ", "done."] {
            assert!(!is_question(output) && !is_prompt(output), "{output}");
        }
    }
}
