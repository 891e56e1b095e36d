use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr as UnixAddress, UnixListener};

use redrill::runtime::{ContainerExit, Image, PodRuntime as _, VolumeId};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::drill::{Drill, container, entries, volume_at};

#[tokio::test(flavor = "multi_thread")]
async fn postgresql_serves_another_pod_by_name_and_stops_in_order() {
    let drill = Drill::start().await;
    let volume = VolumeId("main/taiga/data".to_owned());
    drill.runtime.create_volume(&volume).await.unwrap();
    let address = drill.pod("db").await;
    let start = "initdb -D $PGDATA --auth=trust --no-sync >&2 && echo 'host all all all trust' >> $PGDATA/pg_hba.conf \
         && exec postgres -c listen_addresses='*' -c fsync=off";
    let mut spec = container("db", &["sh", "-c", start]);
    spec.image = Image {
        user: Some("postgres".to_owned()),
        env: vec![
            ("PATH".to_owned(), "/usr/lib/postgresql/15/bin:/usr/bin:/bin".to_owned()),
            ("PGDATA".to_owned(), "/var/lib/postgresql/data/pgdata".to_owned()),
        ],
        ..Image::default()
    };
    spec.mounts = vec![volume_at(&volume, "/var/lib/postgresql/data")];
    let db = drill.run(&spec).await;

    drill.pod_that_knows("app", &[("postgresql-service", address)]).await;
    let app = drill.run(&container("app", &["sleep", "infinity"])).await;
    drill.until(&app, "pg_isready -q -h postgresql-service").await;
    let query = "psql -X -At -h postgresql-service -U postgres -c 'select 6*7, inet_client_addr(), inet_server_addr()'";
    let (code, said) = drill.sh(&app, query).await;
    assert_eq!((code, said.as_str()), (0, "42|10.88.0.3|10.88.0.2\n"));
    assert_eq!(drill.sh(&db, "psql -X -At -c 'select 1'").await, (0, "1\n".to_owned()), "over the socket in the pod");

    // The names of a running container change.
    drill.runtime.set_hosts(&app.pod, &entries(&[("elsewhere", address)])).await.unwrap();
    assert_eq!(drill.sh(&app, "pg_isready -q -h postgresql-service").await.0, 2);
    assert_eq!(drill.sh(&app, "pg_isready -q -h elsewhere").await.0, 0);

    drill.runtime.signal(&db, libc::SIGINT).await.unwrap();
    assert_eq!(drill.wait(&db).await, ContainerExit::Code(0));

    // The data outlives the container.
    drill.runtime.remove(&db).await.unwrap();
    spec.argv = vec!["postgres".to_owned(), "-clisten_addresses=*".to_owned()];
    drill.run(&spec).await;
    drill.until(&app, "psql -X -At -h elsewhere -U postgres -c 'select 1'").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_harness_connects_in_and_listens_for_pods() {
    let drill = Drill::start().await;
    let address = drill.pod("app").await;
    let serve = "import socket; s = socket.create_server(('0.0.0.0', 80)); c, a = s.accept(); c.sendall(a[0].encode())";
    let id = drill.run(&container("app", &["python3", "-c", serve])).await;
    drill.until(&id, "grep -q ':0050 ' /proc/net/tcp").await;
    let mut stream = drill.runtime.connect(SocketAddr::new(address, 80)).await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert_eq!(said, drill.runtime.bridge_address().to_string());
    assert!(drill.runtime.connect(SocketAddr::new(address, 81)).await.is_err());

    let bridge = drill.runtime.bridge_address();
    let listener = drill.runtime.listen(SocketAddr::new(bridge, 443)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    drill.pod("client").await;
    let client = drill.run(&container("client", &["sleep", "infinity"])).await;
    let accept = async {
        let (mut stream, peer) = listener.accept().await.unwrap();
        stream.write_all(peer.ip().to_string().as_bytes()).await.unwrap();
    };
    let ask = format!("exec 3<>/dev/tcp/{bridge}/{port}; cat <&3");
    let line = format!("bash -c '{ask}'");
    let ((), (code, said)) = tokio::join!(accept, drill.sh(&client, &line));
    assert_eq!((code, said.as_str()), (0, "10.88.0.3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_inside_reaches_the_host_or_the_world() {
    let drill = Drill::start().await;
    let id = drill.idle_pod("app").await;
    let host = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = host.local_addr().unwrap().port();
    let connect = |address: String, port: u16| format!("timeout 5 bash -c 'exec 3<>/dev/tcp/{address}/{port}' 2>&1");

    let mut targets =
        vec![("127.0.0.1".to_owned(), port, "refused"), (drill.runtime.bridge_address().to_string(), port, "refused")];
    targets.push(("192.0.2.1".to_owned(), 443, "unreachable"));
    targets.push(("169.254.169.254".to_owned(), 80, "unreachable"));
    targets.extend(host_addresses().into_iter().map(|address| (address.to_string(), port, "unreachable")));
    for (address, port, expected) in targets {
        let (code, said) = drill.sh(&id, &connect(address.clone(), port)).await;
        assert!(code != 0 && said.contains(expected), "{address}:{port}: {code} {said}");
    }

    let name = format!("redrill-test-{}", std::process::id());
    let _listener = UnixListener::bind_addr(&UnixAddress::from_abstract_name(&name).unwrap()).unwrap();
    let line = format!("python3 -c \"import socket; socket.socket(socket.AF_UNIX).connect('\\0{name}')\" 2>&1");
    let (code, said) = drill.sh(&id, &line).await;
    assert!(code != 0 && said.contains("refused"), "an abstract socket of the host: {said}");
}

/// Addresses of the machine, by asking which one it would use; a machine without a network has none.
fn host_addresses() -> Option<IpAddr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    socket.connect("192.0.2.1:9").ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_is_not_given_to_another_pod_at_once() {
    let drill = Drill::start().await;
    let first = drill.pod("a").await;
    drill.runtime.remove_pod(&redrill::runtime::PodId("a".to_owned())).await.unwrap();
    assert_ne!(drill.pod("b").await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_gone_is_noticed_by_those_who_knew_it() {
    let drill = Drill::start().await;
    let address = drill.pod("db").await;
    let serve = "import socket\ns = socket.create_server(('0.0.0.0', 80))\nwhile True: s.accept()[0].close()";
    let db = drill.run(&container("db", &["python3", "-c", serve])).await;
    drill.pod("client").await;
    let client = drill.run(&container("client", &["sleep", "infinity"])).await;
    let ask = format!("timeout 7 bash -c 'exec 3<>/dev/tcp/{address}/80' 2>&1");
    drill.until(&client, &ask).await;
    drill.runtime.remove_pod(&db.pod).await.unwrap();
    // Without a word the address would be silent for longer than anybody waits for a connection.
    let (code, said) = drill.sh(&client, &ask).await;
    assert!(code == 1 && said.contains("No route to host"), "{code}: {said}");
}
