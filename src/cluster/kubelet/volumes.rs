//! Volumes of a pod: what has to be there before it starts, and what its containers mount.

use std::path::PathBuf;

use bytes::Bytes;
use k8s_openapi::api::core::v1::{
    Container, DownwardAPIVolumeFile, KeyToPath, PodSpec, ProjectedVolumeSource, Volume, VolumeProjection,
};
use serde_json::Value;

use super::environment::{Environment, Keeper, expand, pod_field};
use crate::cluster::kind::CLAIM;
use crate::cluster::reconcile::claim::volume_id;
use crate::cluster::store::{Store, is_deleting, names};
use crate::runtime::{Mount, MountSource, PodId, ProjectedFile, VolumeId};

const MODE: i32 = 0o644;

/// Where a pod's volumes come from.
pub struct Volumes<'a> {
    pub store: &'a Store,
    pub cluster: &'a str,
    pub pod: &'a Value,
    pub id: &'a PodId,
    pub spec: &'a PodSpec,
}

/// The directory of an emptyDir volume.
pub fn empty_dir(pod: &PodId, volume: &str) -> VolumeId {
    VolumeId(format!("{}/{volume}", pod.0))
}

/// The emptyDir volumes of a pod.
pub fn empty_dirs(pod: &PodId, spec: &PodSpec) -> Vec<VolumeId> {
    let volumes = spec.volumes.iter().flatten().filter(|volume| volume.empty_dir.is_some());
    volumes.map(|volume| empty_dir(pod, &volume.name)).collect()
}

impl Volumes<'_> {
    fn namespace(&self) -> String {
        names(self.pod).0
    }

    /// The first claim that a scheduler would wait for, as it says it.
    pub fn unbound_claim(&self) -> Option<String> {
        let claims = self.spec.volumes.iter().flatten().filter_map(|volume| volume.persistent_volume_claim.as_ref());
        claims.map(|claim| &claim.claim_name).find_map(|name| match self.store.get(&CLAIM, &self.namespace(), name) {
            None => Some(format!("persistentvolumeclaim \"{name}\" not found")),
            Some(claim) if is_deleting(&claim) => Some(format!("persistentvolumeclaim \"{name}\" is being deleted")),
            Some(claim) if claim["status"]["phase"] != "Bound" => {
                Some("pod has unbound immediate PersistentVolumeClaims".to_owned())
            }
            Some(_) => None,
        })
    }

    /// The first volume that cannot be set up, as the kubelet says it.
    pub fn missing(&self) -> Option<String> {
        let volumes = self.spec.volumes.iter().flatten();
        volumes.into_iter().find_map(|volume| {
            let error = self.source(volume).err()?;
            Some(format!("MountVolume.SetUp failed for volume \"{}\" : {error}", volume.name))
        })
    }

    /// The mounts of one container. `Err` says what is missing.
    pub fn mounts(&self, container: &Container, environment: &Environment) -> Result<Vec<Mount>, String> {
        let mut mounts = Vec::new();
        for mount in container.volume_mounts.iter().flatten() {
            let volume = self.spec.volumes.iter().flatten().find(|volume| volume.name == mount.name);
            let volume = volume.ok_or_else(|| format!("volumeMounts: volume \"{}\" not found", mount.name))?;
            let sub_path = match (&mount.sub_path, &mount.sub_path_expr) {
                (_, Some(text)) => Some(expand(text, environment)),
                (path, None) => path.clone(),
            };
            let sub_path = sub_path.filter(|path| !path.is_empty()).map(PathBuf::from);
            if sub_path.iter().flatten().any(|part| part == "..") {
                return Err(format!("volumeMounts: subPath of volume \"{}\" must not contain '..'", mount.name));
            }
            let claim_read_only = volume.persistent_volume_claim.as_ref().and_then(|claim| claim.read_only);
            mounts.push(Mount {
                source: self.source(volume)?,
                sub_path,
                target: PathBuf::from(&mount.mount_path),
                read_only: mount.read_only == Some(true) || claim_read_only == Some(true),
            });
        }
        Ok(mounts)
    }

    fn source(&self, volume: &Volume) -> Result<MountSource, String> {
        if volume.empty_dir.is_some() {
            return Ok(MountSource::Volume(empty_dir(self.id, &volume.name)));
        }
        if let Some(claim) = &volume.persistent_volume_claim {
            return Ok(MountSource::Volume(volume_id(self.cluster, &self.namespace(), &claim.claim_name)));
        }
        self.files(volume).map(MountSource::Files)
    }

    fn files(&self, volume: &Volume) -> Result<Vec<ProjectedFile>, String> {
        if let Some(secret) = &volume.secret {
            let name = secret.secret_name.as_deref().unwrap_or_default();
            let pick = Pick { items: secret.items.as_deref(), mode: secret.default_mode, optional: secret.optional };
            self.keys(Keeper::Secret, name, &pick)
        } else if let Some(map) = &volume.config_map {
            let pick = Pick { items: map.items.as_deref(), mode: map.default_mode, optional: map.optional };
            self.keys(Keeper::ConfigMap, &map.name, &pick)
        } else if let Some(downward) = &volume.downward_api {
            self.fields(downward.items.as_deref(), downward.default_mode)
        } else if let Some(projected) = &volume.projected {
            self.projected(projected)
        } else {
            Err("a type of volume that redrill does not provide".to_owned())
        }
    }

    fn projected(&self, projected: &ProjectedVolumeSource) -> Result<Vec<ProjectedFile>, String> {
        let sources = projected.sources.iter().flatten();
        let files: Result<Vec<_>, _> = sources.map(|source| self.projection(source, projected.default_mode)).collect();
        Ok(files?.concat())
    }

    fn projection(&self, source: &VolumeProjection, mode: Option<i32>) -> Result<Vec<ProjectedFile>, String> {
        if let Some(secret) = &source.secret {
            let pick = Pick { items: secret.items.as_deref(), mode, optional: secret.optional };
            self.keys(Keeper::Secret, &secret.name, &pick)
        } else if let Some(map) = &source.config_map {
            let pick = Pick { items: map.items.as_deref(), mode, optional: map.optional };
            self.keys(Keeper::ConfigMap, &map.name, &pick)
        } else if let Some(downward) = &source.downward_api {
            self.fields(downward.items.as_deref(), mode)
        } else {
            Err("a projection that redrill does not provide".to_owned())
        }
    }

    fn keys(&self, keeper: Keeper, name: &str, pick: &Pick<'_>) -> Result<Vec<ProjectedFile>, String> {
        let optional = pick.optional == Some(true);
        let Some(data) = keeper.data(self.store, &self.namespace(), name) else {
            return if optional { Ok(Vec::new()) } else { Err(keeper.not_found(name)) };
        };
        let Some(items) = pick.items.filter(|items| !items.is_empty()) else {
            return Ok(data.into_iter().map(|(key, content)| file(&key, pick.mode, content)).collect());
        };
        let mut files = Vec::new();
        for item in items {
            match data.get(&item.key) {
                Some(content) => files.push(file(&item.path, item.mode.or(pick.mode), content.clone())),
                None if optional => {}
                None => {
                    let kind = keeper.kind().to_lowercase();
                    return Err(format!("references non-existent {kind} key: {}", item.key));
                }
            }
        }
        Ok(files)
    }

    fn fields(&self, items: Option<&[DownwardAPIVolumeFile]>, mode: Option<i32>) -> Result<Vec<ProjectedFile>, String> {
        let one = |item: &DownwardAPIVolumeFile| {
            let field = item.field_ref.as_ref().ok_or("resourceFieldRef is not provided")?;
            let content = pod_field(self.pod, &field.field_path)?;
            Ok(file(&item.path, item.mode.or(mode), Bytes::from(content)))
        };
        items.into_iter().flatten().map(one).collect()
    }
}

