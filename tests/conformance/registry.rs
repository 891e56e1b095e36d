//! A registry on loopback that asks for a name and a password, for images that an engine has to pull.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testcontainers::bollard::auth::DockerCredentials;

const DEADLINE: Duration = Duration::from_secs(30);
pub const USER: &str = "library";
pub const PASSWORD: &str = "throwaway-registry-8Kq";
/// Of the password, as bcrypt has it.
const HASH: &str = "$2b$04$OD7kMeGYHeRsxPY.PDVE5eLpX/bKiZwRn5f2EedOv5Mo3u4JG64ta";

/// Ends when it is dropped.
pub struct Registry {
    process: Child,
    /// Its name in references: address and port.
    pub host: String,
    folder: TempDir,
}

impl Registry {
    /// `None` where the machine has no `docker-registry` and need not have one.
    pub fn start() -> Option<Self> {
        let Some(program) = on_path("docker-registry") else {
            let required = std::env::var("REDRILL_REQUIRE_DOCKER").is_ok_and(|value| value == "1");
            assert!(!required, "REDRILL_REQUIRE_DOCKER=1, but there is no docker-registry in PATH");
            eprintln!("skipped: there is no docker-registry in PATH (apt-get install docker-registry)");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let configuration = serde_json::json!({
            "version": "0.1",
            "storage": { "filesystem": { "rootdirectory": at("data") } },
            "http": { "addr": "127.0.0.1:0" },
            "auth": { "htpasswd": { "realm": "library", "path": at("passwords") } },
        });
        std::fs::write(at("passwords"), format!("{USER}:{HASH}\n")).unwrap();
        // What is JSON is YAML.
        std::fs::write(at("config.yml"), configuration.to_string()).unwrap();
        let log = std::fs::File::create(at("log")).unwrap();
        let mut command = Command::new(program);
        command.arg("serve").arg(at("config.yml")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let mut registry = Self { process: command.spawn().unwrap(), host: String::new(), folder };
        registry.host = registry.address();
        Some(registry)
    }

    fn address(&mut self) -> String {
        let since = Instant::now();
        loop {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap();
            let said = log.split("listening on ").nth(1).and_then(|rest| rest.split(['"', '\n', ' ']).next());
            // A line that is still being written ends nowhere.
            if let Some(address) = said.filter(|_| log.ends_with('\n')) {
                return address.to_owned();
            }
            let ended = self.process.try_wait().unwrap();
            assert!(ended.is_none() && since.elapsed() < DEADLINE, "the registry does not listen ({ended:?}):\n{log}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn credentials(&self) -> DockerCredentials {
        DockerCredentials {
            username: Some(USER.to_owned()),
            password: Some(PASSWORD.to_owned()),
            serveraddress: Some(self.host.clone()),
            ..DockerCredentials::default()
        }
    }

    /// A folder as docker keeps its configuration, of somebody who has logged in.
    pub fn logged_in(&self) -> PathBuf {
        self.configuration("logged-in", self.authorized())
    }

    /// A Secret with which pods may pull, as a document that follows others.
    pub fn pull_secret(&self, namespace: &str, name: &str) -> String {
        let secret = serde_json::json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": name, "namespace": namespace },
            "type": "kubernetes.io/dockerconfigjson", "stringData": { ".dockerconfigjson": self.authorized().to_string() },
        });
        format!("---\n{secret}\n")
    }

    fn authorized(&self) -> serde_json::Value {
        use base64::Engine as _;
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}"));
        serde_json::json!({ "auths": { (self.host.as_str()): { "auth": auth } } })
    }

    /// The same of somebody who has not.
    pub fn logged_out(&self) -> PathBuf {
        self.configuration("logged-out", serde_json::json!({}))
    }

    /// Nobody answers for it from now on.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn configuration(&self, name: &str, content: serde_json::Value) -> PathBuf {
        let folder = self.folder.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.json"), content.to_string()).unwrap();
        folder
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.stop();
    }
}

fn on_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(program)).find(|program| program.is_file())
}
