//! A machine that cannot hold a drill: UNVERIFIED, and what to do about it.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::PathBuf;
use std::process::Command;

use crate::machine::{self, assert_nothing_runs};
use crate::program::{Ended, Place, REDRILL, Run, SCHEDULED};

/// Nobody's id everywhere.
const NOBODY: u32 = 65534;

/// Runs redrill after a script has changed what only it sees: mounts of its own, user namespaces of its own.
fn after(place: &Place, unshare: &[&str], script: &str, arguments: &[&str]) -> Ended {
    let mut command = Command::new("unshare");
    let script = format!("set -e; {script}; exec \"$@\"");
    command.args(unshare).args(["sh", "-c", &script, "sh", REDRILL]).args(arguments);
    command.arg("--reports").arg(place.reports()).current_dir(env!("CARGO_MANIFEST_DIR"));
    command.env("REDRILL_STATE_DIR", place.state()).env("REPORTS", place.reports()).env_remove("REDRILL_LOG");
    Run::start(&mut command).end()
}

/// Holds an end to UNVERIFIED, in words that say what is wrong and what to do.
fn assert_says(ended: &Ended, what: &[&str]) {
    assert_eq!(ended.code, Some(2), "{ended:?}");
    let said: String = format!("{}{}", ended.stdout, ended.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    for words in what {
        assert!(said.contains(words), "`{words}` is not in {ended:?}");
    }
    assert_nothing_runs();
}

/// The kubectl that drills use: from PATH, or what `doctor --install` fetched.
fn kubectl() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let fetched = PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".local/share/redrill/tools");
    let found = std::iter::once(fetched).chain(std::env::split_paths(&path)).map(|folder| folder.join("kubectl"));
    found.into_iter().find_map(|program| program.canonicalize().ok()).expect("kubectl, as doctor installs it")
}

#[test]
fn a_missing_program_is_named_with_what_to_do() {
    let _turn = machine::turn();
    let place = Place::new();
    let programs = tempfile::tempdir().unwrap();
    symlink("/usr/bin/dpkg-query", programs.path().join("dpkg-query")).unwrap();
    for arguments in [&SCHEDULED[..], &["doctor"]] {
        let mut command = place.command(arguments);
        command.env("PATH", programs.path()).env("HOME", programs.path()).env_remove("XDG_DATA_HOME");
        let ended = Run::start(&mut command).end();
        assert_says(&ended, &["kubectl 1.30 or newer", "put kubectl 1.30 or newer into PATH"]);
    }
    place.assert_unverified(&place.runs().pop().expect("a run"));
    assert_eq!(place.files(), Vec::<String>::new());
}

#[test]
fn a_kernel_that_forbids_namespaces_is_told_with_what_to_do() {
    let _turn = machine::turn();
    let place = Place::new();
    let forbid = "echo 0 >/proc/sys/user/max_user_namespaces";
    let ended = after(&place, &["--user", "--map-root-user"], forbid, &SCHEDULED);
    assert_says(&ended, &["missing: kernel namespaces", "sudo sysctl user.max_user_namespaces=15000"]);
    place.assert_unverified(&place.runs().pop().expect("a run"));
}

/// Words that go before redrill to make it an ordinary user's. Only root becomes another user.
fn as_nobody(place: &Place) -> Option<String> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let home = place.home();
    let kubectl_is = kubectl();
    fs::copy(kubectl_is, home.join("kubectl")).unwrap();
    fs::set_permissions(home.join("kubectl"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(place.reports()).unwrap();
    for path in [place.state(), place.reports()] {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    }
    fs::create_dir(home.join("repository")).unwrap();
    fs::write(home.join("redrill"), "").unwrap();
    let home = home.display();
    // Where the repository is, perhaps in root's home, nobody else may look.
    let show =
        format!("mount --bind . {home}/repository; mount --bind \"$1\" {home}/redrill; cd {home}/repository; shift");
    let become_nobody =
        format!("set -- setpriv --reuid {NOBODY} --regid {NOBODY} --clear-groups {home}/redrill \"$@\"");
    Some(format!("{show}; export HOME={home} PATH={home}:$PATH; {become_nobody}"))
}

#[test]
fn an_ordinary_user_without_subordinate_ids_is_told_how_to_get_them() {
    let _turn = machine::turn();
    let place = Place::new();
    let Some(as_nobody) = as_nobody(&place) else { return };
    let none = format!("mount --bind /dev/null /etc/subuid; mount --bind /dev/null /etc/subgid; {as_nobody}");
    let ended = after(&place, &["--mount"], &none, &SCHEDULED);
    assert_says(&ended, &["missing: kernel namespaces", "sudo usermod --add-subuids 100000-165535"]);
    place.assert_unverified(&place.runs().pop().expect("a run"));
}

#[test]
fn an_ordinary_user_with_subordinate_ids_runs_a_whole_drill() {
    let _turn = machine::turn();
    let place = Place::new();
    let Some(as_nobody) = as_nobody(&place) else { return };
    let range = place.home().join("range");
    fs::write(&range, format!("{NOBODY}:300000:65536\n")).unwrap();
    let range = range.display();
    let given = format!("mount --bind {range} /etc/subuid; mount --bind {range} /etc/subgid; {as_nobody}");
    let ended = after(&place, &["--mount"], &given, &SCHEDULED);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert_nothing_runs();
    let left: Vec<_> = fs::read_dir(place.state().join("redrill-65534")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    let _turn = machine::turn();
    let place = Place::new();
    let read_only = "mount -t tmpfs -o ro none \"$REDRILL_STATE_DIR\"";
    let ended = after(&place, &["--mount"], read_only, &SCHEDULED);
    assert_says(&ended, &[place.state().to_str().unwrap(), "Read-only file system", "REDRILL_STATE_DIR"]);
    place.assert_unverified(&place.runs().pop().expect("a run"));
}

#[test]
fn reports_that_cannot_be_written_are_named_and_nothing_runs() {
    let _turn = machine::turn();
    let place = Place::new();
    fs::create_dir(place.reports()).unwrap();
    for (options, reason) in [("ro", "Read-only file system"), ("size=4k", "No space left on device")] {
        let mount = format!("mount -t tmpfs -o {options} none \"$REPORTS\"");
        let ended = after(&place, &["--mount"], &mount, &SCHEDULED);
        assert_says(&ended, &[place.reports().to_str().unwrap(), reason, "--reports"]);
        assert_eq!(place.files(), Vec::<String>::new());
    }
}

#[test]
fn a_disk_that_is_too_full_for_a_drill_is_told_before_it_starts() {
    let _turn = machine::turn();
    let place = Place::new();
    let full = "mount -t tmpfs -o size=64m none \"$REDRILL_STATE_DIR\"";
    let ended = after(&place, &["--mount"], full, &SCHEDULED);
    assert_says(&ended, &["64 MiB are free", "REDRILL_STATE_DIR"]);
    place.assert_unverified(&place.runs().pop().expect("a run"));
}
