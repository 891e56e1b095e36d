//! The harness's side of the drill's porter ([`crate::runtime::porter`]).

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use testcontainers::bollard::models::{
    Mount as EngineMount, MountType, MountVolumeOptions, MountVolumeOptionsDriverConfig as Driver,
};
use tokio::io::{AsyncReadExt as _, BufReader, copy_bidirectional};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use yamux::Mode;

use super::engine::Engine;
use super::exec::{self, Ends};
use crate::runtime::binding::binding;
use crate::runtime::porter::tunnel::{self, Opener, Stream};
use crate::runtime::porter::{
    Answer, Ask, CERTIFICATES, Caller, DISK, HELPER, MEMORY, Place, RESOLV_CONF, hear, hosts_of, say,
};
use crate::runtime::{ByteStream, ContainerSpec, ExecSession, ExecSpec, PodId, RuntimeError, failed};

/// What the engine calls the porter's pod.
pub(super) const NAME: &str = "porter";
/// Its program, where redrill's own image has it.
const PROGRAM: &str = "redrill";

/// The porter of a drill. Dropping it ends the porter, and with it every connection that it carries.
pub(super) struct Porter {
    opener: Opener,
    address: IpAddr,
    volumes: Volumes,
    /// Where those are brought who connect to a port.
    doors: Arc<Mutex<BTreeMap<u16, SocketAddr>>>,
    /// What it said on its standard error, which is nothing unless it ends.
    complaint: Arc<Mutex<String>>,
    _tasks: JoinSet<()>,
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
        let porter = Self::attend(session, address, volumes)?;
        porter.done(Ask::Furnish { trusted_ca: ca.map(str::to_owned) }).await?;
        Ok(porter)
    }

    fn attend(session: ExecSession, address: IpAddr, volumes: Volumes) -> Result<Self, RuntimeError> {
        let ExecSession { stdin, stdout, stderr, exit, .. } = session;
        let stdin = stdin.ok_or_else(|| failed("start the drill's porter", "the engine gave it no input"))?;
        let (opener, mut callers, tunnel) = tunnel::over(tokio::io::join(stdout, stdin), Mode::Client);
        let doors: Arc<Mutex<BTreeMap<u16, SocketAddr>>> = Arc::default();
        let complaint: Arc<Mutex<String>> = Arc::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(tunnel);
        // Held until then, since who drops it kills the program.
        tasks.spawn(async move { drop(exit.await) });
        let heard = complaint.clone();
        tasks.spawn(async move {
            let mut said = String::new();
            if let Some(mut stderr) = stderr
                && stderr.read_to_string(&mut said).await.is_ok()
            {
                *heard.lock().unwrap_or_else(PoisonError::into_inner) = said;
            }
        });
        let open = doors.clone();
        tasks.spawn(async move {
            while let Some(caller) = callers.recv().await {
                tokio::spawn(bring_in(caller, open.clone()));
            }
        });
        Ok(Self { opener, address, volumes, doors, complaint, _tasks: tasks })
    }

    /// Its address in the drill's network.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// Brings whoever connects to this port of its address to a listener of the harness.
    pub async fn listen(&self, port: u16, to: SocketAddr) -> Result<(), RuntimeError> {
        self.doors.lock().unwrap_or_else(PoisonError::into_inner).insert(port, to);
        self.done(Ask::Listen(port)).await
    }

    /// A connection from inside the drill's network.
    pub async fn connect(&self, address: SocketAddr) -> Result<ByteStream, RuntimeError> {
        let (answer, conversation) = self.ask(&Ask::Connect(address)).await?;
        match answer {
            Answer::Failed(reason) => Err(failed(format!("connect to {address}"), reason)),
            Answer::Done | Answer::Names(_) | Answer::Prepared(_) => Ok(Box::new(conversation)),
        }
    }

    /// Names of the directories of all volumes.
    pub async fn volumes(&self) -> Result<Vec<String>, RuntimeError> {
        match self.ask(&Ask::Volumes).await?.0 {
            Answer::Names(names) => Ok(names),
            answer => Err(unexpected(answer)),
        }
    }

    /// Makes what a container mounts, and says how: in memory what Secrets and ConfigMaps hold.
    pub async fn prepare(&self, engine: &Engine, spec: &ContainerSpec) -> Result<Vec<EngineMount>, RuntimeError> {
        let bindings = spec.mounts.iter().map(binding).collect();
        let ask = Ask::Prepare { container: engine.container(&spec.id), bindings, fs_group: spec.fs_group };
        let places = match self.ask(&ask).await?.0 {
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
        match self.ask(&ask).await?.0 {
            Answer::Done => Ok(()),
            answer => Err(unexpected(answer)),
        }
    }

    async fn ask(&self, ask: &Ask) -> Result<(Answer, BufReader<Stream>), RuntimeError> {
        let asked = async {
            let mut conversation = BufReader::new(self.opener.open().await?);
            say(&mut conversation, ask).await?;
            let answer = hear(&mut conversation).await?;
            Ok::<_, std::io::Error>((answer, conversation))
        };
        asked.await.map_err(|error| {
            let complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner).trim().to_owned();
            failed("ask the drill's porter", format!("{error} {complaint}").trim_end())
        })
    }
}

fn unexpected(answer: Answer) -> RuntimeError {
    let reason = match answer {
        Answer::Failed(reason) => reason,
        Answer::Done | Answer::Names(_) | Answer::Prepared(_) => "it gave another answer".to_owned(),
    };
    failed("have the drill's porter work", reason)
}

/// Who calls at a port that nobody listens behind any more is turned away by the end of the conversation.
async fn bring_in(caller: Stream, doors: Arc<Mutex<BTreeMap<u16, SocketAddr>>>) {
    let mut caller = BufReader::new(caller);
    let Ok(Caller { port }) = hear(&mut caller).await else { return };
    let door = doors.lock().unwrap_or_else(PoisonError::into_inner).get(&port).copied();
    let Some(door) = door else { return };
    if let Ok(mut stream) = TcpStream::connect(door).await {
        let _ = copy_bidirectional(&mut caller, &mut stream).await;
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
