use std::path::PathBuf;

use redrill::runtime::{LogOptions, Mount, MountSource, PodRuntime as _, ProjectedFile, RuntimeError, VolumeId};
use redrill::sandbox::remove_run_directory;

use crate::drill::{Drill, REDRILL, container, volume_at};

fn projected(path: &str, content: &str) -> ProjectedFile {
    ProjectedFile { path: PathBuf::from(path), mode: 0o644, content: content.to_owned().into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_readable_inside_read_only_and_never_on_the_hosts_disk() {
    let drill = Drill::start().await;
    drill.pod("app").await;
    let files = vec![projected("restic-password", "hunter-canary"), projected("deep/er/key", "k")];
    let mut spec = container("app", &["sleep", "infinity"]);
    spec.mounts = vec![Mount {
        source: MountSource::Files(files.clone()),
        sub_path: None,
        target: PathBuf::from("/var/run/secrets/backup-secrets"),
        read_only: false,
    }];
    spec.mounts.push(Mount {
        source: MountSource::Files(files),
        sub_path: Some(PathBuf::from("deep/er/key")),
        target: PathBuf::from("/etc/app/conf.d/key"),
        read_only: true,
    });
    let id = drill.run(&spec).await;
    let look = "cat /run/secrets/backup-secrets/restic-password /var/run/secrets/backup-secrets/deep/er/key /etc/app/conf.d/key";
    assert_eq!(drill.sh(&id, look).await, (0, "hunter-canarykk".to_owned()));
    assert_ne!(drill.sh(&id, "echo x > /run/secrets/backup-secrets/restic-password").await.0, 0);
    let found =
        std::process::Command::new("grep").args(["-rl", "hunter-canary"]).arg(drill.directory.path()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&found.stdout), "", "found on disk");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_is_shared_restricted_and_entered_by_sub_path() {
    let drill = Drill::start().await;
    let volume = VolumeId("main/taiga/media".to_owned());
    drill.runtime.create_volume(&volume).await.unwrap();
    drill.pod("writer").await;
    drill.pod("reader").await;
    let mut spec = container("writer", &["sleep", "infinity"]);
    spec.mounts = vec![
        volume_at(&volume, "/media"),
        Mount { sub_path: Some(PathBuf::from("user/a")), ..volume_at(&volume, "/usr/share/deep/a") },
    ];
    let writer = drill.run(&spec).await;
    let mut spec = container("reader", &["sleep", "infinity"]);
    spec.mounts = vec![Mount { read_only: true, ..volume_at(&volume, "/media") }];
    let reader = drill.run(&spec).await;
    let write =
        "echo 1 > /usr/share/deep/a/file && chown 999:999 /media/user/a/file && stat -c '%u:%g' /media/user/a/file";
    assert_eq!(drill.sh(&writer, write).await, (0, "999:999\n".to_owned()));
    assert_eq!(drill.sh(&reader, "cat /media/user/a/file; touch /media/x").await.0, 1);
    assert_eq!(drill.sh(&reader, "cat /media/user/a/file").await, (0, "1\n".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sub_path_does_not_leave_its_volume() {
    let drill = Drill::start().await;
    let volume = VolumeId("v".to_owned());
    drill.runtime.create_volume(&volume).await.unwrap();
    drill.pod("app").await;
    let mut spec = container("app", &["ln", "-s", "/", "/media/link"]);
    spec.mounts = vec![volume_at(&volume, "/media")];
    let id = drill.run(&spec).await;
    drill.wait(&id).await;
    for sub_path in ["../..", "link/images", "link"] {
        drill.runtime.remove(&id).await.unwrap();
        spec.mounts = vec![Mount { sub_path: Some(PathBuf::from(sub_path)), ..volume_at(&volume, "/media") }];
        drill.runtime.create(&spec).await.unwrap();
        let started = drill.runtime.start(&id).await;
        assert!(matches!(started, Err(RuntimeError::Failed { .. })), "{sub_path}: {started:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pods_group_may_write_its_volumes() {
    let drill = Drill::start().await;
    let volume = VolumeId("v".to_owned());
    drill.runtime.create_volume(&volume).await.unwrap();
    drill.pod("app").await;
    let mut spec = container("app", &["sh", "-c", "mkdir -m 700 /media/private; touch /media/private/f"]);
    spec.mounts = vec![volume_at(&volume, "/media")];
    let id = drill.run(&spec).await;
    drill.wait(&id).await;
    drill.runtime.remove(&id).await.unwrap();
    spec.argv = ["sh", "-c", "echo x >> /media/private/f && touch /media/new && stat -c %g /media/new"]
        .map(str::to_owned)
        .to_vec();
    (spec.run_as_user, spec.fs_group) = (Some(1234), Some(4321));
    drill.run(&spec).await;
    drill.wait(&id).await;
    assert_eq!(drill.log(&id, LogOptions::default()).await, "4321\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_directory_with_files_of_the_shifted_ids_can_be_removed() {
    let drill = Drill::start().await;
    let volume = VolumeId("v".to_owned());
    drill.runtime.create_volume(&volume).await.unwrap();
    drill.pod("app").await;
    let mut spec =
        container("app", &["sh", "-c", "mkdir -m 700 /media/d; touch /media/d/f; chown -R 999:999 /media/d"]);
    spec.mounts = vec![volume_at(&volume, "/media")];
    let id = drill.run(&spec).await;
    drill.wait(&id).await;
    drill.runtime.shutdown().await;
    let directory = drill.directory.path().to_owned();
    assert!(directory.join("sandbox/shared/volumes/v/d").exists());
    remove_run_directory(REDRILL.as_ref(), &directory).unwrap();
    assert!(!directory.exists());
    remove_run_directory(REDRILL.as_ref(), &directory).unwrap();
}
