//! The example of a system whose images exist: on the engine under the team's name, or in a registry from which they are pulled.

use std::collections::HashMap;
use std::path::Path;

use futures::TryStreamExt as _;
use redrill::outcome::{DrillOutcome, ProgramLabel, Verdict};
use testcontainers::bollard::query_parameters::{
    BuildImageOptionsBuilder, ListImagesOptionsBuilder, ListVolumesOptions, PushImageOptionsBuilder,
    RemoveImageOptions, TagImageOptionsBuilder,
};
use testcontainers::bollard::{Docker, body_full};

use crate::playground::Playground;
use crate::registry::{PASSWORD, Registry};
use crate::run::Run;

const IMAGE: &str = "postgres:15";
const SCENARIO: &str = "scenarios/library/scenario.yaml";
const SYSTEM: &str = "scenarios/library/system.yaml";
const ON_DOCKER: [&str; 2] = ["--env", "docker"];

fn library() -> Playground {
    Playground::with("examples/library", "library")
}

/// The example with another image, and a word about pulling it.
fn library_of(image: &str, policy: &str) -> Playground {
    let playground = library();
    playground.replace(SCENARIO, "  postgres:15: {", &format!("  {image}: {{"));
    let lines = format!("image: {image}\n          imagePullPolicy: {policy}\n");
    playground.replace(SYSTEM, "image: postgres:15\n", &lines);
    playground
}

async fn engine() -> Docker {
    testcontainers::core::client::docker_client_instance().await.unwrap()
}

/// PostgreSQL as redrill has built it on the engine.
async fn postgres(docker: &Docker) -> String {
    let filters = HashMap::from([("label".to_owned(), vec!["redrill.image=postgres".to_owned()])]);
    let built = docker.list_images(Some(ListImagesOptionsBuilder::new().filters(&filters).build())).await.unwrap();
    let mut tags = built.into_iter().flat_map(|image| image.repo_tags);
    tags.find(|tag| tag.starts_with("redrill/postgres:")).expect("the image is built before this test")
}

/// An image under a name, of lines that follow `FROM`.
async fn build(docker: &Docker, name: &str, from: &str, lines: &str) {
    let dockerfile = format!("FROM {from}\n{lines}\n");
    let mut context = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(dockerfile.len() as u64);
    header.set_mode(0o644);
    context.append_data(&mut header, "Dockerfile", dockerfile.as_bytes()).unwrap();
    let options = BuildImageOptionsBuilder::new().t(name).rm(true).build();
    let built = docker.build_image(options, None, Some(body_full(context.into_inner().unwrap().into())));
    built.try_collect::<Vec<_>>().await.unwrap();
}

/// Names of volumes that belong to nobody: what an image declares and no pod mounts.
async fn unnamed_volumes(docker: &Docker) -> Vec<String> {
    let volumes = docker.list_volumes(None::<ListVolumesOptions>).await.unwrap().volumes.unwrap_or_default();
    volumes.into_iter().filter(|volume| volume.labels.is_empty()).map(|volume| volume.name).collect()
}

fn assert_passed(run: &Run) -> &DrillOutcome {
    let drill = run.drill("manual");
    assert_eq!((run.exit, drill.verdict()), (0, Verdict::Passed), "{:#?}\n{}", drill.causes(), run.stderr);
    assert!(drill.steps.iter().all(|step| step.program == ProgramLabel::Real));
    assert_eq!((&drill.errata[..], &drill.waived[..], &drill.leftovers[..]), (&[][..], &[][..], &[][..]));
    drill
}

/// A drill that could not be had, and what each of these says of why.
fn assert_unverified(run: &Run, parts: &[&str]) {
    let drill = run.drill("manual");
    assert_eq!((run.exit, drill.verdict()), (2, Verdict::Unverified), "{}", run.stderr);
    let causes: Vec<String> = drill.causes().iter().map(ToString::to_string).collect();
    for part in parts {
        assert!(causes.iter().any(|cause| cause.contains(part)), "no cause says `{part}`: {causes:#?}");
    }
}

