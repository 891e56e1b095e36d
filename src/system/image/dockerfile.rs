//! What a Dockerfile says, as far as a sandbox can have it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use dockerfile_parser::{CopyInstruction, Dockerfile, EnvInstruction, Instruction, MiscInstruction, ShellOrExecExpr};
use nix::sys::signal::Signal;

use crate::doctor::real_program::{self, RealProgram};
use crate::doctor::{go_module, npm, package, python};
use crate::problem::{Problem, Problems};
use crate::runtime::{Image, ImageFile};

/// A Dockerfile, as far as a sandbox can have it.
#[derive(Default)]
pub struct Read {
    pub image: Image,
    /// Debian packages that it installs.
    pub packages: BTreeSet<String>,
    /// Packages for Python that it installs, as `name==version`.
    pub python: BTreeSet<String>,
    /// Packages of npm that it installs, as `name@version`.
    pub npm: BTreeSet<String>,
    /// Stand-ins that it copies, each with its place and the program that it stands for.
    pub stand_ins: Vec<(PathBuf, &'static RealProgram)>,
    /// Folders of the images that it is made from.
    pub bases: Vec<PathBuf>,
}

/// How images of this repository begin a name: the folder beside this one follows, then a tag, which says nothing here.
const OWN_IMAGES: &str = "redrill/";

/// Reads a Dockerfile. All problems at once.
pub fn read(file: &str, text: &str, folder: &Path, provided: &BTreeMap<String, PathBuf>) -> Result<Read, Problems> {
    let parsed = Dockerfile::parse(text).map_err(|error| syntax_error(file, &error))?;
    let mut reader = Reader { folder, provided, read: Read::default() };
    let mut problems = Problems::default();
    let mut stages = 0;
    for instruction in &parsed.instructions {
        let result = match instruction {
            Instruction::From(_) if stages > 0 => Err("the local environment builds nothing: one FROM only".to_owned()),
            Instruction::From(from) => {
                stages += 1;
                match base(&from.image.content, folder) {
                    // The host stands for it, and arguments only choose among such bases.
                    None => Ok(()),
                    Some(base) => match read_base(&base, provided) {
                        Ok(read) => {
                            reader.read = read;
                            Ok(())
                        }
                        Err(found) => {
                            problems.extend(found);
                            continue;
                        }
                    },
                }
            }
            Instruction::Arg(_) | Instruction::Label(_) => Ok(()),
            Instruction::Run(run) => reader.run(&run.expr),
            Instruction::Copy(copy) => reader.copy(copy),
            Instruction::Env(env) => reader.env(env),
            Instruction::Entrypoint(entrypoint) => {
                reader.read.image.entrypoint = argv(&entrypoint.expr);
                // As Docker: an entrypoint does away with what stood in CMD before it.
                reader.read.image.cmd.clear();
                Ok(())
            }
            Instruction::Cmd(cmd) => {
                reader.read.image.cmd = argv(&cmd.expr);
                Ok(())
            }
            Instruction::Misc(misc) => reader.misc(misc),
        };
        if let Err(message) = result {
            problems.push(Problem::at(file, line_at(text, instruction.span().start), message));
        }
    }
    problems.or(Some(reader.read))
}

/// The folder of an image of this repository.
fn base(image: &str, folder: &Path) -> Option<PathBuf> {
    let name = image.strip_prefix(OWN_IMAGES)?.split(':').next()?;
    Some(folder.parent()?.join(name))
}

fn read_base(folder: &Path, provided: &BTreeMap<String, PathBuf>) -> Result<Read, Problems> {
    let file = folder.join("Dockerfile");
    let text = std::fs::read_to_string(&file)
        .map_err(|error| Problems::from(Problem::of_file(&file, format!("cannot be read: {error}"))))?;
    let mut read = read(&file.display().to_string(), &text, folder, provided)?;
    read.bases.push(folder.to_owned());
    Ok(read)
}

struct Reader<'a> {
    folder: &'a Path,
    provided: &'a BTreeMap<String, PathBuf>,
    read: Read,
}

