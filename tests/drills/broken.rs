//! Restores that go wrong as they do in life: each is FAILED, for its own reason and for no other.

use redrill::outcome::{CheckResult, StepResult, Verdict};

use crate::playground::{BACKUP, BACKUP_MANIFEST, CHANGE_PASSWORD, Playground, RESTORE, RUNBOOK, SCENARIO};

const DUMPED: &str = "in_repository pg-database dump latest stdin | psql_on \"$POSTGRES_DB\"";
const DATABASE: &str = "check `content of database taiga` differs";
const FILES: &str = "check `content of files media` differs";

/// Spoils a dump on its way into psql: a defect of each kind, each in a table of its own.
const SPOIL: &str = r#"#!/usr/bin/python3
import sys

done = set()


def once(name):
    done.add(name)


def rows(lines):
    for line in lines:
        yield line
        if line == b"\\.\n":
            return


def spoil(table, lines):
    if table == b"public.accounts":
        for line in lines:
            fields = line.split(b"\t")
            if fields[0] == b"7":
                once("one row changed")
                fields[5] = b"7.7777"
            yield b"\t".join(fields)
    elif table == b"public.no_key":
        for line in lines:
            if line == b"once\t1\n":
                once("a row doubled")
                yield line
            yield line
    elif table == b"public.audit":
        for index, line in enumerate(lines):
            if index == 0:
                once("a row missing")
            else:
                yield line
    elif table == b"public.documents":
        first, second = (line.split(b"\t") for line in (next(lines), next(lines)))
        first[1], second[1] = second[1], first[1]
        once("two values swapped")
        yield b"\t".join(first)
        yield b"\t".join(second)
        yield from lines
    else:
        yield from lines


def spoiled(lines):
    for line in lines:
        if line.startswith(b"COPY "):
            yield line
            yield from spoil(line.split(b" ")[1], rows(lines))
        elif line == b"SELECT pg_catalog.setval('public.invoice_numbers', 8000, true);\n":
            once("a sequence behind")
            yield line.replace(b"8000", b"7993")
        elif line == b"GRANT SELECT ON TABLE public.plans TO taiga_readonly;\n":
            once("a grant lost")
        else:
            yield line


for line in spoiled(iter(sys.stdin.buffer)):
    sys.stdout.buffer.write(line)
if len(done) != 6:
    sys.exit(f"spoiled only {sorted(done)}")
"#;

#[test]
fn a_dump_and_a_tree_with_single_defects_are_told_apart_item_by_item() {
    let playground = Playground::new();
    playground.add_program("spoil", SPOIL);
    playground.replace(
        RESTORE,
        DUMPED,
        "in_repository pg-database dump latest stdin | spoil | psql_on \"$POSTGRES_DB\"",
    );
    playground.append(
        RESTORE,
        "rm -- /media/user/odd/-rf\nchmod 0644 /media/user/modes/mode-0600\nchown 0 /media/user/links/target\n\
         printf X | dd of=/media/user/odd/sparse bs=1 seek=70000 conv=notrunc status=none\n",
    );
    let run = playground.run(&["--drill", "scheduled"]);
    run.assert_verdict(Verdict::Failed, &[DATABASE, FILES]);
    assert!(run.drill("scheduled").steps.iter().all(|step| step.result == StepResult::Succeeded));
    let expected = [
        "table public.accounts: 1 row changed",
        "table public.audit: 1 row missing",
        "table public.documents: 2 rows changed",
        "table public.no_key: 1 row extra",
        "sequence public.invoice_numbers: last_value 7993,",
        "grant on table public.plans to taiga_readonly: missing",
    ];
    assert_differences(&run.differences("content of database taiga"), &expected);
    let expected = [
        "file links/hard: mode 0644, owner 0:999",
        "file links/target: mode 0644, owner 0:999",
        "file modes/mode-0600: mode 0644, owner 999:999",
        "file odd/-rf: missing",
        "file odd/sparse: mode 0644, owner 999:999, 1048579 bytes, content",
    ];
    assert_differences(&run.differences("content of files media"), &expected);
}

/// These and no others, each by its beginning.
#[track_caller]
fn assert_differences(found: &[String], expected: &[&str]) {
    let fits = found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected));
    assert!(fits && found.len() == expected.len(), "found {found:#?}\nand not {expected:#?}");
}

