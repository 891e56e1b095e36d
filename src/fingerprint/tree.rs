//! Fingerprints of file trees: what a restore of files has to bring back.
//!
//! Per path: type, mode, owner, group, and by type size and content, link target or device. Times of change are left out,
//! because a restored directory's changes with each file put into it and no application may rely on it; so are the blocks
//! of a sparse file, because its content is the same without holes. Files that were one under several names must be so
//! again. Extended attributes are not read.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use super::{Fingerprint, Item};
use crate::probe::Error;

/// Fingerprints everything below `root`, and `root` itself as `.`. Symbolic links are not followed, but `root` may be one.
/// Where there is no `root`, nothing is there: an empty fingerprint.
pub fn fingerprint(root: &Path) -> Result<Fingerprint, Error> {
    let root = match root.canonicalize() {
        Ok(root) => root,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Fingerprint::default()),
        Err(error) => return Err(Error::io(format!("find {}", root.display()))(error)),
    };
    let mut walk = Walk::default();
    let metadata = fs::metadata(&root).map_err(Error::io(format!("look at {}", root.display())))?;
    walk.put(&root, ".".into(), &metadata)?;
    let mut pending = vec![(root, Vec::new())];
    while let Some((directory, prefix)) = pending.pop() {
        let reading = || Error::io(format!("list {}", directory.display()));
        for entry in fs::read_dir(&directory).map_err(reading())? {
            let entry = entry.map_err(reading())?;
            let (path, name) = (entry.path(), child(&prefix, &entry.file_name()));
            let metadata = fs::symlink_metadata(&path).map_err(Error::io(format!("look at {}", path.display())))?;
            walk.put(&path, escaped(&name), &metadata)?;
            if metadata.is_dir() {
                pending.push((path, name));
            }
        }
    }
    Ok(walk.finish())
}

#[derive(Default)]
struct Walk {
    fingerprint: Fingerprint,
    /// Names of what has several, by device and inode.
    links: BTreeMap<(u64, u64), Vec<String>>,
}

impl Walk {
    fn put(&mut self, path: &Path, name: String, metadata: &Metadata) -> Result<(), Error> {
        let (kind, content) = describe(path, metadata).map_err(Error::io(format!("read {}", path.display())))?;
        let mode = metadata.mode() & 0o7777;
        // A symbolic link's own mode means nothing, and not every system has the same.
        let mode = if metadata.is_symlink() { String::new() } else { format!("mode {mode:04o}, ") };
        let shown = format!("{mode}owner {}:{}, {content}", metadata.uid(), metadata.gid());
        if metadata.nlink() > 1 && !metadata.is_dir() {
            self.links.entry((metadata.dev(), metadata.ino())).or_default().push(name.clone());
        }
        let digest = blake3::hash(format!("{kind} {shown}").as_bytes()).to_hex().to_string();
        self.fingerprint.items.insert(format!("{kind} {name}"), Item { count: 1, digest, shown: Some(shown) });
        Ok(())
    }

    fn finish(mut self) -> Fingerprint {
        for mut names in self.links.into_values().filter(|names| names.len() > 1) {
            names.sort();
            let item = Item::of_text(names.len() as u64, &names.join(" "));
            self.fingerprint.items.insert(format!("hard links of {}", names[0]), item);
        }
        self.fingerprint
    }
}

/// What it is, and everything about it but its mode and owner. Content is digested, never quoted.
fn describe(path: &Path, metadata: &Metadata) -> io::Result<(&'static str, String)> {
    let kind = metadata.file_type();
    Ok(if kind.is_file() {
        ("file", format!("{} bytes, content {}", metadata.len(), content(path)?))
    } else if kind.is_dir() {
        ("directory", "directory".into())
    } else if kind.is_symlink() {
        ("link", format!("to {}", escaped(fs::read_link(path)?.as_os_str().as_bytes())))
    } else if kind.is_fifo() {
        ("pipe", "pipe".into())
    } else if kind.is_socket() {
        ("socket", "socket".into())
    } else {
        (
            "device",
            format!("device {:#x}, {}", metadata.rdev(), if kind.is_block_device() { "block" } else { "character" }),
        )
    })
}

