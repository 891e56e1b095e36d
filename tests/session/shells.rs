use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use redrill::session::{
    Append, Deadlines, HiddenFailure, Session, SessionError, SessionKind, StepStatus, WORKSTATION_SHELL, pty,
};

use crate::seat::{Log, SHELLS, SIZE, bash, command, config, printed, quick, run, sit_down, statuses, step};

const OPENED_SHELL: StepStatus = StepStatus::OpenedSession { kind: SessionKind::Shell };

fn left(status: i32) -> StepStatus {
    StepStatus::ClosedSession { kind: SessionKind::Shell, status }
}

#[tokio::test]
async fn every_statement_of_a_block_has_its_own_status() {
    for shell in SHELLS {
        let mut session = sit_down(shell).await;
        let ran = run(&mut session, "# look\nfalse\n\necho a; (exit 3)\nprintf 'no line end'\ntrue").await;
        assert_eq!(statuses(&ran), [1, 3, 0, 0].map(StepStatus::Exit), "{shell:?}");
        assert_eq!(printed(&ran), "a\nno line end", "{shell:?}");
        assert_eq!(ran.first_failure().unwrap().source.line, 11);
        assert_eq!(ran.status, StepStatus::Exit(0));
        assert_eq!(session.close().await, Some(0));
    }
}

#[tokio::test]
async fn a_statement_is_told_with_its_own_last_line_and_not_with_a_later_ones() {
    let mut session = bash().await;
    let run = run(&mut session, "printf 'trying\\nno such release\\n\\n'; false\ntrue\necho installed").await;
    let said: Vec<&str> = run.statements.iter().map(|statement| &*statement.last_line).collect();
    assert_eq!(said, ["no such release", "", "installed"]);
}

#[tokio::test]
async fn statements_over_several_lines_run_as_one() {
    let block = "for i in 1 2; do\n  echo $i\ndone\necho a \\\n  b\ncat <<EOF\n\ttab\n# $((1+1))\nEOF\necho 'x\ny'\nf() {\n  echo f$1\n}\nf 7";
    for shell in SHELLS {
        let mut session = sit_down(shell).await;
        let ran = run(&mut session, block).await;
        assert_eq!(printed(&ran), "1\n2\na b\n\ttab\n# 2\nx\ny\nf7\n", "{shell:?}");
        let lines: Vec<_> = ran.statements.iter().map(|statement| statement.source.line).collect();
        assert_eq!(lines, [10, 13, 15, 19, 21, 24]);
        assert_eq!(ran.statements[1].text, "echo a \\\n  b");
    }
}

#[tokio::test]
async fn directory_variables_functions_and_aliases_last_from_step_to_step() {
    for shell in SHELLS {
        let mut session = sit_down(shell).await;
        run(&mut session, "cd /usr\nA='b  c'\ngreet() { echo hello $1; }\nalias ll='echo aliased'").await;
        let ran = run(&mut session, "pwd; echo \"$A\"; greet you\nll").await;
        assert_eq!(printed(&ran), "/usr\nb  c\nhello you\naliased\n", "{shell:?}");
    }
}

#[tokio::test]
async fn the_status_of_the_last_step_is_there_for_the_next() {
    let mut session = bash().await;
    run(&mut session, "(exit 42)").await;
    assert_eq!(printed(&run(&mut session, "# only a look\necho $? \"hey!\" ! $0").await), "42 hey! ! bash\n");
}

#[tokio::test]
async fn a_text_that_ends_inside_a_statement_fails_with_its_line_and_the_session_goes_on() {
    for shell in SHELLS {
        let mut session = sit_down(shell).await;
        for open in ["echo 'oops\necho never", "cat <<EOF\nnever", "if true; then\necho never", "echo never \\"] {
            let ran = run(&mut session, &format!("true\n{open}")).await;
            assert_eq!(statuses(&ran), [StepStatus::Exit(0), StepStatus::Incomplete], "{shell:?} {open}");
            assert_eq!(ran.first_failure().unwrap().source.line, 11);
            assert_eq!(printed(&ran).trim(), "", "{shell:?} {open}");
        }
        assert_eq!(printed(&run(&mut session, "echo on").await), "on\n", "{shell:?}");
    }
}

