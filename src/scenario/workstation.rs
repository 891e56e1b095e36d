//! What the operator's workstation has beside what every one has: a folder of the scenario, as if it had been checked out there, and
//! programs of further packages.

use std::collections::BTreeSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::file::ScenarioReader;
use super::version::VersionRange;
use super::yaml::Node;
use crate::doctor::package;
use crate::outcome::SourceRef;

/// The operator's workstation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Workstation {
    pub checkout: Option<Checkout>,
    /// Debian packages whose programs the runbook's commands need.
    pub packages: BTreeSet<String>,
    /// The versions of kubectl one of which the team's operators have.
    pub kubectl: Option<VersionRange>,
}

/// A folder of the scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    /// Put into the operator's home, who works in it.
    pub folder: PathBuf,
    /// The folder's own name, which it has there too.
    pub name: String,
    pub source: SourceRef,
}

/// A file or folder of a checkout.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// From the folder's own name on.
    pub path: PathBuf,
    pub mode: u32,
    pub kind: EntryKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EntryKind {
    Folder,
    File,
    /// A link, a socket: what cannot be put there as it is.
    Other,
}

impl Checkout {
    /// Everything in the folder, itself first, folders before what is in them, in the order of names.
    pub fn entries(&self) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        collect(&self.folder, Path::new(&self.name), &mut entries)?;
        entries.sort();
        Ok(entries)
    }

    /// Where an entry is on this machine.
    pub fn place(&self, entry: &Entry) -> PathBuf {
        self.folder.join(entry.path.strip_prefix(&self.name).unwrap_or(&entry.path))
    }
}

fn collect(place: &Path, path: &Path, entries: &mut Vec<Entry>) -> io::Result<()> {
    let metadata = std::fs::symlink_metadata(place)?;
    let kind = match metadata.file_type() {
        folder if folder.is_dir() => EntryKind::Folder,
        file if file.is_file() => EntryKind::File,
        _ => EntryKind::Other,
    };
    entries.push(Entry { path: path.to_owned(), mode: metadata.permissions().mode() & 0o777, kind });
    if kind == EntryKind::Folder {
        for entry in std::fs::read_dir(place)? {
            let entry = entry?;
            collect(&entry.path(), &path.join(entry.file_name()), entries)?;
        }
    }
    Ok(())
}

impl ScenarioReader<'_> {
    pub(super) fn workstation(&self, node: &Node) -> Option<Workstation> {
        let mut fields = self.reader.fields(node)?;
        let checkout = fields.optional("folder", |node| self.checkout(node));
        let packages = fields.or_default("packages", |node| self.reader.list(node, |node| self.package(node)));
        let kubectl = fields.optional("kubectl", |node| self.kubectl(node));
        fields.close();
        if (&checkout, &kubectl) == (&Some(None), &Some(None)) && packages.as_ref().is_some_and(Vec::is_empty) {
            return self.reader.refuse(node.line, "say what it has: a `folder`, `packages`, a version of `kubectl`");
        }
        Some(Workstation { checkout: checkout?, packages: packages?.into_iter().collect(), kubectl: kubectl? })
    }

    fn kubectl(&self, node: &Node) -> Option<VersionRange> {
        let versions = self.reader.text(node)?;
        let range = VersionRange::parse(&format!("kubectl {versions}"));
        let expected = format!("`{versions}` is no version of kubectl: write `1.31`, `1.31.4`, `1.31-1.33` or `1.31+`");
        range.or_else(|_| self.reader.refuse(node.line, expected).ok_or(())).ok()
    }

    fn package(&self, node: &Node) -> Option<String> {
        let name = self.reader.text(node)?;
        match package::is_name(&name) {
            true => Some(name),
            false => self.reader.refuse(node.line, format!("`{name}` is no name of a Debian package")),
        }
    }

    fn checkout(&self, node: &Node) -> Option<Checkout> {
        let r = self.reader;
        let folder = self.path(node, "folder of the workstation")?;
        if !folder.is_dir() {
            return r.refuse(node.line, format!("{} is no folder: name the one to work in", folder.display()));
        }
        let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
        if name.is_empty() || name.starts_with(['.', '-']) || !name.chars().all(plain) || name == ESCROW {
            let message = format!("`{name}` cannot be a folder's name on the workstation: take plain characters");
            return r.refuse(node.line, message);
        }
        let checkout = Checkout { folder, name, source: r.source(node.line) };
        match checkout.entries() {
            Err(error) => r.refuse(node.line, format!("{} cannot be read: {error}", checkout.folder.display())),
            Ok(entries) => {
                let odd: Vec<&Entry> = entries.iter().filter(|entry| entry.kind == EntryKind::Other).collect();
                for entry in &odd {
                    let place = checkout.place(entry);
                    let message =
                        format!("{} is neither a file nor a folder: put the file itself there", place.display());
                    r.problem(node.line, message);
                }
                odd.is_empty().then_some(checkout)
            }
        }
    }
}

/// The folder of the operator's home in which what survives the loss of a cluster lies.
pub const ESCROW: &str = "escrow";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_told_from_the_top_with_the_modes_of_its_files() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("repository");
        std::fs::create_dir_all(folder.join("k8s")).unwrap();
        std::fs::write(folder.join("k8s/a.yaml"), "a").unwrap();
        std::fs::write(folder.join("run.sh"), "b").unwrap();
        for (path, mode) in [("", 0o755), ("k8s", 0o700), ("k8s/a.yaml", 0o640), ("run.sh", 0o755)] {
            std::fs::set_permissions(folder.join(path), std::fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink("run.sh", folder.join("link")).unwrap();
        let source = SourceRef { file: "scenario.yaml".to_owned(), line: 1 };
        let checkout = Checkout { folder: folder.clone(), name: "repository".to_owned(), source };
        let entries = checkout.entries().unwrap();
        let found: Vec<_> =
            entries.iter().map(|entry| (entry.path.to_str().unwrap(), entry.mode, entry.kind)).collect();
        assert_eq!(
            found,
            [
                ("repository", 0o755, EntryKind::Folder),
                ("repository/k8s", 0o700, EntryKind::Folder),
                ("repository/k8s/a.yaml", 0o640, EntryKind::File),
                ("repository/link", 0o777, EntryKind::Other),
                ("repository/run.sh", 0o755, EntryKind::File),
            ]
        );
        assert_eq!(checkout.place(&entries[2]), folder.join("k8s/a.yaml"));
    }
}
