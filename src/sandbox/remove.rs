//! Removing what a drill has left on disk, which belongs to ids that only exist inside.

use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use nix::sched::CloneFlags;

use super::fault::{Doing, Fault};
use super::ids::IdRange;
use super::mounts;
use super::namespaces::{become_root, unshare_mapped};
use super::{HELPER, SandboxError, syscall};

pub(crate) const MODE: &str = "remove";

/// Removes a run directory with volumes in it; one that is not there is removed already.
///
/// `program` is the redrill executable: an ordinary user may remove files of the shifted ids only
/// from inside a user namespace that has them.
///
/// # Errors
/// What could not be removed.
pub fn remove_run_directory(program: &Path, run_directory: &Path) -> Result<(), SandboxError> {
    if !run_directory.exists() {
        return Ok(());
    }
    let io = |source| SandboxError::Io { doing: format!("remove {}", run_directory.display()), source };
    let shared = run_directory.join("sandbox/shared");
    if !nix::unistd::geteuid().is_root() && shared.exists() {
        empty_from_inside(program, &shared)?;
    }
    fs::remove_dir_all(run_directory).map_err(io)
}

fn empty_from_inside(program: &Path, shared: &Path) -> Result<(), SandboxError> {
    let ids = IdRange::of_caller()?;
    let io = |source| SandboxError::Io { doing: format!("remove {}", shared.display()), source };
    let mut child = Command::new(program)
        .args([HELPER, MODE])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(io)?;
    if let Some(mut stdin) = child.stdin.take() {
        let order = serde_json::to_vec(&(ids, shared.as_os_str().as_bytes())).map_err(|error| io(error.into()))?;
        std::io::Write::write_all(&mut stdin, &order).map_err(io)?;
    }
    let output = child.wait_with_output().map_err(io)?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(SandboxError::Refused { doing: format!("remove {}", shared.display()), reason, remedy: "" })
}

/// The helper's side: reads the ids and the directory from stdin, and empties the directory as the ids' root.
pub(crate) fn run() -> ExitCode {
    let mut order = Vec::new();
    let parsed = std::io::stdin()
        .read_to_end(&mut order)
        .and_then(|_| Ok(serde_json::from_slice::<(IdRange, Vec<u8>)>(&order)?))
        .doing("read what to remove");
    match parsed.and_then(|(ids, path)| empty(ids, &PathBuf::from(std::ffi::OsString::from_vec(path)))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            // The caller reads this as the reason; when it is gone there is nobody to tell.
            let _ = std::io::Write::write_all(
                &mut std::io::stderr(),
                format!("{}: {}\n", fault.doing, fault.reason).as_bytes(),
            );
            ExitCode::FAILURE
        }
    }
}

fn empty(ids: IdRange, directory: &Path) -> Result<(), Fault> {
    unshare_mapped(ids, CloneFlags::CLONE_NEWNS)?;
    let tree = syscall::clone_tree(directory).doing("open the directory")?;
    become_root()?;
    // The way to the directory may be closed to the namespace's root, so it is brought to one that is not.
    let here = Path::new("/tmp");
    mounts::attach(&tree, here, 0)?;
    for entry in fs::read_dir(here).doing("list what is left")? {
        let path = entry.doing("list what is left")?.path();
        fs::remove_dir_all(&path).doing(format!("remove {}", path.display()))?;
    }
    Ok(())
}
