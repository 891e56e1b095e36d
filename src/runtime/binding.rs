//! Mounts in the words of whoever fills and mounts them.

use base64::Engine as _;
use zeroize::Zeroizing;

use super::{Mount, MountSource, VolumeId};
use crate::sandbox::protocol::{self, Binding, Source};

pub(super) fn binding(mount: &Mount) -> Binding {
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
