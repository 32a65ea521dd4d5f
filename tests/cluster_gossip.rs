//! The danger: a cluster grows, or a member names so many nodes, that what is to be gossiped does not fit a datagram, and
//! from then on nobody hears who is alive.

mod nodes;

use std::net::SocketAddr;

use chitchat::{ChitchatId, Serializable};
use grapevine::{
    cluster::MAX_DATAGRAM_BYTES,
    node::Node,
    secret::{Keyring, Secret, Secrets},
    sync::{Message, driver::MAX_CARRIED_BYTES},
};
use nodes::{Site, eventually, sees_alive, start, stranger::Stranger};

/// How many nodes a member names: their digest alone is longer than a datagram.
const NAMED: u16 = 1_500;

/// A message of gossip, as of version 1, that names nodes which are not there.
fn crowd() -> Vec<u8> {
    // The version, then chitchat's magic number, its version, and a Syn.
    let mut message = vec![1, 0x53, 0xb0, 0, 0];
    NAMED.serialize(&mut message);
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 1));
    for number in 0..NAMED {
        let id = ChitchatId::new(format!("{number:016x}"), 1_u64 << 44, nowhere);
        id.serialize(&mut message);
        for version in [1_u64, 0, 1] {
            version.serialize(&mut message);
        }
    }
    "grapevine".serialize(&mut message);
    message
}

async fn gossip_goes_on_beyond_a_datagram(secrets: Secrets) {
    let site = Site::new();
    let configured = |name: &str, seeds: &[&Node]| {
        let mut config = site.config(name, seeds);
        config.cluster_secrets = secrets.clone();
        config
    };
    let ann = start(configured("ann", &[])).await;
    let bob = start(configured("bob", &[&ann])).await;
    for node in [&ann, &bob] {
        sees_alive(node, &["ann", "bob"]).await;
    }
    let (keyring, _keys) = Keyring::new(&secrets, "grapevine");
    let eve = Stranger::connect_with(&ann, "eve", 7, &keyring).await;
    let crowd = crowd();
    assert!(crowd.len() > MAX_DATAGRAM_BYTES);
    eve.say(&Message::Gossip {
        message: crowd.into(),
    });
    let carried = |node: &Node| (node.gossip_totals().carried, node.sync_totals().carried);
    eventually("what Ann was told comes to Bob over TCP", async || {
        let (asked, sent) = carried(&ann);
        (asked > 0 && sent > 0).then_some(())
    })
    .await;
    // Bob knows all of them now: what he says is as long.
    eventually("Bob answers over TCP", async || {
        let (asked, sent) = carried(&bob);
        (asked > 5 && sent > 5).then_some(())
    })
    .await;
    let heard = ann.gossip_totals().received;
    eventually("Ann hears him", async || {
        (ann.gossip_totals().received > heard + 5).then_some(())
    })
    .await;
    for node in [&ann, &bob] {
        let members = node.cluster().members().await;
        let alive = |name: &str| {
            let mut members = members.iter();
            members.any(|member| member.name == name && member.alive)
        };
        assert!(alive("ann") && alive("bob"), "{members:?}");
        assert_eq!(node.gossip_totals().restarts, 0);
        assert_eq!(node.gossip_totals().too_large, 0);
    }
    // What is longer than may be carried is not looked at.
    let received = ann.gossip_totals().unreadable;
    // The first link may be over by now: nobody read what Ann said there.
    let eve = Stranger::connect_with(&ann, "eve", 8, &keyring).await;
    eve.say(&Message::Gossip {
        message: vec![1; MAX_CARRIED_BYTES + 1].into(),
    });
    eve.say(&Message::Gossip {
        message: vec![1; 10].into(),
    });
    eventually("the short one is looked at", async || {
        (ann.gossip_totals().unreadable == received + 1).then_some(())
    })
    .await;
    ann.shutdown().await;
    bob.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_gossip_stops_when_it_does_not_fit_a_datagram() {
    gossip_goes_on_beyond_a_datagram(Secrets::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sealed_gossip_stops_when_it_does_not_fit_a_datagram() {
    let secrets = Secrets::new(vec![Secret::random()]).expect("one");
    gossip_goes_on_beyond_a_datagram(secrets).await;
}
