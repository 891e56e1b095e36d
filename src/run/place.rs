//! Where a drill runs, from what was asked for and what this machine has.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::assignment::PreparedScenario;
use crate::doctor::Tools;
use crate::doctor::go_module::{GCS_SERVER, GoProgram, HELM, HELM_DIFF};
use crate::drill::record::Record;
use crate::drill::{self, Assignment};
use crate::environment::local::{self, Local, LocalConfig};
use crate::environment::{Environment, EnvironmentError};
use crate::scenario::{Credential, CredentialTarget, Database, EnvironmentName, Scenario, Store};

/// The name of a drill's environment, unlike that of any other.
fn name(assignment: &Assignment<'_>, record: &Record) -> String {
    format!("{}-{}-{}", assignment.nonce, record.outcome.scenario, record.outcome.variant)
}

/// Starts the local environment.
pub async fn local(
    assignment: &Assignment<'_>,
    scenario: &PreparedScenario,
    tools: &Tools,
    record: &Record,
) -> Result<Environment, EnvironmentError> {
    let tools = &scenario.tools(EnvironmentName::Local, tools);
    let kubectl = tools.get("kubectl").map(|tool| tool.path.clone());
    let config = LocalConfig {
        program: std::env::current_exe().map_err(EnvironmentError::io("find the running program"))?,
        name: name(assignment, record),
        images: scenario
            .checked
            .images
            .iter()
            .map(|(reference, image)| (reference.clone(), scenario.image(reference, image, tools)))
            .collect(),
        outside: outside(&scenario.scenario),
        clusters: scenario.checked.systems.names().map(str::to_owned).collect(),
        services: services(&scenario.scenario),
        kubectl,
        programs: operator_programs(tools, &[&HELM, &HELM_DIFF]),
        gcs_server: tools.get(GCS_SERVER.name).map(|tool| tool.path.clone()),
        awscli: tools.get("awscli").map(|tool| tool.path.clone()),
        namespace: scenario.scenario.system.namespace.clone(),
        seed: assignment.rng,
    };
    Ok(Environment::Local(Box::new(Local::start(config).await?)))
}

/// Those of these programs that this machine has, by name.
fn operator_programs(tools: &Tools, programs: &[&GoProgram]) -> BTreeMap<String, PathBuf> {
    let found = |program: &&GoProgram| Some((program.name.to_owned(), tools.get(program.name)?.path.clone()));
    programs.iter().filter_map(found).collect()
}

/// Names of stores outside, and the Services that stand for them.
fn outside(scenario: &Scenario) -> BTreeMap<String, String> {
    let stores = scenario.stores.iter().filter(|(_, store)| store.account().is_none());
    stores
        .flat_map(|(name, store)| store.hosts().into_iter().map(move |host| (host, name)))
        .map(|(host, name)| (host.to_owned(), drill::station::store_service(name)))
        .collect()
}

#[cfg(feature = "docker")]
pub use in_containers::{build_images, docker, existing_images, versions};
#[cfg(feature = "kube")]
pub use in_containers::{image_list, kube};

#[cfg(feature = "docker")]
mod in_containers {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::assignment::Versions;
    use crate::console;
    use crate::doctor::{npm, python};
    use crate::drill::record::Halt;
    use crate::drill::station;
    use crate::environment::docker::recipe::{OwnPrograms, Recipe};
    use crate::environment::docker::{self, Docker, DockerConfig, Found, Unavailable};
    #[cfg(feature = "kube")]
    use crate::run::image_list::{ImageList, OfScenario};
    use crate::system::image::LocalImage;

    /// The images of a scenario that no folder stands for, pulled where their containers say so; whoever watches hears of it.
    pub async fn existing_images(
        scenario: &PreparedScenario,
        record: &Record,
        interrupt: &CancellationToken,
    ) -> Result<Found, Halt> {
        let images = &scenario.checked.existing;
        let tell = |what: &str| record.notice(&format!("pulls {what}"));
        let found = tokio::select! {
            found = docker::find_existing(images, tell) => found,
            () = interrupt.cancelled() => return Err(drill::interrupted()),
        };
        found.map_err(|unavailable| {
            let remedy = match unavailable {
                Unavailable::Engine(_) => "run `redrill doctor`",
                Unavailable::Images(_) => {
                    "put them on the engine (`docker pull`, `docker load`, `docker build --tag`), log in to their registry \
                     (`docker login`), or name a `folder` with a Dockerfile in the scenario's `images`"
                }
            };
            Halt::unverified(crate::error::chain(&unavailable), remedy)
        })
    }

    /// Starts the docker environment, whose images have to be there.
    pub async fn docker(
        assignment: &Assignment<'_>,
        scenario: &PreparedScenario,
        tools: &Tools,
        record: &Record,
        existing: Found,
    ) -> Result<Environment, EnvironmentError> {
        let config = DockerConfig {
            name: name(assignment, record),
            own: own(scenario, tools)?,
            images: recipes(scenario, tools)?,
            existing,
            outside: outside(&scenario.scenario),
            clusters: scenario.checked.systems.names().map(str::to_owned).collect(),
            services: services(&scenario.scenario),
            namespace: scenario.scenario.system.namespace.clone(),
            seed: assignment.rng,
        };
        Ok(Environment::Docker(Box::new(Docker::start(config).await?)))
    }

