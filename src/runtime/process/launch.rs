//! A container in the words of the sandbox.

use std::path::PathBuf;

use super::{Container, name};
use crate::redact::Secret;
use crate::runtime::binding::binding;
use crate::sandbox::program::Account;
use crate::sandbox::protocol::{Launch, Token};

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
