//! Logs of containers.

use axum::body::Body;
use axum::response::Response;
use http::{HeaderValue, header};
use serde_json::Value;
use tokio::io::AsyncReadExt;
use tokio_util::io::ReaderStream;

use super::Api;
use super::call::Parameters;
use super::read;
use super::route::Target;
use crate::cluster::store::{ApiError, names};
use crate::runtime::{LogOptions, RuntimeError};

/// Options of logs that this server does not have: refused, so that nobody takes the whole log for a part of it.
const NOT_SERVED: &[&str] = &["sinceSeconds", "sinceTime", "timestamps"];

pub async fn logs(api: &Api, target: &Target, parameters: &Parameters) -> Result<Response, ApiError> {
    let pod = read::find(api, target)?;
    let container = container_of(&pod, parameters.get("container"))?;
    if let Some(option) = NOT_SERVED.iter().find(|name| parameters.get(name).is_some_and(|value| value != "false")) {
        return Err(ApiError::bad_request(format!("{option} of logs is not served by this cluster")));
    }
    let (_, name) = names(&pod);
    let previous = parameters.is_true("previous");
    if !previous && let Some(reason) = waiting_for_first_start(&pod, &container) {
        let message = format!("container {container:?} in pod {name:?} is waiting to start: {reason}");
        return Err(ApiError::bad_request(message));
    }
    let tail = parameters.number("tailLines")?.and_then(|lines| usize::try_from(lines).ok());
    let options = LogOptions { follow: parameters.is_true("follow"), tail, previous };
    let id = api.containers.container_id(&pod, &container);
    let reader = api.containers.runtime.logs(&id, options).await.map_err(|error| match error {
        RuntimeError::NotFound { .. } if previous => {
            ApiError::bad_request(format!("previous terminated container {container:?} in pod {name:?} not found"))
        }
        RuntimeError::NotFound { .. } => {
            ApiError::bad_request(format!("container {container:?} in pod {name:?} has no log yet"))
        }
        other => ApiError::internal(other),
    })?;
    let reader = reader.take(parameters.number("limitBytes")?.unwrap_or(u64::MAX));
    let stopped = api.stop.clone().cancelled_owned();
    let stream = futures::StreamExt::take_until(ReaderStream::new(reader), Box::pin(stopped));
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    Ok(response)
}

fn all_containers(pod: &Value) -> impl Iterator<Item = &str> {
    ["initContainers", "containers"].into_iter().flat_map(|list| {
        let items = pod["spec"][list].as_array().into_iter().flatten();
        items.filter_map(|container| container["name"].as_str())
    })
}

/// The container that was asked for, or the only one.
pub fn container_of(pod: &Value, asked: Option<&str>) -> Result<String, ApiError> {
    let (_, name) = names(pod);
    if let Some(asked) = asked {
        let exists = all_containers(pod).any(|container| container == asked);
        let unknown = || ApiError::bad_request(format!("container {asked} is not valid for pod {name}"));
        return exists.then(|| asked.to_owned()).ok_or_else(unknown);
    }
    let containers: Vec<&str> = all_containers(pod).collect();
    match containers.as_slice() {
        [only] => Ok((*only).to_owned()),
        several => Err(ApiError::bad_request(format!(
            "a container name must be specified for pod {name}, choose one of: [{}]",
            several.join(" ")
        ))),
    }
}

/// The status that the kubelet part has written of a container.
pub fn status_of<'a>(pod: &'a Value, container: &str) -> Option<&'a Value> {
    ["containerStatuses", "initContainerStatuses"].into_iter().find_map(|list| {
        let mut statuses = pod["status"][list].as_array().into_iter().flatten();
        statuses.find(|status| status["name"] == container)
    })
}

/// Why a container that never ran has not started yet.
fn waiting_for_first_start(pod: &Value, container: &str) -> Option<String> {
    let status = status_of(pod, container)?;
    let ran_before = status["restartCount"].as_i64().unwrap_or(0) > 0 || !status["lastState"]["terminated"].is_null();
    let waiting = status["state"].get("waiting").filter(|_| !ran_before)?;
    Some(waiting["reason"].as_str().unwrap_or("ContainerCreating").to_owned())
}
