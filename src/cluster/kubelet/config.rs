//! From a container of a pod spec to what the runtime makes: everything looked up at the moment of a start.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Container;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::environment::{self, expand};
use super::pod::PodWorker;
use super::volumes::Volumes;
use crate::cluster::validate::amount;
use crate::runtime::{ContainerSpec, Image, Limits};

/// The container as it would be made now. `Err` is the message of `CreateContainerConfigError`.
pub fn container(pod: &PodWorker, container: &Container, image: Image) -> Result<ContainerSpec, String> {
    let object = pod.current();
    let store = &pod.kubelet.store;
    let env = environment::resolve(store, &object, &pod.spec, container)?;
    let volumes = Volumes { store, cluster: &pod.kubelet.cluster, pod: &object, id: &pod.id, spec: &pod.spec };
    let mounts = volumes.mounts(container, &env)?;
    let own = container.security_context.as_ref();
    let of_pod = pod.spec.security_context.as_ref();
    let user = own.and_then(|own| own.run_as_user).or(of_pod.and_then(|pod| pod.run_as_user));
    let group = own.and_then(|own| own.run_as_group).or(of_pod.and_then(|pod| pod.run_as_group));
    let non_root = own.and_then(|own| own.run_as_non_root).or(of_pod.and_then(|pod| pod.run_as_non_root));
    if non_root == Some(true) {
        verify_non_root(user, image.user.as_deref())?;
    }
    let words = |words: &Option<Vec<String>>| -> Vec<String> {
        words.iter().flatten().map(|word| expand(word, &env)).collect()
    };
    let argv = argv(&words(&container.command), &words(&container.args), &image);
    if argv.is_empty() {
        return Err("no command specified".to_owned());
    }
    Ok(ContainerSpec {
        id: pod.container_id(&container.name),
        argv,
        image,
        env,
        working_dir: container.working_dir.as_ref().map(PathBuf::from),
        run_as_user: id("runAsUser", user)?,
        run_as_group: id("runAsGroup", group)?,
        fs_group: id("fsGroup", of_pod.and_then(|pod| pod.fs_group))?,
        mounts,
        limits: limits(container)?,
    })
}

fn limits(container: &Container) -> Result<Limits, String> {
    let of = |resource: &str| -> Result<Option<f64>, String> {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        let Some(Quantity(quantity)) = limits.and_then(|limits| limits.get(resource)) else { return Ok(None) };
        let amount = amount(&quantity.as_str().into());
        // None at all, as for a kubelet.
        let amount = amount.ok_or_else(|| format!("limits.{resource}: `{quantity}` is no quantity"))?;
        Ok(Some(amount).filter(|amount| *amount > 0.0))
    };
    // Bytes are whole, and a fraction of one is rounded up.
    Ok(Limits { memory: of("memory")?.map(|bytes| bytes.ceil() as i64), cpu: of("cpu")? })
}

/// `command` replaces the entrypoint and drops the image's arguments; `args` replaces the arguments.
fn argv(command: &[String], args: &[String], image: &Image) -> Vec<String> {
    match (command.is_empty(), args.is_empty()) {
        (false, _) => [command, args].concat(),
        (true, false) => [&image.entrypoint, args].concat(),
        (true, true) => [image.entrypoint.as_slice(), &image.cmd].concat(),
    }
}

fn id(field: &str, id: Option<i64>) -> Result<Option<u32>, String> {
    id.map(|id| u32::try_from(id).map_err(|_| format!("{field} {id} is out of range"))).transpose()
}

fn verify_non_root(user: Option<i64>, of_image: Option<&str>) -> Result<(), String> {
    // `USER 999:999` names a group too.
    let of_image = of_image.map(|user| user.split(':').next().unwrap_or_default());
    match (user, of_image) {
        (Some(0), _) => Err("container's runAsUser breaks non-root policy".to_owned()),
        (Some(_), _) => Ok(()),
        (None, None | Some("" | "0" | "root")) => {
            Err("container has runAsNonRoot and image will run as root".to_owned())
        }
        (None, Some(user)) if user.parse::<u32>().is_ok() => Ok(()),
        (None, Some(user)) => Err(format!(
            "container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<String> {
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    #[test]
    fn command_and_args_replace_entrypoint_and_cmd_as_kubernetes_does() {
        let image = Image { entrypoint: words(&["entry"]), cmd: words(&["cmd"]), ..Image::default() };
        let argv = |command: &[&str], args: &[&str]| argv(&words(command), &words(args), &image).join(" ");
        assert_eq!(argv(&[], &[]), "entry cmd");
        assert_eq!(argv(&[], &["a"]), "entry a");
        assert_eq!(argv(&["c"], &[]), "c");
        assert_eq!(argv(&["c"], &["a"]), "c a");
    }

    #[test]
    fn limits_are_read_as_kubernetes_writes_them() {
        let of = |memory: &str, cpu: &str| {
            let resources = serde_json::json!({"name": "x", "resources": {"limits": {"memory": memory, "cpu": cpu}}});
            limits(&serde_json::from_value(resources).unwrap())
        };
        assert_eq!(of("512Mi", "500m"), Ok(Limits { memory: Some(512 << 20), cpu: Some(0.5) }));
        assert_eq!(of("1500m", "0.25"), Ok(Limits { memory: Some(2), cpu: Some(0.25) }));
        assert_eq!(of("2G", "0"), Ok(Limits { memory: Some(2_000_000_000), cpu: None }));
        assert!(of("much", "1").unwrap_err().contains("limits.memory: `much`"));
        assert_eq!(limits(&Container::default()), Ok(Limits::default()));
    }

    #[test]
    fn non_root_is_verified_from_the_pod_or_the_image() {
        assert!(verify_non_root(Some(0), Some("999")).is_err());
        assert!(verify_non_root(Some(999), None).is_ok());
        assert!(verify_non_root(None, Some("999:999")).is_ok());
        assert!(verify_non_root(None, None).unwrap_err().contains("will run as root"));
        assert!(verify_non_root(None, Some("postgres")).unwrap_err().contains("non-numeric"));
    }
}
