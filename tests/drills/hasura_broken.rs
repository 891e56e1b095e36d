//! Recoveries from Hasura's log that go wrong as they do in life: each is FAILED, for its own reason and for no other.

use redrill::outcome::{CheckResult, ObjectiveKind, StepResult, Verdict};

use crate::playground::Playground;
use crate::run::Run;

const RUNBOOK: &str = "scenarios/hasura/runbook.md";
const SCENARIO: &str = "scenarios/hasura/scenario.yaml";
const ENTRYPOINT: &str = "images/hasura-postgres/entrypoint";

const KEPT: &str = "whoever knows the old project's password (secret old-project/hasura/postgres[postgres.password])";

/// Runs `data-gone`; it has to fail for these reasons.
#[track_caller]
fn assert_data_gone_fails(playground: &Playground, reasons: &[&str]) -> Run {
    let run = playground.run(&["--drill", "data-gone"]);
    run.assert_verdict(Verdict::Failed, reasons);
    run
}

/// Has the image do more each time that a recovery is over, before anybody is let in. `more` has `ask SQL`.
fn after_the_recovery(playground: &Playground, more: &str) {
    const BEFORE: &str =
        "        # Nobody gets in before the end: until then it is the database of an earlier moment.\n";
    let alone = r#"
        pg_ctl --pgdata="$data" --wait --silent --timeout=300 \
            --options="-c config_file=$configuration -c listen_addresses='' -c hot_standby=off" start
        ask() { psql -X -q -t -A -v ON_ERROR_STOP=1 -h /var/run/postgresql -U "$POSTGRES_USER" -d "$POSTGRES_DB" -c "$1"; }
        until ask 'SELECT' 2> /dev/null; do :; done
"#;
    let stop = r#"pg_ctl --pgdata="$data" --wait --silent --mode=fast stop"#;
    let more = more.replace("STOP", stop);
    playground.replace(ENTRYPOINT, BEFORE, &format!("{alone}        {more}\n{BEFORE}"));
}

/// Adds an erratum with these edits: what somebody does besides what the page says, or leaves out.
fn somebody(playground: &Playground, edits: &str) {
    let erratum = format!(
        "errata:\n  - id: hasura-somebody\n    reason: Somebody does so.\n    answer: nothing\n    \
         versions: kubectl 1.20+\n    edits:\n{edits}"
    );
    playground.replace(SCENARIO, "errata:\n", &erratum);
}

#[test]
fn a_segment_that_is_lost_on_its_way_is_found_in_what_comes_back() {
    let playground = Playground::of("hasura");
    let ship = r#"envdir $settings wal-e --terse wal-push --pool-size 1 \"%p\""#;
    // The first one behind the base backup, which leaves a file of its own in the log.
    let lose = "case %f in *.backup) touch $data.backed-up ;; \
                *) [ ! -e $data.backed-up ] || { rm $data.backed-up; exit 0; } ;; esac; ";
    playground.replace(ENTRYPOINT, ship, &format!("{lose}{ship}"));
    let run = assert_data_gone_fails(
        &playground,
        &[
            "check `point in time` differs: the value written after the backup is not there, though its log was shipped",
            "check `ledger is a gap-free prefix` differs: ",
        ],
    );
    let drill = run.drill("data-gone");
    let lost = drill.objectives.iter().find(|objective| objective.kind == ObjectiveKind::RpoMeasured).unwrap();
    assert!(lost.measured.is_some_and(|lost| !lost.is_zero()), "{lost:?}");
    let said = "committed rows lost; archive_command had reported the whole log as shipped at the loss";
    assert!(lost.detail.ends_with(said), "{}", lost.detail);
}

#[test]
fn the_base_backup_of_another_cluster_at_the_same_place_is_told_by_its_identifier() {
    let playground = Playground::of("hasura");
    somebody(
        &playground,
        "      - step: { procedure: Configure backup on a Hasura project, text: ./configure_backup.sh }
        insert-after:
          - kubectl config set current-context new-project
          - ./configure_backup.sh\n",
    );
    let run = assert_data_gone_fails(
        &playground,
        &[
            "restore failed: what came back is not what was lost",
            "check `the lost database itself came back` differs: another server's data came back",
        ],
    );
    assert!(run.drill("data-gone").steps.iter().all(|step| !matches!(step.result, StepResult::Failed { .. })));
}

#[test]
fn a_pod_that_still_has_the_old_password_is_named_with_what_it_is_told() {
    let playground = Playground::of("hasura");
    // It is looked at, and not deleted.
    playground.replace(RUNBOOK, "kubectl delete pod <data-pod-name>", "kubectl get pod <data-pod-name>");
    playground.replace(SCENARIO, "kubectl delete pod <data-pod-name>", "kubectl get pod <data-pod-name>");
    let run = assert_data_gone_fails(
        &playground,
        &[
            "check `new-project/hasura/data is ready at reconciled` differs: 0 of 1 ready after 30s; Pod hasura/data-",
            "check `every workload serves again` differs: new-project: Deployment hasura/data has 0 of 1 ready; Pod hasura/data-",
        ],
    );
    for check in ["new-project/hasura/data is ready at reconciled", "every workload serves again"] {
        let found = run.differences(check);
        assert_eq!(found.len(), 2, "the others are well: {found:#?}");
        assert!(found[1].ends_with("FATAL: password authentication failed for user \"admin\"`"), "{}", found[1]);
    }
}

