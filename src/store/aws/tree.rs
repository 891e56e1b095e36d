//! Copies a file system's tree as a backup does: file by file in the order of names, while whoever uses it goes on writing.

use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::SystemTime;

use nix::unistd::{Whence, lseek};

/// What was copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Copied {
    pub files: u64,
    pub bytes: u64,
}

/// Copies what is below `from` into `to`, which has to be there: files with their holes, folders, links; owners, modes and times with
/// them. Sockets, pipes and devices are left out, and so is what goes away meanwhile.
pub fn copy(from: &Path, to: &Path) -> io::Result<Copied> {
    let mut copied = Copied::default();
    let mut names: Vec<_> = fs::read_dir(from)?.map(|entry| Ok(entry?.file_name())).collect::<io::Result<_>>()?;
    names.sort();
    for name in names {
        match entry(&from.join(&name), &to.join(&name), &mut copied) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    like(&fs::symlink_metadata(from)?, to)?;
    Ok(copied)
}

fn entry(from: &Path, to: &Path, copied: &mut Copied) -> io::Result<()> {
    let metadata = fs::symlink_metadata(from)?;
    if metadata.is_dir() {
        fs::create_dir(to)?;
        let below = copy(from, to)?;
        copied.files += below.files;
        copied.bytes += below.bytes;
    } else if metadata.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(from)?, to)?;
        std::os::unix::fs::lchown(to, Some(metadata.uid()), Some(metadata.gid()))?;
        copied.files += 1;
    } else if metadata.is_file() {
        copied.bytes += content(&File::open(from)?, &File::create_new(to)?)?;
        copied.files += 1;
        like(&metadata, to)?;
    }
    Ok(())
}

fn like(metadata: &Metadata, to: &Path) -> io::Result<()> {
    std::os::unix::fs::chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(metadata.mode() & 0o7777))?;
    let times = fs::FileTimes::new().set_modified(metadata.modified()?);
    let times = times.set_accessed(metadata.accessed().unwrap_or(SystemTime::UNIX_EPOCH));
    File::open(to)?.set_times(times)
}

/// The extents that hold data, by the kernel's own copying; the rest stays a hole. Returns the bytes that hold data.
fn content(from: &File, to: &File) -> io::Result<u64> {
    let size = from.metadata()?.len();
    let (mut at, mut bytes) = (0, 0);
    while let Some(start) = seek(from, at, Whence::SeekData)? {
        let end = seek(from, start, Whence::SeekHole)?.unwrap_or(size);
        if end <= start {
            break;
        }
        let read = extent(from, to, start, end)?;
        bytes += read;
        at = start + read;
        if at < end {
            // It became shorter meanwhile.
            break;
        }
    }
    to.set_len(size.max(at))?;
    Ok(bytes)
}

/// `None` where there is nothing more of it.
fn seek(file: &File, at: u64, whence: Whence) -> io::Result<Option<u64>> {
    let at = i64::try_from(at).map_err(io::Error::other)?;
    match lseek(file, at, whence) {
        Ok(place) => Ok(u64::try_from(place).ok()),
        Err(nix::errno::Errno::ENXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn extent(from: &File, to: &File, start: u64, end: u64) -> io::Result<u64> {
    let (mut read, mut written) =
        (i64::try_from(start).map_err(io::Error::other)?, i64::try_from(start).map_err(io::Error::other)?);
    let mut left = usize::try_from(end - start).map_err(io::Error::other)?;
    while left > 0 {
        match nix::fcntl::copy_file_range(from, Some(&mut read), to, Some(&mut written), left) {
            Ok(0) => break,
            Ok(copied) => left -= copied,
            // Two file systems, or one that cannot do it by itself.
            Err(nix::errno::Errno::EXDEV | nix::errno::Errno::EINVAL | nix::errno::Errno::EOPNOTSUPP) => {
                return by_hand(from, to, start, end);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(end - start - left as u64)
}

fn by_hand(from: &File, to: &File, start: u64, end: u64) -> io::Result<u64> {
    let mut buffer = vec![0; 1 << 20];
    let mut at = start;
    while at < end {
        let wanted = buffer.len().min(usize::try_from(end - at).unwrap_or(buffer.len()));
        let count = from.read_at(&mut buffer[..wanted], at)?;
        if count == 0 {
            break;
        }
        to.write_all_at(&buffer[..count], at)?;
        at += count as u64;
    }
    Ok(at - start)
}

/// The bytes of all files below a folder; what goes away meanwhile counts nothing.
pub fn size(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let of_entry = |entry: fs::DirEntry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => size(&entry.path()),
        Ok(metadata) => metadata.len(),
        Err(_) => 0,
    };
    entries.map(of_entry).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_has_what_the_original_has_holes_and_odd_names_too() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir_all(from.join("a folder/deeper")).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("line\nbreak"), "odd").unwrap();
        fs::write(from.join("a folder/deeper/-f"), "x".repeat(100_000)).unwrap();
        std::os::unix::fs::symlink("nowhere", from.join("link")).unwrap();
        let sparse = File::create(from.join("sparse")).unwrap();
        sparse.write_all_at(b"end", 50 << 20).unwrap();
        sparse.set_len(60 << 20).unwrap();
        fs::set_permissions(from.join("a folder"), fs::Permissions::from_mode(0o710)).unwrap();
        let old = fs::FileTimes::new().set_modified(SystemTime::UNIX_EPOCH);
        File::open(from.join("line\nbreak")).unwrap().set_times(old).unwrap();

        let copied = copy(&from, &to).unwrap();
        assert_eq!(copied.files, 4);
        assert!(copied.bytes < 1 << 20, "holes are no bytes: {copied:?}");
        assert_eq!(fs::read(to.join("line\nbreak")).unwrap(), b"odd");
        assert_eq!(fs::metadata(to.join("line\nbreak")).unwrap().modified().unwrap(), SystemTime::UNIX_EPOCH);
        assert_eq!(
            fs::read(to.join("a folder/deeper/-f")).unwrap(),
            fs::read(from.join("a folder/deeper/-f")).unwrap()
        );
        assert_eq!(fs::read_link(to.join("link")).unwrap(), Path::new("nowhere"));
        let sparse = fs::metadata(to.join("sparse")).unwrap();
        assert_eq!((sparse.len(), sparse.blocks() * 512 < 1 << 20), (60 << 20, true));
        let mut end = [0; 3];
        File::open(to.join("sparse")).unwrap().read_exact_at(&mut end, 50 << 20).unwrap();
        assert_eq!(&end, b"end");
        assert_eq!(fs::metadata(to.join("a folder")).unwrap().mode() & 0o7777, 0o710);
    }

    #[test]
    fn what_is_there_already_is_never_written_over() {
        let place = tempfile::tempdir().unwrap();
        let (from, to) = (place.path().join("from"), place.path().join("to"));
        fs::create_dir(&from).unwrap();
        fs::create_dir(&to).unwrap();
        fs::write(from.join("a"), "new").unwrap();
        fs::write(to.join("a"), "old").unwrap();
        assert!(copy(&from, &to).is_err());
        assert_eq!(fs::read(to.join("a")).unwrap(), b"old");
    }
}
