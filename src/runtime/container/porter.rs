//! The harness's side of the drill's porter ([`crate::runtime::porter`]).

use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use futures::FutureExt as _;
use testcontainers::bollard::models::{
    Mount as EngineMount, MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig as Driver,
};

use super::engine::Engine;
use super::exec::{self, Ends};
use crate::runtime::binding::binding;
use crate::runtime::porter::attendant::{Attendant, Program, unexpected};
use crate::runtime::porter::{Answer, Ask, CERTIFICATES, DISK, HELPER, MEMORY, Place, RESOLV_CONF, hosts_of};
use crate::runtime::{ByteStream, ContainerSpec, ExecSession, ExecSpec, PodId, RuntimeError, failed};

/// What the engine calls the porter's pod.
pub(super) const NAME: &str = "porter";
/// Its program, where redrill's own image has it.
const PROGRAM: &str = "redrill";

/// The porter of a drill. Dropping it ends the porter, and with it every connection that it carries.
pub(super) struct Porter {
    attendant: Attendant,
    address: IpAddr,
    volumes: Volumes,
}

/// The two volumes of a drill, and how parts of them are mounted.
#[derive(Clone)]
pub(super) struct Volumes {
    pub disk: Volume,
    pub memory: Volume,
    /// Whether the engine mounts a part of a volume by its name; else by its path on the engine's host.
    pub by_name: bool,
}

#[derive(Clone)]
pub(super) struct Volume {
    pub name: String,
    /// On the engine's host.
    pub path: String,
}

impl Volumes {
    /// Both as a whole, for the porter.
    fn whole(&self) -> Vec<EngineMount> {
        let mount = |(volume, target): (&Volume, &str)| EngineMount {
            typ: Some(MountType::VOLUME),
            source: Some(volume.name.clone()),
            target: Some(target.to_owned()),
            volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
            ..EngineMount::default()
        };
        [(&self.disk, DISK), (&self.memory, MEMORY)].map(mount).to_vec()
    }

    /// One file or directory, for a container.
    fn mount(&self, place: &Place, target: &Path, read_only: bool) -> EngineMount {
        let volume = if place.in_memory { &self.memory } else { &self.disk };
        let path = place.path.to_string_lossy().into_owned();
        let (typ, source, volume_options) = match self.by_name {
            false => (MountType::BIND, format!("{}/{path}", volume.path), None),
            true => {
                let subpath = Some(path);
                let options = MountVolumeOptions { no_copy: Some(true), subpath, ..MountVolumeOptions::default() };
                (MountType::VOLUME, volume.name.clone(), Some(options))
            }
        };
        EngineMount {
            typ: Some(typ),
            source: Some(source),
            target: Some(target.to_string_lossy().into_owned()),
            read_only: Some(read_only),
            volume_options,
            ..EngineMount::default()
        }
    }
}

/// A volume of the engine that is in memory, open to nobody by its root.
pub(super) fn in_memory() -> Driver {
    let options = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "mode=0700,nosuid,nodev")];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    Driver { name: Some("local".to_owned()), options: Some(options.into()) }
}

impl Porter {
    /// Starts it in a container of redrill's own image.
    pub async fn start(engine: &Engine, ends: &Ends, image: &str, ca: Option<&str>) -> Result<Self, RuntimeError> {
        let volumes = engine.create_volumes().await?;
        let pod = PodId(NAME.to_owned());
        let address = engine.start_pod(&pod, NAME, image, volumes.whole()).await?;
        let exec = ExecSpec { argv: vec![PROGRAM.to_owned(), HELPER.to_owned()], stdin: true, tty: None };
        let session = exec::start(engine, ends, &engine.pod(&pod), &exec).await?;
        let ExecSession { stdin, stdout, stderr, exit, .. } = session;
        let stdin = stdin.ok_or_else(|| failed("start the drill's porter", "the engine gave it no input"))?;
        let attendant = Attendant::of(Program { stdin, stdout, stderr, held: async move { drop(exit.await) }.boxed() });
        let porter = Self { attendant, address, volumes };
        porter.done(Ask::Furnish { trusted_ca: ca.map(str::to_owned) }).await?;
        Ok(porter)
    }