    /// What the cluster calls the images of the scenarios; pushed to a registry first, where there is one.
    #[cfg(feature = "kube")]
    pub async fn image_list(
        scenarios: &[PreparedScenario],
        tools: &Tools,
        of_machine: &Versions,
        registry: Option<&str>,
        mut tell: impl FnMut(&str),
    ) -> Result<ImageList, EnvironmentError> {
        let versions = versions(scenarios, tools, of_machine, &CancellationToken::new()).await?;
        let mut listed = BTreeMap::new();
        for scenario in scenarios {
            let (mut images, digests) = docker::find_built(&recipes(scenario, tools)?, &own(scenario, tools)?).await?;
            if let Some(prefix) = registry {
                images = docker::push(&images, prefix, &mut tell).await?;
            }
            let name = scenario.scenario.name.clone();
            let versions = versions.get(&name).cloned().unwrap_or_default();
            listed.insert(name, OfScenario { images, digests, versions });
        }
        ImageList::of(listed)
    }

    /// Finds a place on a cluster that exists, whose nodes have the images that were built.
    #[cfg(feature = "kube")]
    pub async fn kube(
        assignment: &Assignment<'_>,
        scenario: &PreparedScenario,
        tools: &Tools,
        record: &Record,
        arguments: &crate::cli::ClusterArgs,
    ) -> Result<Environment, EnvironmentError> {
        use crate::environment::kube::kind::Throwaway;
        use crate::environment::kube::{Kube, KubeConfig};
        let (mut images, digests) = match &arguments.images {
            Some(file) => {
                let list = ImageList::read(file)?;
                let OfScenario { images, digests, .. } = list.of_scenario(&scenario.scenario.name)?.clone();
                (images, digests)
            }
            None if arguments.served => (as_named(scenario), BTreeMap::new()),
            None => docker::find_built(&recipes(scenario, tools)?, &own(scenario, tools)?).await?,
        };
        // What exists the nodes pull, by the name that the manifests have.
        images.extend(scenario.checked.existing.keys().map(|reference| (reference.clone(), reference.clone())));
        let name = name(assignment, record);
        let throwaway = match assignment.environment {
            EnvironmentName::Kind => {
                let throwaway = Throwaway::create(&name, arguments.node_image.as_deref()).await?;
                throwaway.load(&images.values().cloned().collect()).await?;
                Some(throwaway)
            }
            EnvironmentName::Local | EnvironmentName::Docker | EnvironmentName::Kube => None,
        };
        let config = KubeConfig {
            name,
            contexts: throwaway.as_ref().map_or_else(|| arguments.into(), Throwaway::contexts),
            throwaway,
            images,
            digests,
            outside: outside(&scenario.scenario),
            clusters: scenario.checked.systems.names().map(str::to_owned).collect(),
            services: services(&scenario.scenario),
            namespace: scenario.scenario.system.namespace.clone(),
            served: arguments.served,
        };
        Ok(Environment::Kube(Box::new(Kube::start(config).await?)))
    }

    /// Images that a cluster which redrill serves has by the names that are used for them.
    #[cfg(feature = "kube")]
    fn as_named(scenario: &PreparedScenario) -> BTreeMap<String, String> {
        let own = [station::IMAGE, station::WORKSTATION_IMAGE, station::GCS_IMAGE].map(str::to_owned);
        scenario.checked.images.keys().cloned().chain(own).map(|reference| (reference.clone(), reference)).collect()
    }

    /// Builds what the scenarios' drills need on the engine and is not there yet.
    pub async fn build_images(
        scenarios: &[PreparedScenario],
        tools: &Tools,
        tell: impl FnMut(&str),
    ) -> Result<(), EnvironmentError> {
        let mut all = Vec::new();
        for scenario in scenarios {
            all.extend(own(scenario, tools)?.into_values());
            all.extend(recipes(scenario, tools)?.into_values());
        }
        docker::build_images(&all, tell).await
    }

    /// Versions of the machine's, and of what the images of each scenario hold: packages as the engine has them, others as they are
    /// pinned. Images that exist are pulled for that as for a drill, where a correction may depend on what is in them.
    pub async fn versions(
        scenarios: &[PreparedScenario],
        tools: &Tools,
        of_machine: &Versions,
        interrupt: &CancellationToken,
    ) -> Result<Versions, EnvironmentError> {
        let mut versions = of_machine.clone();
        for scenario in scenarios {
            let recipes = recipes(scenario, tools)?;
            let packages = |reference: &str| scenario.checked.images[reference].packages.clone();
            let mut images: Vec<_> =
                recipes.into_iter().map(|(reference, recipe)| (recipe, packages(&reference))).collect();
            let own = own(scenario, tools)?.remove(station::WORKSTATION_IMAGE);
            images.extend(own.map(|recipe| (recipe, scenario.scenario.workstation.packages.clone())));
            let known = versions.entry(scenario.scenario.name.clone()).or_default();
            let existing = depended_on(scenario, interrupt).await.ids();
            let errata = &scenario.scenario.errata;
            let is_asked = |package: &str| errata.iter().any(|erratum| erratum.versions.is_of(package));
            known.extend(docker::versions::of(&images, &existing, is_asked).await?);
            known.extend(pinned(scenario));
        }
        Ok(versions)
    }

