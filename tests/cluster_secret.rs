//! The danger: somebody who has not the cluster's secret gets in, gets an answer worth having, or keeps those out who
//! have it.

mod nodes;

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use grapevine::{
    cluster::RefusedStatus,
    config::{ConfigError, NodeConfig},
    node::{Node, NodeError},
    secret::{Keyring, Secret, Secrets},
    sync::{
        driver::MAX_HANDSHAKES_OF_ONE,
        transport::{
            AdmissionError, Connection, Connector, HANDSHAKE_MESSAGE_BYTES, PREFACE_BYTES, Role,
            TcpConnector, admit,
        },
    },
};
use nodes::{
    DEADLINE, Site, all_equal, eventually, get, put, sees_alive, start,
    stranger::{Stranger, admitted},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    time::timeout,
};

fn secrets(bytes: &[u8]) -> Secrets {
    let secrets = bytes.iter().map(|byte| Secret::from_bytes([*byte; 32]));
    Secrets::new(secrets.collect()).expect("two at most")
}

fn keyring(bytes: &[u8], cluster: &str) -> Keyring {
    Keyring::new(&secrets(bytes), cluster).0
}

fn sealed(site: &Site, name: &str, seeds: &[&Node]) -> NodeConfig {
    NodeConfig {
        cluster_secrets: secrets(&[7]),
        ..site.config(name, seeds)
    }
}

async fn close(nodes: Vec<Node>) {
    for node in nodes {
        node.shutdown().await;
    }
}

/// Waits until `node` tells that it refused somebody for a reason with these words.
async fn refuses(node: &Node, words: &str) -> RefusedStatus {
    eventually(words, async || {
        let refused = node.cluster().refused().into_iter();
        refused.into_iter().find(|of| of.reason.contains(words))
    })
    .await
}

