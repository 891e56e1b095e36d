//! The redrill program: started, watched line by line, killed.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread::JoinHandle;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::machine::{self, DEADLINE};

pub const REDRILL: &str = env!("CARGO_BIN_EXE_redrill");
/// The shorter of Taiga's drills.
pub const SCHEDULED: [&str; 4] = ["run", "taiga", "--drill", "scheduled"];

/// Where runs keep their state and their reports.
pub struct Place {
    directory: tempfile::TempDir,
}

/// What a command of redrill came to.
#[derive(Debug)]
pub struct Ended {
    /// `None` after a signal.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Place {
    pub fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("redrill-chaos-").tempdir_in("/var/tmp").unwrap();
        let place = Self { directory };
        fs::set_permissions(place.directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(place.state()).unwrap();
        fs::create_dir(place.home()).unwrap();
        place
    }

    pub fn state(&self) -> PathBuf {
        self.directory.path().join("state")
    }

    pub fn reports(&self) -> PathBuf {
        self.directory.path().join("reports")
    }

    /// For programs and files that a test makes.
    pub fn home(&self) -> PathBuf {
        self.directory.path().join("home")
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(REDRILL);
        command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).arg("--reports").arg(self.reports());
        command.env("REDRILL_STATE_DIR", self.state()).env_remove("REDRILL_LOG");
        command
    }

    pub fn start(&self, arguments: &[&str]) -> Run {
        Run::start(&mut self.command(arguments))
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }

    /// Names in the state directory of this user: run directories and their locks.
    pub fn files(&self) -> Vec<String> {
        names(&self.state().join(format!("redrill-{}", nix::unistd::geteuid())))
    }

    /// Runs that have begun to report.
    pub fn runs(&self) -> Vec<String> {
        let has_journal = |name: &String| self.reports().join(name).join("journal.json").exists();
        names(&self.reports()).into_iter().filter(has_journal).collect()
    }

    /// Whether a run has come to a verdict, its reports written or not.
    pub fn has_verdict(&self, run: &str) -> bool {
        let journal = fs::read(self.reports().join(run).join("journal.json")).expect("the run's journal");
        !serde_json::from_slice::<Value>(&journal).unwrap()["outcome"].is_null()
    }

    /// What results.json of a run says.
    pub fn results(&self, run: &str) -> Value {
        let path = self.reports().join(run).join("results.json");
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).unwrap()
    }

    pub fn junit(&self, run: &str) -> String {
        let path = self.reports().join(run).join("junit.xml");
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// The line of `redrill list` about a run.
    pub fn listed(&self, run: &str) -> String {
        let listed = self.run(&["list"]);
        assert_eq!(listed.code, Some(0), "{listed:?}");
        let line = listed.stdout.lines().find(|line| line.starts_with(run));
        line.unwrap_or_else(|| panic!("{run} is not in {}", listed.stdout)).to_owned()
    }

    /// Holds a run's reports and its line in `redrill list` to UNVERIFIED.
    pub fn assert_unverified(&self, run: &str) {
        let results = self.results(run);
        assert_eq!((&results["verdict"], &results["exit_code"]), (&"UNVERIFIED".into(), &2.into()), "{results:#}");
        assert!(self.junit(run).contains("<error"), "{}", self.junit(run));
        assert!(self.listed(run).ends_with("UNVERIFIED  exit 2"), "{}", self.listed(run));
    }
}

pub fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A running redrill. Killed when dropped.
pub struct Run {
    child: Child,
    lines: Receiver<String>,
    stderr: String,
    stdout: Option<JoinHandle<String>>,
}

impl Run {
    pub fn start(command: &mut Command) -> Self {
        let mut child = machine::spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
        let (sender, lines) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                // Nobody listens any more once the test has failed.
                let _ = sender.send(line);
            }
        });
        let mut stdout = child.stdout.take().unwrap();
        let stdout = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).unwrap();
            text
        });
        Self { child, lines, stderr: String::new(), stdout: Some(stdout) }
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it prints a line with `text` on stderr; `false` when it ended without.
    pub fn prints(&mut self, text: &str) -> bool {
        loop {
            match self.lines.recv_timeout(DEADLINE) {
                Ok(line) => {
                    self.stderr.push_str(&line);
                    self.stderr.push('\n');
                    if line.contains(text) {
                        return true;
                    }
                }
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return false,
                Err(error) => panic!("no `{text}`: {error}; it printed:\n{}", self.stderr),
            }
        }
    }

    /// Waits until it prints a line with `text` on stderr.
    pub fn until(&mut self, text: &str) {
        assert!(self.prints(text), "ended without `{text}`; it printed:\n{}", self.stderr);
    }

    pub fn signal(&self, signal: Signal) {
        machine::remember_networks(self.id());
        kill(Pid::from_raw(self.child.id().try_into().unwrap()), signal).expect("signal redrill");
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        // Its standard error closes with it and with whatever it left running.
        while self.prints("\0") {}
        let stdout = self.stdout.take().map(|reader| reader.join().unwrap()).unwrap_or_default();
        let status = self.child.wait().unwrap();
        Ended { code: status.code(), stdout, stderr: std::mem::take(&mut self.stderr) }
    }

    /// SIGKILL; returns once it is gone.
    pub fn kill(mut self) {
        machine::remember_networks(self.id());
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // It may have ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
