//! Fills a directory with files that break restores. Same `rng`, same content.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::Error;

/// To whom everything that is seeded belongs.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    pub user: u32,
    pub group: u32,
}

/// Every one of these has broken a script that somebody wrote. The last is no UTF-8; a dot and two dots are not dots.
const ODD_NAMES: [&[u8]; 14] = [
    b"with space.txt",
    b" leading and trailing ",
    b"new\nline.txt",
    b"tab\there",
    b"-rf",
    b"--exclude=all",
    b"*",
    b"$(touch harmed)",
    b"it's \"quoted\" \\ back",
    b".hidden",
    b"...",
    "größe-日本語-😀.txt".as_bytes(),
    // The same letter as one code point and as two: file systems and tools that normalise make one file of both.
    "e\u{301} and \u{e9}.txt".as_bytes(),
    b"latin1-\xe9\xff.txt",
];

const BIG_FILE: u64 = 512 << 10;

/// Makes the tree below `root`, which is made if it is not there. `bytes` is the size of what does not compress; odd files
/// come on top. Needs the right to give files to `owner`.
pub fn seed(root: &Path, bytes: u64, rng: u64, owner: Owner) -> Result<(), Error> {
    let mut seeder = Seeder { rng: ChaCha8Rng::seed_from_u64(rng), owner };
    let making = |path: &Path| Error::io(format!("make {}", path.display()));
    fs::create_dir_all(root).map_err(making(root))?;
    seeder.odd(&root.join("odd")).map_err(making(&root.join("odd")))?;
    seeder.modes(&root.join("modes")).map_err(making(&root.join("modes")))?;
    seeder.links(&root.join("links")).map_err(making(&root.join("links")))?;
    seeder.bulk(&root.join("uploads"), bytes).map_err(making(&root.join("uploads")))?;
    seeder.own(root).map_err(making(root))
}

struct Seeder {
    rng: ChaCha8Rng,
    owner: Owner,
}

impl Seeder {
    fn odd(&mut self, directory: &Path) -> io::Result<()> {
        self.directory(directory, 0o755)?;
        for name in ODD_NAMES {
            let length = self.rng.random_range(1..5000);
            self.file(&directory.join(OsStr::from_bytes(name)), length, 0o644)?;
        }
        // 255 bytes is the longest name that Linux has.
        self.file(&directory.join("n".repeat(255)), 10, 0o644)?;
        self.file(&directory.join("empty"), 0, 0o644)?;
        self.directory(&directory.join("empty directory"), 0o755)?;
        let deep: PathBuf = (0..12).fold(directory.to_owned(), |path, level| path.join(format!("level {level}")));
        fs::create_dir_all(&deep)?;
        for level in deep.ancestors().take_while(|level| *level != directory) {
            self.own_with_mode(level, 0o755)?;
        }
        self.file(&deep.join("bottom"), 100, 0o644)?;
        self.sparse(&directory.join("sparse"))
    }

    /// A MiB of nothing between two ends.
    fn sparse(&mut self, path: &Path) -> io::Result<()> {
        let mut file = File::create(path)?;
        file.write_all(b"start")?;
        file.seek(SeekFrom::Start(1 << 20))?;
        file.write_all(b"end")?;
        self.own_with_mode(path, 0o644)
    }

    fn modes(&mut self, directory: &Path) -> io::Result<()> {
        self.directory(directory, 0o755)?;
        for mode in [0o600, 0o640, 0o444, 0o755, 0o000] {
            self.file(&directory.join(format!("mode-{mode:04o}")), 50, mode)?;
        }
        self.directory(&directory.join("setgid"), 0o2775)?;
        self.file(&directory.join("setgid/inside"), 10, 0o664)?;
        self.directory(&directory.join("sticky"), 0o1777)?;
        self.directory(&directory.join("private"), 0o700)?;
        self.file(&directory.join("private/key"), 32, 0o400)
    }

    fn links(&mut self, directory: &Path) -> io::Result<()> {
        self.directory(directory, 0o755)?;
        self.file(&directory.join("target"), 300, 0o644)?;
        fs::hard_link(directory.join("target"), directory.join("hard"))?;
        let links = [
            ("relative", "target"),
            ("dangling", "no such file"),
            ("outside", "/etc/hostname"),
            ("up", "../odd"),
            ("loop", "loop"),
        ];
        for (name, target) in links {
            let path = directory.join(name);
            symlink(target, &path)?;
            self.own(&path)?;
        }
        Ok(())
    }

    /// Files of many sizes, as people upload them, in numbered directories.
    fn bulk(&mut self, directory: &Path, bytes: u64) -> io::Result<()> {
        self.directory(directory, 0o755)?;
        let (mut left, mut number) = (bytes, 0);
        while left > 0 {
            let folder = directory.join(format!("{:02x}", number % 16));
            if number < 16 {
                self.directory(&folder, 0o755)?;
            }
            let length = self.rng.random_range(1..=BIG_FILE).min(left);
            self.file(&folder.join(format!("upload-{number}.bin")), length, 0o644)?;
            left -= length;
            number += 1;
        }
        Ok(())
    }

    fn directory(&self, path: &Path, mode: u32) -> io::Result<()> {
        fs::create_dir(path)?;
        self.own_with_mode(path, mode)
    }

    fn file(&mut self, path: &Path, length: u64, mode: u32) -> io::Result<()> {
        let mut file = BufWriter::new(File::create_new(path)?);
        let mut buffer = [0; 8192];
        let mut left = length;
        while left > 0 {
            let chunk = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
            self.rng.fill_bytes(&mut buffer[..chunk]);
            file.write_all(&buffer[..chunk])?;
            left -= chunk as u64;
        }
        file.flush()?;
        self.own_with_mode(path, mode)
    }

    /// Owner first: a change of owner takes set-group-id off a file. The mode is set and not left to the umask.
    fn own_with_mode(&self, path: &Path, mode: u32) -> io::Result<()> {
        self.own(path)?;
        fs::set_permissions(path, Permissions::from_mode(mode))
    }

    fn own(&self, path: &Path) -> io::Result<()> {
        lchown(path, Some(self.owner.user), Some(self.owner.group))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::tree::fingerprint;

    fn me() -> Owner {
        Owner { user: nix::unistd::geteuid().as_raw(), group: nix::unistd::getegid().as_raw() }
    }

    fn seeded(rng: u64) -> (tempfile::TempDir, crate::fingerprint::Fingerprint) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().join("media");
        seed(&root, 2 << 20, rng, me()).unwrap();
        let fingerprint = fingerprint(&root).unwrap();
        (directory, fingerprint)
    }

    #[test]
    fn the_same_number_gives_the_same_tree_and_another_number_another() {
        let (_one, first) = seeded(7);
        let (_two, again) = seeded(7);
        let (_three, other) = seeded(8);
        assert_eq!(first, again);
        assert_ne!(first, other);
    }

    #[test]
    fn what_breaks_restores_is_there() {
        let (_directory, fingerprint) = seeded(7);
        for item in [
            "file odd/new\\x0aline.txt",
            "file odd/latin1-\\xe9\\xff.txt",
            "directory odd/empty directory",
            "link links/dangling",
            "hard links of links/hard",
            "directory modes/setgid",
        ] {
            assert!(fingerprint.items.contains_key(item), "{item}");
        }
        let setgid = fingerprint.items["directory modes/setgid"].shown.as_deref().unwrap();
        assert!(setgid.starts_with("mode 2775"), "{setgid}");
    }
}
