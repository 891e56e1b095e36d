//! An image that is built from a folder, and the name that it has on an engine: it follows from all that goes into the image, so that
//! what a drill runs is what its sources say, and an image of yesterday's sources is never taken for today's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::doctor::real_program::RealProgram;
use crate::runtime::Image;

/// How images of this repository begin a name; the folder's name follows.
const OWN: &str = "redrill/";
/// The folder of the image that this one is made from follows.
const FROM_OWN: &str = "FROM redrill/";
/// The image of redrill itself.
const REDRILL: &str = "redrill";
/// Begins the name of each workstation's image.
const WORKSTATION: &str = "workstation";
/// Where an operator's package for Python is, and nothing else.
const PYTHON: &str = "/opt/operator";
/// Hexadecimal digits of a tag.
const DIGITS: usize = 16;

/// What an image is built from.
#[derive(Debug, Clone)]
pub struct Recipe {
    /// What the folder is called.
    pub name: String,
    dockerfile: String,
    /// Files of the context, by their path in it.
    pub files: BTreeMap<String, PathBuf>,
    /// The image of the folder beside it that it is made from.
    pub from: Option<Box<Recipe>>,
}

/// What the drill's own images hold.
#[derive(Debug, Clone)]
pub struct OwnPrograms {
    /// redrill itself.
    pub program: PathBuf,
    /// The operator's, by name, from this machine.
    pub operator: BTreeMap<String, PathBuf>,
    pub gcs_server: Option<PathBuf>,
    /// Whose drills they are.
    pub scenario: String,
    /// Debian packages of the operator's beside those that every workstation has.
    pub packages: BTreeSet<String>,
    /// A package for Python of the operator's, as `name==version`.
    pub python: Option<&'static str>,
}

impl OwnPrograms {
    /// The drill's own images: redrill itself, the operator's workstation, and a store's server where the machine has one. By the
    /// reference that the drill's own pods use.
    pub fn recipes(&self) -> BTreeMap<String, Recipe> {
        use crate::drill::station::{GCS_IMAGE, IMAGE, WORKSTATION_IMAGE};
        let redrill = include_str!("../../../images/redrill/Dockerfile");
        let redrill = Recipe::with(REDRILL, redrill, &[("redrill", &self.program)]);
        let mut own = BTreeMap::from([(IMAGE.to_owned(), redrill), (WORKSTATION_IMAGE.to_owned(), self.workstation())]);
        if let Some(server) = &self.gcs_server {
            let gcs = "ARG BASE=debian:bookworm\nFROM ${BASE}\nCOPY fake-gcs-server /usr/local/bin/fake-gcs-server\n";
            own.insert(GCS_IMAGE.to_owned(), Recipe::with("gcs", gcs, &[("fake-gcs-server", server)]));
        }
        own
    }

    /// A workstation that no other scenario's drills need has a name of its own, so that neither build takes the other's away.
    fn workstation(&self) -> Recipe {
        let operator: Vec<(&str, &PathBuf)> = self.operator.iter().map(|(name, path)| (&**name, path)).collect();
        let mut dockerfile = include_str!("../../../images/workstation/Dockerfile").to_owned();
        for (name, _) in &operator {
            dockerfile.push_str(&format!("COPY {name} /usr/local/bin/{name}\n"));
        }
        let mut packages: BTreeSet<&str> = self.packages.iter().map(String::as_str).collect();
        packages.extend(self.python.iter().flat_map(|_| ["python3", "python3-pip"]));
        let is_common = packages.is_empty() && operator.iter().all(|(name, _)| *name == "kubectl");
        if !packages.is_empty() {
            let names = Vec::from_iter(packages).join(" ");
            let pip = self.python.map(|package| format!(" && pip install --target {PYTHON} {package}"));
            dockerfile.push_str(&format!(
                "RUN apt-get update && apt-get install --no-install-recommends -y {names}{} && rm -rf /var/lib/apt/lists/*\n",
                pip.unwrap_or_default()
            ));
        }
        if self.python.is_some() {
            dockerfile.push_str(&format!("ENV PYTHONPATH={PYTHON} PATH={PYTHON}/bin:$PATH\n"));
        }
        let name = if is_common { WORKSTATION.to_owned() } else { format!("{WORKSTATION}-{}", self.scenario) };
        Recipe::with(&name, &dockerfile, &operator)
    }
}

