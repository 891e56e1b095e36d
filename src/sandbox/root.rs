//! Root file systems from an allow-list: what is not named here does not exist inside.
//!
//! The fabric has a root of its own with everything that containers are made of; the host's root is
//! gone from its mount namespace, and with it from every namespace made from there.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::MsFlags;

use super::fault::{Doing, Fault};
use super::mounts::{attach, bind, enter_root, file_system, make_directory};
use super::namespaces::Sources;
use super::protocol::Setup;
use super::syscall::{MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};
use super::{devices, etc};

/// Directories of the host that containers see, read-only.
const PROGRAMS: [&str; 7] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32"];

/// Where things are in the fabric's root.
pub(crate) const IMAGES: &str = "/images";
pub(crate) const VOLUMES: &str = "/shared/volumes";
pub(crate) const PODS: &str = "/pods";
/// An empty directory to mount on, in a mount namespace of one's own.
pub(crate) const STAGE: &str = "/stage";
const HOST: &str = "/host";
const DEVICES: &str = "/devices";
const ETC: &str = "/etc";
const NEW: &str = "/new";

const READ_ONLY: u64 = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
const PRIVATE: MsFlags = MsFlags::MS_NOSUID.union(MsFlags::MS_NODEV);

/// Builds the fabric's root and enters it. The caller is PID 1 of its pid namespace.
pub(crate) fn enter_fabric_root(setup: &Setup, sources: Sources) -> Result<(), Fault> {
    // Any directory that every host has: it is covered only in this mount namespace.
    let base = Path::new("/tmp");
    file_system("tmpfs", base, PRIVATE, "mode=0755")?;
    let inside = |path: &str| base.join(path.trim_start_matches('/'));
    for directory in [HOST, DEVICES, ETC, NEW, STAGE, PODS, IMAGES, "/shared", "/proc"] {
        make_directory(&inside(directory), 0o755)?;
    }
    show_programs(&inside(HOST))?;
    devices::make(&inside(DEVICES))?;
    etc::make_template(&inside(ETC), setup.trusted_ca.as_deref())?;
    attach(&sources.shared, &inside("/shared"), MOUNT_ATTR_NOSUID)?;
    attach(&sources.images, &inside(IMAGES), READ_ONLY)?;
    file_system("proc", &inside("/proc"), PRIVATE | MsFlags::MS_NOEXEC, "")?;
    enter_root(base)?;
    make_directory(Path::new(VOLUMES), 0o755)
}

/// On a merged-/usr system most of these are links, which stay links.
fn show_programs(to: &Path) -> Result<(), Fault> {
    for name in PROGRAMS {
        let (source, target) = (Path::new("/").join(name), to.join(name));
        let Ok(metadata) = fs::symlink_metadata(&source) else { continue };
        if metadata.is_symlink() {
            copy_link(&source, &target)?;
        } else if metadata.is_dir() {
            make_directory(&target, 0o755)?;
            bind(&source, &target, READ_ONLY)?;
        }
    }
    Ok(())
}

pub(crate) fn copy_link(source: &Path, target: &Path) -> Result<(), Fault> {
    let points_to = fs::read_link(source).doing(format!("read the link {}", source.display()))?;
    symlink(points_to, target).doing(format!("make the link {}", target.display()))
}

/// Directories that a container starts with, empty and its own.
const DIRECTORIES: [(&str, u32); 24] = [
    ("etc", 0o755),
    ("proc", 0o555),
    ("sys", 0o555),
    ("dev", 0o755),
    ("tmp", 0o1777),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("home", 0o755),
    ("root", 0o700),
    ("opt", 0o755),
    ("srv", 0o755),
    ("mnt", 0o755),
    ("media", 0o755),
    ("boot", 0o755),
    ("var", 0o755),
    ("var/tmp", 0o1777),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/cache", 0o755),
    ("var/spool", 0o755),
    ("var/opt", 0o755),
    ("var/local", 0o755),
    ("var/backups", 0o755),
    ("var/mail", 0o1777),
];

/// Builds a container's root and enters it. Nothing but what was opened before is reachable afterwards.
///
/// The root itself is in memory and writable, as a container's is, and ends with the container.
pub(crate) fn enter_container_root(names: &etc::Names<'_>, user: Option<&str>) -> Result<(), Fault> {
    let root = Path::new(NEW);
    file_system("tmpfs", root, PRIVATE, "mode=0755")?;
    for (directory, mode) in DIRECTORIES {
        make_directory(&root.join(directory), mode)?;
    }
    symlink("/run", root.join("var/run")).doing("make the link /var/run")?;
    symlink("/run/lock", root.join("var/lock")).doing("make the link /var/lock")?;
    for entry in fs::read_dir(HOST).doing("list the programs")? {
        let name = entry.doing("list the programs")?.file_name();
        let (source, target) = (Path::new(HOST).join(&name), root.join(&name));
        if source.is_symlink() {
            copy_link(&source, &target)?;
        } else {
            make_directory(&target, 0o755)?;
            bind(&source, &target, 0)?;
        }
    }
    bind(Path::new(DEVICES), &root.join("dev"), 0)?;
    devices::mount_own(&root.join("dev"))?;
    etc::make_own(Path::new(ETC), &root.join("etc"), names)?;
    etc::make_user(root, user)?;
    file_system("proc", &root.join("proc"), PRIVATE | MsFlags::MS_NOEXEC, "")?;
    enter_root(root)?;
    mask_proc()
}

/// What `/proc` shows of the kernel as a whole. The shifted ids may not write it anyway; this is the second lock.
fn mask_proc() -> Result<(), Fault> {
    for file in ["kcore", "keys", "key-users", "timer_list", "sched_debug", "sysrq-trigger", "kmsg", "latency_stats"] {
        let path = Path::new("/proc").join(file);
        if path.exists() {
            bind(Path::new("/dev/null"), &path, MOUNT_ATTR_RDONLY)?;
        }
    }
    for directory in ["acpi", "scsi", "asound", "driver", "dynamic_debug"] {
        let path = Path::new("/proc").join(directory);
        if path.exists() {
            file_system("tmpfs", &path, PRIVATE | MsFlags::MS_RDONLY, "size=0")?;
        }
    }
    for directory in ["sys", "fs", "bus", "irq"] {
        let path = Path::new("/proc").join(directory);
        if path.exists() {
            bind(&path, &path, MOUNT_ATTR_RDONLY)?;
        }
    }
    Ok(())
}
