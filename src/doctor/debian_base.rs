//! A root of Debian 12 from the packages of the mirror that this machine uses: what images are made from where no registry answers. It trusts
//! what this machine trusts.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{Error, debian, run};

/// The release that the images of this repository are for.
const SUITE: &str = "bookworm";
const MAKING: Duration = Duration::from_secs(20 * 60);

/// Makes it below `work` and returns a tar of it. As root, on Debian, with debootstrap; errors say which of these is missing.
pub async fn make(work: &Path) -> Result<PathBuf, Error> {
    if !super::is_debian() || !nix::unistd::geteuid().is_root() {
        return Err(Error::Impossible("only root on Debian makes it from packages".to_owned()));
    }
    let mirror = debian::mirror().await?;
    let root = work.join("root").display().to_string();
    let argv = ["debootstrap", "--variant=minbase", SUITE, &root, &mirror];
    run(&argv, &format!("debootstrap {SUITE} {mirror} (from the package debootstrap)"), MAKING).await?;
    let archive = work.join("root.tar");
    // Who builds behind a proxy that has an authority of its own needs that one, as the machine does.
    let script = r#"for authority in /usr/local/share/ca-certificates/*.crt; do
    [ ! -f "$authority" ] || install -D -m 644 -t "$1/usr/local/share/ca-certificates" "$authority"
done
# As in Debian's own image: what is cut off is built again, so that no file has to be on the disk before the next one, and nobody reads
# what packages are about in other languages.
echo force-unsafe-io >"$1/etc/dpkg/dpkg.cfg.d/docker-apt-speedup"
echo 'Acquire::Languages "none";' >"$1/etc/apt/apt.conf.d/docker-no-languages"
rm -f "$1"/var/cache/apt/archives/*.deb "$1"/var/lib/apt/lists/*_*
tar --numeric-owner -C "$1" -cf "$2" ."#;
    let argv = ["sh", "-euc", script, "pack", &root, &archive.display().to_string()];
    run(&argv, "tar of the root", MAKING).await?;
    Ok(archive)
}