#[tokio::test]
async fn a_syntax_error_is_a_failed_statement() {
    for shell in SHELLS {
        let mut session = sit_down(shell).await;
        let ran = run(&mut session, "echo )\necho on").await;
        assert!(!ran.statements[0].status.is_success(), "{shell:?}");
        assert!(printed(&ran).ends_with("on\n"), "{shell:?}");
    }
}

#[tokio::test]
async fn a_failure_inside_a_pipeline_is_told() {
    let mut session = bash().await;
    let ran = run(&mut session, "false | true\nyes | head -1\ntrue | false").await;
    assert_eq!(statuses(&ran), [0, 0, 1].map(StepStatus::Exit));
    let hidden: Vec<_> = ran.hidden_failures().collect();
    assert_eq!(hidden, [(&ran.statements[0], &HiddenFailure::Pipeline { statuses: vec![1, 0] })]);
}

#[tokio::test]
async fn the_end_of_the_shell_is_told_with_its_status() {
    for (text, status) in
        [("exit 3", 3), ("set -e\nfalse\necho never", 1), ("exec sh -c 'exit 9'", 9), ("kill -9 $$", 137)]
    {
        let mut session = bash().await;
        let ran = run(&mut session, text).await;
        assert_eq!(ran.status, StepStatus::Lost { exit: Some(status) }, "{text}");
        assert!(!printed(&ran).contains("never"));
        assert!(matches!(session.run(&step("true")).await, Err(SessionError::Unusable { .. })));
        assert_eq!(session.close().await, Some(status));
    }
}

#[tokio::test]
async fn shells_nest_and_exit_leaves_them() {
    for inner in ["bash", "dash", "busybox sh", "PS1='> ' sh", "env -i PATH=$PATH bash --norc"] {
        let mut session = bash().await;
        let opened = run(&mut session, inner).await;
        assert_eq!((opened.status, session.depth()), (OPENED_SHELL, 1), "{inner}");
        let ran = run(&mut session, "cd /usr; echo in$((1+1)); false").await;
        assert_eq!((printed(&ran).as_str(), ran.status), ("in2\n", StepStatus::Exit(1)), "{inner}");
        let closed = run(&mut session, "exit 5").await;
        assert_eq!((closed.status, session.depth()), (left(5), 0), "{inner}");
        let ran = run(&mut session, "echo $?; pwd").await;
        assert_eq!(printed(&ran).lines().next(), Some("5"));
        assert!(!printed(&ran).contains("/usr"));
    }
}

#[tokio::test]
async fn a_block_may_enter_a_session_and_go_on_inside() {
    let mut session = bash().await;
    let ran = run(&mut session, "X=outer\nbash\necho ${X:-inner}\nbash\nexit\nexit 4\necho $? $X").await;
    let ok = || StepStatus::Exit(0);
    assert_eq!(statuses(&ran), [ok(), OPENED_SHELL, ok(), OPENED_SHELL, left(0), left(4), ok()]);
    assert!(printed(&ran).contains("inner\n") && printed(&ran).ends_with("4 outer\n"), "{}", printed(&ran));
}

#[tokio::test]
async fn su_opens_a_session_as_the_other_user() {
    let mut session = bash().await;
    assert_eq!(run(&mut session, "su - postgres").await.status, OPENED_SHELL);
    let ran = run(&mut session, "id -un").await;
    assert_eq!((printed(&ran).as_str(), session.depth()), ("postgres\n", 1));
    assert_eq!(run(&mut session, "exit").await.status, left(0));
    assert_eq!(printed(&run(&mut session, "id -un").await), "root\n");
}