#[test]
fn a_page_whose_restore_command_is_gone_has_drifted_from_its_scenario() {
    let playground = Playground::new();
    playground.cut(RUNBOOK, "   `kubectl -n taiga exec -it backup-restore -- restore.bb`\n", "4. Stop");
    let (exit, said) = playground.check();
    assert_eq!(exit, 64, "{said}");
    assert!(said.contains("scenario.yaml:") && said.contains("restore.bb"), "{said}");
    let run = playground.run(&["--drill", "scheduled"]);
    assert_eq!(run.exit, 64, "{}", run.stderr);
}

/// The same with a scenario that was made to fit.
#[test]
fn a_restore_without_its_restore_command_brings_nothing_back() {
    let playground = Playground::new();
    playground.cut(RUNBOOK, "   `kubectl -n taiga exec -it backup-restore -- restore.bb`\n", "4. Stop");
    playground.without_erratum("taiga-second-role");
    playground.cut(
        SCENARIO,
        "      - step: { procedure: Manual restore, item: 3, text: \"exec -it backup-restore --\" }\n",
        "      - step: { procedure: Change Password, item: 4",
    );
    let run = playground.run(&["--drill", "scheduled"]);
    run.assert_verdict(
        Verdict::Failed,
        &[
            DATABASE,
            FILES,
            "check `first write after the restore` differs",
            "check `point in time` differs: read the nonces",
            "check `ledger is a gap-free prefix` differs: read the ledger",
            "second role (secret taiga/postgres-readonly-secret[postgres-password]) at `restored` is refused",
        ],
    );
    assert!(run.differences("content of files media").iter().any(|difference| difference.ends_with("missing")));
}

#[test]
fn an_old_password_that_still_opens_a_repository_is_named_with_it() {
    let playground = Playground::new();
    // One repository keeps the old key beside the new one, the other is not touched.
    playground.replace(CHANGE_PASSWORD, "for repository in files pg-database; do", "for repository in files; do");
    playground.replace(CHANGE_PASSWORD, "key passwd --new-password-file", "key add --new-password-file");
    let run = playground.run(&["--drill", "manual"]);
    let old = "restic password before the change";
    let kept = "secret taiga/backup-secret[restic-password]";
    run.assert_verdict(
        Verdict::Failed,
        &[
            &format!("{old}, files ({kept}) at `reconciled` is still accepted"),
            &format!("{old}, pg-database ({kept}) at `reconciled` is still accepted"),
            &format!("restic password in use, pg-database ({kept}) at `reconciled` is refused"),
            "new restic password, pg-database (generated restic-new-password) at `reconciled` is refused",
        ],
    );
}

#[test]
fn a_loss_that_took_another_claim_is_no_loss() {
    let playground = Playground::new();
    playground.append(
        BACKUP_MANIFEST,
        "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata:\n  name: spare-claim\n  namespace: taiga\nspec:\n  \
         accessModes: [ReadWriteOnce]\n  resources:\n    requests:\n      storage: 1Gi\n",
    );
    playground.replace(
        SCENARIO,
        "claims: [taiga/postgres-claim, taiga/taiga-media-data]",
        "claims: [taiga/spare-claim]",
    );
    let run = playground.run(&["--drill", "scheduled"]);
    run.assert_verdict(
        Verdict::Failed,
        &[
            "loss failed: the loss did not happen: database taiga, files media still there",
            "check `loss of database taiga` differs",
            "check `loss of files media` differs",
        ],
    );
    let steps = &run.drill("scheduled").steps;
    assert!(
        steps.iter().all(|step| step.phase != redrill::outcome::Phase::Restore),
        "restored onto what was never lost"
    );
}

/// Keeps a dump from the moment between the seed and the value that is written before the backup. The lock keeps that
/// value out until the dump has its snapshot.
const YESTERDAY: &str = r#"#!/usr/bin/env bash
set -euo pipefail
source /opt/taiga-backup/lib.sh

prepare_aws
prepare_postgres
ask() { psql_on "$POSTGRES_DB" --no-psqlrc --quiet --tuples-only --no-align "$@"; }
until [[ $(ask --command "SELECT to_regclass('public.documents')") == documents ]]; do sleep 0.05; done
coproc LOCK { ask; }
printf '%s\n' 'BEGIN;' 'LOCK TABLE public.redrill_nonce IN EXCLUSIVE MODE;' 'SELECT count(*) FROM public.redrill_nonce;' >&"${LOCK[1]}"
read -r values <&"${LOCK[0]}"
[[ $values == 0 ]] || { echo "too late: the value is there" >&2; exec sleep infinity; }
init_repository pg-database
pg_dump --dbname "$POSTGRES_DB" --host "$POSTGRES_SERVICE" --port "$POSTGRES_PORT" --username "$POSTGRES_USER" --no-password |
    in_repository pg-database backup --stdin --tag yesterday
