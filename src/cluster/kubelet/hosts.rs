//! Names that pods resolve: Services, pods of StatefulSets, and names from outside the cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use k8s_openapi::api::core::v1::PodSpec;
use serde_json::Value;

use super::Outside;
use crate::cluster::kind::{ENDPOINTS, SERVICE};
use crate::cluster::store::{Store, names};
use crate::runtime::{HostEntry, Resolver};

/// Addresses with their names, in the order of addresses.
#[derive(Debug, Default)]
pub struct Table(BTreeMap<IpAddr, BTreeSet<String>>);

impl Table {
    /// What a pod of `namespace` resolves. A Service without ready endpoints has no name.
    pub fn of(store: &Store, outside: &BTreeMap<String, Outside>, namespace: &str) -> Self {
        let mut table = Self::default();
        for service in store.list(&SERVICE, None).1 {
            table.add_service(store, &service, namespace);
        }
        for (name, target) in outside {
            match target {
                Outside::Address(address) => table.add(*address, name.clone()),
                Outside::Service { store, namespace, service } => {
                    for (address, _) in ready(store, namespace, service) {
                        table.add(address, name.clone());
                    }
                }
            }
        }
        table
    }

    pub fn add(&mut self, address: IpAddr, name: String) {
        self.0.entry(address).or_default().insert(name);
    }

    pub fn entries(self) -> Vec<HostEntry> {
        let entry =
            |(address, names): (IpAddr, BTreeSet<String>)| HostEntry { address, names: names.into_iter().collect() };
        self.0.into_iter().map(entry).collect()
    }

    fn add_service(&mut self, store: &Store, service: &Value, from: &str) {
        let (namespace, name) = names(service);
        for (address, hostname) in ready(store, &namespace, &name) {
            for name in forms(&name, &namespace, from) {
                if let Some(hostname) = &hostname {
                    self.add(address, format!("{hostname}.{name}"));
                }
                self.add(address, name);
            }
        }
    }
}

/// The forms of a Service's name that resolve in a pod of namespace `from`.
fn forms(service: &str, namespace: &str, from: &str) -> Vec<String> {
    let mut forms = vec![
        format!("{service}.{namespace}"),
        format!("{service}.{namespace}.svc"),
        format!("{service}.{namespace}.svc.cluster.local"),
    ];
    if namespace == from {
        forms.push(service.to_owned());
    }
    forms
}

/// Ready addresses of a Service, each with the host name that its pod has within it.
fn ready(store: &Store, namespace: &str, service: &str) -> Vec<(IpAddr, Option<String>)> {
    let Some(endpoints) = store.get(&ENDPOINTS, namespace, service) else { return Vec::new() };
    let subsets = endpoints["subsets"].as_array().into_iter().flatten();
    let addresses = subsets.flat_map(|subset| subset["addresses"].as_array().into_iter().flatten());
    let parsed = |address: &Value| {
        let hostname = address["hostname"].as_str().map(str::to_owned);
        Some((address["ip"].as_str()?.parse().ok()?, hostname))
    };
    addresses.filter_map(parsed).collect()
}

/// The name servers of a pod that names its own, and asks no others (`dnsPolicy: None`).
pub fn resolver(spec: &PodSpec) -> Option<Resolver> {
    let config = spec.dns_config.as_ref().filter(|_| spec.dns_policy.as_deref() == Some("None"))?;
    let options = config.options.iter().flatten().filter_map(|option| {
        let name = option.name.as_ref()?;
        Some(option.value.as_ref().map_or_else(|| name.clone(), |value| format!("{name}:{value}")))
    });
    Some(Resolver {
        nameservers: config.nameservers.iter().flatten().filter_map(|server| server.parse().ok()).collect(),
        searches: config.searches.clone().unwrap_or_default(),
        options: options.collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn name_servers_are_asked_where_a_pod_names_its_own_and_asks_no_others() {
        let resolver = |policy: &str| {
            let spec = json!({"containers": [], "dnsPolicy": policy, "dnsConfig": {"nameservers": ["10.1.2.3"],
                "searches": ["a.svc"], "options": [{"name": "ndots", "value": "5"}, {"name": "edns0"}]}});
            resolver(&serde_json::from_value(spec).unwrap())
        };
        let asked = resolver("None").unwrap();
        assert_eq!(asked.resolv_conf(), "nameserver 10.1.2.3\nsearch a.svc\noptions ndots:5 edns0\n");
        assert_eq!(resolver("ClusterFirst"), None);
    }

    fn store_with(endpoints: Value) -> Store {
        let store = Store::default();
        store.create(&SERVICE, json!({"metadata": {"name": "db", "namespace": "shop"}})).unwrap();
        let metadata = json!({"name": "db", "namespace": "shop"});
        store.create(&ENDPOINTS, json!({"metadata": metadata, "subsets": endpoints})).unwrap();
        store
    }

    #[test]
    fn the_bare_name_resolves_in_the_own_namespace_only() {
        let store = store_with(json!([{"addresses": [{"ip": "10.0.0.2"}]}]));
        let names = |namespace| Table::of(&store, &BTreeMap::new(), namespace).entries()[0].names.clone();
        assert_eq!(names("shop"), ["db", "db.shop", "db.shop.svc", "db.shop.svc.cluster.local"]);
        assert_eq!(names("other"), ["db.shop", "db.shop.svc", "db.shop.svc.cluster.local"]);
    }

    #[test]
    fn a_service_without_ready_endpoints_resolves_to_nothing() {
        let store = store_with(json!([{"notReadyAddresses": [{"ip": "10.0.0.2"}]}]));
        assert_eq!(Table::of(&store, &BTreeMap::new(), "shop").entries(), []);
    }

    #[test]
    fn a_pod_of_a_stateful_set_has_a_name_of_its_own() {
        let store = store_with(json!([{"addresses": [{"ip": "10.0.0.2", "hostname": "db-0"}]}]));
        let entries = Table::of(&store, &BTreeMap::new(), "shop").entries();
        assert!(entries[0].names.contains(&"db-0.db.shop.svc.cluster.local".to_owned()));
        assert!(entries[0].names.contains(&"db-0.db".to_owned()));
    }

    #[test]
    fn an_outside_name_resolves_to_the_service_of_another_cluster() {
        let other = std::sync::Arc::new(store_with(json!([{"addresses": [{"ip": "10.0.0.9"}]}])));
        let target = Outside::Service { store: other, namespace: "shop".to_owned(), service: "db".to_owned() };
        let outside = BTreeMap::from([("db.example.com".to_owned(), target)]);
        let entries = Table::of(&Store::default(), &outside, "any").entries();
        assert_eq!(
            entries,
            [HostEntry { address: "10.0.0.9".parse().unwrap(), names: vec!["db.example.com".to_owned()] }]
        );
    }
}
