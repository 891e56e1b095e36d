//! EFS: the file systems of the stack.

use std::sync::Arc;

use serde_json::{Value, json};

use super::account::Account;
use super::fault::Fault;
use super::service::seconds;
use super::tree;
use crate::system::cloud_formation::{ACCOUNT, FileSystem};

/// What stands in a request's path and query.
pub type Query = std::collections::BTreeMap<String, String>;

/// Answers `GET /2015-02-01/NOUN`.
pub async fn serve(account: &Arc<Account>, noun: &str, query: &Query) -> Result<Value, Fault> {
    let state = account.state().await;
    let wanted = query.get("FileSystemId");
    let systems: Vec<(&String, &FileSystem)> = state
        .stack
        .file_systems
        .iter()
        .filter(|(_, system)| {
            wanted.is_none_or(|wanted| *wanted == system.id || wanted.ends_with(&format!("/{}", system.id)))
        })
        .collect();
    if let Some(wanted) = wanted.filter(|_| systems.is_empty()) {
        let message = format!("File system '{wanted}' does not exist.");
        return Err(Fault::new("FileSystemNotFound", message).with_status(axum::http::StatusCode::NOT_FOUND));
    }
    match noun {
        "file-systems" => {
            let mut described = Vec::new();
            for (logical, system) in systems {
                let folder = account.settings.efs.join(&system.claim);
                let size = tokio::task::spawn_blocking(move || tree::size(&folder)).await.unwrap_or_default();
                described.push(json!({
                    "OwnerId": ACCOUNT, "CreationToken": format!("{}-{logical}", account.identity.stack),
                    "FileSystemId": system.id,
                    "FileSystemArn": account.identity.arn("elasticfilesystem", &format!("file-system/{}", system.id)),
                    "CreationTime": seconds(state.created), "LifeCycleState": "available", "Name": system.name,
                    "NumberOfMountTargets": 1, "SizeInBytes": {"Value": size, "ValueInStandard": size, "ValueInIA": 0},
                    "PerformanceMode": "generalPurpose", "ThroughputMode": "bursting", "Encrypted": true,
                    "Tags": [{"Key": "Name", "Value": system.name}],
                }));
            }
            Ok(json!({"FileSystems": described}))
        }
        "mount-targets" => {
            let targets = systems.iter().map(|(logical, system)| {
                json!({
                    "OwnerId": ACCOUNT, "MountTargetId": format!("fsmt-{}", &system.id[3..]), "FileSystemId": system.id,
                    "SubnetId": format!("subnet-{logical}"), "LifeCycleState": "available",
                })
            });
            Ok(json!({"MountTargets": targets.collect::<Vec<_>>()}))
        }
        other => Err(Fault::unserved(&format!("EFS's {other}"))),
    }
}
