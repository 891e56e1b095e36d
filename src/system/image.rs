//! Images of the local environment: a folder whose Dockerfile is the only description, for containers and for sandboxes.
//!
//! A sandbox shows the host's programs, so of a Dockerfile it takes what does not need building: the packages that `apt-get install`
//! asks of the host, the folders that `pip install --target` and `npm install --prefix` fill, the files that are copied in, and the settings of the process. Anything else is refused by name: an
//! image must not mean one thing in a container and another here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::doctor::real_program::RealProgram;
use crate::outcome::{ProgramLabel, SourceRef};
use crate::runtime;

use crate::problem::{Problem, Problems, did_you_mean};

mod dockerfile;
mod existing;

pub use existing::{ExistingImage, Pull, PullPolicy};

/// A folder's image, as the local environment takes it.
#[derive(Debug, Clone)]
pub struct LocalImage {
    pub image: runtime::Image,
    /// Debian packages that the host has to have.
    pub packages: BTreeSet<String>,
    /// Packages for Python that redrill has to have got, as `name==version`.
    pub python: BTreeSet<String>,
    /// Packages of npm that redrill has to have got, as `name@version`.
    pub npm: BTreeSet<String>,
    /// Stand-ins, each with its place in the root and the program that it stands for.
    pub stand_ins: Vec<(PathBuf, &'static RealProgram)>,
    /// Of the folder: names, modes and contents.
    pub digest: String,
    /// As the scenario has it.
    pub label: ProgramLabel,
    pub folder: PathBuf,
}

impl LocalImage {
    /// Whether something in it stands for this program.
    pub fn has_stand_in_for(&self, program: &RealProgram) -> bool {
        self.stand_ins.iter().any(|(_, known)| *known == program)
    }

    /// As it runs with the real program in the place of what stands for it.
    pub fn with_real(&self, program: &RealProgram, real: &Path) -> runtime::Image {
        let places = self.stand_ins.iter().filter(|(_, known)| *known == program);
        places.fold(self.image.clone(), |image, (place, _)| image.with_file(place, real))
    }
}

/// What a reference of the manifests stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// `None` of an image that exists.
    pub folder: Option<PathBuf>,
    pub label: ProgramLabel,
    /// Where the scenario says so.
    pub source: SourceRef,
}

/// References of manifests, and what stands for them.
#[derive(Debug, Clone, Default)]
pub struct Images {
    bindings: BTreeMap<String, Binding>,
}

impl Images {
    pub fn new(bindings: BTreeMap<String, Binding>) -> Self {
        Self { bindings }
    }

    /// Reads the image of every reference in `wanted` for which a folder stands, and says what stands in the way of any of them: a
    /// reference without a binding, a folder without a Dockerfile, an instruction that the local environment does not have. A
    /// binding that nothing wants is a problem too.
    pub fn resolve(&self, wanted: &BTreeMap<String, Vec<SourceRef>>) -> Result<BTreeMap<String, LocalImage>, Problems> {
        let mut problems = Problems::default();
        let mut images = BTreeMap::new();
        for (reference, places) in wanted {
            let Some(binding) = self.bindings.get(reference) else {
                let hint = did_you_mean(reference, self.bindings.keys().map(String::as_str));
                let message = format!(
                    "no image for `{reference}`{hint}: bind it in the scenario's `images`, to a folder, or without one where the \
                     image exists"
                );
                problems.extend(places.iter().map(|place| Problem::new(place, message.clone())));
                continue;
            };
            let Some(folder) = &binding.folder else { continue };
            match read(reference, folder, binding.label, &BTreeMap::new()) {
                Ok(image) => drop(images.insert(reference.clone(), image)),
                Err(found) => problems.extend(found),
            }
        }
        for (reference, binding) in &self.bindings {
            if !wanted.contains_key(reference) {
                let hint = did_you_mean(reference, wanted.keys().map(String::as_str));
                let message = format!("nothing of the system uses the image `{reference}`{hint}: remove the binding");
                problems.push(Problem::new(&binding.source, message));
            }
        }
        problems.or(Some(images))
    }
}

/// Reads the image in `folder`. `provided` gives files of the build context that are not in the folder, as the harness's own program.
pub fn read(
    reference: &str,
    folder: &Path,
    label: ProgramLabel,
    provided: &BTreeMap<String, PathBuf>,
) -> Result<LocalImage, Problems> {
    let file = folder.join("Dockerfile");
    let name = file.display().to_string();
    let unreadable =
        |error: std::io::Error| Problems::from(Problem::of_file(&file, format!("cannot be read: {error}")));
    let text = std::fs::read_to_string(&file).map_err(unreadable)?;
    // Shown in roots by this path, whatever the working directory is by then.
    let folder = folder.canonicalize().map_err(unreadable)?;
    let mut read = dockerfile::read(&name, &text, &folder, provided)?;
    read.image.reference = reference.to_owned();
    let digest = digest_with(&folder, &read.bases).map_err(unreadable)?;
    let dockerfile::Read { image, packages, python, npm, stand_ins, bases: _ } = read;
    Ok(LocalImage { image, packages, python, npm, stand_ins, digest, label, folder })
}

/// The digest of a folder, and of those that its image is made from, if there are any.
fn digest_with(folder: &Path, bases: &[PathBuf]) -> std::io::Result<String> {
    let mut digests = digest(folder)?;
    for base in bases {
        digests = blake3::hash(format!("{digests} {}", digest(base)?).as_bytes()).to_hex().to_string();
    }
    Ok(digests)
}

/// blake3 over every file below `folder` by path: its path, whether it may be executed, its content, each with its length in
/// front so that no two folders give the same stream.
pub fn digest(folder: &Path) -> std::io::Result<String> {
    let mut files = Vec::new();
    collect(folder, &mut files)?;
    files.sort();
    let mut hasher = blake3::Hasher::new();
    let mut add = |bytes: &[u8]| {
        hasher.update(&(bytes.len() as u64).to_be_bytes());
        hasher.update(bytes);
    };
    for file in files {
        use std::os::unix::{ffi::OsStrExt, fs::PermissionsExt};
        let metadata = std::fs::symlink_metadata(&file)?;
        let path = file.strip_prefix(folder).unwrap_or(&file);
        add(path.as_os_str().as_bytes());
        if metadata.is_symlink() {
            add(b"link");
            add(std::fs::read_link(&file)?.as_os_str().as_bytes());
        } else {
            add(if metadata.permissions().mode() & 0o111 == 0 { b"file" } else { b"program" });
            add(&std::fs::read(&file)?);
        }
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            collect(&entry.path(), files)?;
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
