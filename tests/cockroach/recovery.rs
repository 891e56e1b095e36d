use redrill::fingerprint::Fingerprint;
use redrill::outcome::{Expectation, Observation};
use redrill::probe::client::ClientError;
use redrill::probe::{LoginTarget, Reply, Request};
use redrill::session::{SessionKind, StepStatus};

use crate::place::{PASSWORD, Place, SQL, ask, collection, target, typed};

const DATABASE: &str = "estafette_ci_api";

/// What the drill and the application have: a database, and a user who may do everything in it.
async fn populated(name: &str) -> (Place, Fingerprint) {
    let place = Place::start(name).await;
    let password = PASSWORD.replace('\'', "''");
    let (code, said) = place
        .sql(&format!(
            "CREATE USER keeper WITH PASSWORD '{password}';\nGRANT admin TO keeper;\nCREATE DATABASE {DATABASE};\n"
        ))
        .await;
    assert_eq!(code, Some(0), "{said}");
    let mut prober = place.prober().await;
    let target = target(DATABASE, PASSWORD);
    ask(&mut prober, Request::PrepareLedger { target: target.clone() }).await;
    let seed =
        Request::SeedDatabase { target: target.clone(), second_role: Some("reader".into()), bytes: 1 << 20, rng: 7 };
    ask(&mut prober, seed).await;
    let value = "before".to_owned();
    ask(&mut prober, Request::WriteNonce { target: target.clone(), label: "before".into(), value }).await;
    let fingerprint = fingerprint(&place).await;
    assert!(fingerprint.rows("table ") > 1000, "{}", fingerprint.summary());
    (place, fingerprint)
}

async fn fingerprint(place: &Place) -> Fingerprint {
    let request = Request::FingerprintDatabase {
        target: target(DATABASE, PASSWORD),
        except: Vec::new(),
        known: Default::default(),
    };
    let Reply::Fingerprint { fingerprint } = ask(&mut place.prober().await, request).await else { panic!() };
    fingerprint
}

