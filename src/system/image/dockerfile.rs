//! What a Dockerfile says, as far as a sandbox can have it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use dockerfile_parser::{CopyInstruction, Dockerfile, EnvInstruction, Instruction, MiscInstruction, ShellOrExecExpr};
use nix::sys::signal::Signal;

use crate::problem::{Problem, Problems};
use crate::runtime::{Image, ImageFile};

/// Reads a Dockerfile: the image, and the Debian packages that it installs. All problems at once.
pub fn read(
    file: &str,
    text: &str,
    folder: &Path,
    provided: &BTreeMap<String, PathBuf>,
) -> Result<(Image, BTreeSet<String>), Problems> {
    let parsed = Dockerfile::parse(text).map_err(|error| syntax_error(file, &error))?;
    let mut reader = Reader { folder, provided, image: Image::default(), packages: BTreeSet::new() };
    let mut problems = Problems::default();
    let mut stages = 0;
    for instruction in &parsed.instructions {
        let result = match instruction {
            // The host stands for the base, and arguments only choose among bases.
            Instruction::From(_) => {
                stages += 1;
                if stages > 1 { Err("the local environment builds nothing: one FROM only".to_owned()) } else { Ok(()) }
            }
            Instruction::Arg(_) | Instruction::Label(_) => Ok(()),
            Instruction::Run(run) => reader.run(&run.expr),
            Instruction::Copy(copy) => reader.copy(copy),
            Instruction::Env(env) => reader.env(env),
            Instruction::Entrypoint(entrypoint) => {
                reader.image.entrypoint = argv(&entrypoint.expr);
                // As Docker: an entrypoint does away with what stood in CMD before it.
                reader.image.cmd.clear();
                Ok(())
            }
            Instruction::Cmd(cmd) => {
                reader.image.cmd = argv(&cmd.expr);
                Ok(())
            }
            Instruction::Misc(misc) => reader.misc(misc),
        };
        if let Err(message) = result {
            problems.push(Problem::at(file, line_at(text, instruction.span().start), message));
        }
    }
    problems.or(Some((reader.image, reader.packages)))
}

struct Reader<'a> {
    folder: &'a Path,
    provided: &'a BTreeMap<String, PathBuf>,
    image: Image,
    packages: BTreeSet<String>,
}

