//! The network of a drill: addresses, names, what goes in and out by the porter, and that nothing else does.

use std::net::{IpAddr, Ipv4Addr, TcpListener};

use redrill::runtime::{HostEntry, LogOptions, PodRuntime as _};
use testcontainers::bollard::models::{ContainerCreateBody, HostConfig, NetworkCreateRequest};
use testcontainers::bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectNetworkOptions, RemoveContainerOptionsBuilder, StartContainerOptions,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::pod::{AUTHORITY, FOR_EVER, IMAGE, Run, container, docker, pod, soon};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn a_pod_keeps_its_address_and_has_names_of_its_own_in_an_internal_network() {
    let run = Run::start().await;
    let db = run.pod("db").await;
    run.pod("app").await;
    let server = run.run(&container("db", "nc -l -p 5432 -e hostname; exec tail -f /dev/null")).await;
    let client = run.run(&container("app", FOR_EVER)).await;
    let names = vec!["db".to_owned(), "db.default.svc".to_owned()];
    run.runtime.set_hosts(&pod("app"), &[HostEntry { address: db, names }]).await.unwrap();
    let ask = "until nc db.default.svc 5432 < /dev/null; do sleep 0.05; done; hostname";
    assert_eq!(soon("an answer", run.sh(&client, ask)).await, (0, "db\napp\n".to_owned(), String::new()));

    // The address is the pod's: a container that is made again has it, too.
    run.runtime.remove(&server).await.unwrap();
    run.run(&container("db", "nc -l -p 5432 -e hostname; exec tail -f /dev/null")).await;
    let said = soon("a second answer", async {
        loop {
            let mut said = String::new();
            // Refused until the server listens.
            if let Ok(mut stream) = run.runtime.connect((db, 5432).into()).await {
                stream.read_to_string(&mut said).await.unwrap();
                break said;
            }
            tokio::task::yield_now().await;
        }
    });
    assert_eq!(said.await, "db\n");

    let network = format!("redrill-{}", run.name);
    let network = docker().await.inspect_network(&network, None::<InspectNetworkOptions>).await.unwrap();
    assert_eq!(network.internal, Some(true));
    assert_eq!(run.end().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn a_pod_reaches_a_listener_of_the_harness_at_the_porters_address_and_no_other() {
    let run = Run::start().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    run.runtime.listen(6443, listener.local_addr().unwrap()).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut line = [0; 3];
            stream.read_exact(&mut line).await.unwrap();
            stream.write_all(&line).await.unwrap();
            stream.write_all(b" heard\n").await.unwrap();
        }
    });
    run.pod("app").await;
    let app = run.run(&container("app", FOR_EVER)).await;
    let address = run.runtime.porter_address();
    for _ in 0..3 {
        let (code, said, _) = soon("an answer", run.sh(&app, &format!("echo hey | nc {address} 6443"))).await;
        assert_eq!((code, said.as_str()), (0, "hey heard\n"));
    }
    assert_ne!(soon("a refusal", run.sh(&app, &format!("echo hey | nc {address} 6444"))).await.0, 0);
    assert_eq!(run.end().await, [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn pods_have_no_name_server_and_trust_the_drills_authority() {
    let run = Run::start().await;
    run.pod("app").await;
    let mut spec = container("app", "cat /etc/resolv.conf; cat $SSL_CERT_FILE; hostname; cat /etc/hosts");
    spec.run_as_user = Some(1234);
    let id = run.run(&spec).await;
    run.wait(&id).await;
    let log = run.log(&id, LogOptions::default()).await;
    assert!(log.starts_with(&format!("{AUTHORITY}\napp\n127.0.0.1 localhost\n")), "{log}");
    assert_eq!(run.end().await, [""; 0]);
}

/// Every address of this machine but loopback, which is the container's own inside.
fn own_addresses() -> Vec<IpAddr> {
    let interfaces = nix::ifaddrs::getifaddrs().unwrap();
    let addresses = interfaces.filter_map(|interface| Some(interface.address?.as_sockaddr_in()?.ip()));
    addresses.filter(|address| !address.is_loopback()).map(IpAddr::V4).collect()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs an engine: pods_live_in_containers_of_a_docker_engine runs it"]
async fn nothing_inside_reaches_the_engines_host_as_it_would_from_an_internal_network_of_the_engines_own() {
    let bait = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = bait.local_addr().unwrap().port();
    // Whoever gets through hears the end at once.
    std::thread::spawn(move || bait.incoming().for_each(drop));
    let run = Run::start().await;
    run.pod("app").await;
    let app = run.run(&container("app", FOR_EVER)).await;
    let gateway = run.runtime.gateway().await.unwrap().expect("the engine tells the gateway");
    for address in own_addresses().into_iter().chain([gateway]) {
        let (code, _, error) = soon("a refusal", run.sh(&app, &format!("nc -w 2 {address} {port}"))).await;
        // Nobody refuses it: nobody is there.
        assert!(code != 0 && !error.contains("refused"), "{address}: {code} {error}");
    }
    let network = format!("redrill-{}-plain", run.name);
    assert_eq!(from_a_plain_network(&network, port).await, 0, "so the test can fail");
    assert_eq!(run.end().await, [""; 0]);
}

/// The exit code of a program that calls at the gateway of a network that is internal and nothing more.
async fn from_a_plain_network(network: &str, port: u16) -> i64 {
    let docker = docker().await;
    let request =
        NetworkCreateRequest { name: network.to_owned(), internal: Some(true), ..NetworkCreateRequest::default() };
    docker.create_network(request).await.unwrap();
    let made = docker.inspect_network(network, None::<InspectNetworkOptions>).await.unwrap();
    let gateway = made.ipam.unwrap().config.unwrap().remove(0).gateway.unwrap();
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        cmd: Some(["nc", "-w", "2", &gateway, &port.to_string()].map(str::to_owned).to_vec()),
        host_config: Some(HostConfig { network_mode: Some(network.to_owned()), ..HostConfig::default() }),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::new().name(network).build();
    docker.create_container(Some(options), body).await.unwrap();
    docker.start_container(network, None::<StartContainerOptions>).await.unwrap();
    let code = loop {
        use testcontainers::bollard::query_parameters::InspectContainerOptions;
        let state = docker.inspect_container(network, None::<InspectContainerOptions>).await.unwrap().state.unwrap();
        if state.running == Some(false) {
            break state.exit_code.unwrap();
        }
    };
    let options = RemoveContainerOptionsBuilder::new().force(true).build();
    docker.remove_container(network, Some(options)).await.unwrap();
    docker.remove_network(network).await.unwrap();
    code
}
