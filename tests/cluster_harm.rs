//! Whatever a peer sends or does not send: a node goes on, and says what is true.

mod nodes;

use std::time::{Duration, Instant};

use grapevine::{
    model::{CommitRecord, PARTITIONS, PartitionId, PartitionSummary, Root},
    secret::Keyring,
    sync::{
        MAX_FRAME_BYTES, Message, PROTOCOL_VERSION, PeerInfo,
        transport::{Frame, Link, LinkConfig},
    },
};
use grapevine_crdt::{CausalContext, Seq, Timestamp};
use nodes::{
    DEADLINE, Site, all_equal, eventually, get, put, root, sees_alive, start,
    stranger::{Stranger, admitted, replica},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::timeout,
};

/// Waits until the node has closed the stream.
async fn is_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let read = timeout(DEADLINE, stream.read_to_end(&mut rest)).await;
    let _reset_or_end = read.expect("the node closes in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_of_every_kind_harms_nobody() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let address = ann.peer_addr();
    let over = u32::try_from(MAX_FRAME_BYTES + 1)
        .expect("it fits")
        .to_be_bytes();
    let floods: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\n\r\n",
        &over,
        &[0xff; 4_096],
        &[0, 0, 0, 5, 0xff, 0xff, 0xff, 0xff, 0xff],
        // A frame that says nothing, again and again, then a torn one.
        &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 1],
    ];
    for flood in floods {
        let mut stream = TcpStream::connect(address).await.expect("it listens");
        let _maybe_closed = stream.write_all(flood).await;
        let _maybe_closed = stream.shutdown().await;
        is_closed(&mut stream).await;
    }
    let udp = UdpSocket::bind("127.0.0.1:0").await.expect("a free port");
    let large = vec![1; 60_000];
    let datagrams: [&[u8]; 4] = [b"", b"\x01", &large, &[1, 0x53, 0xb0, 0, 2, 9, 9]];
    for datagram in datagrams {
        udp.send_to(datagram, address).await.expect("it is sent");
    }
    eventually("the datagrams came", async || {
        (ann.gossip_totals().unreadable >= 4).then_some(())
    })
    .await;
    assert_eq!(ann.sync_totals().handshakes, 0);
    assert_eq!(ann.gossip_totals().restarts, 0);

    let bob = site.start("bob", &[&ann]).await;
    sees_alive(&ann, &["ann", "bob"]).await;
    put(bob.store(), "key", b"value").await;
    eventually("sync goes on", async || get(ann.store(), "key")).await;
    ann.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_breaks_the_protocol_is_disconnected_and_changes_nothing() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let before = root(&ann);
    let mut eve = Stranger::connect(&ann, "eve", 7).await;
    // A write with the seq that follows itself.
    let record = CommitRecord {
        partition: PartitionId::new(0),
        replica: replica(7),
        after: Seq::new(2),
        upto: Seq::new(2),
        needs: CausalContext::default(),
        entities: Vec::new(),
    };
    eve.say(&Message::Push {
        clock: Timestamp::ZERO,
        records: vec![record],
    });
    while eve.next().await.is_some() {}
    eventually("it is counted", async || {
        (ann.sync_totals().disconnects == 1).then_some(())
    })
    .await;
    assert_eq!(root(&ann), before);
    sees_alive(&ann, &["ann"]).await;
    ann.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_greeting_ends_the_link() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let mut eve = Stranger::connect(&ann, "eve", 7).await;
    let Some(Message::Probe { .. }) = eve.next().await else {
        panic!("a peer that comes up is probed");
    };
    let hello = PeerInfo {
        version: PROTOCOL_VERSION,
        cluster: "grapevine".to_owned(),
        name: "eve".to_owned(),
        replica: replica(8),
        store: uuid::Uuid::nil(),
        http: String::new(),
        peer: String::new(),
        unix_ms: 0,
        clock: Timestamp::ZERO,
    };
    eve.say(&Message::Hello(hello));
    while eve.next().await.is_some() {}
    sees_alive(&ann, &["ann"]).await;
    ann.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_whose_clock_is_far_off_is_refused() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let connection = admitted(&ann, &Keyring::open()).await;
    let mut link = Link::open(
        connection,
        &LinkConfig::default(),
        std::sync::Arc::default(),
    );
    let hello = PeerInfo {
        version: PROTOCOL_VERSION,
        cluster: "grapevine".to_owned(),
        name: "eve".to_owned(),
        replica: replica(7),
        store: uuid::Uuid::nil(),
        http: String::new(),
        peer: String::new(),
        unix_ms: 1_000,
        clock: Timestamp::ZERO,
    };
    let frame = Frame::encode(&Message::Hello(hello)).expect("it is small");
    assert!(link.sender.reply(frame));
    while let Ok(Ok(Some(received))) = timeout(DEADLINE, link.receiver.receive()).await {
        assert!(matches!(received.message, Message::Hello(_)));
    }
    eventually("it is refused", async || {
        (ann.sync_totals().refusals == 1).then_some(())
    })
    .await;
    ann.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_third_link_to_a_peer_is_closed_and_the_first_goes_on() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let mut first = Stranger::connect(&ann, "eve", 7).await;
    let Some(Message::Probe { .. }) = first.next().await else {
        panic!("a peer that comes up is probed");
    };
    let second = Stranger::connect(&ann, "eve", 7).await;
    eventually("both links are up", async || {
        (ann.sync_totals().handshakes == 2).then_some(())
    })
    .await;
    let mut third = Stranger::connect(&ann, "eve", 7).await;
    while third.next().await.is_some() {}
    first.say(&Message::Probe { root: root(&ann) });
    let answered = async {
        loop {
            match first.next().await {
                Some(Message::InStep { .. }) => return,
                Some(_) => {}
                None => panic!("the first link is gone"),
            }
        }
    };
    timeout(DEADLINE, answered).await.expect("it answers");
    drop((first, second));
    sees_alive(&ann, &["ann"]).await;
    ann.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn alone_a_node_agrees_with_everybody_at_once() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let agreed = ann.cluster().converged(Duration::ZERO).await;
    assert_eq!(agreed, Ok(()));
    ann.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn convergence_means_that_what_was_written_before_is_there() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let bob = site.start("bob", &[&ann]).await;
    sees_alive(&ann, &["ann", "bob"]).await;
    sees_alive(&bob, &["ann", "bob"]).await;
    for number in 0..20 {
        let key = format!("key-{number}");
        put(ann.store(), &key, b"value").await;
        let agreed = bob.cluster().converged(DEADLINE).await;
        assert_eq!(agreed, Ok(()));
        assert!(get(bob.store(), &key).is_some(), "{key} is not there");
    }
    all_equal(&[&ann, &bob]).await;
    for member in bob.cluster().members().await {
        assert!(member.alive && member.agrees, "{member:?}");
        assert_eq!(member.lag, Some(0), "{member:?}");
        assert!(member.last_heard.is_some(), "{member:?}");
    }
    ann.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_agree_is_named_when_time_is_up() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    put(ann.store(), "key", b"value").await;
    let mut eve = Stranger::connect(&ann, "eve", 7).await;
    eve.say(&Message::Summaries {
        root: Root::default(),
        partitions: vec![PartitionSummary::default(); PARTITIONS],
    });
    eventually("eve is heard", async || {
        let members = ann.cluster().members().await;
        members
            .iter()
            .any(|member| member.name == "eve")
            .then_some(())
    })
    .await;
    let began = Instant::now();
    let missing = ann.cluster().converged(Duration::from_millis(200)).await;
    let missing = missing.expect_err("eve has nothing");
    assert!(began.elapsed() >= Duration::from_millis(200));
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].name, "eve");
    assert!(missing[0].alive && !missing[0].agrees);
    // As soon as it agrees, so does everybody.
    let agreed = async {
        loop {
            if let Some(Message::Probe { root }) = eve.next().await {
                eve.say(&Message::InStep { root });
            }
        }
    };
    tokio::select! {
        converged = ann.cluster().converged(DEADLINE) => assert_eq!(converged, Ok(())),
        () = agreed => {}
    }
    ann.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_still_pushes_what_was_acknowledged() {
    let site = Site::new();
    let mut config = site.config("ann", &[]);
    config.pull_interval_ms = 60_000;
    let ann = start(config).await;
    let bob = site.start("bob", &[&ann]).await;
    sees_alive(&ann, &["ann", "bob"]).await;
    all_equal(&[&ann, &bob]).await;
    put(ann.store(), "last", b"words").await;
    ann.shutdown().await;
    eventually("the last write", async || get(bob.store(), "last")).await;
    bob.shutdown().await;
}
