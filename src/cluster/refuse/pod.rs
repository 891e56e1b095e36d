//! What pods ask for and cannot be had.

use serde_json::Value;

use super::{Refusals, is_said};

/// Types of volumes that a pod gets.
const VOLUMES: [&str; 6] = ["emptyDir", "secret", "configMap", "persistentVolumeClaim", "projected", "downwardAPI"];

const POD_FIELDS: [(&str, &str); 10] = [
    ("hostNetwork", "pods never share the host's network"),
    ("hostPID", "pods never see the host's processes"),
    ("hostIPC", "pods never share the host's IPC"),
    ("shareProcessNamespace", "not provided"),
    ("activeDeadlineSeconds", "provided for Jobs only"),
    ("ephemeralContainers", "not provided"),
    ("readinessGates", "not provided"),
    ("schedulingGates", "not provided"),
    ("resourceClaims", "not provided"),
    ("dnsConfig", "nothing inside reaches a name server: names are those of the drill alone"),
];

impl Refusals {
    pub(super) fn pod(&mut self, spec: &Value, path: &str) {
        for (field, why) in POD_FIELDS {
            self.refuse_present(spec, path, field, why);
        }
        let security = format!("{path}.securityContext");
        for field in ["supplementalGroups", "sysctls", "seLinuxOptions", "windowsOptions"] {
            self.refuse_present(&spec["securityContext"], &security, field, "not provided");
        }
        for (index, volume) in spec["volumes"].as_array().into_iter().flatten().enumerate() {
            self.volume(volume, &format!("{path}.volumes[{index}]"));
        }
        for list in ["initContainers", "containers"] {
            for (index, container) in spec[list].as_array().into_iter().flatten().enumerate() {
                self.container(container, &format!("{path}.{list}[{index}]"));
            }
        }
        for (index, container) in spec["initContainers"].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.initContainers[{index}]");
            self.refuse_present(container, &path, "restartPolicy", "sidecar containers are not provided");
        }
    }

    fn volume(&mut self, volume: &Value, path: &str) {
        let types =
            volume.as_object().into_iter().flatten().filter(|(field, value)| *field != "name" && !value.is_null());
        let mut found = false;
        for (field, _) in types {
            found = true;
            if field == "hostPath" {
                self.refuse(&format!("{path}.hostPath"), "nothing of the host is ever shown to a pod");
            } else if !VOLUMES.contains(&field.as_str()) {
                self.refuse(&format!("{path}.{field}"), "this type of volume is not provided");
            }
        }
        if !found {
            self.refuse(path, "names no type of volume");
        }
        let sources = volume["projected"]["sources"].as_array().into_iter().flatten();
        for (index, source) in sources.enumerate() {
            let path = format!("{path}.projected.sources[{index}]");
            for field in ["serviceAccountToken", "clusterTrustBundle", "podCertificate"] {
                if source[field].is_object() {
                    self.refuse(&format!("{path}.{field}"), "not provided");
                }
            }
            self.files(&source["downwardAPI"], &format!("{path}.downwardAPI"));
        }
        self.files(&volume["downwardAPI"], &format!("{path}.downwardAPI"));
    }

    fn files(&mut self, downward: &Value, path: &str) {
        for (index, item) in downward["items"].as_array().into_iter().flatten().enumerate() {
            let path = format!("{path}.items[{index}]");
            self.refuse_present(item, &path, "resourceFieldRef", "resources are not modelled");
        }
    }

    fn container(&mut self, container: &Value, path: &str) {
        let security = &container["securityContext"];
        if security["privileged"] == true {
            self.refuse(&format!("{path}.securityContext.privileged"), "no container is ever privileged");
        }
        for field in ["seLinuxOptions", "windowsOptions"] {
            self.refuse_present(security, &format!("{path}.securityContext"), field, "not provided");
        }
        self.refuse_present(
            &security["capabilities"],
            &format!("{path}.securityContext.capabilities"),
            "add",
            "not provided",
        );
        self.refuse_present(container, path, "volumeDevices", "block volumes are not provided");
        for (index, port) in container["ports"].as_array().into_iter().flatten().enumerate() {
            self.refuse_present(port, &format!("{path}.ports[{index}]"), "hostPort", "pods never listen on the host");
        }
        for (index, variable) in container["env"].as_array().into_iter().flatten().enumerate() {
            self.variable(&variable["valueFrom"], &format!("{path}.env[{index}].valueFrom"));
        }
        for (index, mount) in container["volumeMounts"].as_array().into_iter().flatten().enumerate() {
            if !matches!(mount["mountPropagation"].as_str(), None | Some("None")) {
                self.refuse(&format!("{path}.volumeMounts[{index}].mountPropagation"), "not provided");
            }
        }
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            self.probe(&container[probe], &format!("{path}.{probe}"));
        }
        for hook in ["postStart", "preStop"] {
            self.action(&container["lifecycle"][hook], &format!("{path}.lifecycle.{hook}"));
            let path = format!("{path}.lifecycle.{hook}");
            self.refuse_present(&container["lifecycle"][hook], &path, "tcpSocket", "not a hook of Kubernetes any more");
        }
    }

    fn variable(&mut self, source: &Value, path: &str) {
        self.refuse_present(source, path, "resourceFieldRef", "resources are not modelled");
        self.refuse_present(source, path, "fileKeyRef", "not provided");
        let field = source["fieldRef"]["fieldPath"].as_str();
        if let Some(field @ ("status.hostIP" | "status.hostIPs")) = field {
            self.refuse(&format!("{path}.fieldRef.fieldPath"), &format!("{field}: the host has no address for pods"));
        }
    }

    fn probe(&mut self, probe: &Value, path: &str) {
        if !is_said(probe) {
            return;
        }
        self.refuse_present(probe, path, "grpc", "gRPC probes are not provided");
        self.action(probe, path);
        if let Some(host) = probe["tcpSocket"]["host"].as_str().filter(|host| host.parse::<std::net::IpAddr>().is_err())
        {
            self.refuse(&format!("{path}.tcpSocket.host"), &format!("{host} is not an address"));
        }
    }

    /// What probes and hooks have in common.
    fn action(&mut self, action: &Value, path: &str) {
        if action["httpGet"]["scheme"] == "HTTPS" {
            self.refuse(&format!("{path}.httpGet.scheme"), "HTTPS is not provided for probes and hooks");
        }
        if let Some(host) = action["httpGet"]["host"].as_str().filter(|host| host.parse::<std::net::IpAddr>().is_err())
        {
            self.refuse(&format!("{path}.httpGet.host"), &format!("{host} is not an address"));
        }
    }
}
