//! Packages of a newer Debian, unpacked for this user: nothing of the machine's package management changes.

use std::path::Path;
use std::time::Duration;

use super::Error;

/// The release that has new enough versions of what Debian 12 has only in old ones.
const SUITE: &str = "trixie";
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
const FETCHING: Duration = Duration::from_secs(10 * 60);

/// Whether this machine has what `fetch` needs.
pub fn can_fetch() -> bool {
    super::is_debian() && Path::new(KEYRING).exists()
}

/// Fetches packages from the mirror that this machine uses anyway, with lists and cache of its own below `work`, which has to be
/// empty, and unpacks them into `work/root`. Errors when apt has no such mirror, or it has no such packages.
pub async fn fetch(packages: &[&str], work: &Path) -> Result<(), Error> {
    let io = |source| Error::Io { doing: format!("prepare {}", work.display()), source };
    for folder in ["lists/partial", "cache/archives/partial", "root"] {
        std::fs::create_dir_all(work.join(folder)).map_err(io)?;
    }
    let mirror = mirror().await?;
    let source = format!("deb [signed-by={KEYRING}] {mirror} {SUITE} main\n");
    std::fs::write(work.join("sources.list"), source).map_err(io)?;
    std::fs::write(work.join("status"), "").map_err(io)?;

    let script = r#"cd "$1"
shift
apt() {
    apt-get --quiet --option Dir::Etc::sourcelist="$PWD/sources.list" --option Dir::Etc::sourceparts=/dev/null \
        --option Dir::State::lists="$PWD/lists" --option Dir::State::status="$PWD/status" --option Dir::Cache="$PWD/cache" \
        --option Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false --option Acquire::Languages=none \
        --option APT::Sandbox::User= "$@"
}
apt update && apt download "$@"
for package in *.deb; do
    dpkg-deb --extract "$package" root
done"#;
    let folder = work.display().to_string();
    let mut argv = vec!["sh", "-euc", script, "fetch", &folder];
    argv.extend(packages);
    let doing = format!("apt-get download {} ({SUITE}, {mirror})", packages.join(" "));
    super::run(&argv, &doing, FETCHING).await.map(drop)
}

/// The machine's own mirror of Debian.
pub async fn mirror() -> Result<String, Error> {
    let argv = ["apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Identifier: Packages"];
    let targets = super::run(&argv, "apt-get indextargets", Duration::from_secs(60)).await?;
    let os_release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let codename = super::os_release(&os_release, "VERSION_CODENAME").unwrap_or_default();
    mirror_of(&targets, &codename).ok_or_else(|| Error::Impossible(format!("apt has no source for `{codename} main`")))
}

fn mirror_of(targets: &str, codename: &str) -> Option<String> {
    let main = |line: &&str| matches!(&*line.split(' ').collect::<Vec<_>>(), [_, release, "main"] if *release == codename || *release == "stable");
    let line = targets.lines().find(main)?;
    Some(line.split(' ').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_the_one_of_the_release_itself() {
        let targets = "http://security.example/ bookworm-security main\nhttps://tools.example/apt x main\n\
                       http://mirror.example/debian/ bookworm-updates main\nhttp://mirror.example/debian/ bookworm main\n";
        assert_eq!(mirror_of(targets, "bookworm").as_deref(), Some("http://mirror.example/debian/"));
        assert_eq!(mirror_of(targets, "sid"), None);
    }
}