/// Which keys become files, and how.
struct Pick<'a> {
    items: Option<&'a [KeyToPath]>,
    mode: Option<i32>,
    optional: Option<bool>,
}

fn file(path: &str, mode: Option<i32>, content: Bytes) -> ProjectedFile {
    let mode = u32::try_from(mode.unwrap_or(MODE)).unwrap_or(0o644);
    ProjectedFile { path: PathBuf::from(path), mode, content }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::kind::SECRET;
    use serde_json::json;

    fn mounts(secret: Option<Value>, volume: Value, mount: Value) -> Result<Vec<Mount>, String> {
        let store = Store::default();
        let metadata = json!({"name": "s", "namespace": "shop"});
        if let Some(data) = secret {
            store.create(&SECRET, json!({"metadata": metadata, "data": data})).unwrap();
        }
        let spec: PodSpec = serde_json::from_value(
            json!({"containers": [{"name": "c", "volumeMounts": [mount]}], "volumes": [volume]}),
        )
        .unwrap();
        let pod = json!({"metadata": {"name": "p", "namespace": "shop"}});
        let id = PodId("k/shop/p/1".to_owned());
        let volumes = Volumes { store: &store, cluster: "k", pod: &pod, id: &id, spec: &spec };
        volumes.mounts(&spec.containers[0], &Vec::new())
    }

    fn files(mounts: &[Mount]) -> Vec<(String, u32, Vec<u8>)> {
        let MountSource::Files(files) = &mounts[0].source else { panic!("no files") };
        files.iter().map(|file| (file.path.display().to_string(), file.mode, file.content.to_vec())).collect()
    }

    #[test]
    fn items_of_a_secret_choose_keys_paths_and_modes() {
        let items = json!([{"key": "a", "path": "dir/a", "mode": 0o400}, {"key": "b", "path": "b"}]);
        let volume = json!({"name": "v", "secret": {"secretName": "s", "items": items, "defaultMode": 0o440}});
        let data = json!({"a": "MQ==", "b": "Mg==", "c": "Mw=="});
        let mounts = mounts(Some(data), volume, json!({"name": "v", "mountPath": "/s"})).unwrap();
        assert_eq!(files(&mounts), [("dir/a".into(), 0o400, b"1".to_vec()), ("b".into(), 0o440, b"2".to_vec())]);
    }

    #[test]
    fn a_missing_secret_is_an_error_unless_optional() {
        let volume = |optional: bool| json!({"name": "v", "secret": {"secretName": "s", "optional": optional}});
        let mount = json!({"name": "v", "mountPath": "/s"});
        assert_eq!(mounts(None, volume(false), mount.clone()).err().unwrap(), "secret \"s\" not found");
        assert_eq!(files(&mounts(None, volume(true), mount).unwrap()), []);
    }

    #[test]
    fn a_projection_joins_its_sources_in_order() {
        let field = json!({"downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}});
        let volume = json!({"name": "v", "projected": {"sources": [{"secret": {"name": "s"}}, field]}});
        let mounts = mounts(Some(json!({"a": "MQ=="})), volume, json!({"name": "v", "mountPath": "/s"})).unwrap();
        assert_eq!(files(&mounts), [("a".into(), 0o644, b"1".to_vec()), ("name".into(), 0o644, b"p".to_vec())]);
    }

    #[test]
    fn a_sub_path_must_stay_inside_the_volume() {
        let volume = json!({"name": "v", "emptyDir": {}});
        let mount = json!({"name": "v", "mountPath": "/s", "subPath": "../../etc"});
        assert!(mounts(None, volume, mount).err().unwrap().contains("'..'"));
    }
}
