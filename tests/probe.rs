//! The prober against a real PostgreSQL: what it seeds comes back equal from a dump, and every alteration is named.

#[path = "support/postgres.rs"]
mod postgres;

use std::collections::BTreeMap;
use std::time::Duration;

use postgres::{PASSWORD, Server};
use redrill::database::postgres_fingerprint::fingerprint;
use redrill::database::postgres_seed::seed;
use redrill::fingerprint::Fingerprint;
use redrill::outcome::{Expectation, Observation};
use redrill::probe::client::{ClientError, Prober};
use redrill::probe::ledger::{LedgerVerdict, Survived, verdict};
use redrill::probe::{DatabaseTarget, LoginTarget, Reply, Request, ResticTarget};
use redrill::redact::Secret;
use tokio::io::DuplexStream;

const ROLE: &str = "taiga readonly";
const DEADLINE: Duration = Duration::from_secs(30);

async fn seeded(server: &Server, database: &str, rng: u64) -> Fingerprint {
    let target = server.database(database).await;
    seed(&target, ROLE, 3 << 20, rng).await.unwrap_or_else(|error| panic!("{error:?}"));
    fingerprint(&target, &[]).await.unwrap()
}

fn said(before: &Fingerprint, after: &Fingerprint) -> Vec<String> {
    before.differences(after).iter().map(ToString::to_string).collect()
}

