//! `/etc` of containers: what programs need to run, nothing of what the host is configured for.

use std::fs;
use std::io;
use std::path::Path;

use nix::unistd::{Gid, Uid, chown};

use super::fault::{Doing, Fault};
use super::identity::Accounts;
use super::mounts::{bind, make_directory};
use super::root::copy_link;
use super::syscall::{MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY};

/// Files of the host that come along as they are, where it has them.
const FILES: [&str; 18] = [
    "bash.bashrc",
    "debian_version",
    "gai.conf",
    "host.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "locale.alias",
    "login.defs",
    "magic",
    "mime.types",
    "networks",
    "os-release",
    "profile",
    "protocols",
    "services",
    "shells",
    "timezone",
];

/// Directories that come along, read-only; names that begin so, because of versions in them.
const DIRECTORIES: [&str; 9] =
    ["alternatives", "fonts", "java", "ld.so.conf.d", "perl", "postgresql-common", "python3", "skel", "terminfo"];

/// No name is asked of any server, unless the pod has one of its own.
const NSSWITCH: &str = "passwd: files\ngroup: files\nshadow: files\nhosts: files\nnetworks: files\n\
    protocols: files\nservices: files\n";

/// Ids below this belong to programs; above are people, who are nobody's business inside.
const FIRST_PERSON: u32 = 1000;

/// Makes the part that does not depend on the container, from the host's /etc.
pub(crate) fn make_template(at: &Path, trusted_ca: Option<&str>) -> Result<(), Fault> {
    let host = Path::new("/etc");
    for name in FILES {
        copy_if_readable(&host.join(name), &at.join(name))?;
    }
    for entry in fs::read_dir(host).doing("list /etc")? {
        let name = entry.doing("list /etc")?.file_name();
        let wanted = name.to_str().is_some_and(|name| DIRECTORIES.iter().any(|wanted| name.starts_with(wanted)));
        if wanted && host.join(&name).is_dir() {
            make_directory(&at.join(&name), 0o755)?;
            bind(&host.join(&name), &at.join(&name), MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID)?;
        }
    }
    if host.join("localtime").is_symlink() {
        copy_link(&host.join("localtime"), &at.join("localtime"))?;
    } else {
        copy_if_readable(&host.join("localtime"), &at.join("localtime"))?;
    }
    let read = |name: &str| fs::read_to_string(host.join(name)).unwrap_or_default();
    write(&at.join("passwd"), &program_accounts(&read("passwd"), "root:x:0:0:root:/root:/bin/sh"))?;
    write(&at.join("group"), &program_groups(&read("group"), &read("passwd")))?;
    write(&at.join("nsswitch.conf"), NSSWITCH)?;
    write(&at.join("resolv.conf"), "")?;
    make_certificates(&at.join("ssl"), trusted_ca)
}

/// Keeps the accounts of programs, without people and without passwords.
fn program_accounts(passwd: &str, root: &str) -> String {
    let mut lines: Vec<&str> = passwd.lines().filter(|line| third_number(line).is_some_and(is_program)).collect();
    if !lines.iter().any(|line| third_number(line) == Some(0)) {
        lines.insert(0, root);
    }
    lines.join("\n") + "\n"
}

fn program_groups(group: &str, passwd: &str) -> String {
    let people: Vec<&str> = passwd
        .lines()
        .filter(|line| third_number(line).is_some_and(|id| !is_program(id)))
        .filter_map(|line| line.split(':').next())
        .collect();
    let mut text = String::new();
    for line in group.lines().filter(|line| third_number(line).is_some_and(is_program)) {
        let (head, members) = line.rsplit_once(':').unwrap_or((line, ""));
        let members: Vec<&str> = members.split(',').filter(|member| !people.contains(member)).collect();
        text.push_str(&format!("{head}:{}\n", members.join(",")));
    }
    text
}

fn third_number(line: &str) -> Option<u32> {
    line.split(':').nth(2)?.parse().ok()
}

fn is_program(id: u32) -> bool {
    id < FIRST_PERSON || id == 65534
}

/// One bundle: the host's certificates, and the drill's own.
fn make_certificates(at: &Path, trusted_ca: Option<&str>) -> Result<(), Fault> {
    make_directory(at, 0o755)?;
    make_directory(&at.join("certs"), 0o755)?;
    copy_if_readable(Path::new("/etc/ssl/openssl.cnf"), &at.join("openssl.cnf"))?;
    let mut bundle = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
    if let Some(certificate) = trusted_ca {
        bundle.push_str(certificate.trim_end());
        bundle.push('\n');
    }
    write(&at.join("certs/ca-certificates.crt"), &bundle)
}

