//! From a container of a pod spec to what the runtime makes: everything looked up at the moment of a start.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Container;

use super::environment::{self, expand};
use super::pod::PodWorker;
use super::volumes::Volumes;
use crate::runtime::{ContainerSpec, Image};

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
    })
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
    fn non_root_is_verified_from_the_pod_or_the_image() {
        assert!(verify_non_root(Some(0), Some("999")).is_err());
        assert!(verify_non_root(Some(999), None).is_ok());
        assert!(verify_non_root(None, Some("999:999")).is_ok());
        assert!(verify_non_root(None, None).unwrap_err().contains("will run as root"));
        assert!(verify_non_root(None, Some("postgres")).unwrap_err().contains("non-numeric"));
    }
}
