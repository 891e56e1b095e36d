//! What the porter keeps in the two volumes: claims and hosts files on the disk, the files of Secrets and ConfigMaps in memory.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::{Answer, Ask, CERTIFICATES, DISK, MEMORY, Place, RESOLV_CONF, hosts_of};
use crate::sandbox::fault::{Doing as _, Fault};
use crate::sandbox::mounts::make_directory;
use crate::sandbox::protocol::{Binding, Source};
use crate::sandbox::volume::{give, open_sub_path, write_files};

const VOLUMES: &str = "volumes";

/// The two volumes, wherever they are mounted.
pub(super) struct Rooms {
    disk: PathBuf,
    memory: PathBuf,
}

impl Default for Rooms {
    fn default() -> Self {
        Self { disk: DISK.into(), memory: MEMORY.into() }
    }
}

impl Rooms {
    /// Does what is asked of the volumes; nothing for what is not.
    pub fn answer(&self, ask: Ask) -> Answer {
        let answer = match ask {
            Ask::Furnish { trusted_ca } => self.furnish(trusted_ca.as_deref()),
            Ask::MakeVolume { directory } => make_directory(&self.volume(&directory), 0o777).map(|()| Answer::Done),
            Ask::RemoveVolume { directory } => remove(&self.volume(&directory)),
            Ask::Volumes => self.volumes(),
            Ask::WriteHosts { pod, content } => {
                rewrite(&self.disk.join(hosts_of(&pod)), &content).map(|()| Answer::Done)
            }
            Ask::RemovePod { pod } => remove(&self.disk.join(hosts_of(&pod))),
            Ask::Prepare { container, bindings, fs_group } => self.prepare(&container, &bindings, fs_group),
            Ask::Forget { container } => remove(&self.memory.join(container)),
            Ask::Ping | Ask::Connect(_) | Ask::Listen(_) | Ask::ListenForNames(_) => Ok(Answer::Done),
        };
        answer.unwrap_or_else(|Fault { doing, reason, .. }| Answer::Failed(format!("{doing}: {reason}")))
    }

    fn volume(&self, directory: &str) -> PathBuf {
        self.disk.join(VOLUMES).join(directory)
    }

    fn furnish(&self, trusted_ca: Option<&str>) -> Result<Answer, Fault> {
        for root in [&self.disk, &self.memory] {
            // Mounted one by one into containers, they are nobody else's business on the engine's host.
            fs::set_permissions(root, fs::Permissions::from_mode(0o700)).doing("close the volumes to others")?;
        }
        for directory in [VOLUMES, "pods", "shared"] {
            make_directory(&self.disk.join(directory), 0o755)?;
        }
        let mut certificates = fs::read_to_string("/etc/ssl/certs/ca-certificates.crt").unwrap_or_default();
        if let Some(certificate) = trusted_ca {
            certificates.push_str(certificate.trim_end());
            certificates.push('\n');
        }
        rewrite(&self.disk.join(CERTIFICATES), &certificates)?;
        rewrite(&self.disk.join(RESOLV_CONF), "")?;
        Ok(Answer::Done)
    }

