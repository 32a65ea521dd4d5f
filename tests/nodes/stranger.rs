//! A peer that says what the test tells it to.

use std::sync::Arc;

use grapevine::{
    node::Node,
    secret::Keyring,
    sync::{
        Message, PROTOCOL_VERSION, PeerInfo,
        transport::{
            Connection, Connector, Frame, Link, LinkConfig, LinkReceiver, LinkSender, Role,
            TcpConnector, Traffic, admit,
        },
    },
};
use grapevine_crdt::ReplicaId;
use tokio::time::timeout;

use super::DEADLINE;

/// A peer made by hand, past the handshake.
pub(crate) struct Stranger {
    pub(crate) replica_of_node: ReplicaId,
    sender: LinkSender,
    receiver: LinkReceiver,
}

impl Stranger {
    pub(crate) async fn connect(node: &Node, name: &str, number: u8) -> Self {
        Self::connect_with(node, name, number, &Keyring::open()).await
    }

    /// One that has the keys.
    pub(crate) async fn connect_with(
        node: &Node,
        name: &str,
        number: u8,
        keyring: &Keyring,
    ) -> Self {
        let connection = admitted(node, keyring).await;
        let traffic = Arc::new(Traffic::default());
        let link = Link::open(connection, &LinkConfig::default(), traffic);
        let mut stranger = Self {
            replica_of_node: replica(0),
            sender: link.sender,
            receiver: link.receiver,
        };
        let Some(Message::Hello(theirs)) = stranger.next().await else {
            panic!("a node greets first");
        };
        stranger.replica_of_node = theirs.replica;
        stranger.receiver.trust();
        stranger.say(&Message::Hello(PeerInfo {
            version: PROTOCOL_VERSION,
            name: name.to_owned(),
            replica: replica(number),
            store: uuid::Uuid::nil(),
            // Nobody listens there.
            http: "127.0.0.1:1".to_owned(),
            peer: "127.0.0.1:1".to_owned(),
            ..theirs
        }));
        stranger
    }

    pub(crate) fn say(&self, message: &Message) {
        assert!(
            self.sender
                .reply(Frame::encode(message).expect("it is small"))
        );
    }

    /// The next message; nothing once the node has closed the link.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        let received = timeout(DEADLINE, self.receiver.receive()).await;
        let received = received.expect("the node speaks or closes in time");
        received.ok().flatten().map(|received| received.message)
    }
}

/// A connection to `node` that it let in.
pub(crate) async fn admitted(node: &Node, keyring: &Keyring) -> Connection {
    let address = node.peer_addr().to_string();
    let connection = TcpConnector.connect(&address).await.expect("it listens");
    let role = Role::Dialled { attempt: 0 };
    let admitted = admit(connection, role, keyring, "grapevine").await;
    admitted.expect("it lets us in").connection
}

pub(crate) fn replica(number: u8) -> ReplicaId {
    ReplicaId::from_bytes([number; 16])
}
