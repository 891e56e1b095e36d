//! What is put into the volumes of a pod, whoever mounts them: sub paths, files in memory, a group's share.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::{Component, Path, PathBuf};

use base64::Engine as _;

use super::fault::{Doing, Fault};
use super::mounts::open_below;
use super::protocol::File as ProjectedFile;

/// Opens a path below a volume; what is absent is made with the volume's own mode, as a kubelet does.
pub(crate) fn open_sub_path(volume: &File, path: &Path) -> io::Result<OwnedFd> {
    let mut below = PathBuf::from(".");
    let mode = volume.metadata()?.mode() & 0o7777;
    for component in path.components() {
        match component {
            Component::Normal(name) => below.push(name),
            Component::CurDir => continue,
            Component::ParentDir | Component::RootDir | Component::Prefix(_) => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "a sub path leads out of its volume"));
            }
        }
        if open_below(volume, &below).is_ok() {
            continue;
        }
        let parent = open_below(volume, below.parent().unwrap_or(Path::new(".")))?;
        let name = below.file_name().unwrap_or_default();
        nix::sys::stat::mkdirat(&parent, name, nix::sys::stat::Mode::from_bits_truncate(0o777))?;
        let made = open_below(volume, &below)?;
        // An O_PATH descriptor has no mode to change; opened again it has.
        let made = File::open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&made)))?;
        made.set_permissions(Permissions::from_mode(mode))?;
    }
    open_below(volume, &below)
}

/// Writes files below `root`, which is in memory.
pub(crate) fn write_files(root: &Path, files: &[ProjectedFile], fs_group: Option<u32>) -> Result<(), Fault> {
    for file in files {
        if file.path.components().any(|part| !matches!(part, Component::Normal(_))) {
            return Err(Fault::new(format!("project {}", file.path.display()), "the path leads out of its volume"));
        }
        let path = root.join(&file.path);
        let doing = || format!("project {}", file.path.display());
        let parent = path.parent().unwrap_or(root);
        DirBuilder::new().recursive(true).mode(0o755).create(parent).doing(doing())?;
        let content = base64::engine::general_purpose::STANDARD.decode(file.content.as_bytes());
        let content = content.map(zeroize::Zeroizing::new).map_err(io::Error::other).doing(doing())?;
        fs::write(&path, &*content).doing(doing())?;
        // The group of the pod's files reads them whatever their mode says, as a kubelet arranges it.
        let mode = if fs_group.is_some() { file.mode | 0o440 } else { file.mode };
        std::os::unix::fs::lchown(&path, None, fs_group).doing(doing())?;
        fs::set_permissions(&path, Permissions::from_mode(mode)).doing(doing())?;
    }
    Ok(())
}

/// Gives a volume and all that is in it to a group, new files included.
pub(crate) fn give(path: &Path, group: u32) -> Result<(), Fault> {
    let doing = || format!("give {} to group {group}", path.display());
    let metadata = fs::symlink_metadata(path).doing(doing())?;
    std::os::unix::fs::lchown(path, None, Some(group)).doing(doing())?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let (extra, executable) = if metadata.is_dir() { (0o2070, 0) } else { (0o060, (metadata.mode() >> 3) & 0o010) };
    let mode = (metadata.mode() & 0o7777) | extra | executable;
    fs::set_permissions(path, Permissions::from_mode(mode)).doing(doing())?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path).doing(doing())? {
            give(&entry.doing(doing())?.path(), group)?;
        }
    }
    Ok(())
}