    /// Images that exist, where a correction may depend on what is in them. Whether they can be had, drills find out themselves.
    async fn depended_on(scenario: &PreparedScenario, interrupt: &CancellationToken) -> Found {
        if scenario.scenario.errata.is_empty() {
            return Found::default();
        }
        let tell = |what: &str| console::err(&format!("pull     {what}"));
        tokio::select! {
            found = docker::find_existing(&scenario.checked.existing, tell) => found.unwrap_or_default(),
            () = interrupt.cancelled() => Found::default(),
        }
    }

    /// Packages for Python and of npm.
    fn pinned(scenario: &PreparedScenario) -> BTreeMap<String, String> {
        let images = || scenario.checked.images.values();
        let aws = scenario.scenario.has_account().then_some(python::AWSCLI);
        let python = images().flat_map(|image| &image.python).map(String::as_str).chain(aws);
        let python = python.filter_map(|pinned| Some((python::name(pinned), pinned.split_once("==")?.1)));
        let npm = images().flat_map(|image| &image.npm);
        let npm = npm.filter_map(|pinned| Some((npm::name(pinned), pinned.rsplit_once('@')?.1)));
        python.chain(npm).map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
    }

    /// The drill's own images, by the reference of its own pods.
    fn own(scenario: &PreparedScenario, tools: &Tools) -> Result<BTreeMap<String, Recipe>, EnvironmentError> {
        // What another scenario of the run needs says nothing about this one's.
        let tools = scenario.tools(EnvironmentName::Docker, tools);
        let mut operator = operator_programs(&tools, &[&HELM, &HELM_DIFF]);
        operator.extend(tools.get("kubectl").map(|tool| ("kubectl".to_owned(), tool.path.clone())));
        let own = OwnPrograms {
            program: std::env::current_exe().map_err(EnvironmentError::io("find the running program"))?,
            operator,
            gcs_server: tools.get(GCS_SERVER.name).map(|tool| tool.path.clone()),
            scenario: scenario.scenario.name.clone(),
            packages: scenario.scenario.workstation.packages.clone(),
            python: scenario.scenario.has_account().then_some(python::AWSCLI),
        };
        Ok(own.recipes())
    }

    fn recipes(scenario: &PreparedScenario, tools: &Tools) -> Result<BTreeMap<String, Recipe>, EnvironmentError> {
        let recipe = |(reference, image): (&String, &LocalImage)| {
            let shown = scenario.image(reference, image, tools);
            let recipe = Recipe::of_folder(&image.folder, &shown, &image.stand_ins);
            let recipe = recipe.map_err(EnvironmentError::io(format!("read {}", image.folder.display())))?;
            Ok((reference.clone(), recipe))
        };
        scenario.checked.images.iter().map(recipe).collect()
    }
}

/// The databases and pages of a system of several clusters: the name that the prober uses, and the Service it stands for.
fn services(scenario: &Scenario) -> BTreeMap<String, (String, String, String)> {
    let clusters: Vec<_> = scenario.system.clusters.iter().filter_map(|cluster| cluster.name.as_deref()).collect();
    let of_page = |credential: &Credential| {
        let CredentialTarget::Http(url) = &credential.target else { return None };
        let uri: http::Uri = url.parse().ok()?;
        let host = uri.host()?;
        let [service, namespace, cluster] = host.split('.').collect::<Vec<_>>()[..] else { return None };
        let service = (cluster.to_owned(), namespace.to_owned(), service.to_owned());
        clusters.contains(&cluster).then(|| (host.to_owned(), service))
    };
    let of_cluster = |database: &Database| {
        let (service, namespace) = database.host.split_once('.')?;
        let service = (database.cluster.clone()?, namespace.to_owned(), service.to_owned());
        Some((database.address(), service))
    };
    // An account is where its stack is, since it mounts the file systems.
    let of_account = |(name, store): (&String, &Store)| -> Vec<_> {
        let namespace = scenario.system.namespace.clone();
        let service = (local::CLUSTER.to_owned(), namespace, drill::station::store_service(name));
        let hosts = store.account().map(|_| store.hosts()).unwrap_or_default();
        hosts.into_iter().map(|host| (host.to_owned(), service.clone())).collect()
    };
    let accounts = scenario.stores.iter().flat_map(of_account);
    let pages = scenario.credentials.iter().filter_map(of_page);
    scenario.databases.values().filter_map(of_cluster).chain(pages).chain(accounts).collect()
}
