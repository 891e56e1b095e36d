//! The drill's name server: names of its own Services, those of outside that a store stands for, and no others. So a page's
//! `service.namespace` leads where it should on a cluster that calls the namespace otherwise, and no question leaves the drill.
//!
//! Format: DNS over TCP (RFC 1035, 4.2.2), which the porter makes of the datagrams it is sent. Names of Services as Kubernetes
//! has them (kubernetes/dns, specification 1.1.0), A records alone.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use hickory_proto::op::{Message, OpCode, ResponseCode};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{Name, RData, Record, RecordType};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::room::Rooms;
use crate::kubernetes::{self, Kubernetes, KubernetesError};

/// Seconds: Services come and go with the drill's steps, and some programs keep what they have asked for as long as they may.
const TTL: u32 = 1;

/// A Service on the cluster.
#[derive(Clone)]
pub struct ServiceAt {
    pub rooms: Arc<Rooms>,
    /// As the page has it.
    pub namespace: String,
    pub name: String,
}

/// What names mean in one cluster of a drill.
pub struct Names {
    pub rooms: Arc<Rooms>,
    /// Names that a store, or another cluster's Service, stands for.
    pub outside: BTreeMap<String, ServiceAt>,
    /// Whether something brings who connects to a Service's address to its pods; nothing does on a cluster that redrill serves.
    pub is_proxied: bool,
}

/// What there is to a name.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Addresses(Vec<Ipv4Addr>),
    Nothing,
}

impl Names {
    /// Answers on loopback for as long as the task lives that this is spawned in; gives the address at once.
    pub async fn serve(self) -> std::io::Result<(SocketAddr, impl Future<Output = ()> + Send + 'static)> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let names = Arc::new(self);
        let serving = async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let names = names.clone();
                tokio::spawn(async move {
                    // Who hangs up asks no more.
                    let _ = names.converse(stream).await;
                });
            }
        };
        Ok((address, serving))
    }

    async fn converse(&self, mut stream: TcpStream) -> std::io::Result<()> {
        loop {
            let length = stream.read_u16().await?;
            let mut question = vec![0; usize::from(length)];
            stream.read_exact(&mut question).await?;
            let answer = self.answer(&question).await;
            let length = u16::try_from(answer.len()).map_err(std::io::Error::other)?;
            stream.write_u16(length).await?;
            stream.write_all(&answer).await?;
            stream.flush().await?;
        }
    }

    /// Empty for what is no question at all.
    async fn answer(&self, question: &[u8]) -> Vec<u8> {
        let Ok(question) = Message::from_vec(question) else { return Vec::new() };
        let mut answer = Message::response(question.metadata.id, OpCode::Query);
        answer.metadata.recursion_desired = question.metadata.recursion_desired;
        answer.metadata.recursion_available = true;
        answer.metadata.authoritative = true;
        let Some(query) = question.queries.first() else { return Vec::new() };
        answer.add_query(query.clone());
        match self.find(query.name()).await {
            Ok(Found::Addresses(addresses)) if query.query_type() == RecordType::A => {
                let record = |address| Record::from_rdata(query.name().clone(), TTL, RData::A(A(address)));
                answer.add_answers(addresses.into_iter().map(record));
            }
            // There is such a name, and nothing of that type to it.
            Ok(Found::Addresses(_)) => {}
            Ok(Found::Nothing) => answer.metadata.response_code = ResponseCode::NXDomain,
            Err(error) => {
                tracing::debug!(%error, name = %query.name(), "a name could not be looked up");
                answer.metadata.response_code = ResponseCode::ServFail;
            }
        }
        answer.to_vec().unwrap_or_default()
    }

    async fn find(&self, name: &Name) -> Result<Found, KubernetesError> {
        let name = name.to_lowercase().to_ascii();
        let name = name.trim_end_matches('.');
        let outside = self.outside.iter().find(|(host, _)| host.eq_ignore_ascii_case(name));
        if let Some((_, ServiceAt { rooms, namespace, name })) = outside {
            return self.addresses(rooms, namespace, name, None).await;
        }
        match service_of(name) {
            Some((host, service, namespace)) => self.addresses(&self.rooms, namespace, service, host).await,
            None => Ok(Found::Nothing),
        }
    }

    /// Of a Service that has one its own, else of its pods that are ready.
    async fn addresses(
        &self,
        rooms: &Rooms,
        namespace: &str,
        name: &str,
        host: Option<&str>,
    ) -> Result<Found, KubernetesError> {
        let Some(namespace) = rooms.real(namespace).ok().filter(|real| rooms.owns(real)) else {
            return Ok(Found::Nothing);
        };
        let kubernetes: &Kubernetes = rooms.kubernetes();
        let Some(service) = kubernetes.get(kubernetes::SERVICE, &namespace, name).await? else {
            return Ok(Found::Nothing);
        };
        let own = service["spec"]["clusterIP"].as_str().and_then(|address| address.parse().ok());
        if let (Some(address), None, true) = (own, host, self.is_proxied) {
            return Ok(Found::Addresses(vec![address]));
        }
        let endpoints = kubernetes.get(kubernetes::ENDPOINTS, &namespace, name).await?.unwrap_or_default();
        let found = of_pods(&endpoints, host);
        // Where no pod is ready the name is there all the same, but not that of a pod.
        Ok(if found.is_empty() && host.is_some() { Found::Nothing } else { Found::Addresses(found) })
    }
}

/// `service.namespace.svc.cluster.local`, with a pod's host name before it or without.
fn service_of(name: &str) -> Option<(Option<&str>, &str, &str)> {
    let name = name.strip_suffix(".svc.cluster.local")?;
    match name.split('.').collect::<Vec<_>>()[..] {
        [service, namespace] => Some((None, service, namespace)),
        [host, service, namespace] => Some((Some(host), service, namespace)),
        _ => None,
    }
}

fn of_pods(endpoints: &Value, host: Option<&str>) -> Vec<Ipv4Addr> {
    let subsets = endpoints["subsets"].as_array().into_iter().flatten();
    let addresses = subsets.flat_map(|subset| subset["addresses"].as_array().into_iter().flatten());
    let named = addresses.filter(|address| host.is_none_or(|host| address["hostname"] == host));
    let parsed = named.filter_map(|address| address["ip"].as_str()?.parse().ok());
    parsed.filter_map(|address| if let IpAddr::V4(address) = address { Some(address) } else { None }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_services_and_of_their_pods_are_told_from_others() {
        assert_eq!(service_of("db.taiga.svc.cluster.local"), Some((None, "db", "taiga")));
        assert_eq!(service_of("db-0.db.taiga.svc.cluster.local"), Some((Some("db-0"), "db", "taiga")));
        for name in ["db.taiga", "registry.example", "taiga.svc.cluster.local", "a.b.c.d.svc.cluster.local"] {
            assert_eq!(service_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_service_without_an_address_of_its_own_has_those_of_its_ready_pods() {
        let endpoints = json!({"subsets": [{"addresses": [{"ip": "10.0.0.2", "hostname": "db-0"}, {"ip": "10.0.0.3", "hostname": "db-1"}],
            "notReadyAddresses": [{"ip": "10.0.0.4"}]}]});
        assert_eq!(of_pods(&endpoints, None).len(), 2);
        assert_eq!(of_pods(&endpoints, Some("db-1")), [Ipv4Addr::new(10, 0, 0, 3)]);
        assert!(of_pods(&Value::Null, None).is_empty());
    }
}
