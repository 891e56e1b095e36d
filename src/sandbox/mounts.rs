//! Mounting, in the words that the root builders use.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use super::fault::{Doing, Fault};
use super::syscall;

/// Shows `source` at `target`, which exists, with everything mounted below it.
pub(crate) fn bind(source: &Path, target: &Path, attributes: u64) -> Result<(), Fault> {
    let tree = syscall::clone_tree(source).doing(format!("open {}", source.display()))?;
    attach(&tree, target, attributes)
}

pub(crate) fn attach(tree: &OwnedFd, target: &Path, attributes: u64) -> Result<(), Fault> {
    if attributes != 0 {
        syscall::restrict_tree(tree.as_fd(), attributes)
            .doing(format!("restrict the mount for {}", target.display()))?;
    }
    syscall::attach_tree(tree.as_fd(), target).doing(format!("mount {}", target.display()))
}

pub(crate) fn file_system(kind: &str, target: &Path, flags: MsFlags, options: &str) -> Result<(), Fault> {
    mount(Some(kind), target, Some(kind), flags, Some(options)).doing(format!("mount {kind} on {}", target.display()))
}

/// Makes `root` the root of this mount namespace and forgets the old one.
pub(crate) fn enter_root(root: &Path) -> Result<(), Fault> {
    chdir(root).doing("enter the new root")?;
    // The old root is stacked on the new one, so that no directory is needed to put it in.
    pivot_root(".", ".").doing("change the root")?;
    umount2(".", MntFlags::MNT_DETACH).doing("leave the old root")?;
    chdir("/").doing("enter the new root")
}

pub(crate) fn make_directory(path: &Path, mode: u32) -> Result<(), Fault> {
    let doing = || format!("make the directory {}", path.display());
    match fs::DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made.doing(doing())?,
    }
    // Neither the umask nor mkdir(2) lets every bit through.
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).doing(doing())
}

/// Makes what is mounted on, a directory or an empty file, in the root that the caller is in.
pub(crate) fn make_mount_point(target: &Path, directory: bool) -> Result<(), Fault> {
    let doing = || format!("make the mount point {}", target.display());
    match try_mount_point(target, directory) {
        Ok(()) => Ok(()),
        Err(error) if is_read_only(&error) => {
            make_writable(deepest_existing(target))?;
            try_mount_point(target, directory).doing(doing())
        }
        Err(error) => Err(error).doing(doing()),
    }
}

fn try_mount_point(target: &Path, directory: bool) -> io::Result<()> {
    if target.exists() {
        return Ok(());
    }
    if directory {
        return fs::create_dir_all(target);
    }
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    OpenOptions::new().write(true).create(true).truncate(false).open(target).map(drop)
}

/// The host's directories are read-only mounts, and belong to ids that do not exist here.
fn is_read_only(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EROFS | libc::EACCES | libc::EPERM | libc::EOVERFLOW))
}

fn deepest_existing(target: &Path) -> &Path {
    target.ancestors().skip(1).find(|path| path.is_dir()).unwrap_or(Path::new("/"))
}

/// Lays a layer in memory over a directory of the host, so that entries can be made in it.
fn make_writable(directory: &Path) -> Result<(), Fault> {
    let directory = fs::canonicalize(directory).doing(format!("resolve {}", directory.display()))?;
    let layer = PathBuf::from("/.layer");
    make_directory(&layer, 0o700)?;
    file_system("tmpfs", &layer, MsFlags::MS_NOSUID | MsFlags::MS_NODEV, "mode=0755")?;
    make_directory(&layer.join("upper"), 0o755)?;
    make_directory(&layer.join("work"), 0o755)?;
    let options = format!("lowerdir={},upperdir=/.layer/upper,workdir=/.layer/work", escape(&directory));
    let mounted = file_system("overlay", &directory, MsFlags::MS_NOSUID, &options);
    // The overlay keeps its layer; only the way to it goes.
    umount2(&layer, MntFlags::MNT_DETACH).doing("hide the layer")?;
    fs::remove_dir(&layer).doing("hide the layer")?;
    mounted
}

/// Overlay options end at a comma, layers at a colon.
fn escape(path: &Path) -> String {
    path.display().to_string().replace('\\', "\\\\").replace(':', "\\:").replace(',', "\\,")
}

/// Opens a path below a directory without leaving it: `..`, absolute links and links upwards are refused.
pub(crate) fn open_below(directory: &File, path: &Path) -> io::Result<OwnedFd> {
    use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    Ok(openat2(directory, path, how)?)
}