#[tokio::test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
async fn a_system_whose_image_exists_takes_a_scenario_and_a_page() {
    let docker = engine().await;
    // As images of others are: with volumes of their own, and a health check that no cluster asks.
    let lines = "VOLUME [\"/var/lib/postgresql/data\", \"/var/spool/library\"]\nHEALTHCHECK CMD false";
    build(&docker, IMAGE, &postgres(&docker).await, lines).await;
    let id = docker.inspect_image(IMAGE).await.unwrap().id.unwrap();
    let before = unnamed_volumes(&docker).await;
    let run = library().run(&ON_DOCKER);
    let drill = assert_passed(&run);
    assert_eq!(drill.digests[&format!("image {IMAGE} on the engine")], id);
    assert!(!run.stderr.contains("pulls "), "it is there: {}", run.stderr);
    assert_eq!(unnamed_volumes(&docker).await, before);
}

#[tokio::test]
#[ignore = "needs an engine: drills_in_containers_find_out_what_local_ones_do runs it"]
async fn an_image_is_pulled_as_its_container_says_or_the_drill_is_unverified() {
    let Some(mut registry) = Registry::start() else { return };
    let docker = engine().await;
    let repository = format!("{}/library/postgres", registry.host);
    let image = format!("{repository}:1");
    let tag = || TagImageOptionsBuilder::new().repo(&repository).tag("1").build();
    let postgres = postgres(&docker).await;
    docker.tag_image(&postgres, Some(tag())).await.unwrap();
    let push = PushImageOptionsBuilder::new().tag("1").build();
    let pushed = docker.push_image(&repository, Some(push), Some(registry.credentials()));
    pushed.try_collect::<Vec<_>>().await.unwrap();
    let forget = || docker.remove_image(&image, None::<RemoveImageOptions>, None);
    let run_of = |image: &str, configuration: &Path, policy: &str| {
        library_of(image, policy).run_with(&[("DOCKER_CONFIG", configuration)], &ON_DOCKER)
    };
    let run_as = |configuration: &Path, policy: &str| run_of(&image, configuration, policy);
    let line = library_of(&image, "Never").read(SYSTEM).lines().position(|line| line.contains("image: ")).unwrap() + 1;
    let place = format!("library/system.yaml:{line}: image {image}: ");

    forget().await.unwrap();
    let never = run_as(&registry.logged_in(), "Never");
    assert_unverified(&never, &[&place, "not on the engine, and imagePullPolicy is Never", "docker pull"]);
    let stranger = run_as(&registry.logged_out(), "IfNotPresent");
    assert_unverified(&stranger, &[&place, "as imagePullPolicy IfNotPresent wants: ", "no basic auth", "docker login"]);

    let pulled = run_as(&registry.logged_in(), "IfNotPresent");
    let drill = assert_passed(&pulled);
    let in_registries = &drill.digests[&format!("image {image} in registries")];
    let by_digest = in_registries.split(", ").find(|name| name.starts_with(&format!("{repository}@sha256:")));
    let by_digest = by_digest.unwrap_or_else(|| panic!("{in_registries}"));
    assert!(pulled.stderr.contains(&format!("pulls {image}")), "{}", pulled.stderr);
    for (file, content) in &pulled.files {
        let is_told = content.windows(PASSWORD.len()).any(|part| part == PASSWORD.as_bytes());
        assert!(!is_told, "{} holds the registry's password", file.display());
    }

    // Under the name that no other image can come to have, by somebody who is let in by the pods' own Secret.
    forget().await.unwrap();
    let of_pods = library_of(by_digest, "IfNotPresent");
    let kept = "{ secret: library/db }]";
    of_pods.replace(SCENARIO, kept, "{ secret: library/db }, { secret: library/of-registry }]");
    let template = "      containers:\n";
    of_pods.replace(SYSTEM, template, &format!("      imagePullSecrets: [{{name: of-registry}}]\n{template}"));
    of_pods.append(SYSTEM, &registry.pull_secret("library", "of-registry"));
    let stranger = registry.logged_out();
    let same = of_pods.run_with(&[("DOCKER_CONFIG", stranger.as_path())], &ON_DOCKER);
    let on_engine =
        |run: &Run, image: &str| assert_passed(run).digests[&format!("image {image} on the engine")].clone();
    assert_eq!(on_engine(&same, by_digest), on_engine(&pulled, &image));
    assert!(same.stderr.contains(&format!("pulls {by_digest}")), "{}", same.stderr);

    docker.tag_image(&postgres, Some(tag())).await.unwrap();
    let logged_in = registry.logged_in();
    registry.stop();
    let gone = run_as(&logged_in, "Always");
    assert_unverified(&gone, &[&place, "cannot be pulled, as imagePullPolicy Always wants: "]);
    // The name by its digest goes with the last tag.
    forget().await.unwrap();
}
