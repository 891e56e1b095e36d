//! What this machine has for drills, what it can get, and which environments this program was built for.

#[cfg(feature = "docker")]
use super::place;
use crate::assignment::Prepared;
#[cfg(feature = "docker")]
use crate::console;
use crate::doctor::{self, Requirements, Tools};
use crate::drill::record::Halt;
use crate::error::chain;
use crate::scenario::EnvironmentName;

/// Looks for what the drills need, and gets it when asked to. `Some` is what keeps any drill from running.
pub(super) async fn machine(prepared: &Prepared, environment: EnvironmentName, install: bool) -> (Tools, Option<Halt>) {
    let requirements = prepared.requirements(environment);
    let examined = crate::machine::examine(&requirements, install).await;
    let examined = match examined {
        Ok(findings) if install => get_in_a_container(environment, &requirements, findings).await,
        other => other.map_err(|error| Halt::unverified(chain(&error), "run `redrill doctor --install` as root")),
    };
    match examined {
        Ok(findings) => {
            let missing: Vec<_> = findings.iter().filter(|finding| finding.is_obstacle()).collect();
            let tools = Tools::of(&findings);
            if missing.is_empty() {
                let obstacle = if install { images(prepared, environment, &tools).await.err() } else { None };
                return (tools, obstacle);
            }
            let what: Vec<_> = missing.iter().map(|finding| finding.what.as_str()).collect();
            let mut remedies: Vec<_> = missing.iter().map(|finding| finding.remedy.as_str()).collect();
            if in_containers(environment) && !install {
                remedies.push("`redrill images build` gets in a container what this machine cannot get by itself");
            }
            (tools, Some(Halt::unverified(format!("missing: {}", what.join(", ")), remedies.join("; "))))
        }
        Err(halt) => (Tools::of(&Vec::<doctor::Finding>::new()), Some(halt)),
    }
}

/// Programs that drills in containers need and this machine could not get: it may have nothing but an engine. Looks again then.
async fn get_in_a_container(
    environment: EnvironmentName,
    requirements: &Requirements,
    findings: Vec<doctor::Finding>,
) -> Result<Vec<doctor::Finding>, Halt> {
    let missing = findings.iter().filter(|finding| finding.is_obstacle());
    let names = missing.filter_map(|finding| finding.what.split(' ').next().map(str::to_owned));
    let names: Vec<String> = names.filter(|name| doctor::by_name::is_known(name)).collect();
    if !in_containers(environment) || names.is_empty() {
        return Ok(findings);
    }
    #[cfg(feature = "docker")]
    crate::environment::docker::tools::get(&names, |what| console::err(&format!("build    {what}")))
        .await
        .map_err(|error| Halt::unverified(chain(&error), "put them into PATH"))?;
    let again = crate::machine::examine(requirements, false).await;
    again.map_err(|error| Halt::unverified(chain(&error), "run `redrill doctor`"))
}

/// Builds the images of an environment that has images, where they are not there yet.
async fn images(prepared: &Prepared, environment: EnvironmentName, tools: &Tools) -> Result<(), Halt> {
    match environment {
        #[cfg(feature = "docker")]
        EnvironmentName::Docker | EnvironmentName::Kube | EnvironmentName::Kind => {
            let tell = |what: &str| console::err(&format!("build    {what}"));
            let built = place::build_images(&prepared.scenarios, tools, tell).await;
            built.map_err(|error| Halt::unverified(chain(&error), "run `redrill images build`"))
        }
        _ => {
            let _ = (prepared, tools);
            Ok(())
        }
    }
}

/// Whether drills there run in images that an engine builds.
fn in_containers(environment: EnvironmentName) -> bool {
    match environment {
        EnvironmentName::Docker | EnvironmentName::Kube | EnvironmentName::Kind => true,
        EnvironmentName::Local => false,
    }
}

/// Whether this program can run drills there.
pub(crate) fn is_built(environment: EnvironmentName) -> bool {
    match environment {
        EnvironmentName::Local => true,
        EnvironmentName::Docker => cfg!(feature = "docker"),
        EnvironmentName::Kube | EnvironmentName::Kind => cfg!(feature = "kube"),
    }
}

pub(crate) fn not_built(environment: EnvironmentName) -> Halt {
    let (name, feature) = match environment {
        EnvironmentName::Local => ("local", "default"),
        EnvironmentName::Docker => ("docker", "docker"),
        EnvironmentName::Kind => ("kind", "kube"),
        EnvironmentName::Kube => ("kube", "kube"),
    };
    let remedy = format!("build it with `--features {feature}`, or run with --env local");
    Halt::unverified(format!("this redrill was built without the {name} environment"), remedy)
}
