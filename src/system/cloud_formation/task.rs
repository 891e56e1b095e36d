//! Task definitions: containers that run together, and the volumes that they have.

use std::collections::{BTreeMap, BTreeSet};

use super::Stack;
use super::properties::Properties;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskDefinition {
    pub family: String,
    pub containers: Vec<Container>,
    pub volumes: Vec<Volume>,
}

#[derive(Clone, PartialEq, Eq)]
pub struct Container {
    pub name: String,
    pub image: String,
    pub entry_point: Vec<String>,
    pub command: Vec<String>,
    /// Holds secrets: never printed.
    pub environment: BTreeMap<String, String>,
    pub ports: Vec<Port>,
    pub mounts: Vec<Mount>,
    /// Other containers of the task, by the names that they are reached by.
    pub links: BTreeSet<String>,
    /// Whether the task ends with it.
    pub essential: bool,
    pub health: Option<HealthCheck>,
    pub working_directory: Option<String>,
    pub user: Option<u32>,
    /// Between asking it to end and ending it, in seconds.
    pub stop_timeout: u32,
}

impl std::fmt::Debug for Container {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "container {} of {}", self.name, self.image)
    }
}

/// A port of the container that is the machine's own port, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Port {
    pub number: u16,
    /// A machine has each once.
    pub on_host: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub volume: String,
    pub path: String,
    pub read_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    pub command: Vec<String>,
    /// All in seconds.
    pub interval: u32,
    pub timeout: u32,
    pub retries: u32,
    pub start_period: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    pub name: String,
    pub source: VolumeSource,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VolumeSource {
    FileSystem {
        /// Logical name.
        file_system: String,
        /// As written; `/` where nothing is said.
        root: String,
    },
    /// Of the task alone, empty at first.
    Scratch,
}

pub(super) fn read(name: &str, mut fields: Properties<'_, '_>, stack: &mut Stack) {
    let family = fields.text("Family").unwrap_or_else(|| format!("{}-{name}", stack.identity.stack));
    fields.only("NetworkMode", &["bridge"], "tasks are in bridge mode");
    for needed in fields.texts("RequiresCompatibilities").iter().filter(|needed| *needed != "EC2") {
        fields.problem("RequiresCompatibilities", format!("`{needed}` cannot be honoured: there is no Fargate"));
    }
    // Nothing is refused to a task for want of a role, and it gets as much of the machine as there is.
    fields.without_effect(&["TaskRoleArn", "ExecutionRoleArn", "Cpu", "Memory", "Tags"]);
    let volumes: Vec<Volume> = fields.items("Volumes").into_iter().map(|fields| volume(fields, stack)).collect();
    let mut containers = Vec::new();
    for mut fields in fields.items("ContainerDefinitions") {
        let container = container(&mut fields, &volumes);
        stack.images.entry(container.image.clone()).or_default().push(fields.source("Image"));
        containers.push(container);
        fields.close();
    }
    if containers.is_empty() {
        fields.problem("ContainerDefinitions", "a task needs a container");
    }
    refuse_odd_links(&fields, &containers);
    fields.close();
    stack.tasks.insert(name.to_owned(), TaskDefinition { family, containers, volumes });
}

fn volume(mut fields: Properties<'_, '_>, stack: &Stack) -> Volume {
    let name = fields.need("Name");
    let mut source = VolumeSource::Scratch;
    if let Some(mut efs) = fields.child("EFSVolumeConfiguration") {
        let id = efs.need("FilesystemId");
        let found = stack.file_systems.iter().find(|(_, system)| system.id == id);
        if found.is_none() {
            efs.problem("FilesystemId", format!("`{id}` is no file system of the template: write `!Ref` and its name"));
        }
        let root = efs.text("RootDirectory").unwrap_or_else(|| "/".to_owned());
        if root.split('/').any(|part| part == "..") {
            efs.problem("RootDirectory", format!("`{root}` leads out of the file system"));
        }
        // The way to the file system is inside the machine.
        efs.without_effect(&["TransitEncryption", "TransitEncryptionPort"]);
        efs.refuse("AuthorizationConfig", "there are no access points");
        efs.close();
        let file_system = found.map(|(logical, _)| logical.clone()).unwrap_or_default();
        source = VolumeSource::FileSystem { file_system, root };
    }
    if let Some(mut host) = fields.child("Host") {
        host.refuse("SourcePath", "nothing of a machine outlives a task here: put it on a file system");
        host.close();
    }
    fields.refuse("DockerVolumeConfiguration", "put it on a file system");
    fields.close();
    Volume { name, source }
}

