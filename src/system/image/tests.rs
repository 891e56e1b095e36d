use super::*;
use crate::doctor::{go_module, real_program};
use std::fs;

fn images() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("images")
}

fn provided() -> BTreeMap<String, PathBuf> {
    BTreeMap::from([("redrill".to_owned(), PathBuf::from("/proc/self/exe"))])
}

fn read_text(text: &str) -> Result<LocalImage, Vec<String>> {
    let folder = tempfile::tempdir().expect("folder");
    fs::write(folder.path().join("Dockerfile"), text).expect("write");
    fs::write(folder.path().join("program"), "#!/bin/sh\n").expect("write");
    let prefix = format!("{}/", folder.path().display());
    read("x", folder.path(), ProgramLabel::Real, &BTreeMap::new())
        .map_err(|problems| problems.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect())
}

#[test]
fn every_image_of_this_repository_can_be_had_locally() {
    for entry in fs::read_dir(images()).expect("images") {
        let folder = entry.expect("entry").path();
        let image = read("x", &folder, ProgramLabel::Rewritten, &provided());
        let image = image.unwrap_or_else(|problems| panic!("{problems:#?}"));
        let python = image.python.iter().filter_map(|requirement| crate::doctor::python::folder(requirement));
        let npm = image.npm.iter().filter_map(|requirement| crate::doctor::npm::folder(requirement));
        let built = image.stand_ins.iter().filter_map(|(_, program)| go_module::path(program.go_program()?));
        let fetched: Vec<_> = python.chain(npm).chain(built).collect();
        for file in &image.image.files {
            assert!(file.source.exists() || fetched.contains(&file.source), "{file:?}");
            assert!(file.target.is_absolute(), "{file:?}");
        }
    }
}

#[test]
fn the_postgres_image_says_how_it_runs() {
    let image = read("postgres:15", &images().join("postgres"), ProgramLabel::Real, &BTreeMap::new()).expect("image");
    assert_eq!(image.image.stop_signal, Some(libc::SIGINT));
    assert_eq!(image.image.entrypoint, ["/opt/postgres/entrypoint"]);
    assert_eq!(image.image.cmd, ["postgres"]);
    assert!(image.packages.contains("postgresql-15"), "{:?}", image.packages);
}

#[test]
fn programs_of_the_backup_image_are_on_its_path_under_the_documented_names() {
    let image = read("b", &images().join("taiga-backup"), ProgramLabel::Rewritten, &BTreeMap::new()).expect("image");
    let path = &image.image.env.iter().find(|(name, _)| name == "PATH").expect("PATH").1;
    let first = Path::new(path.split(':').next().expect("folder"));
    for program in ["backup.bb", "restore.bb", "change-password.bb", "list-snapshots.bb", "wait.bb"] {
        let file = image.image.files.iter().find(|file| file.target == first.join(program)).expect(program);
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file.source).expect(program).permissions().mode() & 0o111, 0o111, "{program}");
    }
}

