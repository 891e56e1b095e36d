//! Who a program runs as, looked up in the root that it runs in.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};

use super::fault::{Doing, Fault};
use super::program::Account;
use super::syscall;

/// Capabilities that the root of a container has, as container engines give them: over files and
/// identities, low ports and raw sockets of its own network. Nothing about mounts, devices or the kernel.
const KEPT: u64 = bit(0) // chown
    | bit(1) // dac_override
    | bit(3) // fowner
    | bit(4) // fsetid
    | bit(5) // kill
    | bit(6) // setgid
    | bit(7) // setuid
    | bit(8) // setpcap
    | bit(10) // net_bind_service
    | bit(13) // net_raw
    | bit(18) // sys_chroot
    | bit(31); // setfcap

const fn bit(capability: u32) -> u64 {
    1 << capability
}

/// One line of /etc/passwd.
pub(crate) struct Entry {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: String,
}

pub(crate) struct Accounts {
    entries: Vec<Entry>,
    group: String,
}

impl Accounts {
    /// Reads the accounts of the root at `root`; a root without the files has none.
    pub fn read(root: &Path) -> Result<Self, Fault> {
        let read = |name: &str| match fs::read(root.join("etc").join(name)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            bytes => bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).doing(format!("read /etc/{name}")),
        };
        Ok(Self { entries: read("passwd")?.lines().filter_map(entry).collect(), group: read("group")? })
    }

    pub fn by_name(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    fn by_uid(&self, uid: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.uid == uid)
    }

    /// Adds an account with a free id, as an image's `useradd --system` would have.
    pub fn add(&mut self, root: &Path, name: &str) -> Result<(), Fault> {
        let free = (100..1000).rev().find(|id| self.by_uid(*id).is_none() && !self.has_gid(*id));
        let id = free.ok_or_else(|| Fault::new(format!("make the user {name}"), "every system id is in use"))?;
        let append = |file: &str, line: String| {
            fs::OpenOptions::new()
                .append(true)
                .open(root.join("etc").join(file))
                .and_then(|mut file| file.write_all(line.as_bytes()))
                .doing(format!("add {name} to /etc/{file}"))
        };
        append("passwd", format!("{name}:x:{id}:{id}::/home/{name}:/bin/sh\n"))?;
        append("group", format!("{name}:x:{id}:\n"))
    }

    fn has_gid(&self, gid: u32) -> bool {
        self.group.lines().any(|line| line.split(':').nth(2) == Some(&gid.to_string()))
    }

    fn group_named(&self, name: &str) -> Option<u32> {
        let line = self.group.lines().find(|line| line.split(':').next() == Some(name))?;
        line.split(':').nth(2)?.parse().ok()
    }

    fn groups_of(&self, user: &str) -> impl Iterator<Item = u32> {
        self.group.lines().filter_map(move |line| {
            let mut fields = line.split(':');
            let (gid, members) = (fields.nth(2)?.parse().ok()?, fields.next()?);
            members.split(',').any(|member| member == user).then_some(gid)
        })
    }

    /// Who an account comes to: numbers from the pod count before the image's user, which may be `user[:group]`.
    pub fn resolve(&self, account: &Account) -> Result<Identity, Fault> {
        let asked = account.image_user.as_deref().unwrap_or("0");
        let (user, group) = asked.split_once(':').map_or((asked, None), |(user, group)| (user, Some(group)));
        let (uid, from_image) = match account.run_as_user {
            Some(uid) => (uid, false),
            None => (self.uid_of(user)?, true),
        };
        let entry = self.by_uid(uid);
        let image_gid = group.filter(|_| from_image).map(|group| self.gid_of(group)).transpose()?;
        let gid = account.run_as_group.or(image_gid).or(entry.map(|entry| entry.gid)).unwrap_or(0);
        let mut groups: Vec<u32> = entry.map(|entry| self.groups_of(&entry.name).collect()).unwrap_or_default();
        groups.extend(account.fs_group);
        groups.push(gid);
        groups.sort_unstable();
        groups.dedup();
        Ok(Identity { uid, gid, groups, home: entry.map_or_else(|| "/".to_owned(), |entry| entry.home.clone()) })
    }

    fn uid_of(&self, user: &str) -> Result<u32, Fault> {
        let by_name = self.by_name(user).map(|entry| entry.uid);
        by_name
            .or_else(|| user.parse().ok())
            .ok_or_else(|| Fault::new(format!("find the user `{user}`"), "no such user"))
    }

    fn gid_of(&self, group: &str) -> Result<u32, Fault> {
        let by_name = self.group_named(group);
        let gid = by_name.or_else(|| group.parse().ok());
        gid.ok_or_else(|| Fault::new(format!("find the group `{group}`"), "no such group"))
    }
}

fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.split(':');
    let name = fields.next()?.to_owned();
    let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Entry { name, uid, gid, home: fields.nth(1)?.to_owned() })
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
    pub home: String,
}

impl Identity {
    /// Becomes this identity for good, with no way to gain anything again.
    pub fn assume(&self) -> Result<(), Fault> {
        syscall::drop_bounding_set(KEPT).doing("drop capabilities")?;
        let groups: Vec<Gid> = self.groups.iter().copied().map(Gid::from_raw).collect();
        let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
        setgroups(&groups).doing("set the groups")?;
        setresgid(gid, gid, gid).doing(format!("become group {gid}"))?;
        setresuid(uid, uid, uid).doing(format!("become user {uid}"))?;
        if uid.is_root() {
            syscall::set_capabilities(KEPT).doing("drop capabilities")?;
        }
        nix::sys::prctl::set_no_new_privs().doing("forbid new privileges")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts() -> Accounts {
        let passwd = "root:x:0:0:root:/root:/bin/bash\npostgres:x:101:104:,,,:/var/lib/postgresql:/bin/bash\n";
        Accounts {
            entries: passwd.lines().filter_map(entry).collect(),
            group: "root:x:0:\npostgres:x:104:\nssl-cert:x:105:postgres\n".to_owned(),
        }
    }

    fn account(image_user: &str) -> Account {
        Account { image_user: Some(image_user.to_owned()), run_as_user: None, run_as_group: None, fs_group: None }
    }

    #[test]
    fn a_named_user_gets_its_own_groups_and_home() {
        let identity = accounts().resolve(&account("postgres")).unwrap();
        assert_eq!((identity.uid, identity.gid, identity.groups), (101, 104, vec![104, 105]));
        assert_eq!(identity.home, "/var/lib/postgresql");
    }

    #[test]
    fn numbers_of_the_pod_count_before_the_user_of_the_image() {
        let pod =
            Account { run_as_user: Some(999), run_as_group: Some(998), fs_group: Some(2000), ..account("postgres") };
        let identity = accounts().resolve(&pod).unwrap();
        assert_eq!((identity.uid, identity.gid, identity.groups), (999, 998, vec![998, 2000]));
        assert_eq!(identity.home, "/");
    }

    #[test]
    fn a_user_may_name_its_group_and_an_unknown_one_is_refused() {
        assert_eq!(accounts().resolve(&account("0:ssl-cert")).unwrap().gid, 105);
        assert_eq!(accounts().resolve(&account("12:13")).unwrap().gid, 13);
        assert_eq!(accounts().resolve(&account("nosuch")).unwrap_err().reason, "no such user");
    }
}
