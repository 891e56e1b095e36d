//! The served API against what a real API server answered: every case of `testdata/api` is sent to a fresh served cluster and its
//! answer compared with the recorded one. `testdata/README.md` says how to record again.

use std::fmt::Write;
use std::path::PathBuf;

mod case;
mod compare;
mod exchange;
mod volatile;

use case::{Answer, Case, CaseFile, Recording, Redrill};

/// A kubeconfig of the API server to record from.
const RECORD: &str = "REDRILL_RECORD_KUBECONFIG";

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/api")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_served_api_answers_every_case_as_a_real_api_server_did() {
    if let Some(kubeconfig) = std::env::var_os(RECORD) {
        record(&PathBuf::from(kubeconfig)).await;
    }
    let mut wrong = String::new();
    let mut seen = 0;
    for (name, file) in case::files(&folder()) {
        let recording = Recording::read(&folder(), &name);
        recording.fits(&name, &file);
        for one in &file.cases {
            seen += 1;
            let cluster = exchange::served();
            let client = cluster.kube_client().await.unwrap();
            let answer = exchange::play(&client, &file, one, "taiga").await;
            for line in differences(one, &recording.answers[&one.name], &answer) {
                writeln!(wrong, "{name}: {}: {line}", one.name).unwrap();
            }
            cluster.stop().await;
        }
    }
    assert!(wrong.is_empty(), "of {seen} cases these differ:\n{wrong}");
}

/// What no difference that the case lists explains, and what it lists and is not so.
fn differences(case: &Case, recorded: &Answer, answer: &Answer) -> Vec<String> {
    let (mut expected, given) = (recorded.to_value(), answer.to_value());
    match &case.redrill {
        None => {}
        Some(Redrill::Refuses { refuses, .. }) => {
            if recorded.code == refuses.code {
                return vec!["is listed as refused, but redrill's code is the recorded one".to_owned()];
            }
            let is_so = answer.code == refuses.code && answer.body["message"] == refuses.message.as_str();
            return if is_so { Vec::new() } else { vec![format!("is not refused as listed, but answered {given}")] };
        }
        Some(Redrill::Differs { differs, .. }) => {
            for (pointer, value) in differs {
                if expected.pointer(pointer).unwrap_or(&serde_json::Value::Null) == value {
                    return vec![format!("{pointer} is listed as different, but is what was recorded")];
                }
                compare::set(&mut expected, pointer, value.clone());
            }
        }
    }
    // An error for an object, or the other way round, differs everywhere: its message is what tells.
    if expected["code"] != given["code"] {
        let said = |answer: &serde_json::Value| format!("{} {}", answer["code"], answer["body"]["message"]);
        return vec![format!("\n    recorded {}\n    redrill  {}", said(&expected), said(&given))];
    }
    compare::differences(&expected, &given)
}

/// Names as long as `taiga` and unlike any other text, beginning at another one in every run: namespaces of an earlier recording may
/// still be there.
fn namespaces() -> impl Iterator<Item = String> {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz";
    let second = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    (second * 1000..).map(|mut number| {
        let mut letter = || {
            let letter = LETTERS[usize::try_from(number).unwrap() % LETTERS.len()];
            number /= u64::try_from(LETTERS.len()).unwrap();
            char::from(letter)
        };
        std::iter::repeat_with(&mut letter).take("taiga".len()).collect()
    })
}

/// Plays every case against a real server, each in a namespace of its own, and writes what it answered.
async fn record(kubeconfig: &std::path::Path) {
    let config = kube::config::Kubeconfig::read_from(kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
    let client = kube::Client::try_from(config).unwrap();
    let version = client.apiserver_version().await.unwrap().git_version;
    let mut namespaces = namespaces();
    for (name, file) in case::files(&folder()) {
        let mut recording = Recording::new(&version);
        for one in &file.cases {
            let namespace = namespaces.next().unwrap();
            let answer = exchange::play(&client, &file, one, &namespace).await;
            exchange::leave(&client, &namespace).await;
            recording.answers.insert(one.name.clone(), answer);
        }
        recording.write(&folder(), &name, &file);
    }
}

/// The cases themselves: that each can fail, and that what is listed has a reason.
#[test]
fn every_listed_difference_has_a_reason_and_every_name_is_used_once() {
    for (name, CaseFile { cases, .. }) in case::files(&folder()) {
        let mut names = std::collections::BTreeSet::new();
        for one in cases {
            assert!(names.insert(one.name.clone()), "{name}: there are two cases `{}`", one.name);
            let because = one.redrill.as_ref().map_or("none", Redrill::because);
            assert!(!because.trim().is_empty(), "{name}: {}: say why redrill differs", one.name);
        }
    }
}