impl Reader<'_> {
    /// Only the installation of packages, which the host can have done already, and cleaning up after it.
    fn run(&mut self, expr: &ShellOrExecExpr) -> Result<(), String> {
        let refused = |command: &str| {
            format!(
                "`RUN {command}` cannot be had on the local environment: only `apt-get install`, `pip install --target FOLDER NAME==VERSION` and `npm install --prefix FOLDER --ignore-scripts NAME@VERSION` can; COPY a file instead"
            )
        };
        let ShellOrExecExpr::Shell(script) = expr else { return Err(refused("[...]")) };
        let script = script.to_string();
        let mut commands = script.split("&&").map(str::trim);
        while let Some(command) = commands.next() {
            let words = shell_words::split(command).map_err(|error| format!("`RUN {command}`: {error}"))?;
            match &*words_of(&words) {
                ["pip" | "pip3", "install", "--target", folder, requirement] => {
                    self.pip_install(folder, requirement)?;
                    continue;
                }
                ["npm", "install", "--prefix", folder, "--ignore-scripts", requirement] => {
                    self.npm_install(folder, requirement, commands.next().unwrap_or_default())?;
                    continue;
                }
                _ => {}
            }
            let words: Vec<&str> = words_of(&words).into_iter().filter(|word| !word.starts_with('-')).collect();
            match &*words {
                ["apt-get", "update" | "clean"] | ["rm", "/var/lib/apt/lists/*"] => {}
                ["apt-get", "install", packages @ ..] if packages.iter().all(|package| package::is_name(package)) => {
                    self.read.packages.extend(packages.iter().map(|package| (*package).to_owned()));
                }
                _ => return Err(refused(command)),
            }
        }
        Ok(())
    }

    /// A package for Python with all that it depends on, in a folder of its own, which can come from elsewhere as a whole.
    fn pip_install(&mut self, folder: &str, requirement: &str) -> Result<(), String> {
        if !python::is_pinned(requirement) || !folder.starts_with('/') {
            return Err(format!(
                "`pip install --target {folder} {requirement}`: name a folder by its whole path, and NAME==VERSION"
            ));
        }
        self.fetched(python::folder(requirement), folder)?;
        self.read.python.insert(requirement.to_owned());
        Ok(())
    }

    /// A package of npm, likewise. What it does to finish itself stands behind it by name, so that no version of npm and no setting
    /// leaves it out: what is had from elsewhere has it done.
    fn npm_install(&mut self, folder: &str, requirement: &str, next: &str) -> Result<(), String> {
        let command = format!("npm install --prefix {folder} --ignore-scripts {requirement}");
        if !npm::is_pinned(requirement) || !folder.starts_with('/') {
            return Err(format!(
                "`{command}`: name a folder by its whole path, and NAME@VERSION with all of the version"
            ));
        }
        let package = npm::package_in(Path::new(folder), requirement);
        let finishing = format!("npm run postinstall --prefix {}", package.display());
        if next != finishing {
            return Err(format!("`{command}`: write `&& {finishing}` behind it"));
        }
        self.fetched(npm::folder(requirement), folder)?;
        self.read.npm.insert(requirement.to_owned());
        Ok(())
    }

    /// Shows a folder that comes from elsewhere as a whole, where nothing else is.
    fn fetched(&mut self, source: Option<PathBuf>, target: &str) -> Result<(), String> {
        let source = source.ok_or("neither XDG_DATA_HOME nor HOME is set")?;
        if self.read.image.files.iter().any(|file| file.target == Path::new(target)) {
            return Err(format!("something is in {target} already: name a folder for this package alone"));
        }
        self.read.image.files.push(ImageFile { source, target: target.into() });
        Ok(())
    }

    fn copy(&mut self, copy: &CopyInstruction) -> Result<(), String> {
        if let Some(flag) = copy.flags.first() {
            return Err(format!("`COPY --{}` cannot be had on the local environment", flag.name));
        }
        let destination = self.expand(&copy.destination.content)?;
        let into_folder = destination.ends_with('/') || copy.sources.len() > 1;
        let target = self.read.image.working_dir.clone().unwrap_or_else(|| "/".into()).join(destination);
        for source in &copy.sources {
            let name = Path::new(&source.content);
            if name.components().any(|part| matches!(part, Component::ParentDir)) || source.content.contains(['*', '?'])
            {
                return Err(format!("`COPY {}`: name files of this folder one by one", source.content));
            }
            let replaceable = name.file_name().and_then(|name| real_program::of(name.to_str()?));
            let source = self.source(name, replaceable)?;
            // Of a directory its content is copied, of a file the file itself.
            let target = match name.file_name() {
                Some(name) if into_folder && !source.is_dir() => target.join(name),
                _ => target.clone(),
            };
            self.read.stand_ins.extend(replaceable.map(|program| (target.clone(), program)));
            self.read.image.files.push(ImageFile { source, target });
        }
        Ok(())
    }

    /// What is copied under this name: of a program that Go builds a stand-in for, that one, whether it is built already or not.
    fn source(&self, name: &Path, replaceable: Option<&RealProgram>) -> Result<PathBuf, String> {
        let in_folder = self.folder.join(name.strip_prefix("/").unwrap_or(name));
        let provided = name.to_str().and_then(|name| self.provided.get(name)).cloned();
        let built = || replaceable.and_then(RealProgram::go_program).and_then(go_module::path);
        provided
            .or_else(|| in_folder.exists().then_some(in_folder))
            .or_else(built)
            .ok_or_else(|| format!("`COPY {}`: no such file in {}", name.display(), self.folder.display()))
    }

    fn env(&mut self, env: &EnvInstruction) -> Result<(), String> {
        for variable in &env.vars {
            let name = variable.key.content.clone();
            let value = self.expand(&variable.value.to_string())?;
            self.read.image.env.retain(|(known, _)| *known != name);
            self.read.image.env.push((name, value));
        }
        Ok(())
    }

    fn misc(&mut self, misc: &MiscInstruction) -> Result<(), String> {
        let name = misc.instruction.content.to_ascii_uppercase();
        let value = misc.arguments.to_string();
        let value = value.trim();
        match &*name {
            "USER" => self.read.image.user = Some(self.expand(value)?),
            "WORKDIR" => {
                let path = self.expand(value)?;
                let before = self.read.image.working_dir.take().unwrap_or_else(|| "/".into());
                self.read.image.working_dir = Some(before.join(path));
            }
            "STOPSIGNAL" => self.read.image.stop_signal = Some(signal(value)?),
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
            let known = self.read.image.env.iter().find(|(known, _)| known == name);
            let (_, value) = known.ok_or_else(|| format!("`{text}`: no ENV before it sets `{name}`"))?;
            expanded.push_str(value);
            rest = behind;
        }
        Ok(expanded + rest)
    }
}

fn words_of(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
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