#[tokio::test]
async fn exec_of_a_shell_takes_the_place_of_the_session() {
    let mut session = bash().await;
    assert_eq!(run(&mut session, "exec dash").await.status, OPENED_SHELL);
    assert_eq!((session.depth(), printed(&run(&mut session, "echo $0").await).as_str()), (0, "dash\n"));
    assert_eq!(run(&mut session, "exit 6").await.status, StepStatus::Lost { exit: Some(6) });
}

#[tokio::test]
async fn a_set_e_inside_an_inner_shell_ends_only_that() {
    let mut session = bash().await;
    run(&mut session, "bash").await;
    let ran = run(&mut session, "set -e\nfalse\necho outside").await;
    assert_eq!(statuses(&ran), [StepStatus::Exit(0), left(1), StepStatus::Exit(0)]);
}

#[tokio::test]
async fn an_opener_that_fails_is_a_failed_statement_even_after_it_was_probed() {
    let mut session = bash().await;
    run(&mut session, "mkdir -p /tmp/redrill-slow.$$ && cd /tmp/redrill-slow.$$").await;
    run(&mut session, "printf '#!/bin/sh\\nsleep 1.6\\necho no such pod >&2\\nexit 7\\n' > kubectl; chmod +x kubectl; PATH=$PWD:$PATH").await;
    let ran = run(&mut session, "kubectl exec -it x -- bash\necho $?").await;
    assert_eq!(statuses(&ran), [7, 0].map(StepStatus::Exit));
    assert_eq!((printed(&ran).as_str(), session.depth()), ("no such pod\n7\n", 0));
    run(&mut session, "rm -r /tmp/redrill-slow.$$").await;
}

/// A `kubectl` whose `exec -it POD -- COMMAND` runs the command on a terminal of its own, as the real one does.
const KUBECTL: &str = r#"#!/bin/sh
shift 4
exec script -qefc "$*" /dev/null
"#;

