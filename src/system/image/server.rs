//! Servers that an image takes from this machine: the real one where it has one, else what stands for it.

use std::path::PathBuf;

use crate::doctor::go_module::{self, FERRETDB, GoProgram};

/// A server that no package has. A Dockerfile copies it by its name, as if it lay in the folder.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    pub name: &'static str,
    /// The real program, as PATH has it.
    program: &'static str,
    /// The variable that names the real program where PATH has none.
    setting: &'static str,
    /// What stands for it.
    pub stand_in: &'static GoProgram,
    /// What a drill with the stand-in does not prove.
    pub unproven: &'static str,
}

/// MongoDB's.
static MONGO: Server = Server {
    name: "mongo-server",
    program: "mongod",
    setting: "REDRILL_MONGOD",
    stand_in: &FERRETDB,
    unproven: "it proves the procedure, not how mongod recovers from files that were copied one by one while it wrote",
};

/// All of them.
pub static SERVERS: [&Server; 1] = [&MONGO];

impl Server {
    /// The real one, by the setting or on PATH.
    pub fn real(&self) -> Option<PathBuf> {
        let named = std::env::var_os(self.setting).filter(|path| !path.is_empty()).map(PathBuf::from);
        named.or_else(|| {
            let path = std::env::var_os("PATH")?;
            std::env::split_paths(&path).map(|folder| folder.join(self.program)).find(|program| program.is_file())
        })
    }

    /// What an image gets: the real one, or the place of what stands for it, whether that is built already or not.
    pub fn path(&self) -> Option<PathBuf> {
        self.real().or_else(|| go_module::path(self.stand_in))
    }

    /// What reports say of the stand-in.
    pub fn why_simulated(&self) -> String {
        let Self { program, setting, stand_in, unproven, .. } = self;
        format!(
            "{} {} stands for {program}, which is neither on PATH nor named by {setting}: {unproven}",
            stand_in.name, stand_in.version
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_say_what_stands_for_what_and_what_that_does_not_prove() {
        let said = MONGO.why_simulated();
        assert!(said.starts_with("ferretdb 1.24.0 stands for mongod"), "{said}");
        assert!(said.contains("REDRILL_MONGOD") && said.contains("not how mongod recovers"), "{said}");
    }
}
