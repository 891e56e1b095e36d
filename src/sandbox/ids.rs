//! The range of ids that a drill runs under.

use std::path::Path;

use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};

use super::SandboxError;

/// How many ids a drill has: the 16-bit range that images use, `nobody` (65534) included.
pub(crate) const COUNT: u32 = 65536;
const FIRST_FOR_ROOT: u32 = 100_000;

/// Ids 0 to 65535 of a drill are these on the host.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct IdRange {
    pub first_uid: u32,
    pub first_gid: u32,
    /// An ordinary user may not write the map: newuidmap does, for the range in /etc/subuid.
    pub by_newuidmap: bool,
}

impl IdRange {
    /// The range of the user who runs redrill.
    pub fn of_caller() -> Result<Self, SandboxError> {
        let uid = nix::unistd::geteuid();
        if uid.is_root() {
            return Ok(Self { first_uid: FIRST_FOR_ROOT, first_gid: FIRST_FOR_ROOT, by_newuidmap: false });
        }
        for program in ["newuidmap", "newgidmap"] {
            if !std::env::split_paths("/usr/bin:/bin:/usr/sbin:/sbin").any(|directory| directory.join(program).exists())
            {
                return Err(SandboxError::MissingProgram { program, package: "uidmap" });
            }
        }
        let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |user| user.name);
        let first = |file: &'static str| {
            let text = std::fs::read_to_string(Path::new(file)).unwrap_or_default();
            first_subordinate(&text, &name, uid).ok_or(SandboxError::NoSubordinateIds { user: name.clone(), file })
        };
        Ok(Self { first_uid: first("/etc/subuid")?, first_gid: first("/etc/subgid")?, by_newuidmap: true })
    }
}

/// The start of the first range of a user that is long enough; lines are `user:first:count`.
fn first_subordinate(text: &str, name: &str, uid: Uid) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let owner = fields.next()?;
        let first = fields.next()?.trim().parse().ok()?;
        let count: u32 = fields.next()?.trim().parse().ok()?;
        ((owner == name || owner == uid.to_string()) && count >= COUNT).then_some(first)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_by_name_or_number_and_too_short_ones_are_passed_over() {
        let text = "alice:100000:10\nbob:165536:65536\nalice:231072:65536\n1001:300000:65536\n";
        assert_eq!(first_subordinate(text, "alice", Uid::from_raw(1000)), Some(231_072));
        assert_eq!(first_subordinate(text, "carol", Uid::from_raw(1001)), Some(300_000));
        assert_eq!(first_subordinate(text, "dave", Uid::from_raw(1002)), None);
    }
}