async fn with_kubectl() -> (Session, tempfile::TempDir) {
    let directory = tempfile::TempDir::new().unwrap();
    let kubectl = directory.path().join("kubectl");
    std::fs::write(&kubectl, KUBECTL).unwrap();
    std::fs::set_permissions(&kubectl, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let mut session = bash().await;
    run(&mut session, &format!("export PATH={}:$PATH", directory.path().display())).await;
    (session, directory)
}

#[tokio::test]
async fn a_shell_on_a_terminal_of_its_own_is_brought_under_control_too() {
    for shell in ["bash --norc", "dash", "busybox sh"] {
        let (mut session, _directory) = with_kubectl().await;
        assert_eq!(run(&mut session, &format!("kubectl exec -it pod -- {shell}")).await.status, OPENED_SHELL);
        let ran = run(
            &mut session,
            "tty | grep -c pts\nprintf 'a\\r\\n\\tb\\n'; stty -a | tr ' ' '\\n' | grep -x -e -echo -e -onlcr\nfalse",
        )
        .await;
        assert_eq!(printed(&ran), "1\na\r\n\tb\n-onlcr\n-echo\n", "{shell}");
        assert_eq!(ran.status, StepStatus::Exit(1));
        assert_eq!(run(&mut session, "exit 4").await.status, left(4));
        assert_eq!(printed(&run(&mut session, "echo home").await), "home\n");
    }
}

#[tokio::test]
async fn line_ends_are_mapped_where_the_terminal_cannot_be_told() {
    let (mut session, _directory) = with_kubectl().await;
    let bare = "kubectl exec -it pod -- env -i PATH=/nowhere /bin/dash";
    assert_eq!(run(&mut session, bare).await.status, OPENED_SHELL);
    let ran = run(&mut session, "echo a; echo b").await;
    assert!(printed(&ran).ends_with("a\nb\n") && !printed(&ran).contains('\r'), "{:?}", printed(&ran));
    assert_eq!(run(&mut session, "exit").await.status, left(0));
    assert_eq!(run(&mut session, "printf 'x\\r\\n'").await.raw.expose(), b"x\r\n");
}

#[tokio::test]
async fn a_program_on_a_terminal_is_no_session() {
    let (mut session, directory) = with_kubectl().await;
    std::fs::copy(directory.path().join("kubectl"), directory.path().join("backup.bb")).unwrap();
    std::fs::write(directory.path().join("backup.bb"), "#!/bin/sh\necho saved\nexit 3\n").unwrap();
    let ran = run(&mut session, "kubectl exec -it pod -- backup.bb\necho next").await;
    assert_eq!(statuses(&ran), [3, 0].map(StepStatus::Exit));
    assert_eq!(session.depth(), 0);
}

#[tokio::test]
async fn a_prompt_that_a_step_replaces_is_put_back() {
    let mut session = bash().await;
    let ran = run(&mut session, "PS1='me $ '\nfalse\nsource /dev/null").await;
    assert_eq!(statuses(&ran), [0, 1, 0].map(StepStatus::Exit));
    assert_eq!(session.depth(), 0);
}

#[tokio::test]
async fn a_program_that_reads_the_terminal_gets_nothing_of_the_next_step() {
    let mut session = bash().await;
    let ran = run(&mut session, "timeout 1 cat; echo $?\necho next").await;
    assert_eq!(printed(&ran), "124\nnext\n");
}

#[tokio::test]
async fn a_question_that_nobody_answers_is_given_up_with_its_text() {
    let mut session = bash().await;
    let ran = run(&mut session, "read -p 'Password for user app: ' -s x\necho never").await;
    let [StepStatus::Deadline { last_output, waiting_for_input_hint: Some(hint), usable: true }] = &statuses(&ran)[..]
    else {
        panic!("{ran:?}")
    };
    assert_eq!(last_output, "Password for user app: ");
    assert!(hint.contains("Password for user app:"));
    assert_eq!(printed(&run(&mut session, "echo on").await), "on\n");
}

#[tokio::test]
async fn an_opener_that_asks_for_a_password_is_not_probed() {
    let mut session = bash().await;
    let ran = run(&mut session, "psql() { read -s -p 'Password: ' x; echo \"got $x\"; }\npsql").await;
    assert!(matches!(ran.status, StepStatus::Deadline { usable: true, .. }), "{ran:?}");
    assert!(!printed(&ran).contains("got"));
}

#[tokio::test]
async fn a_command_without_end_is_given_up_at_the_deadline() {
    let terminal = pty::spawn(command(&WORKSTATION_SHELL), SIZE).unwrap();
    let deadlines = Deadlines { step: Duration::from_millis(700), ..quick() };
    let mut session = Session::open(terminal, config(deadlines, &Log::default())).await.unwrap();
    let ran = run(&mut session, "echo begun; cat").await;
    let StepStatus::Deadline { last_output, usable: true, .. } = &ran.status else { panic!("{ran:?}") };
    assert_eq!(last_output, "begun\n");
    let ran = run(&mut session, "sleep 100").await;
    let StepStatus::Deadline { waiting_for_input_hint: Some(hint), .. } = &ran.status else { panic!("{ran:?}") };
    assert!(hint.contains("printed nothing"));
    assert_eq!(printed(&run(&mut session, "echo on").await), "on\n");
}

#[tokio::test]
async fn a_program_deaf_to_control_c_makes_the_session_unusable() {
    let terminal = pty::spawn(command(&WORKSTATION_SHELL), SIZE).unwrap();
    let deadlines = Deadlines { step: Duration::from_millis(500), interrupt: Duration::from_millis(300), ..quick() };
    let mut session = Session::open(terminal, config(deadlines, &Log::default())).await.unwrap();
    let ran = run(&mut session, "sh -c 'trap \"\" INT; while :; do sleep 0.1; done'").await;
    assert!(matches!(ran.status, StepStatus::Deadline { usable: false, .. }), "{ran:?}");
    assert!(!session.is_usable());
}

#[tokio::test]
async fn a_terminal_without_a_shell_does_not_open() {
    let terminal = pty::spawn(command(&["sleep", "100"]), SIZE).unwrap();
    let deadlines = Deadlines { open: Duration::from_millis(300), interrupt: Duration::from_millis(300), ..quick() };
    let Err(error) = Session::open(terminal, config(deadlines, &Log::default())).await else { panic!("opened") };
    assert!(matches!(&error, SessionError::NotOpened { .. }), "{error}");
}

#[tokio::test]
async fn a_lost_connection_is_told_as_such() {
    let (near, far) = tokio::io::duplex(1024);
    let (output, input) = tokio::io::split(near);
    let terminal = redrill::session::Terminal {
        input: Box::new(input),
        output: Box::new(output),
        exit: Box::pin(std::future::ready(None)),
    };
    drop(far);
    let Err(error) = Session::open(terminal, config(quick(), &Log::default())).await else { panic!("opened") };
    assert!(matches!(error, SessionError::NotOpened { status: StepStatus::Lost { exit: None }, .. }), "{error}");
}

#[tokio::test]
async fn a_hundred_megabytes_go_to_the_log_and_only_the_end_stays() {
    let counted = Counted::default();
    let mut config = config(quick(), &Log::default());
    config.sink = Box::new(Append(counted.clone()));
    let mut session = Session::open(pty::spawn(command(&WORKSTATION_SHELL), SIZE).unwrap(), config).await.unwrap();
    let ran = run(&mut session, "yes 0123456789abcde | head -c 104857600; printf '\\nend'").await;
    assert_eq!((ran.printed, counted.0.load(Ordering::Relaxed)), (104_857_604, 104_857_604));
    assert_eq!(ran.output.len(), 64 << 10);
    assert!(ran.output.ends_with(b"e\n\nend"));
}

#[derive(Clone, Default)]
struct Counted(Arc<AtomicU64>);

impl std::io::Write for Counted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn bytes_that_are_no_text_come_back_as_they_are() {
    let mut session = bash().await;
    let ran = run(&mut session, r"printf '\377\376\000\r\n\033[31m@@rd:\015'").await;
    assert_eq!(ran.raw.expose(), b"\xff\xfe\0\r\n\x1b[31m@@rd:\r");
}

#[tokio::test]
async fn looking_at_the_prompts_definition_ends_nothing() {
    for shell in SHELLS {
        let mut session = sit_down(shell).await;
        let ran = run(&mut session, "set; echo \"$PS1$PS2\"; sleep 0.2; echo done").await;
        assert!(printed(&ran).ends_with("done\n"), "{shell:?}");
        assert_eq!(ran.statements.len(), 1);
    }
}

#[tokio::test]
async fn a_line_longer_than_a_terminal_takes_is_refused_before_it_is_typed() {
    let mut session = bash().await;
    let ran = run(&mut session, &format!("echo {}", "x".repeat(5000))).await;
    assert!(matches!(ran.status, StepStatus::NotTyped { .. }));
    assert_eq!(printed(&run(&mut session, &format!("echo {} | wc -c", "x".repeat(3900))).await).trim(), "3901");
}

#[tokio::test]
async fn tabs_complete_nothing_and_windows_line_ends_are_no_part_of_a_command() {
    for shell in SHELLS {
        let mut session = sit_down(shell).await;
        let ran = run(&mut session, "echo 'a\tb'\r\nprintf '%s\\n' x\ty\r\n").await;
        assert_eq!(printed(&ran), "a\tb\nx\ny\n", "{shell:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn whatever_is_echoed_comes_back_byte_for_byte_with_its_status(
        steps in proptest::collection::vec(("[ -~éß\t\n@]{0,120}", 0..=255_i32), 1..6),
        shell in 0..SHELLS.len(),
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let mut session = sit_down(SHELLS[shell]).await;
            for (text, status) in steps {
                let typed = format!("printf %s {}; (exit {status})", shell_words::quote(&text));
                let ran = run(&mut session, &typed).await;
                assert_eq!(String::from_utf8_lossy(ran.raw.expose()), text);
                assert_eq!(statuses(&ran), [StepStatus::Exit(status)]);
            }
        });
    }
}