/// What the node says on a connection until it closes it.
async fn all_that_is_said(stream: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut said)).await;
    let _reset_or_end = read.expect("the node closes in time");
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_with_a_secret_do_not_find_each_other_or_show_what_they_say() {
    let site = Site::new();
    let ann = start(sealed(&site, "ann", &[])).await;
    // All that passes between Ann and Bob passes here.
    let between = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let mut config = sealed(&site, "bob", &[]);
    let address = between.local_addr().expect("it is bound");
    config.seeds = vec![address.to_string()];
    let bob = start(config).await;
    let (mut bobs, _) = between.accept().await.expect("bob dials its seed");
    let mut anns = TcpStream::connect(ann.peer_addr())
        .await
        .expect("it listens");
    let (mut seen, mut buffer) = (Vec::new(), vec![0; 65_536]);
    let (mut other, mut written) = (vec![0; 65_536], false);
    while !String::from_utf8_lossy(&seen).contains("marker of the test") {
        tokio::select! {
            read = bobs.read(&mut buffer) => {
                let read = read.expect("the link is up");
                seen.extend_from_slice(&buffer[..read]);
                anns.write_all(&buffer[..read]).await.expect("the link is up");
            }
            read = anns.read(&mut other) => {
                let read = read.expect("the link is up");
                seen.extend_from_slice(&other[..read]);
                bobs.write_all(&other[..read]).await.expect("the link is up");
            }
        }
        if !written && seen.len() > 1_000 {
            put(ann.store(), "plain-key", b"plain-value").await;
            written = true;
        }
        if written && get(bob.store(), "plain-key").is_some() {
            break;
        }
    }
    let text = String::from_utf8_lossy(&seen);
    for plain in ["plain-key", "plain-value", "ann", "bob", "grapevine"] {
        assert!(!text.contains(plain), "{plain} is there to be read");
    }
    close(vec![ann, bob]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_nodes_with_a_secret_do_not_become_one_cluster() {
    let site = Site::new();
    let ann = start(sealed(&site, "ann", &[])).await;
    let bob = start(sealed(&site, "bob", &[&ann])).await;
    let cat = start(sealed(&site, "cat", &[&ann])).await;
    for node in [&ann, &bob, &cat] {
        sees_alive(node, &["ann", "bob", "cat"]).await;
        put(node.store(), "key", b"value").await;
    }
    all_equal(&[&ann, &bob, &cat]).await;
    eventually("gossip both ways", async || {
        let heard = |node: &Node| node.gossip_totals().received > 5;
        (heard(&ann) && heard(&bob) && heard(&cat)).then_some(())
    })
    .await;
    for node in [&ann, &bob, &cat] {
        assert_eq!(node.gossip_totals().strangers, 0);
        assert_eq!(node.cluster().refused(), []);
    }
    // One that is started again gets new keys of its own, and is heard again.
    let (address, before) = (cat.peer_addr(), cat.store().replica());
    cat.shutdown().await;
    let mut config = sealed(&site, "cat", &[&ann]);
    config.peer = address;
    let cat = start(config).await;
    assert_ne!(before, cat.store().replica());
    eventually("gossip of the new life", async || {
        (cat.gossip_totals().received > 5).then_some(())
    })
    .await;
    sees_alive(&ann, &["ann", "bob", "cat"]).await;
    close(vec![ann, bob, cat]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_without_a_secret_listens_to_a_network() {
    let site = Site::new();
    let mut config = site.config("ann", &[]);
    config.peer = "0.0.0.0:0".parse().expect("an address");
    let error = Node::start(config.clone())
        .await
        .expect_err("anybody could come");
    assert!(
        matches!(error, NodeError::Config(ConfigError::Unsealed { .. })),
        "{error}"
    );
    let told = error.to_string();
    for way in [
        "0.0.0.0:0",
        "grapevine secret new",
        "cluster_secret_file",
        "GRAPEVINE_CLUSTER_SECRET",
        "--insecure",
    ] {
        assert!(told.contains(way), "no {way} in {told}");
    }
    assert!(!site.data("ann").exists());
    config.insecure = true;
    start(config.clone()).await.shutdown().await;
    config.insecure = false;
    config.cluster_secrets = secrets(&[7]);
    start(config).await.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_secret_or_none_or_of_another_cluster_gets_in() {
    let site = Site::new();
    let ann = start(sealed(&site, "ann", &[])).await;
    put(ann.store(), "private", b"1").await;
    let mut other_secret = sealed(&site, "eve", &[&ann]);
    other_secret.cluster_secrets = secrets(&[8]);
    let mut no_secret = sealed(&site, "open", &[&ann]);
    no_secret.cluster_secrets = Secrets::default();
    let mut other_cluster = sealed(&site, "far", &[&ann]);
    other_cluster.cluster = "another".to_owned();
    let reasons = [
        "another cluster secret",
        "no cluster secret",
        "another cluster",
    ];
    for (config, reason) in [other_secret, no_secret, other_cluster]
        .into_iter()
        .zip(reasons)
    {
        let before = ann.gossip_totals().strangers;
        let stranger = start(config).await;
        let seen = refuses(&ann, reason).await;
        assert_eq!((seen.name.as_str(), seen.replica), ("", None));
        assert_eq!(seen.address, "127.0.0.1");
        // The other side is told as well, by the address that it dialled.
        let told = refuses(&stranger, "cluster secret").await;
        assert_eq!(told.address, ann.peer_addr().to_string());
        eventually("its gossip is dropped", async || {
            (ann.gossip_totals().strangers > before).then_some(())
        })
        .await;
        assert_eq!(get(stranger.store(), "private"), None);
        sees_alive(&ann, &["ann"]).await;
        stranger.shutdown().await;
    }
    assert_eq!(ann.sync_totals().handshakes, 0);
    assert_eq!(ann.gossip_totals().received, 0);
    ann.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_of_another_version_is_refused_without_a_reason() {
    let site = Site::new();
    for config in [site.config("ann", &[]), sealed(&site, "bob", &[])] {
        let sealed = u8::from(!config.cluster_secrets.is_empty());
        let node = start(config).await;
        let mut stream = TcpStream::connect(node.peer_addr())
            .await
            .expect("it listens");
        let later = [b'G', b'R', b'P', b'V', 0, 3, sealed, 0];
        stream.write_all(&later).await.expect("it is open");
        let said = all_that_is_said(&mut stream).await;
        assert_eq!(said, [b'G', b'R', b'P', b'V', 0, 2, sealed, 1]);
        let refused = refuses(&node, "version 3").await;
        assert_eq!(
            refused.reason,
            "it speaks version 3 of the protocol, we speak 2"
        );
        node.shutdown().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_or_frames_that_are_too_large_harm_a_node_with_a_secret() {
    let site = Site::new();
    let ann = start(sealed(&site, "ann", &[])).await;
    let mut stream = TcpStream::connect(ann.peer_addr())
        .await
        .expect("it listens");
    stream
        .write_all(b"GET / HTTP/1.1\r\n\r\n")
        .await
        .expect("open");
    assert_eq!(all_that_is_said(&mut stream).await, b"");
    refuses(&ann, "does not speak this protocol").await;
    // Past the prefaces: no more bytes come back than went.
    let mut stream = TcpStream::connect(ann.peer_addr())
        .await
        .expect("it listens");
    let mut sent = b"GRPV\x00\x02\x01\x00".to_vec();
    sent.resize(PREFACE_BYTES + HANDSHAKE_MESSAGE_BYTES, 0xff);
    stream.write_all(&sent).await.expect("open");
    assert_eq!(all_that_is_said(&mut stream).await, b"GRPV\x00\x02\x01\x02");
    refuses(&ann, "another cluster secret").await;
    // Past the handshake, with the secret: sealed messages of impossible lengths, and such that do not open.
    let many = vec![0xff; 70_000];
    let wrong: [&[u8]; 4] = [
        &many,
        &[0, 0],
        &[0, 16, 1],
        &[0, 17, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7],
    ];
    for bytes in wrong {
        let before = ann.sync_totals().refusals;
        let stream = raw_member(&ann).await;
        let mut stream = stream.expect("it has the secret");
        let _closed_early = stream.write_all(bytes).await;
        eventually("it is refused", async || {
            (ann.sync_totals().refusals > before).then_some(())
        })
        .await;
    }
    refuses(&ann, "a sealed message").await;
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    for datagram in [&b""[..], &[1; 100], &[2; 91], &[2; 1_000], &[9]] {
        let sent = udp.send_to(datagram, ann.peer_addr()).await;
        sent.expect("it is sent");
    }
    eventually("all are dropped", async || {
        (ann.gossip_totals().strangers == 5).then_some(())
    })
    .await;
    assert_eq!(ann.gossip_totals().sent, 0, "nobody was answered");
    sees_alive(&ann, &["ann"]).await;
    ann.shutdown().await;
}

/// A connection past the handshake, of which the bytes below the seal are in the test's hands.
async fn raw_member(node: &Node) -> io::Result<TcpStream> {
    let ours = TcpListener::bind("127.0.0.1:0").await?;
    let address = ours.local_addr()?.to_string();
    let connection = TcpConnector.connect(&address).await?;
    let (mut near, _) = ours.accept().await?;
    let mut far = TcpStream::connect(node.peer_addr()).await?;
    let admitting = tokio::spawn(async move {
        let keyring = keyring(&[7], "grapevine");
        admit(
            connection,
            Role::Dialled { attempt: 0 },
            &keyring,
            "grapevine",
        )
        .await
    });
    let mut bytes = [0; PREFACE_BYTES + HANDSHAKE_MESSAGE_BYTES];
    near.read_exact(&mut bytes).await?;
    far.write_all(&bytes).await?;
    far.read_exact(&mut bytes).await?;
    near.write_all(&bytes).await?;
    let admitted = admitting.await.expect("it does not panic");
    admitted.map_err(|error| io::Error::other(error.to_string()))?;
    Ok(far)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorded_handshake_or_datagram_works_again() {
    let site = Site::new();
    let ann = start(sealed(&site, "ann", &[])).await;
    // Bob's seed is the test, which records what he says and passes it on to Ann.
    let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let between = tcp.local_addr().expect("it is bound");
    let udp = UdpSocket::bind(between)
        .await
        .expect("the port is free for UDP as well");
    let mut config = sealed(&site, "bob", &[]);
    config.seeds = vec![between.to_string()];
    let bob = start(config).await;

    let (mut bobs, _) = tcp.accept().await.expect("bob dials his seed");
    let mut first = [0; PREFACE_BYTES + HANDSHAKE_MESSAGE_BYTES];
    bobs.read_exact(&mut first).await.expect("he begins");
    let mut anns = TcpStream::connect(ann.peer_addr())
        .await
        .expect("it listens");
    anns.write_all(&first).await.expect("open");
    let mut answer = [0; PREFACE_BYTES + HANDSHAKE_MESSAGE_BYTES];
    anns.read_exact(&mut answer)
        .await
        .expect("bob has the secret");
    bobs.write_all(&answer).await.expect("open");
    // He greets with his first sealed message.
    let mut hello = vec![0; 2];
    bobs.read_exact(&mut hello).await.expect("he greets");
    let length = u16::from_be_bytes([hello[0], hello[1]]);
    hello.resize(2 + usize::from(length), 0);
    bobs.read_exact(&mut hello[2..]).await.expect("he greets");
    anns.write_all(&hello).await.expect("open");
    eventually("the link that was recorded", async || {
        (ann.sync_totals().handshakes == 1).then_some(())
    })
    .await;
    let before = ann.sync_totals().refusals;
    let mut again = TcpStream::connect(ann.peer_addr())
        .await
        .expect("it listens");
    again
        .write_all(&[&first[..], &hello].concat())
        .await
        .expect("open");
    refuses(&ann, "does not open").await;
    assert_eq!(ann.sync_totals().handshakes, 1);
    assert!(ann.sync_totals().refusals > before);

    // A datagram that Ann took comes again, from the same address and from another.
    let mut buffer = vec![0; 70_000];
    let mut recorded = Vec::new();
    let received = ann.gossip_totals().received;
    while ann.gossip_totals().received == received {
        let next = timeout(DEADLINE, udp.recv_from(&mut buffer)).await;
        let (bytes, from) = next.expect("nodes gossip").expect("it is bound");
        let to = if from == bob.peer_addr() {
            recorded = buffer[..bytes].to_vec();
            ann.peer_addr()
        } else {
            bob.peer_addr()
        };
        udp.send_to(&buffer[..bytes], to).await.expect("it is sent");
        tokio::task::yield_now().await;
    }
    let repeated = ann.gossip_totals().repeated;
    let taken = ann.gossip_totals().received;
    let eve = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    eventually("it is known", async || {
        udp.send_to(&recorded, ann.peer_addr()).await.expect("sent");
        (ann.gossip_totals().repeated > repeated).then_some(())
    })
    .await;
    eve.send_to(&recorded, ann.peer_addr()).await.expect("sent");
    let answered = timeout(DEADLINE, eve.recv(&mut buffer)).await;
    let answered = answered.expect("it may ask for a proof").expect("bound");
    assert!(
        answered <= recorded.len(),
        "{answered} of {}",
        recorded.len()
    );
    assert_eq!(ann.gossip_totals().received, taken);
    close(vec![ann, bob]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_who_say_nothing_keep_all_others_out() {
    let site = Site::new();
    let ann = start(sealed(&site, "ann", &[])).await;
    let mut silent = Vec::new();
    for _ in 0..MAX_HANDSHAKES_OF_ONE + 4 {
        silent.push(
            TcpStream::connect(ann.peer_addr())
                .await
                .expect("it listens"),
        );
    }
    let refused = refuses(&ann, "too many").await;
    assert_eq!(refused.address, "127.0.0.1");
    // From another host a member gets in while they wait.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    let elsewhere: SocketAddr = "127.0.0.2:0".parse().expect("an address");
    socket.bind(elsewhere).expect("loopback has many");
    let member = socket.connect(ann.peer_addr()).await.expect("it listens");
    let (reading, writing) = member.into_split();
    let connection = Connection {
        reading: Box::new(reading),
        writing: Box::new(writing),
        remote: String::new(),
    };
    let role = Role::Dialled { attempt: 0 };
    let let_in = admit(connection, role, &keyring(&[7], "grapevine"), "grapevine").await;
    assert!(let_in.is_ok(), "{let_in:?}");
    // They are cut off when their time is over, and then there is room again.
    let began = Instant::now();
    for stream in &mut silent {
        assert_eq!(all_that_is_said(stream).await, b"");
    }
    assert!(began.elapsed() < Duration::from_secs(30));
    refuses(&ann, "it said nothing in time").await;
    admitted(&ann, &keyring(&[7], "grapevine")).await;
    ann.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialled_node_that_has_the_other_of_two_secrets_is_never_reached() {
    let site = Site::new();
    let old = start(sealed(&site, "old", &[])).await;
    let mut config = sealed(&site, "new", &[&old]);
    config.cluster_secrets = secrets(&[8, 7]);
    let new = start(config).await;
    // It offers the first, is refused, and offers the second.
    sees_alive(&new, &["new", "old"]).await;
    let first = admitted(&new, &keyring(&[8], "grapevine")).await;
    drop(first);
    let address = new.peer_addr().to_string();
    let connection = TcpConnector.connect(&address).await.expect("it listens");
    let role = Role::Dialled { attempt: 0 };
    let error = admit(connection, role, &keyring(&[9], "grapevine"), "grapevine").await;
    let error = error.expect_err("it has neither");
    assert!(matches!(error, AdmissionError::Unwelcome), "{error}");
    close(vec![old, new]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_came_in_with_a_secret_that_was_taken_back_stays() {
    let site = Site::new();
    let file = site.data("secrets");
    let write = |bytes: &[u8]| {
        let secrets = bytes.iter().map(|byte| Secret::from_bytes([*byte; 32]));
        let lines: Vec<String> = secrets.map(|secret| secret.reveal().to_string()).collect();
        std::fs::write(&file, lines.join("\n")).expect("it can be written");
    };
    write(&[7, 8]);
    let mut config = sealed(&site, "ann", &[]);
    config.cluster_secrets = secrets(&[7, 8]);
    config.cluster_secret_file = Some(file.clone());
    let ann = start(config).await;
    let mut old = Stranger::connect_with(&ann, "old", 7, &keyring(&[8], "grapevine")).await;
    let new = Stranger::connect_with(&ann, "new", 8, &keyring(&[7], "grapevine")).await;
    eventually("both are up", async || {
        (ann.sync_totals().handshakes == 2).then_some(())
    })
    .await;
    write(&[7]);
    let put_out = timeout(DEADLINE, async { while old.next().await.is_some() {} }).await;
    put_out.expect("it is put out");
    eventually("the other stays", async || {
        let members = ann.cluster().members().await;
        let alive = |name: &str| {
            let mut members = members.iter();
            members.any(|member| member.name == name && member.alive)
        };
        (alive("new") && !alive("old")).then_some(())
    })
    .await;
    drop(new);
    ann.shutdown().await;
}
