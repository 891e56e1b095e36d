//! Which engine of this machine drills run on: found as docker's own command finds it, and podman's after that.
//!
//! testcontainers finds one by DOCKER_HOST and at some sockets, and by nothing else. So that all of redrill, and what it starts,
//! talks to the same engine, a program that has found another one starts itself anew with DOCKER_HOST set ([`settle`]).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::redact::Secret;
use crate::runtime::{RuntimeError, failed};

const HOST: &str = "DOCKER_HOST";
/// Keeps, behind a DOCKER_HOST that redrill has set for itself, what had named it.
const NAMED_BY: &str = "REDRILL_ENGINE_NAMED_BY";
const SOCKET: &str = "no more than its socket";
/// What a person does who has none, or another one than wanted.
pub(super) const WAY_OUT: &str = "name one of this machine by DOCKER_HOST or `docker context use`";

/// An engine by its address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// As DOCKER_HOST has it.
    pub host: String,
    /// `DOCKER_HOST`, `the docker context NAME`, or that nothing named it.
    named_by: String,
}

impl Choice {
    fn at(path: &Path) -> Self {
        Self { host: format!("unix://{}", path.display()), named_by: SOCKET.to_owned() }
    }

    /// Whether somebody asked for this very engine.
    fn is_named(&self) -> bool {
        self.named_by != SOCKET
    }

    /// Whether the address is one of this machine, the only ones that were tried.
    fn is_here(&self) -> bool {
        match self.host.split_once("://") {
            Some(("unix" | "npipe", _)) => true,
            Some(("tcp" | "http" | "https", _)) => {
                let uri = self.host.parse::<http::Uri>().ok();
                uri.as_ref().and_then(http::Uri::host).is_some_and(is_loopback)
            }
            _ => false,
        }
    }

    /// Errs with the reason why it is not used.
    pub(super) fn must_be_usable(&self) -> Result<(), RuntimeError> {
        let reason = match self.host.split_once("://") {
            None => "that is no address, which begins with unix:// or tcp://",
            Some(_) if !self.is_here() => {
                "it is on another machine, where drills have not been tried, and therefore refused"
            }
            Some((scheme, _)) if lacks_certificates(scheme) => {
                "TLS needs the folder of certificates in DOCKER_CERT_PATH"
            }
            Some(_) => return Ok(()),
        };
        Err(failed(format!("use {self}"), format!("{reason}; {WAY_OUT}")))
    }

    /// Errs unless testcontainers finds the same.
    pub(super) fn must_be_settled(&self) -> Result<(), RuntimeError> {
        if variable(HOST).as_ref() == Some(&self.host) {
            return Ok(());
        }
        Err(failed(
            format!("use {self}"),
            format!("this program could not be started anew with it; set DOCKER_HOST={}", self.host),
        ))
    }
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the container engine {}", self.host)?;
        if self.is_named() { write!(f, " that {} names", self.named_by) } else { Ok(()) }
    }
}

/// testcontainers panics there.
fn lacks_certificates(scheme: &str) -> bool {
    let is_verified = scheme == "https" || (scheme != "unix" && variable("DOCKER_TLS_VERIFY").as_deref() == Some("1"));
    is_verified && variable("DOCKER_CERT_PATH").is_none()
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The engine to use; `None` where nothing names one and no usual socket is there.
///
/// Errs where a docker context is named that cannot be read.
pub(super) fn choose() -> Result<Option<Choice>, RuntimeError> {
    Surroundings { variable: &variable, is_there: &|path| path.exists() }.choose()
}

/// Says where an engine was looked for in vain.
pub(super) fn none_found() -> RuntimeError {
    let sockets: Vec<_> = Surroundings { variable: &variable, is_there: &|_| true }.sockets().collect();
    let sockets: Vec<_> = sockets.iter().map(|path| path.display().to_string()).collect();
    let reason =
        format!("neither DOCKER_HOST nor a docker context names one, and there is none of {}", sockets.join(", "));
    failed("find a container engine", format!("{reason}; start one (Debian: docker.io), or {WAY_OUT}"))
}

/// Whether somebody asked for an engine that redrill may have used: then one that does not answer is worth a word.
pub fn is_named() -> bool {
    match choose() {
        Ok(Some(choice)) => choice.is_named() && choice.is_here(),
        Ok(None) => false,
        Err(_) => true,
    }
}

/// Sees to it that DOCKER_HOST names the engine that is used, before any thread exists: where it does not, the program starts
/// anew with it and this never returns. What cannot be settled is told by whoever connects.
pub fn settle() {
    let Ok(Some(choice)) = choose() else { return };
    if choice.must_be_usable().is_err() || choice.must_be_settled().is_ok() {
        return;
    }
    let env = BTreeMap::from([(HOST, choice.host), (NAMED_BY, choice.named_by)]);
    let env = env.into_iter().map(|(name, value)| (name.to_owned(), Secret::new(value))).collect();
    let error = crate::command::anew(&env);
    tracing::warn!(%error, "redrill could not start itself anew");
}

/// What decides which engine it is.
struct Surroundings<'a> {
    variable: &'a dyn Fn(&str) -> Option<String>,
    is_there: &'a dyn Fn(&Path) -> bool,
}