/// What only the host's root may read stays there.
fn copy_if_readable(source: &Path, target: &Path) -> Result<(), Fault> {
    match fs::copy(source, target) {
        Ok(_) => Ok(()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied) => Ok(()),
        Err(error) => Err(error).doing(format!("copy {}", source.display())),
    }
}

fn write(path: &Path, content: &str) -> Result<(), Fault> {
    fs::write(path, content).doing(format!("write {}", path.display()))
}

/// What a container is called, and what names it knows others by.
pub(crate) struct Names<'a> {
    pub hostname: &'a str,
    /// The file that is its hosts file.
    pub hosts: &'a Path,
    pub resolv_conf: Option<&'a str>,
}

/// Makes a container's own /etc: writable copies of the files, the directories as they are.
pub(crate) fn make_own(template: &Path, at: &Path, names: &Names<'_>) -> Result<(), Fault> {
    for entry in fs::read_dir(template).doing("list the /etc template")? {
        let entry = entry.doing("list the /etc template")?;
        let (source, target) = (entry.path(), at.join(entry.file_name()));
        let kind = entry.file_type().doing("list the /etc template")?;
        if kind.is_symlink() {
            copy_link(&source, &target)?;
        } else if kind.is_dir() {
            make_directory(&target, 0o755)?;
            bind(&source, &target, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID)?;
        } else {
            copy_if_readable(&source, &target)?;
        }
    }
    write(&at.join("hostname"), &format!("{}\n", names.hostname))?;
    write(&at.join("hosts"), "")?;
    bind(names.hosts, &at.join("hosts"), MOUNT_ATTR_NOSUID)?;
    if let Some(resolv_conf) = names.resolv_conf {
        write(&at.join("resolv.conf"), resolv_conf)?;
        write(&at.join("nsswitch.conf"), &NSSWITCH.replace("hosts: files", "hosts: files dns"))?;
    }
    std::os::unix::fs::symlink("/proc/mounts", at.join("mtab")).doing("make the link /etc/mtab")
}

/// Directories that a package makes for its account.
const OF_POSTGRES: [(&str, u32); 3] =
    [("var/lib/postgresql", 0o755), ("var/log/postgresql", 0o1775), ("run/postgresql", 0o2775)];

/// Makes the account that the image names, if no package of the host has made it, and the homes that accounts expect.
pub(crate) fn make_user(root: &Path, user: Option<&str>) -> Result<(), Fault> {
    let mut accounts = Accounts::read(root)?;
    let name = user.map(|user| user.split(':').next().unwrap_or(user)).unwrap_or_default();
    if !name.is_empty() && name.parse::<u32>().is_err() && accounts.by_name(name).is_none() {
        accounts.add(root, name)?;
    }
    let made = Accounts::read(root)?;
    if let Some(account) = made.by_name("postgres") {
        for (directory, mode) in OF_POSTGRES {
            make_owned(&root.join(directory), mode, account.uid, account.gid)?;
        }
    }
    match made.by_name(name) {
        Some(account) if account.home.starts_with("/home") => {
            make_owned(&root.join(account.home.trim_start_matches('/')), 0o755, account.uid, account.gid)
        }
        _ => Ok(()),
    }
}

fn make_owned(path: &Path, mode: u32, uid: u32, gid: u32) -> Result<(), Fault> {
    make_directory(path, mode)?;
    chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).doing(format!("hand over {}", path.display()))?;
    // Changing the owner takes the set-group-id bit away.
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(mode)).doing("set the mode")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104::/var/lib/postgresql:/bin/bash\n\
        alice:x:1000:1000:Alice:/home/alice:/bin/zsh\nnobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n";

    #[test]
    fn accounts_of_people_stay_outside() {
        let accounts = program_accounts(PASSWD, "root:x:0:0:root:/root:/bin/sh");
        assert!(accounts.contains("postgres:x:101") && accounts.contains("nobody"));
        assert!(!accounts.contains("alice"));
    }

    #[test]
    fn groups_lose_the_people_in_them() {
        let groups = program_groups("adm:x:4:alice,syslog\nalice:x:1000:\ndocker:x:998:alice\n", PASSWD);
        assert_eq!(groups, "adm:x:4:syslog\ndocker:x:998:\n");
    }
}
