//! A copy of the scenarios and their images that a test may break.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::run::{Run, Seat};

pub const BACKUP: &str = "images/taiga-backup/backup.bb";
pub const RESTORE: &str = "images/taiga-backup/restore.bb";
pub const CHANGE_PASSWORD: &str = "images/taiga-backup/change-password.bb";
pub const RUNBOOK: &str = "scenarios/taiga/runbook.md";
pub const SCENARIO: &str = "scenarios/taiga/scenario.yaml";
pub const BACKUP_MANIFEST: &str = "scenarios/taiga/system/30-backup.yaml";

/// The copy, in the layout of the checkout; gone when dropped.
pub struct Playground {
    folder: TempDir,
    /// The one that is run.
    system: &'static str,
}

impl Playground {
    /// For Taiga.
    pub fn new() -> Self {
        Self::of("taiga")
    }

    pub fn of(system: &'static str) -> Self {
        // Below /var/tmp, since the drill's shifted ids have to walk to the images.
        let folder = tempfile::Builder::new().prefix("redrill-drills-").tempdir_in("/var/tmp").unwrap();
        fs::set_permissions(folder.path(), Permissions::from_mode(0o711)).unwrap();
        let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
        for part in ["scenarios", "images"] {
            copy(&checkout.join(part), &folder.path().join(part));
        }
        Self { folder, system }
    }

    /// With one more scenario, which lies in a folder of the checkout.
    pub fn with(folder: &str, system: &'static str) -> Self {
        let playground = Self::of(system);
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join(folder), &playground.path().join("scenarios").join(system));
        playground
    }

    pub fn system(&self) -> &'static str {
        self.system
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    pub fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path().join(file)).unwrap()
    }

    /// Panics unless `old` is in `file` once: a variant that changes nothing, or too much, proves nothing.
    #[track_caller]
    pub fn replace(&self, file: &str, old: &str, new: &str) {
        let text = self.read(file);
        assert_eq!(text.matches(old).count(), 1, "{file} must have this once: {old}");
        assert_ne!(old, new, "{file}: nothing is changed");
        fs::write(self.path().join(file), text.replacen(old, new, 1)).unwrap();
    }

    /// Panics unless `first` is in `file` once and `end` follows; cuts from `first` up to `end`, which stays.
    #[track_caller]
    pub fn cut(&self, file: &str, first: &str, end: &str) {
        let text = self.read(file);
        assert_eq!(text.matches(first).count(), 1, "{file} must have this once: {first}");
        let start = text.find(first).unwrap();
        let length = text[start + first.len()..].find(end).unwrap_or_else(|| panic!("{file}: no {end} after {first}"));
        let old = text[start..start + first.len() + length].to_owned();
        self.replace(file, &old, "");
    }

    pub fn append(&self, file: &str, more: &str) {
        assert!(!more.is_empty());
        fs::write(self.path().join(file), self.read(file) + more).unwrap();
    }

    /// A new program of the backup image.
    pub fn add_program(&self, name: &str, text: &str) {
        let path = self.path().join("images/taiga-backup").join(name);
        assert!(!path.exists(), "{name} is there already");
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        self.replace("images/taiga-backup/Dockerfile", "COPY backup.bb ", &format!("COPY {name} backup.bb "));
    }

    /// Takes one erratum out of the scenario.
    #[track_caller]
    pub fn without_erratum(&self, id: &str) {
        let first = format!("  - id: {id}\n");
        let scenario = format!("scenarios/{}/scenario.yaml", self.system);
        let text = self.read(&scenario);
        let up_to_it = text.find(&first).map_or(0, |at| text[..at + first.len()].matches("  - id: ").count());
        let last = text.matches("  - id: ").count() == up_to_it;
        let after = if text.contains("\nprograms:") { "\nprograms:" } else { "\n\n" };
        self.cut(&scenario, &first, if last { after } else { "  - id: " });
    }

    /// `redrill run` of the system with more arguments, to its end, with everything that holds for any run asserted.
    pub fn run(&self, arguments: &[&str]) -> Run {
        self.run_with(&[], arguments)
    }

    /// The same with variables in its environment.
    pub fn run_with(&self, environment: &[(&str, &Path)], arguments: &[&str]) -> Run {
        let _seat = Seat::take();
        let state = self.path().join("state");
        fs::create_dir_all(&state).unwrap();
        fs::set_permissions(&state, Permissions::from_mode(0o711)).unwrap();
        let reports = self.path().join("reports");
        let mut command = self.redrill(&state, &reports);
        command.envs(environment.iter().copied()).args(["run", self.system]).args(arguments);
        let output = command.output().unwrap();
        Run::read(self, output, &state, &reports)
    }

    /// `redrill check` of the system: its exit code and all that it says.
    pub fn check(&self) -> (i32, String) {
        let reports = self.path().join("reports");
        let output = self.redrill(self.path(), &reports).args(["check", self.system]).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().expect("an exit code"), String::from_utf8(said).unwrap())
    }

    fn redrill(&self, state: &Path, reports: &Path) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_redrill"));
        command.current_dir(self.path()).env("REDRILL_STATE_DIR", state);
        command.arg("--scenarios").arg(self.path().join("scenarios")).arg("--reports").arg(reports);
        command
    }

    /// Where a line of the runbook is, from 1, as reports name it.
    #[track_caller]
    pub fn line_of(&self, text: &str) -> usize {
        let runbook = self.read(RUNBOOK);
        let lines: Vec<usize> =
            runbook.lines().enumerate().filter(|(_, line)| line.contains(text)).map(|(index, _)| index + 1).collect();
        assert_eq!(lines.len(), 1, "{RUNBOOK} must have one line with {text}");
        lines[0]
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target: PathBuf = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}
