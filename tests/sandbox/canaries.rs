//! The sandbox's reason to be: destructive commands inside harm nothing outside.
//!
//! Canaries first: what is asked of the sandbox grows more dangerous step by step, and each step
//! is only taken when the ones before it have left every canary alive.

use std::fs;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use redrill::runtime::{ContainerId, PodRuntime as _, VolumeId};

use crate::drill::{Drill, container, volume_at};

const SONG: &str = "the canary sings";
/// Harmless to change, so a good first try.
const HARMLESS_SETTING: &str = "kernel/printk_ratelimit_burst";
const SETTINGS: [&str; 4] = [HARMLESS_SETTING, "kernel/core_pattern", "vm/swappiness", "fs/file-max"];

/// Things all over the host that must not be read, changed or deleted from inside.
struct Canaries {
    files: Vec<PathBuf>,
    settings: Vec<(&'static str, String)>,
    programs: usize,
    process: Child,
    mounted: Option<PathBuf>,
    /// Held until the end: sockets, directories.
    _listener: UnixListener,
    _directories: Vec<tempfile::TempDir>,
}

impl Canaries {
    fn plant(run_directory: &Path) -> Self {
        let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/root".into()));
        let places = [
            home,
            "/etc".into(),
            "/var/lib".into(),
            "/var/tmp".into(),
            "/tmp".into(),
            "/opt".into(),
            "/srv".into(),
            "/run".into(),
            run_directory.to_owned(),
        ];
        let mut directories = Vec::new();
        for place in places {
            // An ordinary user has no place in some of these.
            directories.extend(tempfile::Builder::new().prefix("redrill-canary-").tempdir_in(place));
        }
        let mut files = Vec::new();
        for directory in &directories {
            let file = directory.path().join("canary");
            fs::write(&file, SONG).unwrap();
            // Open to all, so that only the sandbox stands before it.
            Command::new("chmod").args(["-R", "a+rwX"]).arg(directory.path()).status().unwrap();
            files.push(file);
        }
        let listener = UnixListener::bind(directories[0].path().join("socket")).unwrap();
        let mounted = nix::unistd::geteuid().is_root().then(|| {
            let target = directories[0].path().join("mounted");
            fs::create_dir(&target).unwrap();
            mount(Some("tmpfs"), &target, Some("tmpfs"), MsFlags::empty(), None::<&str>).unwrap();
            fs::write(target.join("canary"), SONG).unwrap();
            files.push(target.join("canary"));
            target
        });
        let settings = SETTINGS.iter().filter_map(|name| Some((*name, setting(name)?))).collect();
        let process = Command::new("sleep").arg("9999").spawn().unwrap();
        Self { files, settings, programs: programs(), process, mounted, _listener: listener, _directories: directories }
    }

    /// Asserts that every canary sings as it did.
    fn check(&mut self, after: &str) {
        for file in &self.files {
            let song =
                fs::read_to_string(file).unwrap_or_else(|error| panic!("after {after}: {}: {error}", file.display()));
            assert_eq!(song, SONG, "after {after}: {}", file.display());
            let beside = fs::read_dir(file.parent().unwrap()).unwrap().count();
            assert!(beside <= 3, "after {after}: something new beside {}", file.display());
        }
        for (name, value) in &self.settings {
            assert_eq!(setting(name).as_ref(), Some(value), "after {after}: /proc/sys/{name}");
        }
        assert_eq!(programs(), self.programs, "after {after}: /usr/bin");
        assert!(self.process.try_wait().unwrap().is_none(), "after {after}: a process of the host");
        assert!(self._listener.local_addr().unwrap().as_pathname().unwrap().exists(), "after {after}: a socket");
    }
}

impl Drop for Canaries {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        for (name, value) in &self.settings {
            if setting(name).as_ref() != Some(value) {
                let _ = fs::write(Path::new("/proc/sys").join(name), value);
            }
        }
        if let Some(target) = &self.mounted {
            let _ = umount2(target, MntFlags::MNT_DETACH);
        }
    }
}

fn setting(name: &str) -> Option<String> {
    fs::read_to_string(Path::new("/proc/sys").join(name)).ok()
}

fn programs() -> usize {
    fs::read_dir("/usr/bin").unwrap().count()
}

