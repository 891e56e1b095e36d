//! What is typed to bring a POSIX shell (bash, dash, busybox) under a session's control.

use super::sentinel::{LevelId, Nonce};

/// The program that a session's terminal has to run: an interactive shell, without the start files of whoever
/// runs redrill. Any interactive POSIX shell does; bash tells the statuses of a whole pipeline too.
pub const WORKSTATION_SHELL: [&str; 5] = ["bash", "--noediting", "--noprofile", "--norc", "-i"];

/// Makes a shell print an answer with this number and nothing else: harmless in whatever shell reads it.
pub fn probe(nonce: &Nonce, number: u32) -> String {
    // \100 is `@`: the typed text, echoed, is no mark.
    format!("printf '\\100{}A:{number}:%s@\\n' \"$?\"", nonce.opening_tail())
}

/// The same, but leaves `$?` as it was.
pub fn probe_keeping_status(nonce: &Nonce, number: u32, status: i32) -> String {
    format!("{}; (exit {status})", probe(nonce, number))
}

/// Turns a shell that answered a probe into level `level`: no echo, no `\r`, no line editing, no pager, no history, no
/// `!` expansion, and prompts that are marks. Answers `number` on the way, so that a `\r` behind it can be seen.
///
/// One line, so that nothing is typed ahead of a change of the terminal's modes. Nothing in it fails a shell that
/// lacks a feature: a special builtin that errs would end the line.
pub fn preparation(nonce: &Nonce, level: LevelId, number: u32) -> String {
    let tail = nonce.opening_tail();
    let probe = probe(nonce, number);
    [
        "stty -echo -onlcr 2>/dev/null".to_owned(),
        "unset PROMPT_COMMAND PS0 HISTFILE 2>/dev/null".to_owned(),
        "export TERM=dumb PAGER=cat".to_owned(),
        option_off("o emacs"),
        option_off("o vi"),
        // What a document says is what runs; `!` expansion depends on the person's own settings.
        option_off("H"),
        format!("PS1='@''{tail}R:{level}:$?:'"),
        format!("PS2='@''{tail}M:{level}:$?@'"),
        "[ -z \"${BASH_VERSION:-}\" ] || PS1=$PS1'${PIPESTATUS[@]}'".to_owned(),
        "PS1=$PS1'@'".to_owned(),
        probe,
    ]
    .join("; ")
}

fn option_off(option: &str) -> String {
    format!("(set +{option}) 2>/dev/null && set +{option}")
}

/// Whether a line does nothing at the start of a command.
pub fn is_blank(line: &str) -> bool {
    let line = line.trim_start();
    line.is_empty() || line.starts_with('#')
}