impl Surroundings<'_> {
    /// In the order of docker's own command: DOCKER_HOST, the current context, the usual sockets.
    fn choose(&self) -> Result<Option<Choice>, RuntimeError> {
        if let Some(host) = (self.variable)(HOST) {
            let named_by = (self.variable)(NAMED_BY).unwrap_or_else(|| HOST.to_owned());
            return Ok(Some(Choice { host, named_by }));
        }
        if let Some(context) = self.context()? {
            return Ok(Some(context));
        }
        Ok(self.sockets().find(|path| (self.is_there)(path)).map(|path| Choice::at(&path)))
    }

    fn home(&self) -> Option<PathBuf> {
        (self.variable)("HOME").map(PathBuf::from)
    }

    /// The current docker context, unless that is the default one, which has no address of its own.
    fn context(&self) -> Result<Option<Choice>, RuntimeError> {
        let folder = (self.variable)("DOCKER_CONFIG").map(PathBuf::from);
        let Some(folder) = folder.or_else(|| Some(self.home()?.join(".docker"))) else { return Ok(None) };
        let name = match (self.variable)("DOCKER_CONTEXT") {
            Some(name) => Some(name),
            None => current_context(&folder.join("config.json"))?,
        };
        let Some(name) = name.filter(|name| name != "default") else { return Ok(None) };
        // Its folder is called by a hash of its name.
        let hash = hex::encode(Sha256::digest(name.as_bytes()));
        let file = folder.join("contexts/meta").join(hash).join("meta.json");
        let doing = || format!("find the engine of the docker context `{name}` in {}", file.display());
        let text = std::fs::read_to_string(&file);
        let text =
            text.map_err(|error| failed(doing(), format!("{error}; choose another one with `docker context use`")))?;
        let meta: Value = serde_json::from_str(&text).map_err(|error| failed(doing(), error))?;
        match meta["Endpoints"]["docker"]["Host"].as_str().filter(|host| !host.is_empty()) {
            Some(host) => Ok(Some(Choice { host: host.to_owned(), named_by: format!("the docker context `{name}`") })),
            None => {
                Err(failed(doing(), "it has no Endpoints.docker.Host; choose another one with `docker context use`"))
            }
        }
    }

    /// Where engines listen as they come: docker's, also of an ordinary user and of Docker Desktop, then podman's.
    fn sockets(&self) -> impl Iterator<Item = PathBuf> {
        let of_session = (self.variable)("XDG_RUNTIME_DIR").map(PathBuf::from);
        let below = |folder: &Option<PathBuf>, path: &str| Some(folder.as_ref()?.join(path));
        let sockets = [
            Some(PathBuf::from("/var/run/docker.sock")),
            below(&of_session, "docker.sock"),
            below(&of_session, ".docker/run/docker.sock"),
            below(&self.home(), ".docker/run/docker.sock"),
            below(&self.home(), ".docker/desktop/docker.sock"),
            below(&of_session, "podman/podman.sock"),
            Some(PathBuf::from("/run/podman/podman.sock")),
        ];
        sockets.into_iter().flatten()
    }
}

