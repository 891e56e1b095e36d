//! Programs that Go builds from their modules, for this user.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, Finding, Fix, Tool, debian, tools_folder, tools_folder_or_error};
use crate::command;
use crate::redact::Secret;

/// A program of a Go module, in one version.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GoProgram {
    /// As [`super::Tools`] names it, and as it is called where it runs.
    pub name: &'static str,
    pub version: &'static str,
    pub module: &'static str,
    /// The main package.
    pub package: &'static str,
    /// Lines of go.sum for a module that the checksum database does not know; it is built from a module of its own then.
    pub sums: &'static [&'static str],
    /// A file of the module that has to hold its version and is made for releases only; it is built from a copy of the module then.
    pub stamp: Option<&'static str>,
}

/// Stands for Google Cloud Storage. Up to 1.53 it answers gsutil's uploads of streams with 404.
pub static GCS_SERVER: GoProgram = GoProgram {
    name: "fake-gcs-server",
    version: "1.56.1",
    module: "github.com/fsouza/fake-gcs-server",
    package: "github.com/fsouza/fake-gcs-server",
    sums: &[],
    stamp: None,
};

/// Installs charts.
pub static HELM: GoProgram = GoProgram {
    name: "helm",
    version: "3.22.0",
    module: "helm.sh/helm/v3",
    package: "helm.sh/helm/v3/cmd/helm",
    sums: &[],
    stamp: None,
};

/// The plugin behind `helm diff`.
pub static HELM_DIFF: GoProgram = GoProgram {
    name: "helm-diff",
    version: "3.9.14",
    module: "github.com/databus23/helm-diff/v3",
    package: "github.com/databus23/helm-diff/v3",
    sums: &[
        "h1:pguvdUgk6UQeCL6xXZ2zIWYqbMi3Z0we2xmhAf3+G4g=",
        "/go.mod h1:63MxVXc1LBw86dQbKqupYkHFXrqv4tiTltyuUydYc2g=",
    ],
    stamp: None,
};

/// Speaks MongoDB's protocol over files of SQLite: the last line of versions that does.
pub static FERRETDB: GoProgram = GoProgram {
    name: "ferretdb",
    version: "1.24.0",
    module: "github.com/FerretDB/FerretDB",
    package: "github.com/FerretDB/FerretDB/cmd/ferretdb",
    sums: &[],
    stamp: Some("build/version/version.txt"),
};

/// The first that gets itself the Go that a module asks for, as any other module.
const MINIMUM_GO: (u32, u32) = (1, 21);
/// Of Debian 13, with its standard library.
const GO_PACKAGES: [&str; 2] = ["golang-1.24-go", "golang-1.24-src"];
const BUILDING: Duration = Duration::from_secs(15 * 60);

pub async fn examine(program: &'static GoProgram, needed_by: &BTreeSet<String>) -> Finding {
    let fix = (go().await.is_some() || debian::can_fetch()).then_some(Fix::Go(program));
    let remedy = match fix {
        Some(_) => "`redrill doctor --install` builds it with Go for this user".to_owned(),
        None => format!("put Go {}.{} or newer into PATH, then `redrill doctor --install`", MINIMUM_GO.0, MINIMUM_GO.1),
    };
    let what = format!("{} {}", program.name, program.version);
    Finding { what, found: find(program), needed_by: needed_by.clone(), remedy, fix }
}

/// The program that was built for this user, if it was.
pub fn find(program: &GoProgram) -> Option<Tool> {
    let path = path(program).filter(|path| path.is_file())?;
    Some(Tool { path, version: program.version.to_owned() })
}

/// Where the program is once it is built; `None` where nothing says what is this user's.
pub fn path(program: &GoProgram) -> Option<PathBuf> {
    tools_folder().map(|tools| place(program, &tools))
}

/// With its version in its name, so that another redrill's is not taken for it.
fn place(program: &GoProgram, tools: &Path) -> PathBuf {
    tools.join(format!("{}-{}", program.name, program.version))
}

/// The Go on PATH, if it is new enough.
async fn go() -> Option<String> {
    let output =
        command::run(&["go", "env", "GOVERSION"], &BTreeMap::new(), b"", Duration::from_secs(20)).await.ok()?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (number(&version) >= Some(MINIMUM_GO)).then(|| "go".to_owned())
}

