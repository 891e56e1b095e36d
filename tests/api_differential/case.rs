//! Cases and recordings, as their files have them.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// `NAME.yaml`: written by hand.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseFile {
    /// Objects that cases begin with, by a name for them.
    #[serde(default)]
    pub objects: BTreeMap<String, Value>,
    pub cases: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    pub name: String,
    /// What is done first, in a fresh namespace; all of it must succeed.
    #[serde(default)]
    pub given: Vec<Given>,
    pub request: Request,
    /// A path to get after the request, whose answer is compared too.
    pub then: Option<String>,
    /// JSON pointers to what is compared of an answer that is no `Status`; empty: everything.
    #[serde(default)]
    pub compare: Vec<String>,
    /// Compares also who manages which fields.
    #[serde(default)]
    pub managers: bool,
    pub redrill: Option<Redrill>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub enum Given {
    /// One of the file's objects; its status is written through `/status`.
    Object(String),
    Request(Request),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub method: String,
    /// From the root, or from the plural of a kind on (`pods/web`): then in the case's namespace.
    pub path: String,
    /// `merge-patch` and the like, or a whole content type.
    #[serde(rename = "type")]
    pub content_type: Option<String>,
    pub accept: Option<String>,
    #[serde(default)]
    pub body: Value,
    /// A body that is no YAML of `body`, byte by byte.
    pub text: Option<String>,
    /// A body in base64, as a kubectl sent it.
    pub protobuf: Option<String>,
}

/// How redrill's answer is meant to differ from the recorded one.
#[derive(Deserialize)]
#[serde(untagged)]
pub enum Redrill {
    Refuses {
        refuses: Refusal,
        because: String,
    },
    /// By JSON pointer into the answer as it is recorded; null for what is absent.
    Differs {
        differs: BTreeMap<String, Value>,
        because: String,
    },
}

impl Redrill {
    pub fn because(&self) -> &str {
        match self {
            Self::Refuses { because, .. } | Self::Differs { because, .. } => because,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refusal {
    pub code: u16,
    pub message: String,
}

/// What a server answered, without what is another in every run.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub code: u16,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    pub body: Value,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub then: Option<Value>,
}

impl Answer {
    pub fn to_value(&self) -> Value {
        json!({"code": self.code, "warnings": self.warnings, "body": self.body, "then": self.then})
    }
}

/// `recorded/NAME.yaml`: written by the recorder.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    pub from: String,
    /// By the case's name.
    pub answers: BTreeMap<String, Answer>,
}

impl Recording {
    pub fn new(version: &str) -> Self {
        Self { from: format!("kube-apiserver {version}"), answers: BTreeMap::new() }
    }

    pub fn read(folder: &Path, name: &str) -> Self {
        let file = folder.join("recorded").join(name);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    }

    /// Panics unless there is an answer for every case and for nothing else.
    pub fn fits(&self, name: &str, file: &CaseFile) {
        assert!(self.from.starts_with("kube-apiserver v"), "{name}: recorded from {}", self.from);
        let cases: std::collections::BTreeSet<_> = file.cases.iter().map(|case| &case.name).collect();
        let answers: std::collections::BTreeSet<_> = self.answers.keys().collect();
        let odd: Vec<_> = cases.symmetric_difference(&answers).collect();
        assert!(odd.is_empty(), "{name}: record again: cases and answers do not fit: {odd:?}");
    }

    /// Writes the answers in the order of the cases.
    pub fn write(&self, folder: &Path, name: &str, file: &CaseFile) {
        let answer = |case: &Case| (case.name.clone(), serde_json::to_value(&self.answers[&case.name]).unwrap());
        let answers: serde_json::Map<String, Value> = file.cases.iter().map(answer).collect();
        let text = serde_yaml_ng::to_string(&json!({"from": self.from, "answers": answers})).unwrap();
        std::fs::create_dir_all(folder.join("recorded")).unwrap();
        std::fs::write(folder.join("recorded").join(name), text).unwrap();
    }
}

/// Every file of cases with its name, in order.
pub fn files(folder: &Path) -> BTreeMap<String, CaseFile> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let read = |path: std::path::PathBuf| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        (name, serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    entries.filter(|path| path.extension().is_some_and(|extension| extension == "yaml")).map(read).collect()
}
