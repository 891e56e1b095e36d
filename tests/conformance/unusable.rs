//! Engines on which no drill can run: each makes it UNVERIFIED, in its own words and with what to do.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn redrill(place: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redrill"));
    for variable in ["DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"] {
        command.env_remove(variable);
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR")).args(arguments).arg("--reports").arg(place.join("reports"));
    command.env("REDRILL_STATE_DIR", place).envs(variables.iter().copied()).output().unwrap()
}

/// Runs a drill with these variables and holds what it says to `words`.
fn is_unverified(variables: &[(&str, &str)], words: &[&str]) {
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let run = redrill(place.path(), &["run", "--env", "docker", "taiga", "--drill", "scheduled"], variables);
    // Without the breaks of its lines.
    let said = String::from_utf8([run.stdout, run.stderr].concat()).unwrap();
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(run.status.code(), Some(2), "{said}");
    let report = std::fs::read_dir(place.path().join("reports")).unwrap().next().unwrap().unwrap().path();
    let results = std::fs::read_to_string(report.join("results.json")).unwrap();
    let document: Value = serde_json::from_str(&results).unwrap();
    assert_eq!(document["verdict"], "UNVERIFIED", "{results}");
    let provision = document["outcome"]["drills"][0]["phases"][0].to_string();
    for words in words {
        assert!(said.contains(words), "no `{words}` in {said}");
        assert!(provision.contains(words), "no `{words}` in {provision}");
    }
}

#[test]
fn an_engine_that_is_not_there_is_to_be_started() {
    let host = ("DOCKER_HOST", "unix:///nowhere/docker.sock");
    is_unverified(
        &[host],
        &[
            "connect to the container engine unix:///nowhere/docker.sock that DOCKER_HOST names",
            "start it, or name one",
        ],
    );
}

#[test]
fn an_engine_elsewhere_is_refused() {
    for host in ["ssh://root@engine.example", "tcp://192.0.2.7:2375"] {
        let words = [host, "it is on another machine", "name one of this machine by DOCKER_HOST"];
        is_unverified(&[("DOCKER_HOST", host)], &words);
    }
}

#[test]
fn an_engine_that_is_too_old_is_to_be_updated() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("old.sock");
    let engine = UnixListener::bind(&socket).unwrap();
    std::thread::spawn(move || {
        for stream in engine.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).unwrap();
            let body = r#"{"Version": "17.06.0-ce", "ApiVersion": "1.30", "MinAPIVersion": "1.12"}"#;
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len()).unwrap();
        }
    });
    let host = format!("unix://{}", socket.display());
    is_unverified(
        &[("DOCKER_HOST", &host)],
        &["version 17.06.0-ce is too old: it speaks API 1.30, and 1.41 is needed", "update it"],
    );
}

/// A folder of docker's settings with a context of this name that leads to `host`.
fn docker_folder(host: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("config.json"), r#"{"currentContext": "colima"}"#).unwrap();
    let meta = folder.path().join("contexts/meta/f24fd3749c1368328e2b149bec149cb6795619f244c5b584e844961215dadd16");
    std::fs::create_dir_all(&meta).unwrap();
    let text = serde_json::json!({"Name": "colima", "Endpoints": {"docker": {"Host": host}}});
    std::fs::write(meta.join("meta.json"), text.to_string()).unwrap();
    folder
}

#[test]
fn the_docker_context_s_engine_is_used_and_named() {
    let settings = docker_folder("unix:///nowhere/colima.sock");
    let config = ("DOCKER_CONFIG", settings.path().to_str().unwrap());
    is_unverified(&[config], &["unix:///nowhere/colima.sock that the docker context `colima` names"]);
    let absent = ("DOCKER_CONTEXT", "no-such");
    is_unverified(&[config, absent], &["the docker context `no-such`", "docker context use"]);
}

#[test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
fn doctor_finds_the_engine_of_a_docker_context() {
    let settings = docker_folder(&std::env::var("DOCKER_HOST").unwrap());
    let config = ("DOCKER_CONFIG", settings.path().to_str().unwrap());
    let place = tempfile::tempdir_in("/var/tmp").unwrap();
    let doctor = redrill(place.path(), &["doctor", "--env", "docker"], &[config]);
    let said = String::from_utf8(doctor.stdout).unwrap();
    let line = said.lines().find(|line| line.contains("container engine")).unwrap_or_else(|| panic!("{said}"));
    assert!(
        line.starts_with("ok ") && line.contains("(API 1.") && line.ends_with("for the docker environment"),
        "{line}"
    );
    assert!(!said.contains("kernel namespaces") && !said.contains("postgresql-15"), "{said}");

    let host = ("DOCKER_HOST", "unix:///nowhere/docker.sock");
    let doctor = redrill(place.path(), &["doctor", "--env", "docker"], &[host]);
    let said = String::from_utf8(doctor.stdout).unwrap();
    assert_eq!(doctor.status.code(), Some(2), "{said}");
    assert!(said.contains("MISSING  container engine") && said.contains("start it, or name one"), "{said}");
}
