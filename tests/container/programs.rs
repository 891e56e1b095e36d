//! Programs run in a container: streams, terminals, ends.

use redrill::runtime::{ExecSpec, PodRuntime as _, RuntimeError, TerminalSize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::pod::{FOR_EVER, Run, container, finish, soon, terminal};

fn exec(argv: &[&str], stdin: bool) -> ExecSpec {
    ExecSpec { argv: argv.iter().map(|word| (*word).to_owned()).collect(), stdin, tty: None }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn a_program_gets_its_input_and_gives_both_outputs_and_its_exit_code() {
    let run = Run::start().await;
    run.pod("app").await;
    let id = run.run(&container("app", FOR_EVER)).await;
    let script = "cat; echo err >&2; exit 7";
    let session = run.runtime.exec(&id, &exec(&["sh", "-c", script], true)).await.unwrap();
    let input = "line\n".repeat(100_000);
    let (mut stdin, mut stdout) = (session.stdin.unwrap(), session.stdout);
    let typing = tokio::spawn({
        let input = input.clone();
        // Dropping it is its end.
        async move { stdin.write_all(input.as_bytes()).await.unwrap() }
    });
    let mut said = String::new();
    soon("all of the output", stdout.read_to_string(&mut said)).await.unwrap();
    typing.await.unwrap();
    assert_eq!(said.len(), input.len());
    let mut errors = String::new();
    soon("stderr", session.stderr.unwrap().read_to_string(&mut errors)).await.unwrap();
    assert_eq!(errors, "err\n");
    assert_eq!(soon("the end", session.exit).await.unwrap().code(), 7);
    assert_eq!(run.end().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn an_end_is_told_though_nobody_reads_the_output() {
    let run = Run::start().await;
    run.pod("app").await;
    let id = run.run(&container("app", FOR_EVER)).await;
    // More than fits between here and there without being read, less than the engine and its sockets keep.
    let session = run.runtime.exec(&id, &exec(&["sh", "-c", "echo said; exit 3"], false)).await.unwrap();
    assert_eq!(soon("the end", session.exit).await.unwrap().code(), 3);
    assert_eq!(run.end().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn a_terminal_has_its_size_and_is_resized_and_ends_its_input_by_a_character() {
    let run = Run::start().await;
    run.pod("app").await;
    let id = run.run(&container("app", FOR_EVER)).await;
    let script = "tty_of() { test -t 0 && test -t 1 && test -t 2 && echo terminal; }; \
                  tty_of; while read line; do stty size; done; echo bye; exit 4";
    let spec = terminal(script, TerminalSize { rows: 33, columns: 111 });
    let mut session = run.runtime.exec(&id, &spec).await.unwrap();
    assert!(session.stderr.is_none());
    let (mut stdin, mut stdout) = (session.stdin.take().unwrap(), session.stdout);
    let mut said = String::new();
    read_until(&mut stdout, &mut said, "terminal\r\n").await;
    stdin.write_all(b"\n").await.unwrap();
    read_until(&mut stdout, &mut said, "33 111\r\n").await;
    session.resize.unwrap().send(TerminalSize { rows: 44, columns: 99 }).await.unwrap();
    // The change travels apart from what is typed.
    soon("the new size", async {
        while !said.contains("44 99\r\n") {
            stdin.write_all(b"\n").await.unwrap();
            read_until(&mut stdout, &mut said, "\n").await;
        }
    })
    .await;
    drop(stdin);
    read_until(&mut stdout, &mut said, "bye\r\n").await;
    assert_eq!(soon("the end", session.exit).await.unwrap().code(), 4);
    assert_eq!(run.end().await, [""; 0]);
}

/// Reads at least once, until what was read ends with this.
async fn read_until(stdout: &mut (impl tokio::io::AsyncRead + Unpin), said: &mut String, end: &str) {
    let mut buffer = [0; 1024];
    loop {
        let count = soon("terminal output", stdout.read(&mut buffer)).await.unwrap();
        assert_ne!(count, 0, "the terminal ended after {said:?}");
        said.push_str(&String::from_utf8_lossy(&buffer[..count]));
        if said.ends_with(end) {
            return;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn a_program_that_cannot_run_is_told_from_one_that_fails() {
    let run = Run::start().await;
    run.pod("app").await;
    let id = run.run(&container("app", FOR_EVER)).await;
    for program in ["absent", "/etc/passwd"] {
        let refused = soon("a refusal", run.runtime.exec(&id, &exec(&[program], false))).await.err();
        let told = matches!(&refused, Some(RuntimeError::CannotRun { program: named, reason }) if named == program && reason.contains(program));
        assert!(told, "{refused:?}");
    }
    let session = run.runtime.exec(&id, &exec(&["sh", "-c", "exit 127"], false)).await.unwrap();
    assert_eq!(finish(session, "").await.0, 127);

    let mut spec = container("app", "");
    spec.id.container = "broken".to_owned();
    spec.argv = vec!["absent".to_owned()];
    run.runtime.create(&spec).await.unwrap();
    let refused = soon("a refusal", run.runtime.start(&spec.id)).await;
    assert!(matches!(&refused, Err(RuntimeError::CannotRun { program, .. }) if program == "absent"), "{refused:?}");
    assert_eq!(run.end().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn a_program_ends_with_its_container_and_with_its_session() {
    let run = Run::start().await;
    run.pod("app").await;
    let id = run.run(&container("app", FOR_EVER)).await;
    let session = run.runtime.exec(&id, &exec(&["sh", "-c", "echo $$; sleep 9999; :"], false)).await.unwrap();
    let mut pid = [0; 8];
    let mut stdout = session.stdout;
    let count = soon("its process id", stdout.read(&mut pid)).await.unwrap();
    let pid = String::from_utf8_lossy(&pid[..count]).trim().to_owned();
    let alive = format!("test -d /proc/{pid}");
    assert_eq!(run.sh(&id, &alive).await.0, 0);
    drop((session.exit, stdout));
    let gone = format!("while test -d /proc/{pid}; do sleep 0.05; done");
    assert_eq!(soon("the end of what nobody waits for", run.sh(&id, &gone)).await.0, 0);

    let session = run.runtime.exec(&id, &exec(&["sleep", "9999"], false)).await.unwrap();
    run.runtime.remove(&id).await.unwrap();
    assert_eq!(soon("its end", session.exit).await.unwrap().code(), 128 + libc::SIGKILL);
    let refused = run.runtime.exec(&id, &exec(&["true"], false)).await.err();
    assert!(matches!(refused, Some(RuntimeError::NotFound { .. })), "{refused:?}");
    assert_eq!(run.end().await, [""; 0]);
}
