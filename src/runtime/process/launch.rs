//! A container in the words of the sandbox.

use std::path::PathBuf;

use base64::Engine as _;
use zeroize::Zeroizing;

use super::{Container, name};
use crate::redact::Secret;
use crate::runtime::{Mount, MountSource, VolumeId};
use crate::sandbox::program::Account;
use crate::sandbox::protocol::{self, Binding, Launch, Source, Token};

impl Container {
    pub(super) fn launch(&self, token: Token) -> Launch {
        let spec = &self.spec;
        let image = spec.image.env.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone())));
        Launch {
            token,
            name: name(&spec.id),
            pod: spec.id.pod.0.clone(),
            argv: spec.argv.clone(),
            env: image.chain(spec.env.iter().cloned()).collect(),
            account: Account {
                image_user: spec.image.user.clone(),
                run_as_user: spec.run_as_user,
                run_as_group: spec.run_as_group,
                fs_group: spec.fs_group,
            },
            working_dir: spec
                .working_dir
                .clone()
                .or_else(|| spec.image.working_dir.clone())
                .unwrap_or_else(|| PathBuf::from("/")),
            files: self.files.clone(),
            mounts: spec.mounts.iter().map(binding).collect(),
        }
    }
}

fn binding(mount: &Mount) -> Binding {
    let source = match &mount.source {
        MountSource::Volume(volume) => Source::Volume { directory: directory_name(volume) },
        MountSource::Files(files) => Source::Files(
            files
                .iter()
                .map(|file| protocol::File {
                    path: file.path.clone(),
                    mode: file.mode,
                    content: Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(&file.content)),
                })
                .collect(),
        ),
    };
    Binding { source, sub_path: mount.sub_path.clone(), target: mount.target.clone(), read_only: mount.read_only }
}

/// A volume's directory: its id with `/` and whatever else a name may not have escaped.
pub(super) fn directory_name(volume: &VolumeId) -> String {
    let mut directory = String::new();
    for byte in volume.0.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => directory.push(char::from(byte)),
            b'.' if !directory.is_empty() => directory.push('.'),
            _ => directory.push_str(&format!("%{byte:02x}")),
        }
    }
    // A file name has at most 255 bytes.
    if directory.len() > 200 { blake3::hash(volume.0.as_bytes()).to_hex().to_string() } else { directory }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_of_different_ids_have_different_directories_inside_their_parent() {
        let directory = |id: &str| directory_name(&VolumeId(id.to_owned()));
        assert_eq!(directory("main/taiga/media-data"), "main%2ftaiga%2fmedia-data");
        assert_ne!(directory("a/b"), directory("a%2fb"));
        assert!(!directory("..").starts_with('.'));
        assert!(directory(&"x/".repeat(200)).len() < 255);
    }
}
