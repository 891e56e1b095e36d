use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use redrill::redact::Secret;
use redrill::runtime::{ContainerExit, Image, ImageFile, LogOptions, PodRuntime as _, RuntimeError};

use crate::drill::{Drill, container};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_gives_files_user_environment_and_directory() {
    let drill = Drill::start().await;
    // As in the home directory of root: nobody else gets in.
    let private = tempfile::tempdir().unwrap();
    std::fs::set_permissions(private.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    let script = private.path().join("backup.bb");
    std::fs::write(&script, "#!/bin/bash\nid -un; id -gn; pwd; echo $A $B $HOME $HOSTNAME\n").unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o700)).unwrap();
    let conf = private.path().join("conf");
    std::fs::create_dir(&conf).unwrap();
    std::fs::write(conf.join("a.conf"), "a\n").unwrap();

    drill.pod("app").await;
    let file = |source: &PathBuf, target: &str| ImageFile { source: source.clone(), target: PathBuf::from(target) };
    let mut spec = container("app", &["backup.bb"]);
    spec.image = Image {
        env: vec![("A".to_owned(), "image".to_owned()), ("B".to_owned(), "image".to_owned())],
        user: Some("postgres".to_owned()),
        working_dir: Some(PathBuf::from("/srv/app")),
        files: vec![
            file(&script, "/usr/local/bin/backup.bb"),
            file(&script, "/opt/tools/again.bb"),
            file(&conf, "/usr/share/app/conf"),
            file(&PathBuf::from(crate::drill::REDRILL), "/usr/local/bin/redrill"),
        ],
        ..Image::default()
    };
    spec.env = vec![("B".to_owned(), Secret::new("pod"))];
    let id = drill.run(&spec).await;
    assert_eq!(drill.wait(&id).await, ContainerExit::Code(0));
    let log = drill.log(&id, LogOptions::default()).await;
    assert_eq!(log, "postgres\npostgres\n/srv/app\nimage pod /var/lib/postgresql app\n");

    drill.runtime.remove(&id).await.unwrap();
    spec.argv = vec!["sleep".to_owned(), "infinity".to_owned()];
    let id = drill.run(&spec).await;
    let look = "cat /usr/share/app/conf/a.conf && test -x /opt/tools/again.bb && redrill --version > /dev/null && test -e /usr/bin/env";
    assert_eq!(drill.sh(&id, look).await, (0, "a\n".to_owned()));
    let (code, said) = drill.sh(&id, "echo x >> /usr/local/bin/backup.bb").await;
    assert_ne!(code, 0, "image files are read-only: {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_only_the_image_knows_exists() {
    let drill = Drill::start().await;
    drill.pod("app").await;
    let mut spec = container("app", &["sh", "-c", "id -un; echo $HOME; touch ~/mine && echo ok"]);
    spec.image.user = Some("taiga".to_owned());
    let id = drill.run(&spec).await;
    drill.wait(&id).await;
    assert_eq!(drill.log(&id, LogOptions::default()).await, "taiga\n/home/taiga\nok\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn numbers_of_the_pod_and_its_group_are_honoured() {
    let drill = Drill::start().await;
    drill.pod("app").await;
    let mut spec = container("app", &["id"]);
    (spec.run_as_user, spec.run_as_group, spec.fs_group) = (Some(999), Some(998), Some(2000));
    let id = drill.run(&spec).await;
    drill.wait(&id).await;
    let said = drill.log(&id, LogOptions::default()).await;
    assert!(said.starts_with("uid=999") && said.contains("gid=998") && said.contains("groups=998"), "{said}");
    assert!(said.contains("2000"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn both_streams_are_logged_in_the_order_written_and_followed_to_the_end() {
    let drill = Drill::start().await;
    drill.pod("app").await;
    // /dev/stderr is opened anew: the pipe must belong to the container's user.
    let line = "echo 1; echo 2 >&2; echo 3; sleep 0.2; echo 4 > /dev/stderr; exit 7";
    let mut spec = container("app", &["sh", "-c", line]);
    spec.run_as_user = Some(999);
    let id = drill.run(&spec).await;
    let followed = drill.log(&id, LogOptions { follow: true, ..LogOptions::default() }).await;
    assert_eq!(followed, "1\n2\n3\n4\n");
    assert_eq!(drill.wait(&id).await, ContainerExit::Code(7));
    let tail = LogOptions { tail: Some(2), ..LogOptions::default() };
    assert_eq!(drill.log(&id, tail).await, "3\n4\n");

    drill.runtime.remove(&id).await.unwrap();
    assert_eq!(drill.log(&id, tail).await, "3\n4\n", "readable until the pod is removed");
    drill.run(&container("app", &["echo", "second"])).await;
    drill.wait(&id).await;
    assert_eq!(drill.log(&id, LogOptions::default()).await, "second\n");
    assert_eq!(drill.log(&id, LogOptions { previous: true, ..tail }).await, "3\n4\n");

    let logs = drill.directory.path().join("sandbox/logs");
    for log in std::fs::read_dir(logs).unwrap() {
        assert_eq!(log.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_cannot_be_executed_is_the_fault_of_what_was_asked() {
    let drill = Drill::start().await;
    drill.pod("app").await;
    for (program, expected) in [
        ("no-such-program", "executable file not found in $PATH"),
        ("/no/such/program", "no such file or directory"),
        ("/etc/passwd", "permission denied"),
    ] {
        let spec = container("app", &[program]);
        drill.runtime.create(&spec).await.unwrap();
        match drill.runtime.start(&spec.id).await {
            Err(RuntimeError::CannotRun { program: named, reason }) => {
                assert_eq!((&*named, &*reason), (program, expected))
            }
            other => panic!("{program}: {other:?}"),
        }
        drill.runtime.remove(&spec.id).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_is_the_first_process_gets_signals_and_takes_its_children_along() {
    let drill = Drill::start().await;
    drill.pod("app").await;
    let script = "trap 'echo bye; exit 3' TERM; sleep infinity & echo pid $$; wait";
    let id = drill.run(&container("app", &["sh", "-c", script])).await;
    drill.until(&id, "pgrep sleep").await;
    drill.runtime.signal(&id, libc::SIGTERM).await.unwrap();
    assert_eq!(drill.wait(&id).await, ContainerExit::Code(3));
    assert_eq!(drill.log(&id, LogOptions::default()).await, "pid 1\nbye\n");
    let again = drill.runtime.signal(&id, libc::SIGTERM).await;
    assert!(matches!(again, Err(RuntimeError::NotFound { .. })), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_in_the_inventory_until_it_is_removed() {
    let drill = Drill::start().await;
    let id = drill.idle_pod("main/default/app/1").await;
    let volume = redrill::runtime::VolumeId("main/default/data".to_owned());
    drill.runtime.create_volume(&volume).await.unwrap();
    let expected = ["container main/default/app/1/main", "pod main/default/app/1", "volume main/default/data"];
    assert_eq!(drill.runtime.inventory().await.unwrap(), expected);
    drill.runtime.remove(&id).await.unwrap();
    drill.runtime.remove(&id).await.unwrap();
    drill.runtime.remove_pod(&id.pod).await.unwrap();
    drill.runtime.remove_pod(&id.pod).await.unwrap();
    drill.runtime.remove_volume(&volume).await.unwrap();
    drill.runtime.remove_volume(&volume).await.unwrap();
    assert_eq!(drill.runtime.inventory().await.unwrap(), Vec::<String>::new());
    assert_eq!(drill.runtime.shutdown().await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_programs_that_runbooks_use_work_inside() {
    let drill = Drill::start().await;
    let id = drill.idle_pod("app").await;
    for line in [
        "psql --version",
        "restic version",
        "python3 -c 'import ssl, json, psycopg2'",
        "perl -e 'use POSIX; print POSIX::getpid()'",
        "bash -c 'echo {1..3} | wc -w'",
        "date; getent hosts localhost; getent passwd postgres",
        "echo hello | gzip | gunzip",
        "grep -q 'of the drill' $SSL_CERT_FILE",
        "mkdir /backup && touch /backup/x /etc/x /var/x",
    ] {
        let (code, said) = drill.sh(&id, line).await;
        assert_eq!(code, 0, "`{line}` says: {said}");
    }
}