#[test]
fn a_dockerfile_is_read_as_docker_reads_it() {
    let image = read_text(
        "ARG BASE=debian:bookworm
FROM ${BASE}
ENV A=1 B=\"two words\"
ENV PATH=/opt/x:/usr/bin C=$A/${B}
RUN apt-get update && apt-get install -y --no-install-recommends \\
    # a comment
    restic postgresql-client-15 && rm -rf /var/lib/apt/lists/*
WORKDIR /srv
WORKDIR deeper
COPY program sub/
COPY program /opt/renamed
USER postgres
STOPSIGNAL QUIT
CMD echo hello
",
    )
    .expect("image");
    let env: BTreeMap<&str, &str> = image.image.env.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(
        env,
        BTreeMap::from([("A", "1"), ("B", "two words"), ("PATH", "/opt/x:/usr/bin"), ("C", "1/two words")])
    );
    assert_eq!(image.packages, BTreeSet::from(["postgresql-client-15".to_owned(), "restic".to_owned()]));
    assert_eq!(image.image.working_dir, Some("/srv/deeper".into()));
    let targets: Vec<_> = image.image.files.iter().map(|file| file.target.to_str().expect("text")).collect();
    assert_eq!(targets, ["/srv/deeper/sub/program", "/opt/renamed"]);
    assert_eq!(image.image.user.as_deref(), Some("postgres"));
    assert_eq!(image.image.stop_signal, Some(libc::SIGQUIT));
    assert_eq!(image.image.cmd, ["/bin/sh", "-c", "echo hello"]);
}

#[test]
fn what_a_sandbox_cannot_have_is_refused_with_its_line() {
    let found = read_text(
        "FROM debian
RUN apt-get update
RUN apt-get install -y restic && useradd x
ADD program /x
COPY --chown=1:1 program /x
COPY missing /x
COPY *.sh /x
HEALTHCHECK CMD true
RUN apt-get install -y $(cat packages)
ENV A=$NONE
STOPSIGNAL SIGNOTHING
FROM debian
",
    )
    .expect_err("problems");
    let lines: Vec<&str> = found.iter().map(|problem| problem.split(' ').next().expect("place")).collect();
    let expected: Vec<String> = (3..=12).map(|line| format!("Dockerfile:{line}:")).collect();
    assert_eq!(lines, expected, "{found:#?}");
    assert!(found[0].contains("`RUN useradd x` cannot be had"), "{}", found[0]);
    assert!(found[1].contains("`ADD` cannot be had"), "{}", found[1]);
}

#[test]
fn broken_syntax_is_told_with_its_line() {
    assert_eq!(read_text("FROM debian\n\n=\n").expect_err("broken"), ["Dockerfile:3: not a Dockerfile instruction"]);
}

#[test]
fn a_digest_changes_with_content_name_and_mode() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("folder");
    let file = folder.path().join("a");
    let mut seen = BTreeSet::new();
    let mut note = || assert!(seen.insert(digest(folder.path()).expect("digest")), "seen before");
    fs::write(&file, "1").expect("write");
    note();
    fs::write(&file, "2").expect("write");
    note();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).expect("mode");
    note();
    fs::rename(&file, folder.path().join("b")).expect("rename");
    note();
}

#[test]
fn whatever_stands_for_a_program_is_replaced_where_the_image_has_it() {
    let folder = tempfile::tempdir().expect("folder");
    let text = "FROM x\nWORKDIR /srv\nCOPY cockroach program bin/\nCOPY ./cockroach /opt/other\nCOPY mongod /opt/\n";
    for (name, text) in [("Dockerfile", text), ("cockroach", ""), ("program", "")] {
        fs::write(folder.path().join(name), text).expect("write");
    }
    let image = read("x", folder.path(), ProgramLabel::Real, &BTreeMap::new()).expect("image");
    let [cockroach, mongod] = ["cockroach", "mongod"].map(|name| real_program::of(name).expect(name));
    let ferretdb = mongod.go_program().and_then(go_module::path).expect("a place");
    let source = |image: &runtime::Image, target: &str| {
        image.files.iter().find(|file| file.target == Path::new(target)).expect(target).source.clone()
    };
    assert_eq!(source(&image.image, "/opt/mongod"), ferretdb);
    let real = Path::new("/real");
    let with_real = image.with_real(cockroach, real);
    for (target, is_real) in
        [("/srv/bin/cockroach", true), ("/opt/other", true), ("/srv/bin/program", false), ("/opt/mongod", false)]
    {
        assert_eq!(source(&with_real, target) == real, is_real, "{target}");
    }
    assert_eq!(source(&image.with_real(mongod, real), "/opt/mongod"), real);
    assert!(!read_text("FROM x\nCOPY program /x\n").expect("image").has_stand_in_for(cockroach));
}

fn place(file: &str, line: usize) -> SourceRef {
    SourceRef { file: file.to_owned(), line }
}

#[test]
fn references_and_bindings_must_meet() {
    let binding = |line| Binding {
        folder: Some(images().join("postgres")),
        label: ProgramLabel::Real,
        source: place("scenario.yaml", line),
    };
    let images = Images::new(BTreeMap::from([
        ("postgres:15".to_owned(), binding(3)),
        ("nginx:1.18-alpine".to_owned(), binding(4)),
    ]));
    let wanted = BTreeMap::from([
        ("postgres:15".to_owned(), vec![place("db.yaml", 9)]),
        ("nginx:1.19-alpine".to_owned(), vec![place("web.yaml", 7)]),
    ]);
    let problems = images.resolve(&wanted).expect_err("problems");
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            "scenario.yaml:4: nothing of the system uses the image `nginx:1.18-alpine` (did you mean `nginx:1.19-alpine`?): \
             remove the binding",
            "web.yaml:7: no image for `nginx:1.19-alpine` (did you mean `nginx:1.18-alpine`?): bind it in the scenario's \
             `images`, to a folder, or without one where the image exists",
        ]
    );
}

#[test]
fn an_image_that_exists_needs_no_folder_and_has_nothing_to_be_read() {
    let binding = Binding { folder: None, label: ProgramLabel::Real, source: place("scenario.yaml", 3) };
    let images = Images::new(BTreeMap::from([("team/app:1.4".to_owned(), binding)]));
    let wanted = |reference: &str| BTreeMap::from([(reference.to_owned(), vec![place("app.yaml", 9)])]);
    assert!(images.resolve(&wanted("team/app:1.4")).expect("no problems").is_empty());
    let problems = images.resolve(&wanted("team/app:1.5")).expect_err("problems");
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 2, "{problems:?}");
    assert!(problems[0].starts_with("app.yaml:9: no image for `team/app:1.5` (did you mean `team/app:1.4`?)"));
}

#[test]
fn an_image_made_from_another_of_this_repository_has_what_that_one_has() {
    let folder = tempfile::tempdir().expect("folder");
    let write = |name: &str, text: &str| {
        let folder = folder.path().join(name);
        fs::create_dir_all(&folder).expect("folder");
        fs::write(folder.join("Dockerfile"), text).expect("write");
        folder
    };
    let base = write("base", "FROM debian:bookworm\nRUN apt-get install -y gzip\nENV A=1\nCMD [\"a\"]\n");
    let own = write("own", "FROM redrill/base:15\nRUN apt-get install -y bash\nENV B=$A\n");
    let look = || read("x", &own, ProgramLabel::Real, &BTreeMap::new()).expect("image");
    let image = look();
    assert_eq!(image.packages, BTreeSet::from(["bash".to_owned(), "gzip".to_owned()]));
    assert_eq!(image.image.env, [("A".to_owned(), "1".to_owned()), ("B".to_owned(), "1".to_owned())]);
    assert_eq!(image.image.cmd, ["a"]);
    fs::write(base.join("more"), "").expect("write");
    assert_ne!(look().digest, image.digest, "of the base, too");
    let orphan = write("orphan", "FROM redrill/none\n");
    let problems = read("x", &orphan, ProgramLabel::Real, &BTreeMap::new()).expect_err("no base");
    assert!(problems.to_string().contains("none/Dockerfile: cannot be read"), "{problems}");
}

#[test]
fn a_package_for_python_is_had_in_one_version_and_a_folder_of_its_own() {
    let image = read_text("FROM x\nRUN apt-get update && pip install --target /opt/g gsutil==5.34\n").expect("image");
    assert_eq!(image.python, BTreeSet::from(["gsutil==5.34".to_owned()]));
    assert_eq!(image.image.files[0].target, Path::new("/opt/g"));
    let image = read_text("FROM x\nRUN pip install --target /opt/w 'wal-e[aws]==1.1.1'\n").expect("image");
    assert_eq!(image.python, BTreeSet::from(["wal-e[aws]==1.1.1".to_owned()]));
    for command in
        ["pip install gsutil==5.34", "pip install --target /opt/g gsutil", "pip install --target g gsutil==5"]
    {
        let problems = read_text(&format!("FROM x\nRUN {command}\n")).expect_err(command);
        assert!(problems[0].starts_with("Dockerfile:2"), "{problems:?}");
    }
}

const NPM: &str = "npm install --prefix /opt/p --ignore-scripts @a/b@1.2.3-beta.4";
const FINISHING: &str = "npm run postinstall --prefix /opt/p/node_modules/@a/b";

#[test]
fn a_package_of_npm_is_had_in_one_version_and_finished() {
    let image = read_text(&format!("FROM x\nRUN apt-get install npm && {NPM} && {FINISHING}\n")).expect("image");
    assert_eq!(image.npm, BTreeSet::from(["@a/b@1.2.3-beta.4".to_owned()]));
    let [file] = &*image.image.files else { panic!("{:?}", image.image.files) };
    assert_eq!(file.target, Path::new("/opt/p"));
    assert!(file.source.ends_with("npm/@a/b@1.2.3-beta.4"), "{file:?}");
}

#[test]
fn a_package_of_npm_that_would_mean_something_else_elsewhere_is_refused() {
    let refused = [
        (NPM.to_owned(), "write `&& npm run postinstall --prefix /opt/p/node_modules/@a/b` behind it"),
        (format!("{NPM} && npm run postinstall --prefix /opt/p/node_modules/@a/c"), "behind it"),
        (format!("{NPM} && {FINISHING}").replace("1.2.3-beta.4", "1.2"), "all of the version"),
        (format!("{NPM} && {FINISHING}").replace("/opt/p", "p"), "by its whole path"),
        (format!("{NPM} && {FINISHING}").replace(" --ignore-scripts", ""), "cannot be had"),
        (format!("{NPM} && {FINISHING} && pip install --target /opt/p g==1"), "something is in /opt/p already"),
        (FINISHING.to_owned(), "cannot be had"),
    ];
    for (command, why) in refused {
        let problems = read_text(&format!("FROM x\nRUN {command}\n")).expect_err(&command);
        assert!(problems[0].starts_with("Dockerfile:2") && problems[0].contains(why), "{problems:?}");
    }
}