/// Major and minor of `go1.24.4`.
fn number(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.strip_prefix("go")?.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// Builds them with the machine's Go, or with Debian 13's, which is gone afterwards: one for all, and what one of them has fetched or
/// compiled is there for the next. `tell` hears of each as it begins. Errs with the first that cannot be built.
pub async fn install(programs: &[&GoProgram], tell: impl FnMut(&str)) -> Result<(), Error> {
    match programs {
        [] => Ok(()),
        programs => install_into(programs, &tools_folder_or_error()?, tell).await,
    }
}

async fn install_into(programs: &[&GoProgram], tools: &Path, mut tell: impl FnMut(&str)) -> Result<(), Error> {
    let io = |source| Error::Io { doing: format!("prepare {}", tools.display()), source };
    std::fs::create_dir_all(tools).map_err(io)?;
    let work = tempfile::Builder::new().prefix(".build-").tempdir_in(tools).map_err(io)?;
    let inside = |folder: &str| work.path().join(folder).display().to_string();
    let mut env = BTreeMap::from([
        ("GOBIN", inside("bin")),
        ("GOPATH", inside("path")),
        ("GOCACHE", inside("cache")),
        ("GOFLAGS", "-trimpath".to_owned()),
        ("CGO_ENABLED", "0".to_owned()),
        // Debian's Go gets itself no newer one unless told to.
        ("GOTOOLCHAIN", "auto".to_owned()),
    ]);
    let go = match go().await {
        Some(go) => go,
        None => {
            let debian = work.path().join("debian");
            debian::fetch(&GO_PACKAGES, &debian).await?;
            let root = debian.join("root/usr/lib/go-1.24").display().to_string();
            env.insert("GOROOT", root.clone());
            format!("{root}/bin/go")
        }
    };
    let env: BTreeMap<_, _> = env.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
    let building = async {
        for program in programs {
            tell(program.name);
            build(program, &go, work.path(), env.clone()).await?;
            std::fs::rename(work.path().join("bin").join(program.name), place(program, tools)).map_err(io)?;
        }
        Ok(())
    };
    let built: Result<(), Error> = building.await;
    // Modules are read-only: only root could remove them with the folder.
    super::run_with(&[&go, "clean", "-modcache"], env, "go clean -modcache", BUILDING).await?;
    built
}

/// Builds it as `bin/NAME` below `work`.
async fn build(program: &GoProgram, go: &str, work: &Path, env: BTreeMap<String, Secret>) -> Result<(), Error> {
    let wanted = format!("{}@v{}", program.package, program.version);
    if let Some(stamp) = program.stamp {
        return build_stamped(program, stamp, go, work, env).await;
    }
    if program.sums.is_empty() {
        super::run_with(&[go, "install", &wanted], env, &format!("go install {wanted}"), BUILDING).await?;
        let io = |source| Error::Io { doing: format!("find what Go made of {wanted}"), source };
        let made = program.package.rsplit('/').next().unwrap_or(program.name);
        return std::fs::rename(work.join("bin").join(made), work.join("bin").join(program.name)).map_err(io);
    }
    let module = work.join(format!("module-{}", program.name));
    let io = |source| Error::Io { doing: format!("prepare {}", module.display()), source };
    std::fs::create_dir(&module).map_err(io)?;
    let GoProgram { module: required, version, .. } = program;
    let text = format!("module redrill.invalid/build\n\ngo 1.21\n\nrequire {required} v{version}\n");
    std::fs::write(module.join("go.mod"), text).map_err(io)?;
    let sums = program.sums.iter().map(|sum| match sum.starts_with('/') {
        true => format!("{required} v{version}{sum}\n"),
        false => format!("{required} v{version} {sum}\n"),
    });
    std::fs::write(module.join("go.sum"), sums.collect::<String>()).map_err(io)?;
    let (folder, made) = (module.display().to_string(), work.join("bin").join(program.name).display().to_string());
    let argv = [go, "-C", &folder, "build", "-mod=mod", "-o", &made, program.package];
    super::run_with(&argv, env, &format!("go build {wanted}"), BUILDING).await.map(drop)
}

/// Builds it from a copy of its module that has the version where a release has it.
async fn build_stamped(
    program: &GoProgram,
    stamp: &str,
    go: &str,
    work: &Path,
    env: BTreeMap<String, Secret>,
) -> Result<(), Error> {
    let wanted = format!("{}@v{}", program.module, program.version);
    let doing = format!("go mod download {wanted}");
    let said = super::run_with(&[go, "mod", "download", "-json", &wanted], env.clone(), &doing, BUILDING).await?;
    let downloaded: serde_json::Value = serde_json::from_str(&said).unwrap_or_default();
    let Some(source) = downloaded["Dir"].as_str() else {
        return Err(Error::Refused { doing, said: "Go does not say where it is".to_owned() });
    };
    let copy = work.join(format!("module-{}", program.name));
    let io = |source| Error::Io { doing: format!("copy {wanted}"), source };
    copy_folder(Path::new(source), &copy).map_err(io)?;
    std::fs::write(copy.join(stamp), format!("v{}\n", program.version)).map_err(io)?;
    let (folder, made) = (copy.display().to_string(), work.join("bin").join(program.name).display().to_string());
    let package = program.package.replacen(program.module, ".", 1);
    let argv = [go, "-C", &folder, "build", "-buildvcs=false", "-o", &made, &package];
    super::run_with(&argv, env, &format!("go build {wanted}"), BUILDING).await.map(drop)
}

/// With modes of its own: what Go keeps may not be written to.
fn copy_folder(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_folder(&entry.path(), &target)?,
            false => std::fs::write(target, std::fs::read(entry.path())?)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_go_are_compared_as_numbers() {
        assert_eq!(number("go1.24.4"), Some((1, 24)));
        assert_eq!(number("go1.26"), Some((1, 26)));
        assert!(number("go1.19.8") < Some(MINIMUM_GO) && number("go1.100") > Some(MINIMUM_GO));
        assert!(number("devel").is_none() && number("").is_none());
    }

    #[tokio::test]
    #[ignore = "fetches 300 MB of modules and builds them"]
    async fn programs_are_built_and_nothing_else_stays() {
        let folder = tempfile::tempdir().expect("folder");
        let programs = [&GCS_SERVER, &HELM_DIFF, &FERRETDB];
        let mut told = Vec::new();
        install_into(&programs, folder.path(), |what| told.push(what.to_owned())).await.expect("built");
        assert!(told.ends_with(&programs.map(|program| program.name.to_owned())), "{told:?}");
        let entries = std::fs::read_dir(folder.path()).expect("folder");
        let names: BTreeSet<PathBuf> = entries.map(|entry| entry.expect("entry").path()).collect();
        assert_eq!(names, programs.iter().map(|program| place(program, folder.path())).collect());
    }
}