async fn refused(drill: &Drill, container: &ContainerId, line: &str) {
    let (code, said) = drill.sh(container, line).await;
    assert_ne!(code, 0, "`{line}` was allowed: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destructive_command_inside_harms_nothing_outside() {
    let drill = Drill::start().await;
    let mut canaries = Canaries::plant(drill.directory.path());
    let volume = VolumeId("data".to_owned());
    drill.runtime.create_volume(&volume).await.unwrap();
    let bystander = drill.idle_pod("bystander").await;
    drill.pod("attacker").await;
    let mut spec = container("attacker", &["sleep", "infinity"]);
    spec.mounts = vec![volume_at(&volume, "/media")];
    let id = drill.run(&spec).await;

    // Seen: nothing of the host has a path inside, whatever way it is looked for.
    assert_eq!(
        drill.sh(&id, "find / -path /proc -prune -o -name '*canary*' -print 2>/dev/null; true").await,
        (0, String::new())
    );
    assert_eq!(
        drill.sh(&id, "find /sys /home /root /opt /srv /boot /mnt -mindepth 1 -type f").await,
        (0, String::new())
    );
    assert_eq!(
        drill.sh(&id, "find / -path /proc -prune -o -type s -print 2>/dev/null; true").await,
        (0, String::new()),
        "sockets"
    );
    for file in &canaries.files {
        for prefix in ["", "/proc/1/root", "/proc/self/cwd/../../../..", "/proc/1/cwd/..", "/dev/fd/../../../.."] {
            refused(&drill, &id, &format!("cat {prefix}{}", file.display())).await;
        }
    }
    refused(&drill, &id, "cat /etc/shadow").await;
    refused(&drill, &id, "ls /dev/vda /dev/sda /dev/mem /dev/kmsg 2>/dev/null").await;
    let (_, accounts) = drill.sh(&id, "cut -d: -f1,3 /etc/passwd").await;
    assert!(accounts.contains("root:0"), "{accounts}");
    let (_, seen) = drill.sh(&id, "ls /proc | grep -c '^[0-9]'").await;
    assert!(seen.trim().parse::<u32>().unwrap() < 8, "only its own processes: {seen}");
    canaries.check("looking");

    // Privileges that would be a way out.
    for line in [
        "mount -t tmpfs none /mnt",
        "mount --bind / /mnt",
        "mount -o remount,rw /usr",
        "umount /usr",
        "umount -l /proc/sys",
        "unshare --user true",
        "unshare --mount true",
        "unshare --net true",
        "nsenter -t 1 -m true && nsenter -t 1 -u hostname x",
        "mknod /tmp/disk b 254 0 && head -c1 /tmp/disk",
        "mknod /tmp/mem c 1 1 && head -c1 /tmp/mem",
        "ip link set eth0 down",
        "ip addr add 10.99.0.1/24 dev eth0",
        "ip route add default via 10.88.0.1",
        "hostname x",
        "dmesg",
        "date -s 2001-01-01",
        "chroot /proc/1/root/../.. ls /work",
    ] {
        refused(&drill, &id, line).await;
    }
    canaries.check("asking for privileges");

    // Changing: the harmless setting first.
    refused(&drill, &id, &format!("echo 11 > /proc/sys/{HARMLESS_SETTING}")).await;
    canaries.check("changing a harmless setting");
    for line in [
        "echo '|/bin/false' > /proc/sys/kernel/core_pattern",
        "echo 1 > /proc/sys/vm/swappiness",
        "echo 1 > /proc/sys/vm/drop_caches",
        "echo x > /proc/sysrq-trigger && grep -q x /proc/sysrq-trigger",
        "echo 0 > /proc/sys/user/max_user_namespaces",
        "touch /usr/bin/canary",
        "touch /usr/canary",
        "echo x >> /usr/bin/env",
        "rm -f /usr/bin/env",
        "mv /usr/bin/env /usr/bin/vne",
        "chmod 777 /usr/bin/env",
        "chown 0:0 /usr/bin",
        "echo x > /etc/alternatives/canary",
        "echo x >> /etc/ssl/certs/ca-certificates.crt",
    ] {
        refused(&drill, &id, line).await;
    }
    canaries.check("changing");

    // Deleting by name, then every process, then everything.
    for file in &canaries.files {
        drill.sh(&id, &format!("rm -rf {0}; mkdir -p {0}", file.parent().unwrap().display())).await;
    }
    canaries.check("deleting by name");
    drill.sh(&id, "kill -9 -1").await;
    canaries.check("killing everything");
    assert_eq!(drill.sh(&bystander, "echo alive").await, (0, "alive\n".to_owned()));

    drill.runtime.remove(&id).await.unwrap();
    drill.run(&spec).await;
    drill.sh(&id, "echo data > /media/file; rm -rf --no-preserve-root / 2>/dev/null").await;
    canaries.check("rm -rf /");
    assert_eq!(drill.sh(&bystander, "ls /usr/bin/env /etc/hosts && echo alive").await.0, 0);
    let volume = drill.directory.path().join("sandbox/shared/volumes/data");
    assert_eq!(fs::read_dir(volume).unwrap().count(), 0, "it did delete what it was given");
    let again = drill.idle_pod("afterwards").await;
    assert_eq!(drill.sh(&again, "psql --version >/dev/null && echo whole").await, (0, "whole\n".to_owned()));
}