    /// Its address in the drill's network.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Brings whoever connects to this port of its address to a listener of the harness.
    pub async fn listen(&self, port: u16, to: SocketAddr) -> Result<(), RuntimeError> {
        self.attendant.listen(port, to).await
    }

    /// A connection from inside the drill's network.
    pub async fn connect(&self, address: SocketAddr) -> Result<ByteStream, RuntimeError> {
        self.attendant.connect(address).await
    }

    /// Names of the directories of all volumes.
    pub async fn volumes(&self) -> Result<Vec<String>, RuntimeError> {
        match self.attendant.ask(&Ask::Volumes).await?.0 {
            Answer::Names(names) => Ok(names),
            answer => Err(unexpected(answer)),
        }
    }

    /// Makes what a container mounts, and says how: in memory what Secrets and ConfigMaps hold.
    pub async fn prepare(&self, engine: &Engine, spec: &ContainerSpec) -> Result<Vec<EngineMount>, RuntimeError> {
        let bindings = spec.mounts.iter().map(binding).collect();
        let ask = Ask::Prepare { container: engine.container(&spec.id), bindings, fs_group: spec.fs_group };
        let places = match self.attendant.ask(&ask).await?.0 {
            Answer::Prepared(places) => places,
            answer => return Err(unexpected(answer)),
        };
        let mut mounts = self.shown_to_all(engine, &spec.id.pod);
        // What the pod says of a target counts.
        mounts.retain(|shown| !spec.mounts.iter().any(|mount| shown.target.as_deref() == mount.target.to_str()));
        mounts.extend(
            places
                .iter()
                .zip(&spec.mounts)
                .map(|(place, mount)| self.volumes.mount(place, &mount.target, mount.read_only || place.in_memory)),
        );
        Ok(mounts)
    }

    /// Names that resolve, no server to ask for others, and authorities to trust.
    fn shown_to_all(&self, engine: &Engine, pod: &PodId) -> Vec<EngineMount> {
        let hosts = Place::on_disk(hosts_of(&engine.pod(pod)));
        let mount = |place: &Place, target: &str| self.volumes.mount(place, Path::new(target), true);
        vec![
            self.volumes.mount(&hosts, Path::new("/etc/hosts"), false),
            mount(&Place::on_disk(RESOLV_CONF), "/etc/resolv.conf"),
            mount(&Place::on_disk(CERTIFICATES), super::launch::CERTIFICATES),
        ]
    }

    /// Asks for something that has no answer but that it is done.
    pub async fn done(&self, ask: Ask) -> Result<(), RuntimeError> {
        self.attendant.done(ask).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_a_volume_is_mounted_by_path_or_by_name() {
        let volume = |name: &str| Volume { name: name.to_owned(), path: format!("/engine/{name}/_data") };
        let mut volumes = Volumes { disk: volume("d"), memory: volume("m"), by_name: false };
        let place = Place { in_memory: true, path: "c/0/key".into() };
        let mount = volumes.mount(&place, Path::new("/key"), true);
        assert_eq!((mount.typ, mount.source.as_deref()), (Some(MountType::BIND), Some("/engine/m/_data/c/0/key")));
        assert_eq!((mount.target.as_deref(), mount.read_only), (Some("/key"), Some(true)));
        volumes.by_name = true;
        let mount = volumes.mount(&Place::on_disk("volumes/x"), Path::new("/x"), false);
        let options = mount.volume_options.unwrap();
        assert_eq!((mount.typ, mount.source.as_deref()), (Some(MountType::VOLUME), Some("d")));
        assert_eq!((options.subpath.as_deref(), options.no_copy), (Some("volumes/x"), Some(true)));
    }
}
