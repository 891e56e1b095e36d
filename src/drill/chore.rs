//! Commands that no document has: what applications put into the system by themselves, and what changed it since the backup.

use crate::drill::record::{Halt, Record};
use crate::drill::stage::{self, Stage};
use crate::scenario::Chore;

/// Does them one after the other on the workstation, each by `sh -e` in the folder where the operator sits, and notes each for
/// the reports.
///
/// Errs where one does not succeed: that is no fault of a procedure, and nothing is known of any.
pub async fn run(stage: &Stage, record: &mut Record, chores: &[Chore], why: &str) -> Result<(), Halt> {
    for chore in chores {
        let line = chore.run.lines().next().unwrap_or_default();
        record.prepared(&chore.source, line, why);
        // By its length, since not every server can tell the end of stdin; in a file, so that a command may read something else.
        let folder = shell_words::quote(stage.folder.as_deref().unwrap_or("."));
        let length = chore.run.len();
        let script = format!(
            "cd {folder} && script=$(mktemp) && head -c {length} > \"$script\" && sh -e \"$script\" < /dev/null; status=$?; rm -f \"$script\"; exit $status"
        );
        let doing = format!("prepare the drill ({})", chore.source);
        let done = stage::on_workstation(&stage.kubernetes, &doing, &script, chore.run.as_bytes()).await;
        done.map_err(|halt| match record.cleaned(halt) {
            Halt::Unverified { reason, .. } => Halt::unverified(reason, "correct the command in the scenario"),
            failed @ Halt::Failed { .. } => failed,
        })?;
    }
    Ok(())
}