impl Reader<'_> {
    /// Only the installation of packages, which the host can have done already, and cleaning up after it.
    fn run(&mut self, expr: &ShellOrExecExpr) -> Result<(), String> {
        let refused = |command: &str| {
            format!(
                "`RUN {command}` cannot be had on the local environment: only `apt-get install` can; COPY a file instead"
            )
        };
        let ShellOrExecExpr::Shell(script) = expr else { return Err(refused("[...]")) };
        let script = script.to_string();
        for command in script.split("&&").map(str::trim) {
            let words = shell_words::split(command).map_err(|error| format!("`RUN {command}`: {error}"))?;
            let words: Vec<&str> = words.iter().map(String::as_str).filter(|word| !word.starts_with('-')).collect();
            match &*words {
                ["apt-get", "update" | "clean"] | ["rm", "/var/lib/apt/lists/*"] => {}
                ["apt-get", "install", packages @ ..] if packages.iter().all(|package| is_package(package)) => {
                    self.packages.extend(packages.iter().map(|package| (*package).to_owned()));
                }
                _ => return Err(refused(command)),
            }
        }
        Ok(())
    }

    fn copy(&mut self, copy: &CopyInstruction) -> Result<(), String> {
        if let Some(flag) = copy.flags.first() {
            return Err(format!("`COPY --{}` cannot be had on the local environment", flag.name));
        }
        let destination = self.expand(&copy.destination.content)?;
        let into_folder = destination.ends_with('/') || copy.sources.len() > 1;
        let target = self.image.working_dir.clone().unwrap_or_else(|| "/".into()).join(destination);
        for source in &copy.sources {
            let name = Path::new(&source.content);
            if name.components().any(|part| matches!(part, Component::ParentDir)) || source.content.contains(['*', '?'])
            {
                return Err(format!("`COPY {}`: name files of this folder one by one", source.content));
            }
            let in_folder = self.folder.join(name.strip_prefix("/").unwrap_or(name));
            let source = match self.provided.get(&source.content) {
                Some(provided) => provided.clone(),
                None if in_folder.exists() => in_folder,
                None => return Err(format!("`COPY {}`: no such file in {}", source.content, self.folder.display())),
            };
            // Of a directory its content is copied, of a file the file itself.
            let target = match name.file_name() {
                Some(name) if into_folder && !source.is_dir() => target.join(name),
                _ => target.clone(),
            };
            self.image.files.push(ImageFile { source, target });
        }
        Ok(())
    }

    fn env(&mut self, env: &EnvInstruction) -> Result<(), String> {
        for variable in &env.vars {
            let name = variable.key.content.clone();
            let value = self.expand(&variable.value.to_string())?;
            self.image.env.retain(|(known, _)| *known != name);
            self.image.env.push((name, value));
        }
        Ok(())
    }

    fn misc(&mut self, misc: &MiscInstruction) -> Result<(), String> {
        let name = misc.instruction.content.to_ascii_uppercase();
        let value = misc.arguments.to_string();
        let value = value.trim();
        match &*name {
            "USER" => self.image.user = Some(self.expand(value)?),
            "WORKDIR" => {
                let path = self.expand(value)?;
                let before = self.image.working_dir.take().unwrap_or_else(|| "/".into());
                self.image.working_dir = Some(before.join(path));
            }
            "STOPSIGNAL" => self.image.stop_signal = Some(signal(value)?),
            // Documentation: a pod's network shows every port.
            "EXPOSE" => {}
            _ => return Err(format!("`{name}` cannot be had on the local environment")),
        }
        Ok(())
    }

    /// Replaces `$NAME` and `${NAME}` by what ENV has set before.
    fn expand(&self, text: &str) -> Result<String, String> {
        let mut expanded = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            let (name, behind) = match rest.strip_prefix('{') {
                Some(inner) => inner.split_once('}').ok_or_else(|| format!("`{text}`: no closing brace"))?,
                None => rest.split_at(rest.find(|c: char| !is_name(c)).unwrap_or(rest.len())),
            };
            let known = self.image.env.iter().find(|(known, _)| known == name);
            let (_, value) = known.ok_or_else(|| format!("`{text}`: no ENV before it sets `{name}`"))?;
            expanded.push_str(value);
            rest = behind;
        }
        Ok(expanded + rest)
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// A package name (Debian policy 5.6.1), so that no shell syntax passes for one.
fn is_package(word: &str) -> bool {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
    word.len() > 1 && word.chars().all(allowed)
}

fn argv(expr: &ShellOrExecExpr) -> Vec<String> {
    match expr {
        ShellOrExecExpr::Exec(array) => array.elements.iter().map(|element| element.content.clone()).collect(),
        ShellOrExecExpr::Shell(script) => vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_string()],
    }
}

/// `SIGINT`, `INT` or `2`.
fn signal(text: &str) -> Result<i32, String> {
    let name = if text.starts_with("SIG") { text.to_owned() } else { format!("SIG{text}") };
    let by_number = || text.parse().ok().and_then(|number: i32| Signal::try_from(number).ok());
    let signal = Signal::from_str(&name).ok().or_else(by_number);
    signal.map(|signal| signal as i32).ok_or_else(|| format!("`STOPSIGNAL {text}`: no such signal"))
}

fn line_at(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

fn syntax_error(file: &str, error: &dockerfile_parser::Error) -> Problem {
    // pest's message draws the line with an arrow; its `--> LINE:COLUMN` is all that is needed of it.
    let text = error.to_string();
    let line = text.split_once("--> ").and_then(|(_, at)| at.split(':').next()?.trim().parse().ok());
    Problem::at(file, line.unwrap_or(1), "not a Dockerfile instruction")
}
