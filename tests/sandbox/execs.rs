use std::time::Duration;

use redrill::runtime::{ContainerExit, ExecSession, ExecSpec, PodRuntime as _, RuntimeError, TerminalSize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::drill::{DEADLINE, Drill, container, exec, finish};

/// Reads until the text has come.
async fn read_until(session: &mut ExecSession, wanted: &str) -> String {
    let mut text = String::new();
    let mut buffer = [0; 1024];
    while !text.contains(wanted) {
        let read = tokio::time::timeout(DEADLINE, session.stdout.read(&mut buffer)).await;
        let count = read.unwrap_or_else(|_| panic!("`{wanted}` does not come after {text:?}")).unwrap();
        assert_ne!(count, 0, "the end comes before `{wanted}`: {text:?}");
        text.push_str(&String::from_utf8_lossy(&buffer[..count]));
    }
    text
}

fn terminal(argv: &[&str]) -> ExecSpec {
    ExecSpec { stdin: true, tty: Some(TerminalSize { rows: 40, columns: 132 }), ..exec(argv) }
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_are_apart_and_stdin_has_an_end() {
    let drill = Drill::start().await;
    let id = drill.idle_pod("app").await;
    let mut session =
        drill.exec(&id, &ExecSpec { stdin: true, ..exec(&["sh", "-c", "cat; echo err >&2; exit 5"]) }).await;
    let mut stdin = session.stdin.take().unwrap();
    let writer = tokio::spawn(async move {
        stdin.write_all(&vec![b'x'; 1 << 20]).await.unwrap();
        stdin.shutdown().await.unwrap();
    });
    let (mut out, mut err) = (Vec::new(), String::new());
    let mut stderr = session.stderr.take().unwrap();
    let (out_read, err_read) = tokio::join!(session.stdout.read_to_end(&mut out), stderr.read_to_string(&mut err));
    out_read.unwrap();
    err_read.unwrap();
    writer.await.unwrap();
    assert_eq!((out.len(), err.as_str()), (1 << 20, "err\n"));
    assert_eq!(session.exit.await.unwrap(), ContainerExit::Code(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn stdin_that_was_not_asked_for_is_empty() {
    let drill = Drill::start().await;
    let id = drill.idle_pod("app").await;
    assert_eq!(drill.sh(&id, "cat; readlink /proc/self/fd/0").await, (0, "/dev/null\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_belongs_to_the_container_and_ctrl_c_reaches_the_program() {
    let drill = Drill::start().await;
    let mut spec = container("app", &["sleep", "infinity"]);
    spec.image.user = Some("postgres".to_owned());
    drill.pod("app").await;
    let id = drill.run(&spec).await;
    let mut session = drill.exec(&id, &terminal(&["bash", "--norc", "--noediting"])).await;
    let mut stdin = session.stdin.take().unwrap();
    stdin
        .write_all(b"tty; stty size; echo $TERM; echo again > /dev/tty; PS1=; stty -echo; echo rea''dy\n")
        .await
        .unwrap();
    let said = read_until(&mut session, "ready\r\n").await;
    for expected in ["/dev/pts/0\r\n", "40 132\r\n", "xterm\r\n", "again\r\n"] {
        assert!(said.contains(expected), "{expected:?} is missing in {said:?}");
    }
    session.resize.as_ref().unwrap().send(TerminalSize { rows: 10, columns: 20 }).await.unwrap();
    stdin.write_all(b"until stty size | grep -q '10 20'; do sleep 0.01; done; echo resized\n").await.unwrap();
    read_until(&mut session, "resized\r\n").await;
    stdin.write_all(b"echo waiting; sleep infinity\n").await.unwrap();
    read_until(&mut session, "waiting\r\n").await;
    drill.until(&id, "test $(pgrep -cfx 'sleep infinity') = 2").await;
    stdin.write_all(&[3]).await.unwrap();
    drill.until(&id, "test $(pgrep -cfx 'sleep infinity') = 1").await;
    stdin.write_all(b"echo code $?\n").await.unwrap();
    read_until(&mut session, "code 130\r\n").await;
    stdin.write_all(b"exit 4\n").await.unwrap();
    assert_eq!(tokio::time::timeout(DEADLINE, &mut session.exit).await.unwrap().unwrap(), ContainerExit::Code(4));
    let mut rest = String::new();
    session.stdout.read_to_string(&mut rest).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_the_stdin_of_a_terminal_is_end_of_file_once() {
    let drill = Drill::start().await;
    let id = drill.idle_pod("app").await;
    let mut session = drill.exec(&id, &terminal(&["sh", "-c", "cat; echo inner; read x || echo ended"])).await;
    let mut stdin = session.stdin.take().unwrap();
    stdin.write_all(b"line\n").await.unwrap();
    read_until(&mut session, "line\r\nline\r\n").await;
    stdin.shutdown().await.unwrap();
    read_until(&mut session, "inner\r\n").await;
    drop(stdin);
    drill.runtime.signal(&id, libc::SIGKILL).await.unwrap();
    assert_eq!(session.exit.await.unwrap(), ContainerExit::Signal(libc::SIGKILL), "the second read still waited");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_a_session_kills_the_whole_group() {
    let drill = Drill::start().await;
    let id = drill.idle_pod("app").await;
    for spec in [exec(&["sh", "-c", "sleep 4321 & sleep 4322"]), terminal(&["sh", "-c", "sleep 4321 & sleep 4322"])] {
        let session = drill.exec(&id, &spec).await;
        drill.until(&id, "test $(pgrep -fc 'sleep 432[1]|sleep 432[2]') -ge 2").await;
        drop(session);
        drill.until(&id, "! pgrep -f '^sleep 432'").await;
    }
    assert_eq!(drill.sh(&id, "echo the container lives").await.0, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_does_not_wait_for_a_background_child_that_holds_the_output() {
    let drill = Drill::start().await;
    let id = drill.idle_pod("app").await;
    let session = drill.exec(&id, &exec(&["sh", "-c", "sleep infinity & exit 6"])).await;
    let exit = tokio::time::timeout(DEADLINE, session.exit).await.expect("ends with its program").unwrap();
    assert_eq!(exit, ContainerExit::Code(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_have_their_default_effect_inside() {
    let drill = Drill::start().await;
    let id = drill.idle_pod("app").await;
    let (_, status) = drill.sh(&id, "grep -E 'SigIgn|SigBlk' /proc/self/status").await;
    assert_eq!(status, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    let killed = drill.exec(&id, &exec(&["sh", "-c", "kill -INT $$; sleep infinity"])).await;
    assert_eq!(tokio::time::timeout(DEADLINE, killed.exit).await.unwrap().unwrap(), ContainerExit::Signal(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_is_not_there_is_told_apart_from_one_that_fails() {
    let drill = Drill::start().await;
    let id = drill.idle_pod("app").await;
    for spec in [exec(&["nosuch"]), terminal(&["nosuch"])] {
        match drill.runtime.exec(&id, &spec).await {
            Err(RuntimeError::CannotRun { program, reason }) => {
                assert_eq!((&*program, &*reason), ("nosuch", "executable file not found in $PATH"));
            }
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("nosuch ran"),
        }
    }
    assert_eq!(drill.sh(&id, "exit 9").await.0, 9);
    drill.runtime.signal(&id, libc::SIGKILL).await.unwrap();
    drill.wait(&id).await;
    assert!(matches!(drill.runtime.exec(&id, &exec(&["true"])).await, Err(RuntimeError::NotFound { .. })));
}

#[tokio::test(flavor = "multi_thread")]
async fn many_execs_run_side_by_side() {
    let drill = Drill::start().await;
    let id = drill.idle_pod("app").await;
    let all = (0..20).map(|number| {
        let (drill, id) = (&drill, &id);
        async move { finish(drill.exec(id, &exec(&["sh", "-c", &format!("sleep 0.1; exit {number}")])).await).await.0 }
    });
    let codes = tokio::time::timeout(Duration::from_secs(30), futures::future::join_all(all)).await.unwrap();
    assert_eq!(codes, (0..20).collect::<Vec<_>>());
}