fn differences(before: &Fingerprint, after: &Fingerprint) -> Vec<String> {
    before.differences(after).iter().map(ToString::to_string).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_schedule_backed_up_comes_back_by_the_restore_that_fits_and_by_no_other() {
    let (place, before) = populated("scheduled").await;
    let uri = collection("db-backups");
    let schedule = format!("CREATE SCHEDULE daily FOR BACKUP INTO '{uri}' RECURRING '@daily' FULL BACKUP ALWAYS;");
    let (code, said) = place.sql(&schedule).await;
    assert!(code == Some(0) && said.contains("CREDENTIALS=redacted"), "{said}");
    let mut prober = place.prober().await;
    let run = |name: &str| Request::RunSchedule {
        target: target(DATABASE, PASSWORD),
        name: name.to_owned(),
        deadline_millis: crate::place::DEADLINE.as_millis() as u64,
    };
    assert!(matches!(ask(&mut prober, run("nightly")).await, Reply::NoSuchSchedule));
    assert!(matches!(ask(&mut prober, run("daily")).await, Reply::ScheduleRan { error: None, .. }));
    let nowhere = uri.replace("estafette-backups", "no-such-bucket");
    let (code, said) =
        place.sql(&format!("CREATE SCHEDULE lost FOR BACKUP INTO '{nowhere}' RECURRING '@daily';")).await;
    assert_eq!(code, Some(0), "{said}");
    let Reply::ScheduleRan { error: Some(error), .. } = ask(&mut prober, run("lost")).await else { panic!() };
    assert!(error.starts_with("failed: ") && error.contains("404"), "{error}");
    let jobs = "SELECT status FROM [SHOW JOBS] WHERE job_type = 'BACKUP';";
    assert!(place.until(jobs, |said| said.contains("succeeded")).await.contains("status"), "{said}");

    // Over what is there it is refused, and changes nothing.
    let (code, said) = place.sql(&format!("RESTORE FROM LATEST IN '{uri}';")).await;
    let refusal = "full cluster restore can only be run on a cluster with no tables or databases but found";
    assert!(code == Some(1) && said.contains(refusal) && said.contains(DATABASE), "{said}");
    assert_eq!(differences(&before, &fingerprint(&place).await), [""; 0]);
    place.lose_the_volume().await;

    let mut session = place.session().await;
    let open = format!("kubectl exec -it estafette-ci-db-client -n estafette-ci \\\n-- {SQL}");
    let (run, said) = typed(&mut session, &open).await;
    assert_eq!(run.status, StepStatus::OpenedSession { kind: SessionKind::Sql }, "{said}");
    assert!(said.contains("redrill's stand-in") && said.contains("not CockroachDB"), "{said}");
    // As the page has it: over a collection's root there is no backup.
    let (run, said) = typed(&mut session, &format!("RESTORE\n  FROM '{uri}';")).await;
    assert_eq!((&run.status, run.statements.len()), (&StepStatus::Exit(1), 1), "{said}");
    assert_eq!(run.statements[0].sqlstate.as_deref(), Some("58030"), "{said}");
    assert!(said.contains("file doesn't exist") && !said.contains("-> "), "{said}");
    let (run, said) = typed(&mut session, &format!("RESTORE\n  FROM LATEST IN '{uri}';")).await;
    assert!(run.is_success() && said.contains("succeeded"), "{said}");
    let (run, said) = typed(
        &mut session,
        "SHOW DATABASES; -- all of them\nSELEC 1;\nSELECT 'it''s; -- one'\n  AS \"a;b\"; SELECT 2;",
    )
    .await;
    let ended: Vec<_> = run.statements.iter().map(|statement| statement.status.clone()).collect();
    assert_eq!(ended, [0, 1, 0, 0].map(StepStatus::Exit), "{said}");
    let (run, _) = typed(&mut session, "\\q").await;
    assert_eq!(run.status, StepStatus::ClosedSession { kind: SessionKind::Sql, status: 0 });
    session.close().await;

    assert_eq!(differences(&before, &fingerprint(&place).await), [""; 0]);
    let log = place.operator("kubectl logs estafette-ci-db-0").await;
    assert!(!log.contains("not for any log") && !log.contains(uri.split_once("CREDENTIALS=").unwrap().1), "{log}");
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_form_reads_what_the_old_form_wrote_and_what_is_broken_differs() {
    let (place, before) = populated("old-form").await;
    let uri = collection("one-backup");
    let (code, said) = place.sql(&format!("BACKUP TO '{uri}';")).await;
    assert_eq!(code, Some(0), "{said}");
    let mut prober = place.prober().await;
    ask(&mut prober, Request::CorruptDatabase { target: target(DATABASE, PASSWORD) }).await;
    let corrupted = fingerprint(&place).await;
    let lost = differences(&before, &corrupted);
    for table in ["public.accounts", "public.documents", "Odd Schema.Order Items", "public.no_key", "public.plans"] {
        let (was, is) =
            (before.items[&format!("table {table}")].count, corrupted.items[&format!("table {table}")].count);
        assert_eq!(is, was / 2, "{table}: {lost:#?}");
    }
    place.lose_the_volume().await;
    let (code, said) = place.sql(&format!("RESTORE FROM '{uri}';")).await;
    assert!(code == Some(0) && said.contains("succeeded"), "{said}");
    assert_eq!(differences(&before, &fingerprint(&place).await), [""; 0]);

    let broken = [
        ("UPDATE public.accounts SET score = 1.5 WHERE id = 17", "table public.accounts"),
        ("DELETE FROM public.no_key WHERE word = 'once'", "table public.no_key"),
        ("DROP INDEX public.accounts_email", "index public.accounts_email on accounts"),
        ("SELECT nextval('public.never_used')", "sequence public.never_used"),
        ("REVOKE SELECT ON public.accounts FROM reader", "grant on public.accounts to reader"),
        ("DROP VIEW public.active_accounts", "view public.active_accounts"),
    ];
    let mut expected: Vec<String> = Vec::new();
    for (sql, item) in broken {
        let (code, said) = place.sql(&format!("USE {DATABASE};\n{sql};")).await;
        assert_eq!(code, Some(0), "{sql}: {said}");
        expected.push(item.to_owned());
        let found = before.differences(&fingerprint(&place).await);
        for item in &expected {
            assert!(found.iter().any(|difference| difference.item == *item), "{sql}: {found:#?}");
        }
    }
    place.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_refused_and_a_wrong_key_of_the_bucket_told_without_it() {
    let (place, _) = populated("refusals").await;
    let mut prober = place.prober().await;
    for (password, accepted) in [(PASSWORD, true), ("wrong", false)] {
        let target = LoginTarget::Database(target(DATABASE, password));
        let expected = Expectation::Accepted;
        let Reply::Login { observed, random_refused } =
            ask(&mut prober, Request::Login { target, expected, random_refused: false }).await
        else {
            panic!()
        };
        assert!(random_refused);
        match observed {
            Observation::Accepted => assert!(accepted),
            Observation::Refused { reason } => assert!(!accepted && reason.contains("password"), "{reason}"),
            Observation::Unknown { reason } => panic!("{reason}"),
        }
    }
    let missing = Request::ReadLedger { target: target("nowhere", PASSWORD) };
    let error = prober.ask(&missing).await.unwrap_err();
    assert!(matches!(error, ClientError::Refused { by_the_system: true, .. }), "{error}");
    let first = Request::FirstWrite { target: target(DATABASE, PASSWORD), deadline_millis: 10_000 };
    assert!(matches!(ask(&mut prober, first).await, Reply::Wrote { .. }));
    let mut ledger =
        prober.keep_ledger(&target(DATABASE, PASSWORD), std::time::Duration::from_millis(1)).await.unwrap();
    assert!(ledger.reached(20).await);
    let end = ledger.stop(crate::place::DEADLINE).await.unwrap();
    assert_eq!(end.broken, None);
    let read = Request::ReadLedger { target: target(DATABASE, PASSWORD) };
    let Reply::Ledger { rows, gaps, .. } = ask(&mut place.prober().await, read).await else { panic!() };
    assert_eq!((rows, gaps), (end.acknowledged.len() as u64, 0));

    let wrong = collection("x").replace("CREDENTIALS=", "CREDENTIALS=!c2VjcmV0");
    for (uri, said_of_it) in [
        (wrong.as_str(), "error decoding value of CREDENTIALS"),
        ("gs://estafette-backups/x", "AUTH=specified"),
        (&collection("x").replace("estafette-backups", "no-such-bucket"), "404"),
    ] {
        let (code, said) = place.sql(&format!("BACKUP INTO '{uri}';")).await;
        assert!(code == Some(1) && said.contains(said_of_it) && !said.contains("c2VjcmV0"), "{said}");
    }
    place.end().await;
}