    fn volumes(&self) -> Result<Answer, Fault> {
        let entries = fs::read_dir(self.disk.join(VOLUMES)).doing("list the volumes")?;
        let mut names = Vec::new();
        for entry in entries {
            names.push(entry.doing("list the volumes")?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(Answer::Names(names))
    }

    fn prepare(&self, container: &str, bindings: &[Binding], fs_group: Option<u32>) -> Result<Answer, Fault> {
        let places: Result<Vec<Place>, Fault> = bindings
            .iter()
            .enumerate()
            .map(|(number, binding)| self.place(container, number, binding, fs_group))
            .collect();
        Ok(Answer::Prepared(places?))
    }

    fn place(&self, container: &str, number: usize, binding: &Binding, group: Option<u32>) -> Result<Place, Fault> {
        let (root, in_memory) = match &binding.source {
            Source::Volume { directory } => (self.volume(directory), false),
            Source::Files(files) => {
                let root = self.memory.join(container).join(number.to_string());
                let doing = || format!("make room for the files at {}", binding.target.display());
                fs::DirBuilder::new().recursive(true).mode(0o755).create(&root).doing(doing())?;
                write_files(&root, files, group)?;
                (root, true)
            }
        };
        let doing = || format!("open what is mounted on {}", binding.target.display());
        let opened = File::open(&root).doing(doing())?;
        let path = match &binding.sub_path {
            None => root,
            // Resolved here, where no link leads out of the volume; the engine would follow one anywhere on its host.
            Some(path) => path_of(&open_sub_path(&opened, path).doing(doing())?).doing(doing())?,
        };
        if let Some(group) = group.filter(|_| !in_memory && !binding.read_only) {
            give(&path, group)?;
        }
        let room = if in_memory { &self.memory } else { &self.disk };
        let path = path.strip_prefix(room).map_err(|_| Fault::new(doing(), "it is not in the volume"))?;
        Ok(Place { in_memory, path: path.to_owned() })
    }
}

fn path_of(opened: &impl AsFd) -> std::io::Result<PathBuf> {
    fs::read_link(format!("/proc/self/fd/{}", opened.as_fd().as_raw_fd()))
}

/// Replaces what a file holds, in place: containers have this very file mounted.
fn rewrite(path: &Path, content: &str) -> Result<(), Fault> {
    let doing = || format!("write {}", path.display());
    let mut options = OpenOptions::new();
    // Cut to its length after it is written, so that no reader finds it empty.
    let mut file = options.write(true).create(true).truncate(false).open(path).doing(doing())?;
    file.write_all(content.as_bytes()).doing(doing())?;
    file.set_len(content.len() as u64).doing(doing())?;
    // Whatever the umask says, every program of a pod reads it.
    file.set_permissions(fs::Permissions::from_mode(0o644)).doing(doing())
}

fn remove(path: &Path) -> Result<Answer, Fault> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Answer::Done),
        removed => removed.map(|()| Answer::Done).doing(format!("remove {}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, symlink};

    use base64::Engine as _;

    use super::*;
    use crate::sandbox::protocol;

    fn rooms() -> (tempfile::TempDir, Rooms) {
        let directory = tempfile::tempdir().unwrap();
        let room = |name: &str| {
            fs::create_dir(directory.path().join(name)).unwrap();
            directory.path().join(name)
        };
        let rooms = Rooms { disk: room("disk"), memory: room("memory") };
        assert!(matches!(rooms.answer(Ask::Furnish { trusted_ca: Some("ours".to_owned()) }), Answer::Done));
        assert!(matches!(rooms.answer(Ask::MakeVolume { directory: "claim".to_owned() }), Answer::Done));
        (directory, rooms)
    }

    fn prepare(rooms: &Rooms, source: Source, sub_path: Option<&str>, fs_group: Option<u32>) -> Result<Place, String> {
        let sub_path = sub_path.map(PathBuf::from);
        let binding = Binding { source, sub_path, target: "/data".into(), read_only: false };
        match rooms.answer(Ask::Prepare { container: "c".to_owned(), bindings: vec![binding], fs_group }) {
            Answer::Prepared(places) => Ok(places.into_iter().next().unwrap()),
            Answer::Failed(reason) => Err(reason),
            Answer::Done | Answer::Names(_) => panic!("no place"),
        }
    }

    fn claim() -> Source {
        Source::Volume { directory: "claim".to_owned() }
    }

    #[test]
    fn a_sub_path_is_made_and_a_link_in_it_is_resolved_but_leads_nowhere_else() {
        let (_directory, rooms) = rooms();
        let made = prepare(&rooms, claim(), Some("a/b"), None).unwrap();
        assert_eq!(made, Place::on_disk("volumes/claim/a/b"));
        assert_eq!(fs::metadata(rooms.disk.join(&made.path)).unwrap().mode() & 0o7777, 0o777);
        symlink("a", rooms.volume("claim").join("current")).unwrap();
        assert_eq!(prepare(&rooms, claim(), Some("current/b"), None).unwrap(), made);
        for (name, target) in [("up", "../.."), ("absolute", "/etc")] {
            symlink(target, rooms.volume("claim").join(name)).unwrap();
            assert!(prepare(&rooms, claim(), Some(name), None).unwrap_err().contains("/data"));
        }
    }

    #[test]
    fn files_have_their_modes_in_memory_and_are_gone_when_they_are_forgotten() {
        let (_directory, rooms) = rooms();
        let file = |path: &str| protocol::File {
            path: path.into(),
            mode: 0o400,
            content: base64::engine::general_purpose::STANDARD.encode("value").into(),
        };
        let files = || Source::Files(vec![file("key"), file("below/key")]);
        let place = prepare(&rooms, files(), None, None).unwrap();
        assert_eq!(place, Place { in_memory: true, path: "c/0".into() });
        let key = rooms.memory.join("c/0/below/key");
        assert_eq!(fs::read_to_string(&key).unwrap(), "value");
        assert_eq!(fs::metadata(&key).unwrap().mode() & 0o7777, 0o400);
        assert_eq!(fs::metadata(&rooms.memory).unwrap().mode() & 0o7777, 0o700);
        assert_eq!(prepare(&rooms, files(), Some("key"), None).unwrap().path, Path::new("c/0/key"));
        assert!(matches!(rooms.answer(Ask::Forget { container: "c".to_owned() }), Answer::Done));
        assert!(!rooms.memory.join("c").exists());
        assert!(prepare(&rooms, Source::Files(vec![file("../out")]), None, None).is_err());
    }

    #[test]
    fn a_hosts_file_keeps_its_inode_when_it_changes() {
        let (_directory, rooms) = rooms();
        let write = |content: &str| {
            let answer = rooms.answer(Ask::WriteHosts { pod: "p".to_owned(), content: content.to_owned() });
            assert!(matches!(answer, Answer::Done));
            let path = rooms.disk.join(hosts_of("p"));
            (fs::metadata(&path).unwrap().ino(), fs::read_to_string(&path).unwrap())
        };
        let (inode, _) = write("10.0.0.2 db\n10.0.0.3 web\n");
        assert_eq!(write("10.0.0.2 db\n"), (inode, "10.0.0.2 db\n".to_owned()));
        assert!(fs::read_to_string(rooms.disk.join(CERTIFICATES)).unwrap().ends_with("ours\n"));
    }
}