/// `None` where there is no such file, or it names no context. What else is in it are passwords of registries.
fn current_context(file: &Path) -> Result<Option<String>, RuntimeError> {
    let doing = || format!("read {}", file.display());
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.map_err(|error| failed(doing(), error))?,
    };
    let position = |error: serde_json::Error| format!("no JSON at line {}, column {}", error.line(), error.column());
    let config: Value = serde_json::from_str(&text).map_err(|error| failed(doing(), position(error)))?;
    Ok(config["currentContext"].as_str().filter(|name| !name.is_empty()).map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is chosen with these variables where these sockets are.
    fn chosen(variables: &[(&str, &str)], sockets: &[&str]) -> Result<Option<Choice>, RuntimeError> {
        let variable = |name: &str| Some(variables.iter().find(|(known, _)| *known == name)?.1.to_owned());
        let is_there = |path: &Path| sockets.iter().any(|socket| Path::new(socket) == path);
        Surroundings { variable: &variable, is_there: &is_there }.choose()
    }

    fn host(variables: &[(&str, &str)], sockets: &[&str]) -> Option<String> {
        chosen(variables, sockets).unwrap().map(|choice| choice.host)
    }

    fn docker_folder(current: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), format!(r#"{{"currentContext": "{current}"}}"#)).unwrap();
        // printf colima | sha256sum
        let hash = "f24fd3749c1368328e2b149bec149cb6795619f244c5b584e844961215dadd16";
        let meta = folder.path().join("contexts/meta").join(hash);
        std::fs::create_dir_all(&meta).unwrap();
        let text = r#"{"Name": "colima", "Metadata": {}, "Endpoints": {"docker": {"Host": "unix:///c/docker.sock"}}}"#;
        std::fs::write(meta.join("meta.json"), text).unwrap();
        folder
    }

    #[test]
    fn docker_host_goes_before_the_context_and_the_context_before_sockets() {
        let folder = docker_folder("colima");
        let config = ("DOCKER_CONFIG", folder.path().to_str().unwrap());
        let sockets = ["/var/run/docker.sock"];
        assert_eq!(host(&[config, ("DOCKER_HOST", "unix:///mine")], &sockets).as_deref(), Some("unix:///mine"));
        let choice = chosen(&[config], &sockets).unwrap().unwrap();
        assert_eq!(
            choice.to_string(),
            "the container engine unix:///c/docker.sock that the docker context `colima` names"
        );
        let default = [config, ("DOCKER_CONTEXT", "default")];
        assert_eq!(host(&default, &sockets).as_deref(), Some("unix:///var/run/docker.sock"));
        let by_variable = docker_folder("");
        let by_variable = [("DOCKER_CONFIG", by_variable.path().to_str().unwrap()), ("DOCKER_CONTEXT", "colima")];
        assert_eq!(host(&by_variable, &sockets).as_deref(), Some("unix:///c/docker.sock"));
    }

    #[test]
    fn docker_s_sockets_go_before_podman_s() {
        let variables = [("HOME", "/no/such/home"), ("XDG_RUNTIME_DIR", "/r")];
        let podman = "/r/podman/podman.sock";
        assert_eq!(host(&variables, &[podman, "/r/docker.sock"]).as_deref(), Some("unix:///r/docker.sock"));
        assert_eq!(host(&variables, &[podman]).as_deref(), Some("unix:///r/podman/podman.sock"));
        assert_eq!(host(&variables, &["/run/podman/podman.sock"]).as_deref(), Some("unix:///run/podman/podman.sock"));
        assert_eq!(host(&variables, &[]), None);
    }

    #[test]
    fn a_context_that_is_not_there_is_named_and_passwords_are_not() {
        let folder = docker_folder("elsewhere");
        let config = [("DOCKER_CONFIG", folder.path().to_str().unwrap())];
        let said = chosen(&config, &["/var/run/docker.sock"]).unwrap_err().to_string();
        assert!(said.contains("`elsewhere`") && said.contains("meta.json"), "{said}");
        std::fs::write(folder.path().join("config.json"), r#"{"auths": "hunter2", }"#).unwrap();
        let said = chosen(&config, &[]).unwrap_err().to_string();
        assert!(said.contains("config.json: no JSON at line 1") && !said.contains("hunter2"), "{said}");
    }

    #[test]
    fn an_engine_elsewhere_is_refused() {
        let is_here = |host: &str| Choice { host: host.to_owned(), named_by: HOST.to_owned() }.is_here();
        for here in ["unix:///x", "tcp://127.0.0.1:2375", "tcp://localhost:2375", "http://[::1]:2375"] {
            assert!(is_here(here), "{here}");
        }
        for elsewhere in ["tcp://10.0.0.7:2375", "ssh://me@localhost", "tcp://localhost.example:1", "/x", "tcp://"] {
            assert!(!is_here(elsewhere), "{elsewhere}");
        }
    }
}