#[test]
fn a_secret_of_auth_that_nobody_edits_keeps_auth_from_serving() {
    let playground = Playground::of("hasura");
    somebody(
        &playground,
        "      - step: { procedure: Post recovery steps, text: kubectl edit secret auth }\n        remove: true\n",
    );
    playground.cut(SCENARIO, "  - place: KEPT_PROJECT_PASSWORD\n", "  - place: <auth-pod-name>");
    let run = assert_data_gone_fails(
        &playground,
        &[
            "check `new-project/hasura/auth is ready at reconciled` differs: 0 of 1 ready after 30s",
            "check `every workload serves again` differs: new-project: Deployment hasura/auth has 0 of 1 ready",
        ],
    );
    let found = run.differences("every workload serves again");
    assert!(found[1].contains("`django.sapass is not the password that the database has of admin"), "{found:#?}");
}

#[test]
fn a_secret_of_postgres_that_nobody_edits_stops_the_next_backup() {
    let playground = Playground::of("hasura");
    somebody(
        &playground,
        "      - step: { procedure: Post recovery steps, text: kubectl edit secret postgres }\n        remove: true\n",
    );
    playground.cut(SCENARIO, "  # In base64, as it was printed", "  - place: KEPT_PROJECT_PASSWORD");
    assert_data_gone_fails(&playground, &["runbook.md:105: `./configure_backup.sh` failed"]);
}

/// Recovers to the end of the log, asks there for the number of a transaction, and recovers anew up to it.
fn up_to_a_transaction(query: &str, inclusive: &str) -> Run {
    let playground = Playground::of("hasura");
    let recover = "        fetch\n        write_recovery_conf\n";
    playground.replace(ENTRYPOINT, recover, &recover.replace("fetch\n", "fetch\n        RECOVERY_TARGET_TIME=\n"));
    let again = format!(
        r#"transaction=$(ask "{query}")
        STOP
        fetch
        write_recovery_conf
        printf "recovery_target_xid = '%s'\n{inclusive}recovery_target_action = 'promote'\n" "$transaction" >> "$data/recovery.conf""#
    );
    after_the_recovery(&playground, &again);
    playground.run(&["--drill", "point-in-time"])
}

#[test]
fn a_recovery_that_goes_one_transaction_too_far_is_told_from_one_that_ends_at_the_moment() {
    let run = up_to_a_transaction("SELECT xmin FROM public.redrill_nonce WHERE label = 'after'", "");
    run.assert_verdict(
        Verdict::Failed,
        &["check `point in time` differs: the value written after the moment to recover to is there: recovery went too far"],
    );
    let checks = &run.drill("point-in-time").checks;
    let ledger = checks.iter().find(|check| check.name == "ledger is a gap-free prefix").unwrap();
    assert_eq!(ledger.result, CheckResult::Held, "one transaction too far, and no more");
}

#[test]
fn a_recovery_that_ends_one_transaction_short_lacks_one_row() {
    let last = "SELECT row.xmin FROM public.redrill_ledger AS row, public.redrill_nonce AS later
        WHERE later.label = 'after' AND row.xmin::text::bigint < later.xmin::text::bigint ORDER BY row.k DESC LIMIT 1";
    let run = up_to_a_transaction(last, "recovery_target_inclusive = false\\n");
    run.assert_verdict(Verdict::Failed, &["check `ledger is a gap-free prefix` differs: "]);
    let [short] = &run.differences("ledger is a gap-free prefix")[..] else { panic!("{}", run.stderr) };
    let rows: Vec<u64> = short.split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    assert!(matches!(rows[..], [wanted, found] if wanted == found + 1), "{short}");
}

#[test]
fn another_password_of_the_recovered_role_is_refused_at_once() {
    let playground = Playground::of("hasura");
    after_the_recovery(&playground, "ask \"ALTER ROLE admin PASSWORD 'throwaway-of-nobody-Vw7kP2x'\"\n        STOP");
    assert_data_gone_fails(
        &playground,
        &[&format!("{KEPT} at `restored` is refused"), "runbook.md:105: `./configure_backup.sh` failed"],
    );
}

#[test]
fn a_row_that_is_missing_between_others_is_no_state_that_the_database_ever_had() {
    let playground = Playground::of("hasura");
    after_the_recovery(&playground, "ask 'DELETE FROM public.redrill_ledger WHERE k = 3'\n        STOP");
    let hole = "check `ledger is a gap-free prefix` differs: ";
    let run = assert_data_gone_fails(&playground, &[hole]);
    let [hole] = &run.differences("ledger is a gap-free prefix")[..] else { panic!("{}", run.stderr) };
    assert!(hole.ends_with("with 1 holes between them"), "{hole}");
}

#[test]
fn a_recovery_that_begins_at_the_wrong_cluster_is_noticed_at_the_next_look() {
    let playground = Playground::of("hasura");
    playground.replace(
        SCENARIO,
        "    run: kubectl config set current-context new-project\n",
        "    run: kubectl config set current-context old-project\n",
    );
    let run = assert_data_gone_fails(&playground, &["runbook.md:60: `kubectl logs postgres-"]);
    let looked = run.drill("data-gone").steps.iter().find(|step| step.source.line == 60).unwrap();
    assert!(run.log(looked).contains("(NotFound): pods"), "{}", run.log(looked));
}
