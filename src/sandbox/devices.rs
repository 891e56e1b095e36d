//! `/dev` with the devices that every program may have, and nothing of the machine.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::MsFlags;

use super::fault::{Doing, Fault};
use super::mounts::{bind, file_system, make_directory};
use super::syscall::{self, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 5] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Makes the part that all containers share, read-only. Device nodes cannot be made in a user
/// namespace, so they are the host's, bound one by one.
pub(crate) fn make(at: &Path) -> Result<(), Fault> {
    file_system("tmpfs", at, MsFlags::MS_NOSUID, "mode=0755")?;
    for device in DEVICES {
        let target = at.join(device);
        File::create(&target).doing(format!("make {}", target.display()))?;
        bind(&Path::new("/dev").join(device), &target, MOUNT_ATTR_NOSUID)?;
    }
    for (name, points_to) in LINKS {
        symlink(points_to, at.join(name)).doing(format!("make the link /dev/{name}"))?;
    }
    make_directory(&at.join("pts"), 0o755)?;
    make_directory(&at.join("shm"), 0o1777)?;
    let tree = File::open(at).doing("open the devices")?;
    syscall::restrict_tree(std::os::fd::AsFd::as_fd(&tree), MOUNT_ATTR_RDONLY).doing("make the devices read-only")
}

/// Mounts a container's own terminals and shared memory.
pub(crate) fn mount_own(at: &Path) -> Result<(), Fault> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC;
    file_system("devpts", &at.join("pts"), flags, "newinstance,ptmxmode=0666,mode=0620,gid=5")?;
    file_system("tmpfs", &at.join("shm"), flags | MsFlags::MS_NODEV, "mode=1777")
}