fn prober() -> Prober<DuplexStream, DuplexStream> {
    let (stdin, prober_stdin) = tokio::io::duplex(1 << 16);
    let (prober_stdout, stdout) = tokio::io::duplex(1 << 16);
    tokio::spawn(redrill::probe::serve(prober_stdin, prober_stdout));
    Prober::new(stdin, stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_number_seeds_the_same_database_and_another_number_another() {
    let server = Server::start().await;
    let first = seeded(&server, "first", 7).await;
    assert_eq!(said(&first, &seeded(&server, "again", 7).await), [""; 0]);
    let other = seeded(&server, "other", 8).await;
    let documents = "table public.documents";
    assert_ne!(first.items[documents].digest, other.items[documents].digest);
    assert!(first.items[documents].count > 2000, "{:?}", first.items[documents]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_that_is_restored_has_the_same_fingerprint() {
    let server = Server::start().await;
    let before = seeded(&server, "before", 7).await;
    server.database("after").await;
    server.dump_and_restore("before", "after");
    let after = fingerprint(&server.target("after"), &[]).await.unwrap();
    assert_eq!(said(&before, &after), [""; 0]);
    for item in [
        "table public.accounts",
        "table \"Odd Schema\".\"Order Items\"",
        "materialized view public.events_by_kind",
        "definition of view public.active_accounts",
        "sequence public.invoice_numbers",
        "trigger note_change on public.accounts",
        "policy own_changes on public.audit",
        "large object 7000001",
        "grant on table public.accounts to \"taiga readonly\"",
        "role \"taiga readonly\"",
        "owner of table public.no_key",
        "extension citext",
        "comment on table column public.accounts.score",
    ] {
        assert!(before.items.contains_key(item), "{item} in {:#?}", before.items.keys());
    }
}

/// Statement, and the differences it has to be seen as.
const ALTERATIONS: &[(&str, &[&str])] = &[
    (
        "UPDATE public.accounts SET balance = balance + 0.0001 WHERE id = 17",
        &["table public.accounts: 1 row changed (200 rows, were 200)"],
    ),
    (
        "UPDATE public.documents d SET body = o.body FROM public.documents o WHERE (d.id, o.id) IN ((3, 4), (4, 3))",
        &["table public.documents: 2 rows changed (2688 rows, were 2688)"],
    ),
    ("INSERT INTO public.no_key VALUES ('once', 1)", &["table public.no_key: 1 row extra (6 rows, were 5)"]),
    (
        "DELETE FROM public.no_key WHERE ctid = (SELECT max(ctid) FROM public.no_key WHERE word = 'twice')",
        &["table public.no_key: 1 row missing (4 rows, were 5)"],
    ),
    (
        "UPDATE public.documents SET body = set_byte(body, 500, get_byte(body, 500) # 1) WHERE id = 9",
        &["table public.documents: 1 row changed (2688 rows, were 2688)"],
    ),
    ("UPDATE public.shapes SET \"number\" = '1.100' WHERE \"number\" = '1.10'", &["table public.shapes: "]),
    ("DELETE FROM public.events_2024_h1", &["table public.events_2024_h1: 0 rows, were "]),
    ("TRUNCATE public.cache", &["table public.cache: 0 rows, were 1: 1 fewer"]),
    ("SELECT setval('public.documents_id_seq', 100)", &["sequence public.documents_id_seq: last_value 100, "]),
    (
        "ALTER SEQUENCE public.never_used RESTART WITH 5; SELECT nextval('public.never_used')",
        &["sequence public.never_used: last_value 5, "],
    ),
    (
        "REVOKE SELECT ON public.plans FROM \"taiga readonly\"",
        &["grant on table public.plans to \"taiga readonly\": missing"],
    ),
    (
        "REVOKE UPDATE ON public.documents FROM \"taiga readonly\"",
        &[
            "grant on table public.documents to \"taiga readonly\": INSERT* by taiga; was INSERT* by taiga, UPDATE* by taiga",
        ],
    ),
    (
        "REVOKE UPDATE (note) ON public.empty FROM \"taiga readonly\"",
        &["grant on column public.empty.note to \"taiga readonly\": "],
    ),
    (
        "ALTER DEFAULT PRIVILEGES IN SCHEMA \"Odd Schema\" REVOKE SELECT ON TABLES FROM \"taiga readonly\"",
        &["grant on future tables of taiga in schema \"Odd Schema\" to \"taiga readonly\": missing"],
    ),
    ("SELECT lo_put(7000001, 299999, '\\x00')", &["large object 7000001: "]),
    (
        "SELECT lo_unlink(7000003)",
        &[
            "grant on large object 7000003 to taiga: missing",
            "large object 7000003: missing",
            "owner of large object 7000003: missing",
        ],
    ),
    ("DROP INDEX public.accounts_email", &["index public.accounts_email: missing"]),
    (
        "CREATE OR REPLACE FUNCTION public.total(VARIADIC amounts numeric[]) RETURNS numeric LANGUAGE sql IMMUTABLE
         AS 'SELECT sum(a) + 1 FROM unnest(amounts) a'",
        &["function public.total(VARIADIC amounts numeric[]): "],
    ),
    ("ALTER TABLE public.accounts DISABLE TRIGGER note_change", &["trigger note_change on public.accounts: "]),
    (
        "ALTER TABLE public.accounts DROP CONSTRAINT accounts_status_check",
        &["constraint accounts_status_check on public.accounts: missing"],
    ),
    ("ALTER TABLE public.audit DISABLE ROW LEVEL SECURITY", &["definition of table public.audit: "]),
    ("DROP POLICY own_changes ON public.audit", &["policy own_changes on public.audit: missing"]),
    (
        "ALTER TABLE public.no_key OWNER TO taiga",
        &["grant on table public.no_key", "grant on table public.no_key", "owner of table public.no_key: "],
    ),
    ("ALTER TABLE public.empty ALTER note SET DEFAULT 'x'", &["column public.empty.note: "]),
    ("COMMENT ON TABLE public.accounts IS NULL", &["comment on table public.accounts: missing"]),
    ("ALTER TYPE public.mood ADD VALUE 'angry' BEFORE 'sad'", &["type public.mood: "]),
    (
        "UPDATE public.events SET kind = 'login'; REFRESH MATERIALIZED VIEW public.events_by_kind",
        &[
            "materialized view public.events_by_kind: ",
            "table public.events_2024_h1: ",
            "table public.events_2024_h2: ",
            "table public.events_rest: ",
        ],
    ),
    ("CREATE TABLE public.left_over ()", &["definition of table public.left_over: not there before"]),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_single_alteration_is_seen_and_named() {
    let server = Server::start().await;
    let before = seeded(&server, "before", 7).await;
    for (number, (statement, expected)) in ALTERATIONS.iter().enumerate() {
        let name = format!("altered {number}");
        let target = server.copy("before", &name).await;
        server.execute(&name, statement).await;
        let differences = said(&before, &fingerprint(&target, &[]).await.unwrap());
        let differences: Vec<_> = differences
            .iter()
            .filter(|difference| {
                !difference.contains("public.left_over to ")
                    && !difference.starts_with("owner of table public.left_over")
                    && !difference.starts_with("table public.left_over")
            })
            .collect();
        let matches = differences.len() == expected.len()
            && differences.iter().zip(*expected).all(|(difference, expected)| difference.starts_with(expected));
        assert!(matches, "{statement}\n  is seen as {differences:#?}\n  and not as {expected:#?}");
        server.execute("postgres", &format!("DROP DATABASE \"{name}\"")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_whole_server_has_is_seen_too() {
    let server = Server::start().await;
    let target = server.database("taiga").await;
    server.execute("taiga", "CREATE ROLE reader LOGIN; CREATE ROLE readers; GRANT readers TO reader").await;
    let before = fingerprint(&target, &[]).await.unwrap();
    for (statement, undo, expected) in [
        (
            "ALTER ROLE reader CREATEDB",
            "ALTER ROLE reader NOCREATEDB",
            "role reader: inherit createdb login connection limit -1; was ",
        ),
        ("ALTER ROLE reader PASSWORD 'x'", "ALTER ROLE reader PASSWORD NULL", "password of role reader: set; was none"),
        ("REVOKE readers FROM reader", "GRANT readers TO reader", "membership of reader in readers: missing"),
        (
            "ALTER DATABASE taiga SET work_mem = '1GB'",
            "ALTER DATABASE taiga RESET ALL",
            "settings of database: not there before",
        ),
        (
            "GRANT CREATE ON DATABASE taiga TO reader",
            "REVOKE CREATE ON DATABASE taiga FROM reader",
            "grant on database to reader: not there before",
        ),
    ] {
        server.execute("postgres", statement).await;
        let differences = said(&before, &fingerprint(&target, &[]).await.unwrap());
        assert!(differences.len() == 1 && differences[0].starts_with(expected), "{statement}: {differences:#?}");
        server.execute("postgres", undo).await;
        assert_eq!(said(&before, &fingerprint(&target, &[]).await.unwrap()), [""; 0], "{undo}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_live_tables_are_left_out_on_request() {
    let server = Server::start().await;
    let target = server.database("taiga").await;
    server.execute("taiga", "CREATE TABLE sessions (id serial PRIMARY KEY)").await;
    let except = ["public.sessions".to_owned()];
    let before = fingerprint(&target, &except).await.unwrap();
    server.execute("taiga", "INSERT INTO sessions DEFAULT VALUES").await;
    assert_eq!(said(&before, &fingerprint(&target, &except).await.unwrap()), [""; 0]);
    assert!(before.items.contains_key("column public.sessions.id"));
}

async fn log_in(prober: &mut Prober<DuplexStream, DuplexStream>, target: LoginTarget) -> (Observation, bool) {
    match prober.ask(&Request::Login { target, expected: Expectation::Accepted, random_refused: false }).await {
        Ok(Reply::Login { observed, random_refused }) => (observed, random_refused),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_logins_are_accepted_refused_or_unknown() {
    let mut server = Server::start().await;
    let mut prober = prober();
    let target = server.target("postgres");
    server.execute("postgres", "CREATE ROLE reader LOGIN").await;
    let reader = |password: &str| {
        let target = DatabaseTarget { user: "reader".into(), password: Secret::new(password), ..target.clone() };
        LoginTarget::Database(target)
    };
    let own = LoginTarget::Database(target.clone());
    assert_eq!(log_in(&mut prober, own.clone()).await, (Observation::Accepted, true));
    assert!(matches!(log_in(&mut prober, reader("new one")).await, (Observation::Refused { .. }, true)));
    let new = Request::SetPassword { target: target.clone(), role: "reader".into(), password: Secret::new("new one") };
    prober.ask(&new).await.unwrap();
    assert_eq!(log_in(&mut prober, reader("new one")).await, (Observation::Accepted, true));
    let nowhere = LoginTarget::Database(DatabaseTarget { database: "nowhere".into(), ..target });
    assert!(matches!(log_in(&mut prober, nowhere).await, (Observation::Unknown { .. }, true)));
    server.kill();
    let (observed, random_refused) = log_in(&mut prober, own).await;
    assert!(matches!(&observed, Observation::Unknown { reason } if !reason.contains(PASSWORD)), "{observed:?}");
    assert!(!random_refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn restic_logins_are_accepted_refused_or_unknown() {
    let directory = tempfile::tempdir().unwrap();
    let repository = directory.path().join("repository").display().to_string();
    let made = std::process::Command::new("restic")
        .args(["init", "--repo", &repository])
        .env("RESTIC_PASSWORD", "right")
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let restic = |repository: &str, password: &str| {
        LoginTarget::Restic(ResticTarget {
            repository: repository.into(),
            password: Secret::new(password),
            env: BTreeMap::new(),
        })
    };
    let mut prober = prober();
    assert_eq!(log_in(&mut prober, restic(&repository, "right")).await, (Observation::Accepted, true));
    assert!(matches!(log_in(&mut prober, restic(&repository, "wrong")).await, (Observation::Refused { .. }, true)));
    let nowhere = directory.path().join("nowhere").display().to_string();
    assert!(matches!(log_in(&mut prober, restic(&nowhere, "right")).await, (Observation::Unknown { .. }, false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_is_gap_free_and_stops_on_request() {
    let server = Server::start().await;
    let target = server.database("taiga").await;
    prober().ask(&Request::PrepareLedger { target: target.clone() }).await.unwrap();
    let mut running = prober().keep_ledger(&target, Duration::from_micros(100)).await.unwrap();
    assert!(running.reached(50).await);
    let end = running.stop(DEADLINE).await.unwrap();
    assert_eq!(end.broken, None);
    assert!(end.acknowledged.iter().map(|row| row.k).eq(1..=end.acknowledged.len() as u64));
    assert!(end.acknowledged.is_sorted_by_key(|row| row.at_micros));
    server.execute("taiga", "DELETE FROM redrill_ledger WHERE k > 40").await;
    let Ok(Reply::Ledger { rows, first, last, gaps, .. }) = prober().ask(&Request::ReadLedger { target }).await else {
        panic!("no ledger")
    };
    let LedgerVerdict::Prefix { survived: 40, lost_rows, lost } =
        verdict(&end.acknowledged, Survived { rows, first, last, gaps })
    else {
        panic!("{rows} {first:?} {last:?} {gaps}")
    };
    assert!(lost_rows == end.acknowledged.len() as u64 - 40 && lost > Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ledger_whose_database_dies_says_so_and_keeps_what_was_acknowledged() {
    let mut server = Server::start().await;
    let target = server.database("taiga").await;
    prober().ask(&Request::PrepareLedger { target: target.clone() }).await.unwrap();
    let mut running = prober().keep_ledger(&target, Duration::ZERO).await.unwrap();
    assert!(running.reached(20).await);
    server.kill();
    assert!(!running.reached(u64::MAX).await);
    let end = running.stop(DEADLINE).await.unwrap();
    assert!(end.acknowledged.len() >= 20);
    assert!(end.broken.as_deref().is_some_and(|reason| reason.contains("commit row")), "{:?}", end.broken);
    let first_write = Request::FirstWrite { target, deadline_millis: 200 };
    let refused = prober().ask(&first_write).await.unwrap_err();
    assert!(matches!(&refused, ClientError::Refused { reason, .. } if reason.contains("200 ms")), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nonces_and_the_first_write_are_read_back() {
    let server = Server::start().await;
    let target = server.database("taiga").await;
    let mut prober = prober();
    let first_write = Request::FirstWrite { target: target.clone(), deadline_millis: 300 };
    let early = prober.ask(&first_write).await.unwrap_err();
    assert!(early.to_string().contains("redrill_nonce"), "a write into an empty database proves nothing: {early}");
    prober.ask(&Request::PrepareLedger { target: target.clone() }).await.unwrap();
    let nonce = Request::WriteNonce { target: target.clone(), label: "before".into(), value: "4711".into() };
    prober.ask(&nonce).await.unwrap();
    assert!(matches!(prober.ask(&first_write).await, Ok(Reply::Wrote { at_micros }) if at_micros > 0));
    let Ok(Reply::Nonces { values }) = prober.ask(&Request::ReadNonces { target }).await else { panic!("no nonces") };
    assert_eq!(values.get("before").map(String::as_str), Some("4711"));
    assert!(values.contains_key("first-write"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_shipped_to_its_end_on_request() {
    let settings = ["archive_mode=on", "archive_timeout=60", "archive_command=test ! -e ../%f && cp %p ../%f"];
    let server = Server::start_with(&settings).await;
    let target = server.target("postgres");
    let mut prober = prober();
    let mut segments = Vec::new();
    for _ in 0..2 {
        server.execute("postgres", "SELECT pg_logical_emit_message(false, 'redrill', 'something')").await;
        let asked = Request::DrainArchive { target: target.clone(), deadline_millis: 30_000 };
        let Ok(Reply::Drained { segment, micros }) = prober.ask(&asked).await else { panic!("not shipped") };
        assert!(micros > 0 && server.has_file(&segment), "{segment}");
        segments.push(segment);
    }
    assert!(segments[0] < segments[1], "{segments:?}");
    let Ok(Reply::Archiver { mode, timeout_seconds, waiting, clock }) =
        prober.ask(&Request::ReadArchiver { target }).await
    else {
        panic!("no state")
    };
    assert_eq!((mode.as_str(), timeout_seconds, waiting), ("on", 60, 0));
    let off = clock.parse::<jiff::Timestamp>().expect("RFC 3339").duration_until(jiff::Timestamp::now());
    assert!(off.abs() < DEADLINE.try_into().unwrap(), "{clock}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_does_not_get_shipped_is_told_with_its_failures() {
    let server = Server::start_with(&["archive_mode=on", "archive_command=false"]).await;
    let target = server.target("postgres");
    let mut prober = prober();
    let asked = Request::DrainArchive { target: target.clone(), deadline_millis: 3000 };
    let refused = prober.ask(&asked).await.unwrap_err().to_string();
    assert!(refused.contains("not done within 3000 ms") && refused.contains("archive_command failed"), "{refused}");
    let state = prober.ask(&Request::ReadArchiver { target }).await;
    assert!(matches!(state, Ok(Reply::Archiver { waiting, timeout_seconds: 0, .. }) if waiting > 0), "{state:?}");
    let without = Server::start().await;
    let state = prober.ask(&Request::ReadArchiver { target: without.target("postgres") }).await;
    assert!(matches!(&state, Ok(Reply::Archiver { mode, .. }) if mode == "off"), "{state:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_of_another_server_has_another_identifier() {
    let (one, other) = (Server::start().await, Server::start().await);
    let mut prober = prober();
    let mut identifiers = Vec::new();
    for server in [&one, &one, &other] {
        let asked = Request::ReadIdentifier { target: server.target("postgres") };
        let Ok(Reply::Identifier { identifier }) = prober.ask(&asked).await else { panic!("no identifier") };
        identifiers.push(identifier);
    }
    assert!(identifiers[0] == identifiers[1] && identifiers[1] != identifiers[2], "{identifiers:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corruption_takes_half_of_every_tables_rows_and_nothing_else() {
    let server = Server::start().await;
    let before = seeded(&server, "living", 7).await;
    let target = server.target("living");
    assert!(matches!(prober().ask(&Request::CorruptDatabase { target: target.clone() }).await, Ok(Reply::Done)));
    let after = fingerprint(&target, &[]).await.unwrap();
    for (name, item) in before.items.iter().filter(|(name, _)| name.starts_with("table ")) {
        assert_eq!(after.items[name].count, item.count / 2, "{name}");
    }
    let differing: Vec<_> = before.differences(&after).into_iter().map(|difference| difference.item).collect();
    assert!(differing.iter().all(|item| item.starts_with("table ")), "{differing:?}");
}
