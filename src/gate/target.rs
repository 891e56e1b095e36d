//! What a request is about, from its path.

/// What the segments of a path name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// Discovery, versions, health: nothing of anybody's.
    Service,
    Objects(Objects),
    /// A path that no API server of today has, or one that an older one has for what newer clients do otherwise.
    Unknown,
}

/// Objects of one kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objects {
    /// `/api/v1` or `/apis/GROUP/VERSION`.
    pub root: String,
    /// Empty for the core group.
    pub group: String,
    pub version: String,
    pub namespace: Option<String>,
    pub resource: String,
    pub name: Option<String>,
    /// `exec`, `log`, `scale`: what follows the name, in one piece.
    pub subresource: Option<String>,
}

impl Target {
    pub fn of(path: &str) -> Self {
        let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
        // A dot segment or an escape could mean another path to the server than here.
        if segments.iter().any(|segment| *segment == "." || *segment == ".." || segment.contains('%')) {
            return Self::Unknown;
        }
        match segments.as_slice() {
            ["version" | "healthz" | "livez" | "readyz", ..] | ["openapi", ..] | ["api" | "apis"] | ["api", _] => {
                Self::Service
            }
            ["apis", _] | ["apis", _, _] => Self::Service,
            ["api", version, rest @ ..] => objects(format!("/api/{version}"), "", version, rest),
            ["apis", group, version, rest @ ..] => objects(format!("/apis/{group}/{version}"), group, version, rest),
            _ => Self::Unknown,
        }
    }
}

fn objects(root: String, group: &str, version: &str, rest: &[&str]) -> Target {
    // Instead of the parameter `watch`, until 1.10.
    if matches!(rest, ["watch" | "proxy", ..]) {
        return Target::Unknown;
    }
    let of = |namespace: Option<&str>, resource: &str, rest: &[&str]| {
        let (name, subresource) = match rest {
            [] => (None, None),
            [name] => (Some((*name).to_owned()), None),
            [name, sub @ ..] => (Some((*name).to_owned()), Some(sub.join("/"))),
        };
        Target::Objects(Objects {
            root: root.clone(),
            group: group.to_owned(),
            version: version.to_owned(),
            namespace: namespace.map(str::to_owned),
            resource: resource.to_owned(),
            name,
            subresource,
        })
    };
    match rest {
        // Of the core group these two alone are no resources below a namespace.
        ["namespaces", name, sub @ ("status" | "finalize")] if group.is_empty() => of(None, "namespaces", &[name, sub]),
        ["namespaces", namespace, resource, rest @ ..] => of(Some(namespace), resource, rest),
        [resource, rest @ ..] => of(None, resource, rest),
        [] => Target::Unknown,
    }
}

impl Objects {
    /// Whether it is about namespaces themselves.
    pub fn are_namespaces(&self) -> bool {
        self.group.is_empty() && self.resource == "namespaces" && self.namespace.is_none()
    }

    /// The path, for a server that calls the namespace so.
    pub fn path(&self) -> String {
        let mut path = self.root.clone();
        if let Some(namespace) = &self.namespace {
            path.push_str(&format!("/namespaces/{namespace}"));
        }
        for segment in [Some(&self.resource), self.name.as_ref(), self.subresource.as_ref()].into_iter().flatten() {
            path.push('/');
            path.push_str(segment);
        }
        path
    }

    /// `pods/exec`, `deployments.apps/scale`: as messages name it.
    pub fn describe(&self) -> String {
        let group = if self.group.is_empty() { String::new() } else { format!(".{}", self.group) };
        let sub = self.subresource.as_ref().map(|sub| format!("/{sub}")).unwrap_or_default();
        format!("{}{group}{sub}", self.resource)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn objects(path: &str) -> Objects {
        match Target::of(path) {
            Target::Objects(objects) => objects,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn a_path_names_its_namespace_kind_object_and_subresource() {
        let exec = objects("/api/v1/namespaces/taiga/pods/db-0/exec");
        assert_eq!((exec.namespace.as_deref(), exec.describe().as_str()), (Some("taiga"), "pods/exec"));
        let scale = objects("/apis/apps/v1/namespaces/taiga/deployments/web/scale");
        assert_eq!((scale.name.as_deref(), scale.describe().as_str()), (Some("web"), "deployments.apps/scale"));
        let namespace = objects("/api/v1/namespaces/taiga/finalize");
        assert!(namespace.are_namespaces() && namespace.name.as_deref() == Some("taiga"));
        assert!(objects("/api/v1/namespaces").are_namespaces());
        assert_eq!(objects("/api/v1/pods").namespace, None);
        assert_eq!(
            objects("/api/v1/namespaces/taiga/services/web/proxy/a/b").subresource.as_deref(),
            Some("proxy/a/b")
        );
    }

    #[test]
    fn a_path_that_could_mean_another_one_is_not_known() {
        for path in
            ["/api/v1/namespaces/a/../b/pods", "/api/v1/namespaces/a%2Fb/pods", "/api/v1/watch/pods", "/logs", "/"]
        {
            assert_eq!(Target::of(path), Target::Unknown, "{path}");
        }
        for path in ["/api", "/apis", "/api/v1", "/apis/apps/v1", "/openapi/v3/apis/apps/v1", "/version", "/readyz"] {
            assert_eq!(Target::of(path), Target::Service, "{path}");
        }
    }

    proptest! {
        #[test]
        fn a_path_is_put_together_again_as_it_was(segments in prop::collection::vec("[a-z][-a-z0-9.]{0,8}", 2..6)) {
            let path = format!("/apis/{}/v1/{}", segments[0], segments[1..].join("/"));
            if let Target::Objects(objects) = Target::of(&path) {
                prop_assert_eq!(objects.path(), path);
            }
        }
    }
}