fn content(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hasher = blake3::Hasher::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(length) => hasher.update(&buffer[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
    }
    Ok(hasher.finalize().to_hex()[..32].to_owned())
}

fn child(prefix: &[u8], name: &OsStr) -> Vec<u8> {
    let mut path = prefix.to_vec();
    if !path.is_empty() {
        path.push(b'/');
    }
    path.extend(name.as_bytes());
    path
}

/// A name in printable UTF-8 that only this name has: bytes that are none, control characters and `\` as `\xNN`.
pub fn escaped(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        for letter in chunk.valid().chars() {
            if letter.is_control() || letter == '\\' {
                let mut bytes = [0; 4];
                letter.encode_utf8(&mut bytes).bytes().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
            } else {
                text.push(letter);
            }
        }
        chunk.invalid().iter().for_each(|byte| text.push_str(&format!("\\x{byte:02x}")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::PathBuf;

    /// The path that `escaped` made a name of; `None` for what it never makes.
    fn unescaped(text: &str) -> Option<PathBuf> {
        let mut bytes = Vec::with_capacity(text.len());
        let mut rest = text.as_bytes();
        while let Some((first, tail)) = rest.split_first() {
            rest = tail;
            if *first == b'\\' {
                let (code, tail) = tail.split_at_checked(3)?;
                let code = std::str::from_utf8(code.strip_prefix(b"x")?).ok()?;
                bytes.push(u8::from_str_radix(code, 16).ok()?);
                rest = tail;
            } else {
                bytes.push(*first);
            }
        }
        Some(PathBuf::from(OsStr::from_bytes(&bytes)))
    }

    proptest! {
        #[test]
        fn every_name_can_be_read_back(name in prop::collection::vec(any::<u8>(), 0..60)) {
            let text = escaped(&name);
            prop_assert!(!text.chars().any(char::is_control));
            let path = unescaped(&text).unwrap();
            prop_assert_eq!(path.as_os_str().as_bytes(), &name);
        }
    }

    /// What differs after `change` was made to a small tree.
    fn differences_after(change: impl FnOnce(&Path)) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("user")).unwrap();
        fs::write(root.join("user/a.png"), "picture").unwrap();
        fs::hard_link(root.join("user/a.png"), root.join("user/b.png")).unwrap();
        symlink("a.png", root.join("user/latest")).unwrap();
        let before = fingerprint(root).unwrap();
        change(root);
        before.differences(&fingerprint(root).unwrap()).iter().map(|difference| difference.item.clone()).collect()
    }

    #[test]
    fn each_kind_of_change_is_named() {
        assert!(differences_after(|_| ()).is_empty());
        assert_eq!(differences_after(|root| fs::write(root.join("new"), "").unwrap()), ["file new"]);
        assert_eq!(
            differences_after(|root| fs::write(root.join("user/a.png"), "Picture").unwrap()),
            ["file user/a.png", "file user/b.png"]
        );
        let private = fs::Permissions::from_mode(0o2700);
        assert_eq!(
            differences_after(|root| fs::set_permissions(root.join("user"), private).unwrap()),
            ["directory user"]
        );
        let retarget = |root: &Path| {
            fs::remove_file(root.join("user/latest")).unwrap();
            symlink("b.png", root.join("user/latest")).unwrap();
        };
        assert_eq!(differences_after(retarget), ["link user/latest"]);
    }

    #[test]
    fn a_hard_link_that_became_a_copy_is_named() {
        let copy = |root: &Path| {
            fs::copy(root.join("user/b.png"), root.join("copy")).unwrap();
            fs::rename(root.join("copy"), root.join("user/b.png")).unwrap();
        };
        assert_eq!(differences_after(copy), ["hard links of user/a.png"]);
    }

    #[test]
    fn a_time_of_change_is_no_difference() {
        let touch = |root: &Path| fs::write(root.join("user/a.png"), "picture").unwrap();
        assert!(differences_after(touch).is_empty());
    }
}
