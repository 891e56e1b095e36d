//! Resources by their types.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::function::Scope;
use super::properties::{Properties, Reader};
use super::{FileSystem, Stack, backup, service, task};
use crate::problem::suggestion;
use crate::system::yaml::pointer;

/// Types that are read.
const READ: [&str; 7] = [
    "AWS::EFS::FileSystem",
    "AWS::ECS::Cluster",
    "AWS::ECS::TaskDefinition",
    "AWS::ECS::Service",
    "AWS::Backup::BackupVault",
    "AWS::Backup::BackupPlan",
    "AWS::Backup::BackupSelection",
];

/// Types that are accepted and have no effect here. docs/scenario.md says why.
const WITHOUT_EFFECT: [&str; 6] = [
    "AWS::EFS::MountTarget",
    "AWS::EC2::SecurityGroup",
    "AWS::EC2::SecurityGroupIngress",
    "AWS::IAM::Role",
    "AWS::IAM::InstanceProfile",
    "AWS::Logs::LogGroup",
];

/// Type and worked-out properties of every resource that is made, by logical name.
pub(super) fn evaluated(scope: &Scope<'_>, declared: &Map<String, Value>) -> BTreeMap<String, (String, Value)> {
    let mut resources = BTreeMap::new();
    for (name, resource) in declared {
        let path = pointer("/Resources", name);
        let mut fields = scope.reader.properties(resource, &path);
        let kind = fields.need("Type");
        let condition = fields.text("Condition");
        // What it depends on has been made by the time anything runs; nothing is ever deleted or replaced.
        fields.without_effect(&["Properties", "DependsOn", "DeletionPolicy", "UpdateReplacePolicy", "Metadata"]);
        fields.close();
        if !kind.is_empty() && !READ.contains(&kind.as_str()) && !WITHOUT_EFFECT.contains(&kind.as_str()) {
            let hint = suggestion(&kind, READ.into_iter().chain(WITHOUT_EFFECT));
            scope.reader.problem(&pointer(&path, "Type"), format!("`{kind}` cannot be honoured{hint}"));
        }
        let is_made = condition.is_none_or(|name| scope.condition(&name, &path, 0) == Some(true));
        let nothing = Value::Object(Map::new());
        let properties = resource.get("Properties").unwrap_or(&nothing);
        let properties = scope.value(properties, &pointer(&path, "Properties")).unwrap_or(nothing);
        if is_made {
            resources.insert(name.clone(), (kind, properties));
        }
    }
    resources
}

/// Reads every resource, those first that others refer to.
pub(super) fn read(reader: &Reader<'_>, stack: &mut Stack) {
    let resources = stack.resources.clone();
    for kind in READ {
        for (name, (_, properties)) in resources.iter().filter(|(_, (found, _))| found == kind) {
            let path = pointer(&pointer("/Resources", name), "Properties");
            let fields = reader.properties(properties, &path);
            match kind {
                "AWS::EFS::FileSystem" => file_system(name, fields, stack),
                "AWS::ECS::Cluster" => cluster(name, fields, stack),
                "AWS::ECS::TaskDefinition" => task::read(name, fields, stack),
                "AWS::ECS::Service" => service::read(name, fields, stack),
                "AWS::Backup::BackupVault" => backup::vault(name, fields, stack),
                "AWS::Backup::BackupPlan" => backup::plan(name, fields, stack),
                _ => backup::selection(fields, stack),
            }
        }
    }
    if stack.services.len() > 1 {
        reader.problem("/Resources", "there is one container instance for one service: leave the others out");
    }
}

fn file_system(name: &str, mut fields: Properties<'_, '_>, stack: &mut Stack) {
    fields.without_effect(&[
        "PerformanceMode",
        "ThroughputMode",
        "ProvisionedThroughputInMibps",
        "Encrypted",
        "KmsKeyId",
        "LifecyclePolicies",
        "FileSystemPolicy",
        "BypassPolicyLockoutSafetyCheck",
    ]);
    if let Some(mut policy) = fields.child("BackupPolicy") {
        policy.only("Status", &["DISABLED"], "say it as an AWS::Backup::BackupPlan");
        policy.close();
    }
    let mut tag = None;
    for mut pair in fields.items("FileSystemTags") {
        let (key, value) = (pair.need("Key"), pair.need("Value"));
        pair.close();
        tag = if key == "Name" { Some(value) } else { tag };
    }
    let source = fields.source("");
    fields.close();
    let id = stack.identity.file_system(name);
    let found = FileSystem { id, name: tag.unwrap_or_else(|| name.to_owned()), claim: kebab(name), source };
    stack.file_systems.insert(name.to_owned(), found);
}

fn cluster(name: &str, mut fields: Properties<'_, '_>, stack: &mut Stack) {
    let given = fields.text("ClusterName");
    fields.without_effect(&["ClusterSettings", "Tags"]);
    fields.close();
    let of_stack = stack.identity.of_resource(name, "AWS::ECS::Cluster");
    stack.clusters.insert(name.to_owned(), given.unwrap_or(of_stack));
}

/// `DbStorage` as Kubernetes has names: `db-storage`.
pub(super) fn kebab(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() && !text.ends_with('-') {
            text.push('-');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}
