//! Watch: changes as a stream of JSON lines, with bookmarks, and 410 for what is too long ago.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, header};
use serde_json::{Value, json};
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Api;
use super::answer::Form;
use super::call::Parameters;
use super::read;
use super::route::Target;
use crate::cluster::kind::Kind;
use crate::cluster::selector::Selector;
use crate::cluster::store::{ApiError, Event, EventType, names};

/// Between bookmarks; short, so that a client that reconnects looks back only a little.
const BOOKMARK: Duration = Duration::from_secs(10);

/// How long a watch lasts that does not say.
const DEFAULT_TIMEOUT: u64 = 1800;

pub fn watch(api: &Api, target: &Target, headers: &HeaderMap, parameters: &Parameters) -> Result<Response, ApiError> {
    let form = Form::of(headers, parameters)?;
    let selector = read::selector(target, parameters)?;
    read::check_options(parameters)?;
    let bookmarks = parameters.is_true("allowWatchBookmarks");
    let initial = parameters.is_true("sendInitialEvents");
    let (current, objects) = api.store.list(target.kind, target.namespace.as_deref());
    let asked = asked_version(parameters)?.filter(|version| *version > 0);
    if let Some(asked) = asked {
        read::check_version(asked, current)?;
    }
    let from_state = initial || asked.is_none();
    let start = if from_state { current } else { asked.unwrap_or(current) };
    let timeout = Duration::from_secs(parameters.number("timeoutSeconds")?.unwrap_or(DEFAULT_TIMEOUT));
    let watched = Watched {
        kind: target.kind,
        namespace: target.namespace.clone(),
        selector,
        form,
        said_columns: AtomicBool::new(false),
    };

    let mut lines = VecDeque::new();
    let receiver = match api.store.watch(start) {
        None => {
            let error = ApiError::gone(format!("too old resource version: {start} ({current})"));
            lines.push_back(line("ERROR", &error.status()));
            None
        }
        Some((missed, receiver)) => {
            if from_state {
                let matching = objects.iter().filter(|object| watched.selector.matches(object));
                lines.extend(matching.map(|object| line("ADDED", &watched.object(object))));
            }
            if initial && bookmarks {
                lines.push_back(watched.bookmark(current, true));
            }
            lines.extend(missed.iter().filter_map(|event| watched.line(event)));
            Some(receiver)
        }
    };
    let stream = Stream {
        lines,
        receiver,
        watched,
        bookmarks,
        seen: current,
        end: Instant::now() + timeout,
        stop: api.stop.clone(),
    };
    let lines = futures::stream::unfold(stream, |mut stream| async move {
        let line = stream.next().await?;
        Some((Ok::<_, std::convert::Infallible>(line), stream))
    });
    let mut response = Response::new(Body::from_stream(lines));
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
    Ok(response)
}

/// The version to begin at; one that is no number is an error of the server's own here, as nowhere else.
fn asked_version(parameters: &Parameters) -> Result<Option<u64>, ApiError> {
    let parse = |version: &str| {
        version.parse().map_err(|_| {
            let why = format!("strconv.ParseUint: parsing {version:?}: invalid syntax");
            ApiError::unexplained(format!("resourceVersion: Invalid value: {version:?}: {why}"))
        })
    };
    parameters.get("resourceVersion").map(parse).transpose()
}

struct Watched {
    kind: &'static Kind,
    namespace: Option<String>,
    selector: Selector,
    form: Form,
    /// Whether a table has gone out: those after it do not say their columns again.
    said_columns: AtomicBool,
}

impl Watched {
    fn object(&self, object: &Value) -> Value {
        let mut object = self.form.one(self.kind, object);
        if matches!(self.form, Form::Table(_)) && self.said_columns.swap(true, Ordering::Relaxed) {
            object["columnDefinitions"] = Value::Null;
        }
        object
    }

    /// What the client is told of a change. An object that a change takes out of the selection is deleted for this
    /// client, and one that it brings in is added.
    fn line(&self, event: &Event) -> Option<Vec<u8>> {
        let (namespace, _) = names(&event.object);
        if event.kind != self.kind || self.namespace.as_ref().is_some_and(|wanted| *wanted != namespace) {
            return None;
        }
        let is_in = event.event != EventType::Deleted && self.selector.matches(&event.object);
        let before: Option<&Arc<Value>> = event.previous.as_ref();
        let was_in = before.is_some_and(|before| self.selector.matches(before));
        let name = match (was_in, is_in) {
            (false, false) => return None,
            (false, true) => "ADDED",
            (true, true) => "MODIFIED",
            (true, false) => "DELETED",
        };
        Some(line(name, &self.object(&event.object)))
    }

    fn bookmark(&self, version: u64, ends_initial_events: bool) -> Vec<u8> {
        let mut metadata = json!({"resourceVersion": version.to_string(), "creationTimestamp": null});
        if ends_initial_events {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = json!({"kind": self.kind.kind, "apiVersion": self.kind.api_version(), "metadata": metadata});
        let object = match self.form {
            Form::Object => object,
            Form::Metadata => super::answer::metadata(&object),
            Form::Table(_) => {
                let no_rows: [&Value; 0] = [];
                let mut table = crate::cluster::table::table(
                    self.kind,
                    &no_rows,
                    &object["metadata"]["resourceVersion"],
                    crate::cluster::table::Include::Metadata,
                );
                table["metadata"] = object["metadata"].clone();
                table
            }
        };
        line("BOOKMARK", &object)
    }
}

struct Stream {
    lines: VecDeque<Vec<u8>>,
    receiver: Option<Receiver<Event>>,
    watched: Watched,
    bookmarks: bool,
    seen: u64,
    end: Instant,
    stop: CancellationToken,
}

impl Stream {
    /// The next line; `None` ends the watch (time over, server stopping, client too slow to be told everything).
    async fn next(&mut self) -> Option<Vec<u8>> {
        let mut bookmark = Instant::now() + BOOKMARK;
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Some(line);
            }
            let receiver = self.receiver.as_mut()?;
            let received = tokio::select! {
                received = receiver.recv() => received,
                () = self.stop.cancelled() => return None,
                () = tokio::time::sleep_until(self.end.min(bookmark)) => {
                    if Instant::now() >= self.end {
                        self.receiver = None;
                    }
                    bookmark = Instant::now() + BOOKMARK;
                    if self.bookmarks {
                        self.lines.push_back(self.watched.bookmark(self.seen, false));
                    }
                    continue;
                }
            };
            match received {
                Ok(event) => {
                    self.seen = self.seen.max(event.resource_version);
                    self.lines.extend(self.watched.line(&event));
                }
                Err(RecvError::Lagged(_) | RecvError::Closed) => self.receiver = None,
            }
        }
    }
}

fn line(event: &str, object: &Value) -> Vec<u8> {
    let mut line = json!({"type": event, "object": object}).to_string().into_bytes();
    line.push(b'\n');
    line
}
