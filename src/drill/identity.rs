//! Whose database came back: a physical copy keeps the identifier that `initdb` gave to the original, and a backup of another
//! server's data has another.

use std::time::Instant;

use crate::drill::archive::archived;
use crate::drill::evidence::Evidence;
use crate::drill::record::{Halt, Record};
use crate::drill::stage::ask;
use crate::drill::unanswered::Unanswered;
use crate::drill::{Assignment, Stage, finding, seed};
use crate::outcome::{CheckKind, CheckResult, Phase};
use crate::probe::{DatabaseTarget, Reply, Request};

const CHECK: &str = "the lost database itself came back";

/// Holds the restored database to the one that was lost. Where nobody is let in nothing is said: the credentials tell that.
///
/// Errs where it is another one: whatever else would be found would follow from that.
pub async fn check(
    assignment: &Assignment<'_>,
    stage: &mut Stage,
    record: &mut Record,
    evidence: &Evidence,
) -> Result<(), Halt> {
    let started = Instant::now();
    let (Some(lost), Some(found)) = (&evidence.identifier, found(assignment, stage).await) else { return Ok(()) };
    let finding = found.map(|found| (compare(lost, &found), "by the identifier that initdb gave it".to_owned()));
    let is_another = matches!(&finding, Ok((CheckResult::Differs { .. }, _)));
    finding::write(record, CHECK, CheckKind::Other, Phase::Restore, started, finding);
    match is_another {
        true => Err(Halt::failed("what came back is not what was lost")),
        false => Ok(()),
    }
}

fn compare(lost: &str, found: &str) -> CheckResult {
    if lost == found {
        return CheckResult::Held;
    }
    let difference = format!("another server's data came back: it is called {found}, and {lost} was lost");
    CheckResult::Differs { difference }
}

/// The identifier that is there now. `None` where the drill is about no log, or where neither the passwords of the restored
/// database nor those of the lost one, which come back with it, are accepted.
async fn found(assignment: &Assignment<'_>, stage: &mut Stage) -> Option<Result<String, Halt>> {
    let lost = archived(assignment)?;
    let restored = seed::held_ledger(assignment)?;
    // A login that cannot be looked up is one that nobody has.
    let own = seed::seeder(restored, &stage.values).await.ok();
    let kept = seed::seeder(lost, &stage.values).await.ok();
    let kept = kept.map(|kept| DatabaseTarget { host: restored.address(), port: restored.port, ..kept });
    for target in own.into_iter().chain(kept) {
        match ask(&mut stage.prober, Request::ReadIdentifier { target }).await {
            Ok(Reply::Identifier { identifier }) => return Some(Ok(identifier)),
            Ok(other) => return Some(Err(Unanswered::unexpected(&other).into())),
            Err(Unanswered::Refused { .. } | Unanswered::Unknown { .. }) => {}
            Err(Unanswered::NoProber(halt)) => return Some(Err(halt)),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_identifier_is_another_servers_data() {
        assert_eq!(compare("7", "7"), CheckResult::Held);
        let CheckResult::Differs { difference } = compare("7", "8") else { panic!("held") };
        assert!(difference.contains("called 8, and 7 was lost"), "{difference}");
    }
}
