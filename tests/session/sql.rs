use std::path::Path;
use std::process::Stdio;

use redrill::session::{HiddenFailure, Session, SessionKind, StepRun, StepStatus, WORKSTATION_SHELL, pty};
use tempfile::TempDir;
use tokio::process::Command;

use crate::seat::{Log, SIZE, bash, command, config, printed, quick, run, sit_down, statuses, step};

const BINARIES: &str = "/usr/lib/postgresql/15/bin";
const OPENED_SQL: StepStatus = StepStatus::OpenedSession { kind: SessionKind::Sql };
const OK: StepStatus = StepStatus::Exit(0);
const FAILED: StepStatus = StepStatus::Exit(1);

/// A PostgreSQL of one test, reached through a socket in its directory.
struct Database {
    directory: TempDir,
}

impl Database {
    async fn start() -> Self {
        let directory = TempDir::new().unwrap();
        as_postgres(&format!("chmod 755 {0}; chown postgres {0}", directory.path().display()), Stdio::null(), "root")
            .await;
        let data = directory.path().join("data");
        let (data, socket) = (data.display(), directory.path().display());
        let start = format!(
            "{BINARIES}/initdb -D {data} -A trust -U app --no-sync >/dev/null && \
             {BINARIES}/pg_ctl -D {data} -w -o \"-F -c listen_addresses= -c unix_socket_directories={socket}\" -l {data}/log start >/dev/null && \
             {BINARIES}/createdb -h {socket} -U app app"
        );
        as_postgres(&start, Stdio::inherit(), "postgres").await;
        Self { directory }
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// What a person would type to get in.
    fn psql(&self) -> String {
        format!("psql -h {} -U app app", self.path().display())
    }

    async fn seat(&self) -> Session {
        let mut session = bash().await;
        assert_eq!(run(&mut session, &self.psql()).await.status, OPENED_SQL);
        assert_eq!((session.depth(), session.in_what()), (1, SessionKind::Sql));
        session
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let data = self.path().join("data");
        let stop = format!("{BINARIES}/pg_ctl -D {} -m immediate stop", data.display());
        let _ = std::process::Command::new("runuser")
            .args(["-u", "postgres", "--", "sh", "-c", &stop])
            .stdout(Stdio::null())
            .status();
    }
}

async fn as_postgres(script: &str, stderr: Stdio, user: &str) {
    let mut command = Command::new("runuser");
    command.args(["-u", user, "--", "sh", "-c", script]).stderr(stderr);
    assert!(command.status().await.unwrap().success(), "{script}");
}

fn sqlstates(run: &StepRun) -> Vec<Option<&str>> {
    run.statements.iter().map(|statement| statement.sqlstate.as_deref()).collect()
}

#[tokio::test]
async fn every_sql_statement_has_its_own_status_and_sqlstate() {
    let database = Database::start().await;
    let mut session = database.seat().await;
    let block =
        "-- drop it\nDROP DATABASE quetzal;  -- change this\nselect 1/0; select 'a;b' as x;\n\nselect\n  2 as two\n;";
    let ran = run(&mut session, block).await;
    assert_eq!(statuses(&ran), [FAILED, FAILED, OK, OK], "{}", printed(&ran));
    assert_eq!(sqlstates(&ran), [Some("3D000"), Some("22012"), Some("00000"), Some("00000")]);
    assert_eq!(ran.first_failure().unwrap().source.line, 11);
    assert!(printed(&ran).contains("ERROR:  division by zero\n"));
    assert!(printed(&ran).contains(" a;b\n") && printed(&ran).contains(" two \n"), "{}", printed(&ran));
    assert!(!printed(&ran).contains("rd") && !printed(&ran).contains("select"), "{}", printed(&ran));
    let closed = run(&mut session, "DROP ROLE nobody_there;\nexit;").await;
    assert_eq!(statuses(&closed), [FAILED, StepStatus::ClosedSession { kind: SessionKind::Sql, status: 0 }]);
    assert_eq!(printed(&run(&mut session, "echo back").await), "back\n");
}

#[tokio::test]
async fn every_way_out_of_psql_leaves_the_session() {
    let database = Database::start().await;
    let mut session = bash().await;
    for way_out in ["exit", "exit;", "quit", "\\q", "select 1; \\q"] {
        run(&mut session, &database.psql()).await;
        let ran = run(&mut session, way_out).await;
        assert_eq!(ran.status, StepStatus::ClosedSession { kind: SessionKind::Sql, status: 0 }, "{way_out}");
        assert_eq!(session.depth(), 0);
    }
}

#[tokio::test]
async fn quotes_functions_variables_and_copies_are_typed_as_they_stand() {
    let database = Database::start().await;
    let mut session = database.seat().await;
    let block = "create table t (a int, b text);\ncopy t from stdin;\n1\tx;y\n2\t'open\n\\.\n\
                 create function f() returns int as $f$\nbegin\n\treturn 1; -- not here\nend;\n$f$ language plpgsql;\n\
                 \\set v 'it''s'\nselect :'v' || E'\\t;' as q, f();\nselect string_agg(a || b, '|' order by a) from t;\n\
                 create function g() returns int begin atomic select 1; select 2; end;\nselect g();";
    let ran = run(&mut session, block).await;
    assert!(ran.is_success(), "{:#?} {}", ran.statements, printed(&ran));
    assert_eq!(ran.statements.len(), 8, "{:#?}", ran.statements);
    assert!(printed(&ran).contains("1x;y|2'open") && printed(&ran).contains("COPY 2"), "{}", printed(&ran));
    let body = run(
        &mut session,
        "select prosrc from pg_proc where proname = 'f' \\gset\nselect length(:'prosrc'), strpos(:'prosrc', E'\\t');",
    )
    .await;
    assert!(printed(&body).contains("35 |      8"), "{}", printed(&body));
}

#[tokio::test]
async fn backslash_commands_are_judged_by_what_they_say() {
    let database = Database::start().await;
    std::fs::write(database.path().join("bad.sql"), "select 1;\nselect 1/0;\nselect 2;\n").unwrap();
    let mut session = database.seat().await;
    let block = format!(
        "select 1/0;\n\\d\n\\nonsense\n\\i /nowhere.sql\n\\i {}/bad.sql\n\\c nowhere\n\\copy pg_class to '/nowhere/x'\n\\echo ok\n\\copy (select 1) to '/dev/null'",
        database.path().display()
    );
    let ran = run(&mut session, &block).await;
    assert_eq!(statuses(&ran)[1..], [FAILED, FAILED, FAILED, FAILED, FAILED, FAILED, OK, OK], "{}", printed(&ran));
}

#[tokio::test]
async fn a_statement_without_end_fails_and_leaves_psql_ready() {
    let database = Database::start().await;
    let mut session = database.seat().await;
    for open in [
        "select 1",
        "select 'open;",
        "select $x$ ;",
        "select (1;",
        "/* ;",
        "create table c (a int); copy c from stdin;\n1",
    ] {
        let ran = run(&mut session, open).await;
        assert_eq!(ran.status, StepStatus::Incomplete, "{open}");
        let ran = run(&mut session, "select 'on' as on;").await;
        assert_eq!(ran.status, OK, "{open}: {}", printed(&ran));
        run(&mut session, "drop table if exists c;").await;
    }
}

#[tokio::test]
async fn a_lost_server_is_a_failed_statement() {
    let database = Database::start().await;
    let mut session = database.seat().await;
    let ran = run(&mut session, "select pg_terminate_backend(pg_backend_pid());\nselect 1;").await;
    assert_eq!(statuses(&ran), [FAILED, OK], "{}", printed(&ran));
}

#[tokio::test]
async fn psql_that_cannot_connect_is_a_failed_command() {
    let mut session = bash().await;
    let ran = run(&mut session, "psql -h /nowhere app").await;
    assert_eq!((ran.status.clone(), session.depth()), (StepStatus::Exit(2), 0), "{}", printed(&ran));
}

#[tokio::test]
async fn psql_opens_inside_an_inner_shell_and_with_readline() {
    let database = Database::start().await;
    for shell in ["su - postgres", "dash", "TERM=xterm bash"] {
        let mut session = sit_down(&WORKSTATION_SHELL).await;
        run(&mut session, shell).await;
        let opened = run(&mut session, &format!("TERM=xterm {}", database.psql())).await;
        assert_eq!((opened.status, session.depth()), (OPENED_SQL, 2), "{shell}");
        let ran = run(
            &mut session,
            "select length('é\tx') * 111 as tab, repeat('y', 200) as long;\nselect generate_series(1, 100);",
        )
        .await;
        assert!(
            ran.is_success() && printed(&ran).contains("(100 rows)") && printed(&ran).contains("333"),
            "{}",
            printed(&ran)
        );
        let long = run(&mut session, &format!("select length('{}');", "x".repeat(9000))).await;
        assert!(printed(&long).contains(" 9000\n"), "{shell}: {}", printed(&long));
        let left = run(&mut session, "\\q\nexit").await;
        assert!(left.is_success());
        assert_eq!(session.depth(), 0);
    }
}

#[tokio::test]
async fn errors_that_psql_hides_behind_status_0_are_told() {
    let database = Database::start().await;
    let mut session = bash().await;
    let ran = run(&mut session, &format!("echo 'select 1/0; select 1' | {}\n{0} -c 'select 1'", database.psql())).await;
    assert_eq!(statuses(&ran), [OK, OK]);
    let hidden: Vec<_> = ran.hidden_failures().map(|(_, failure)| failure.clone()).collect();
    assert_eq!(hidden, [HiddenFailure::Psql { errors: vec!["ERROR:  division by zero".to_owned()] }]);
}

#[tokio::test]
async fn a_password_that_psql_asks_for_is_a_deadline_with_the_question() {
    let database = Database::start().await;
    let mut session = bash().await;
    let ran = run(&mut session, &format!("{} -W", database.psql())).await;
    let StepStatus::Deadline { waiting_for_input_hint: Some(hint), usable: true, .. } = &ran.status else {
        panic!("{ran:?}")
    };
    assert!(hint.contains("Password"), "{hint}");
    assert_eq!(printed(&run(&mut session, "echo on").await), "on\n");
}

#[tokio::test]
async fn secrets_in_query_results_are_taken_out_of_log_and_tail() {
    let database = Database::start().await;
    let log = Log::default();
    let mut config = config(quick(), &log);
    config.redact = std::sync::Arc::new(|bytes| String::from_utf8_lossy(bytes).replace("hunter2", "***").into_bytes());
    let mut session = Session::open(pty::spawn(command(&WORKSTATION_SHELL), SIZE).unwrap(), config).await.unwrap();
    let ran = session.run(&step(&format!("{} -Atc \"select 'hunter' || 2\"", database.psql()))).await.unwrap();
    assert_eq!((ran.output.as_slice(), log.0.lock().unwrap().as_slice()), (b"***\n".as_slice(), b"***\n".as_slice()));
    assert_eq!(ran.raw.expose(), b"hunter2\n");
}