printf '%s\n' 'COMMIT;' '\q' >&"${LOCK[1]}"
exec sleep infinity
"#;

#[test]
fn yesterdays_backup_is_told_from_todays_though_the_data_is_the_same() {
    let playground = Playground::new();
    playground.add_program("yesterday.bb", YESTERDAY);
    let manifest = playground.read(BACKUP_MANIFEST);
    let deployment = manifest.split("---\n").find(|part| part.contains("kind: Deployment")).unwrap();
    let yesterday = deployment
        .replace("backup-restore", "yesterday")
        .replace("wait.bb", "yesterday.bb")
        .replace("replicas: 0", "replicas: 1")
        .replace("            - name: taiga-media\n              mountPath: /media\n", "");
    playground.append(BACKUP_MANIFEST, &format!("---\n{yesterday}"));
    playground.replace(RESTORE, "pg-database dump latest stdin", "pg-database dump --tag yesterday latest stdin");
    // And the files stay away altogether.
    playground.cut(RESTORE, "in_repository files restore latest", "\nchown -R");
    let run = playground.run(&["--drill", "scheduled"]);
    run.assert_verdict(
        Verdict::Failed,
        &[
            "check `point in time` differs: the value written before the backup is not there",
            "check `ledger is a gap-free prefix` differs",
            FILES,
        ],
    );
    let checks = &run.drill("scheduled").checks;
    let content = checks.iter().find(|check| check.name == "content of database taiga").unwrap();
    assert_eq!(content.result, CheckResult::Held, "yesterday's rows were today's");
}

#[test]
fn a_backup_that_broke_off_in_the_middle_is_found_in_what_comes_back() {
    let playground = Playground::new();
    // Without `pipefail`, and a dump that dies early, every program of the backup ends with 0.
    playground.replace(BACKUP, "set -euo pipefail", "set -eu");
    playground.replace(BACKUP, "--serializable-deferrable |\n", "--serializable-deferrable | head -c 150000 |\n");
    let run = playground.run(&["--drill", "scheduled"]);
    run.assert_verdict(
        Verdict::Failed,
        &[
            DATABASE,
            "check `first write after the restore` differs",
            "check `point in time` differs",
            "check `ledger is a gap-free prefix` differs",
        ],
    );
    assert_eq!(run.drill("scheduled").steps[0].result, StepResult::Succeeded, "the backup itself looked well");
    let differences = run.differences("content of database taiga").join("\n");
    assert!(differences.contains("table public."), "{differences}");
}

/// Its job deletes the pod that it gave up on, and the log with it.
#[test]
fn a_scheduled_backup_that_always_fails_says_what_it_printed() {
    let playground = Playground::new();
    playground.replace(BACKUP, "set -euo pipefail\n", "set -euo pipefail\necho 'no bucket today' >&2\nexit 9\n");
    playground.replace(
        BACKUP_MANIFEST,
        "    spec:\n      template:\n        spec:\n          restartPolicy: OnFailure",
        "    spec:\n      backoffLimit: 1\n      template:\n        spec:\n          restartPolicy: OnFailure",
    );
    let run = playground.run(&["--drill", "scheduled"]);
    run.assert_verdict(Verdict::Failed, &["Job has reached the specified backoff limit"]);
    let step = &run.drill("scheduled").steps[0];
    assert!(step.output_tail.as_deref().unwrap_or_default().contains("no bucket today"), "{step:#?}");
}

#[test]
fn a_secret_that_no_longer_fits_its_database_is_refused_by_name() {
    let playground = Playground::new();
    let last = "   `kubectl -n taiga scale deployment taiga-front-deployment --replicas=1`\n\n## Change Password";
    let patch = "kubectl -n taiga patch secret postgres-secret --type merge -p '{\"stringData\":{\"postgres-password\":\"other-Xw93k\"}}'";
    let (scale, heading) = last.split_once("\n\n").unwrap();
    playground.replace(RUNBOOK, last, &format!("{scale}\n   `{patch}`\n\n{heading}"));
    let run = playground.run(&["--drill", "scheduled"]);
    run.assert_verdict(
        Verdict::Failed,
        &[
            "application user (secret taiga/postgres-secret[postgres-password]) at `restored` is refused",
            "check `first write after the restore` differs",
            DATABASE,
            "check `point in time` differs",
            "check `ledger is a gap-free prefix` differs",
        ],
    );
}