fn container(fields: &mut Properties<'_, '_>, volumes: &[Volume]) -> Container {
    let environment = fields.items("Environment").into_iter().map(|mut pair| {
        let found = (pair.need("Name"), pair.text("Value").unwrap_or_default());
        pair.close();
        found
    });
    let environment = environment.collect();
    let ports = fields.items("PortMappings").into_iter().filter_map(port).collect();
    let mounts = fields.items("MountPoints").into_iter().map(|fields| mount(fields, volumes)).collect();
    fields.without_effect(&["Cpu", "Memory", "MemoryReservation", "LogConfiguration", "Ulimits", "DockerLabels"]);
    fields.refuse("Secrets", "there is no Secrets Manager: make it a parameter with NoEcho, in `Environment`");
    for mut needed in fields.items("DependsOn") {
        needed.need("ContainerName");
        needed.only("Condition", &["START"], "containers of a task start together");
        needed.close();
    }
    Container {
        name: fields.need("Name"),
        image: fields.need("Image"),
        entry_point: fields.texts("EntryPoint"),
        command: fields.texts("Command"),
        environment,
        ports,
        mounts,
        links: fields.texts("Links").into_iter().collect(),
        essential: fields.truth("Essential").unwrap_or(true),
        health: fields.child("HealthCheck").map(health),
        working_directory: fields.text("WorkingDirectory"),
        user: fields.number("User"),
        stop_timeout: fields.number("StopTimeout").unwrap_or(30),
    }
}

fn port(mut fields: Properties<'_, '_>) -> Option<Port> {
    let inside = fields.number("ContainerPort");
    let host = fields.number("HostPort").unwrap_or(0);
    fields.only("Protocol", &["tcp"], "ports are TCP ports");
    if host != 0 && Some(host) != inside {
        let message = format!("port {host} of the machine has to be the container's own: nothing maps ports here");
        fields.problem("HostPort", message);
    }
    if inside.is_none() {
        fields.problem("ContainerPort", "`ContainerPort` is missing here");
    }
    let number = u16::try_from(inside.unwrap_or_default()).ok().filter(|number| *number > 0);
    if inside.is_some() && number.is_none() {
        fields.problem("ContainerPort", "there is no such port");
    }
    fields.close();
    Some(Port { number: number?, on_host: host != 0 })
}

fn mount(mut fields: Properties<'_, '_>, volumes: &[Volume]) -> Mount {
    let (volume, path) = (fields.need("SourceVolume"), fields.need("ContainerPath"));
    if !volumes.iter().any(|known| known.name == volume) {
        fields.problem("SourceVolume", format!("`Volumes` has no `{volume}`"));
    }
    let read_only = fields.truth("ReadOnly").unwrap_or(false);
    fields.close();
    Mount { volume, path, read_only }
}

fn health(mut fields: Properties<'_, '_>) -> HealthCheck {
    let given = fields.texts("Command");
    let command = match given.split_first() {
        Some((kind, rest)) if kind == "CMD" => rest.to_vec(),
        Some((kind, [line])) if kind == "CMD-SHELL" => ["/bin/sh", "-c", line].map(str::to_owned).to_vec(),
        _ => {
            fields.problem("Command", "a health check is [CMD, program, ...] or [CMD-SHELL, line]");
            Vec::new()
        }
    };
    let check = HealthCheck {
        command,
        interval: fields.number("Interval").unwrap_or(30),
        timeout: fields.number("Timeout").unwrap_or(5),
        retries: fields.number("Retries").unwrap_or(3),
        start_period: fields.number("StartPeriod").unwrap_or(0),
    };
    fields.close();
    check
}

fn refuse_odd_links(fields: &Properties<'_, '_>, containers: &[Container]) {
    for link in containers.iter().flat_map(|container| &container.links) {
        let name = link.split(':').next().unwrap_or_default();
        if !containers.iter().any(|container| container.name == name) {
            fields.problem("ContainerDefinitions", format!("`Links` names no container of the task: `{link}`"));
        }
    }
}