impl Recipe {
    /// Of a folder with a Dockerfile. `shown` is the image as the local environment has it. Where in it there is a program that
    /// something may stand for, `programs` says: what is there and comes from elsewhere is put into the context under its name.
    pub fn of_folder(
        folder: &Path,
        shown: &Image,
        programs: &[(PathBuf, &'static RealProgram)],
    ) -> std::io::Result<Self> {
        let mut recipe = Self::read(folder)?;
        for (place, program) in programs {
            let there = shown.files.iter().find(|file| file.target == *place);
            if let Some(file) = there.filter(|file| !file.source.starts_with(folder)) {
                recipe.files.insert(program.name.to_owned(), file.source.clone());
            }
        }
        Ok(recipe)
    }

    fn read(folder: &Path) -> std::io::Result<Self> {
        let name = folder.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let dockerfile = std::fs::read_to_string(folder.join("Dockerfile"))?;
        let base = dockerfile.lines().find_map(|line| line.strip_prefix(FROM_OWN));
        let base = base.and_then(|rest| rest.split(':').next()).map(str::trim);
        let beside = |base: &str| Self::read(&folder.parent().unwrap_or(folder).join(base)).map(Box::new);
        let from = base.map(beside).transpose()?;
        let mut files = BTreeMap::new();
        collect(folder, folder, &mut files)?;
        Ok(Self { name, dockerfile, files, from })
    }

    /// Whether a build of it replaces those before: it holds redrill's own programs, of which there are many versions.
    pub fn replaces_older(&self) -> bool {
        self.name == REDRILL || self.name.starts_with(WORKSTATION)
    }

    pub(super) fn with(name: &str, dockerfile: &str, files: &[(&str, &PathBuf)]) -> Self {
        let files = files.iter().map(|(name, path)| ((*name).to_owned(), (*path).clone())).collect();
        Self { name: name.to_owned(), dockerfile: dockerfile.to_owned(), files, from: None }
    }

    /// Its name on an engine, where `base` is at the bottom of all images.
    pub fn reference(&self, base: &str) -> std::io::Result<String> {
        let mut hasher = blake3::Hasher::new();
        let mut add = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_be_bytes());
            hasher.update(bytes);
        };
        add(base.as_bytes());
        add(self.dockerfile(base)?.as_bytes());
        for (name, source) in &self.files {
            add(name.as_bytes());
            add(if is_program(source)? { b"program" } else { b"file" });
            let mut content = blake3::Hasher::new();
            content.update_reader(std::fs::File::open(source)?)?;
            add(content.finalize().as_bytes());
        }
        let digest = hasher.finalize().to_hex();
        Ok(format!("{OWN}{}:{}", self.name, &digest[..DIGITS]))
    }

    /// The Dockerfile, from the very image that it is made from.
    pub fn dockerfile(&self, base: &str) -> std::io::Result<String> {
        let Some(from) = &self.from else { return Ok(self.dockerfile.clone()) };
        let reference = from.reference(base)?;
        let line = |line: &str| match line.starts_with(FROM_OWN) {
            true => format!("FROM {reference}\n"),
            false => format!("{line}\n"),
        };
        Ok(self.dockerfile.lines().map(line).collect())
    }
}

/// Whether it may be executed.
pub(super) fn is_program(file: &Path) -> std::io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(std::fs::metadata(file)?.permissions().mode() & 0o111 != 0)
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if let Ok(name) = path.strip_prefix(root)
            && name != Path::new("Dockerfile")
        {
            files.insert(name.to_string_lossy().into_owned(), path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::real_program;
    use crate::runtime::ImageFile;

    fn images() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("images")
    }

    #[test]
    fn a_name_follows_from_everything_that_goes_into_an_image() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("Dockerfile", "ARG BASE=x\nFROM ${BASE}\nCOPY a /a\n");
        write("a", "1");
        let programs = [("/opt/a".into(), real_program::of("mongod").unwrap())];
        let reference = |base: &str, shown: &Image| {
            Recipe::of_folder(folder.path(), shown, &programs).unwrap().reference(base).unwrap()
        };
        let first = reference("debian:bookworm", &Image::default());
        assert_eq!(first, reference("debian:bookworm", &Image::default()));
        assert_ne!(first, reference("other:base", &Image::default()));
        write("a", "2");
        assert_ne!(first, reference("debian:bookworm", &Image::default()));
        write("a", "1");
        let elsewhere = ImageFile { source: images().join("redrill/Dockerfile"), target: "/opt/a".into() };
        let shown = Image { files: vec![elsewhere], ..Image::default() };
        assert_ne!(first, reference("debian:bookworm", &shown));
        let recipe = Recipe::of_folder(folder.path(), &shown, &programs).unwrap();
        assert!(recipe.files.contains_key("mongod"), "by the name that its Dockerfile copies it under");
    }

    #[test]
    fn an_image_is_made_from_the_very_build_of_the_folder_beside_it() {
        let recipe = Recipe::of_folder(&images().join("quetzal-database"), &Image::default(), &[]).unwrap();
        let from = recipe.from.as_ref().unwrap();
        let reference = from.reference("debian:bookworm").unwrap();
        assert!(reference.starts_with("redrill/postgres:"), "{reference}");
        assert!(recipe.dockerfile("debian:bookworm").unwrap().contains(&format!("\nFROM {reference}\n")));
        assert!(!recipe.files.contains_key("Dockerfile") && recipe.files.contains_key("first-start.sql"));
    }
}
