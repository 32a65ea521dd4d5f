//! One suite for every transport: what a link promises must hold over TCP and in memory alike.

use std::{sync::Arc, time::Duration};

use grapevine::{
    model::{PARTITIONS, PartitionSummary, Root},
    secret::{Keyring, Secret, Secrets},
    sync::{
        MAX_FRAME_BYTES, Message,
        transport::{
            Connection, Connector, Frame, FrameError, HELLO_MAX_BYTES, Link, LinkConfig, Listener,
            MemoryNetwork, Role, TcpConnector, TcpTransport, Traffic, admit,
        },
    },
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    time::timeout,
};

const DEADLINE: Duration = Duration::from_secs(20);

async fn tcp() -> (Connection, Connection) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let listener = TcpTransport::new(listener).expect("it is bound");
    pair(listener, TcpConnector).await
}

async fn memory() -> (Connection, Connection) {
    let network = MemoryNetwork::default();
    let listener = network.listen("there").expect("nobody listens there");
    pair(listener, network.connector()).await
}

/// The same with a cluster secret: nothing above the bytes may tell.
async fn sealed((left, right): (Connection, Connection)) -> (Connection, Connection) {
    let secrets = Secrets::new(vec![Secret::random()]).expect("one");
    let (keyring, _keys) = Keyring::new(&secrets, "grapevine");
    let dialled = Role::Dialled { attempt: 0 };
    let (left, right) = tokio::join!(
        admit(left, dialled, &keyring, "grapevine"),
        admit(right, Role::Accepted, &keyring, "grapevine"),
    );
    let (left, right) = (left.expect("it has it"), right.expect("it has it"));
    assert!(left.sealed_with.is_some());
    (left.connection, right.connection)
}

async fn pair(mut listener: impl Listener, connector: impl Connector) -> (Connection, Connection) {
    let address = listener.address();
    let (dialled, accepted) = tokio::join!(connector.connect(&address), listener.accept());
    (
        dialled.expect("somebody listens"),
        accepted.expect("it came"),
    )
}

fn probe(number: u128) -> Message {
    Message::Probe { root: Root(number) }
}

fn summaries(number: u128) -> Message {
    let Message::Summaries { partitions, .. } = long_summaries(PARTITIONS) else {
        unreachable!("that is what it makes")
    };
    Message::Summaries {
        root: Root(number),
        partitions,
    }
}

/// A message of about 35 bytes for each of `partitions`.
fn long_summaries(partitions: usize) -> Message {
    let partition = PartitionSummary {
        vector_hash: u128::MAX,
        digest: u128::MAX,
        ..PartitionSummary::default()
    };
    Message::Summaries {
        root: Root(1),
        partitions: vec![partition; partitions],
    }
}

fn frame(message: &Message) -> Frame {
    Frame::encode(message).expect("it is small")
}

fn open(connection: Connection) -> Link {
    open_with(connection, &LinkConfig::default())
}

fn open_with(connection: Connection, config: &LinkConfig) -> Link {
    let mut link = Link::open(connection, config, Arc::new(Traffic::default()));
    link.receiver.trust();
    link
}

async fn next(link: &mut Link) -> Result<Option<Message>, FrameError> {
    timeout(DEADLINE, link.receiver.receive())
        .await
        .expect("the deadline is generous")
        .map(|received| received.map(|received| received.message))
}

async fn frames_keep_their_order_in_both_directions((left, right): (Connection, Connection)) {
    let (mut left, mut right) = (open(left), open(right));
    for number in 0..1_000 {
        assert!(left.sender.reply(frame(&probe(number))));
        assert!(right.sender.reply(frame(&probe(number + 1_000))));
    }
    for number in 0..1_000 {
        assert_eq!(next(&mut right).await.expect("whole"), Some(probe(number)));
        let back = Some(probe(number + 1_000));
        assert_eq!(next(&mut left).await.expect("whole"), back);
    }
}

async fn a_push_overtakes_replies_that_wait((left, right): (Connection, Connection)) {
    // Not read yet, so the writer stops with replies still waiting.
    let left = open(left);
    let mut replies = 0;
    while left.sender.reply(frame(&summaries(replies))) {
        replies += 1;
    }
    assert!(left.sender.push(frame(&probe(7))));
    let mut right = open(right);
    for _ in 0..replies {
        let message = next(&mut right).await.expect("whole");
        if message == Some(probe(7)) {
            return;
        }
    }
    panic!("{replies} replies came before the push");
}

async fn a_frame_over_the_limit_is_refused((mut left, right): (Connection, Connection)) {
    let length = u32::try_from(MAX_FRAME_BYTES + 1).expect("it fits");
    let written = left.writing.write_all(&length.to_be_bytes()).await;
    written.expect("nobody closed");
    let mut right = open(right);
    let error = next(&mut right).await.expect_err("it is too long");
    assert!(matches!(error, FrameError::TooLarge { .. }), "{error}");
}

async fn a_stranger_may_only_say_hello((mut left, right): (Connection, Connection)) {
    let length = u32::try_from(HELLO_MAX_BYTES + 1).expect("it fits");
    let written = left.writing.write_all(&length.to_be_bytes()).await;
    written.expect("nobody closed");
    let mut right = Link::open(right, &LinkConfig::default(), Arc::default());
    let error = next(&mut right).await.expect_err("it is too long");
    assert!(matches!(error, FrameError::TooLarge { .. }), "{error}");
}

async fn a_torn_frame_is_an_error_and_no_message((mut left, right): (Connection, Connection)) {
    let whole = frame(&probe(1));
    let bytes = frame(&summaries(2));
    let torn = &bytes.bytes()[..bytes.bytes().len() - 1];
    left.writing.write_all(whole.bytes()).await.expect("open");
    left.writing.write_all(torn).await.expect("open");
    left.writing.shutdown().await.expect("open");
    let mut right = open(right);
    assert_eq!(next(&mut right).await.expect("whole"), Some(probe(1)));
    let error = next(&mut right).await.expect_err("it is torn");
    assert!(matches!(error, FrameError::Torn), "{error}");
}

async fn garbage_is_an_error_and_no_panic((mut left, right): (Connection, Connection)) {
    let body = [0xff; 100];
    let length = u32::try_from(body.len()).expect("it fits");
    left.writing
        .write_all(&length.to_be_bytes())
        .await
        .expect("open");
    left.writing.write_all(&body).await.expect("open");
    let mut right = open(right);
    let error = next(&mut right).await.expect_err("it is garbage");
    assert!(matches!(error, FrameError::Garbage(_)), "{error}");
}

async fn bytes_behind_a_message_are_an_error((mut left, right): (Connection, Connection)) {
    let mut bytes = frame(&probe(1)).bytes().to_vec();
    bytes.push(0);
    bytes[3] += 1;
    left.writing.write_all(&bytes).await.expect("open");
    let mut right = open(right);
    let error = next(&mut right).await.expect_err("a byte too many");
    assert!(matches!(error, FrameError::Garbage(_)), "{error}");
}

async fn a_peer_that_does_not_read_costs_bounded_memory((left, right): (Connection, Connection)) {
    let config = LinkConfig {
        max_push_frames: 10,
        max_reply_bytes: 100_000,
        ..LinkConfig::default()
    };
    let traffic = Arc::new(Traffic::default());
    let left = Link::open(left, &config, Arc::clone(&traffic));
    let (push, reply) = (frame(&summaries(1)), frame(&summaries(2)));
    // Enough for any buffer of the operating system: 2 x 20,000 frames of about 9 KiB.
    let mut taken = 0;
    for _ in 0..20_000 {
        taken += u64::from(left.sender.push(push.clone()));
        taken += u64::from(left.sender.reply(reply.clone()));
        tokio::task::yield_now().await;
    }
    let dropped = traffic.totals();
    assert!(dropped.pushes_dropped > 0 && dropped.replies_dropped > 0);
    assert_eq!(
        dropped.pushes_dropped + dropped.replies_dropped + taken,
        40_000
    );
    // What was taken still comes, whole.
    left.sender.finish();
    let mut right = open(right);
    for _ in 0..taken {
        assert!(next(&mut right).await.expect("whole").is_some());
    }
    assert_eq!(next(&mut right).await.expect("the end is clean"), None);
}

async fn a_peer_that_takes_nothing_is_given_up((left, right): (Connection, Connection)) {
    let config = LinkConfig {
        stalled_after: Duration::from_millis(50),
        ..LinkConfig::default()
    };
    let mut left = open_with(left, &config);
    let large = frame(&summaries(1));
    while left.sender.reply(large.clone()) {}
    let ended = next(&mut left)
        .await
        .expect("it was our side that ended it");
    assert_eq!(ended, None);
    drop(right);
}

async fn a_silent_peer_is_given_up((left, right): (Connection, Connection)) {
    let config = LinkConfig {
        silent_after: Duration::from_millis(50),
        ..LinkConfig::default()
    };
    let mut left = open_with(left, &config);
    let error = next(&mut left).await.expect_err("nothing came");
    assert!(matches!(error, FrameError::Silent(_)), "{error}");
    drop(right);
}

async fn an_idle_link_stays_alive((left, right): (Connection, Connection)) {
    let config = LinkConfig {
        keep_alive_period: Duration::from_millis(5),
        silent_after: Duration::from_millis(500),
        ..LinkConfig::default()
    };
    let left = open_with(left, &config);
    let mut right = right;
    let mut seen = [1; 400];
    let read = timeout(DEADLINE, right.reading.read_exact(&mut seen)).await;
    read.expect("100 keep-alives come in time").expect("open");
    assert_eq!(seen, [0; 400]);
    let mut right = open_with(right, &config);
    assert!(left.sender.reply(frame(&probe(3))));
    assert_eq!(next(&mut right).await.expect("whole"), Some(probe(3)));
}

async fn one_side_may_end_while_the_other_goes_on((left, right): (Connection, Connection)) {
    let (mut left, mut right) = (open(left), open(right));
    assert!(left.sender.reply(frame(&probe(1))));
    left.sender.finish();
    assert!(!left.sender.reply(frame(&probe(2))));
    assert_eq!(next(&mut right).await.expect("whole"), Some(probe(1)));
    assert_eq!(next(&mut right).await.expect("the end is clean"), None);
    assert!(right.sender.reply(frame(&probe(3))));
    assert_eq!(next(&mut left).await.expect("whole"), Some(probe(3)));
}

async fn breaking_off_ends_both_sides((left, right): (Connection, Connection)) {
    let (mut left, mut right) = (open(left), open(right));
    left.sender.break_off();
    assert_eq!(next(&mut left).await.expect("our own doing"), None);
    drop(left);
    assert!(!matches!(next(&mut right).await, Ok(Some(_))));
}

async fn a_frame_of_megabytes_arrives_whole((left, right): (Connection, Connection)) {
    let (left, mut right) = (open(left), open(right));
    let large = long_summaries(300_000);
    assert!(left.sender.reply(frame(&large)));
    assert!(next(&mut right).await.expect("whole") == Some(large));
}

macro_rules! suite {
    ($($test:ident),* $(,)?) => {
        mod over_tcp {
            $(#[tokio::test] async fn $test() { super::$test(super::tcp().await).await; })*
        }
        mod in_memory {
            $(#[tokio::test] async fn $test() { super::$test(super::memory().await).await; })*
        }
        mod sealed_over_tcp {
            $(#[tokio::test] async fn $test() {
                super::$test(super::sealed(super::tcp().await).await).await;
            })*
        }
        mod sealed_in_memory {
            $(#[tokio::test] async fn $test() {
                super::$test(super::sealed(super::memory().await).await).await;
            })*
        }
    };
}

suite!(
    frames_keep_their_order_in_both_directions,
    a_push_overtakes_replies_that_wait,
    a_frame_over_the_limit_is_refused,
    a_stranger_may_only_say_hello,
    a_torn_frame_is_an_error_and_no_message,
    garbage_is_an_error_and_no_panic,
    bytes_behind_a_message_are_an_error,
    a_peer_that_does_not_read_costs_bounded_memory,
    a_peer_that_takes_nothing_is_given_up,
    a_silent_peer_is_given_up,
    an_idle_link_stays_alive,
    one_side_may_end_while_the_other_goes_on,
    breaking_off_ends_both_sides,
    a_frame_of_megabytes_arrives_whole,
);

#[test]
fn a_message_over_the_limit_is_not_made_into_a_frame() {
    let error = Frame::encode(&long_summaries(MAX_FRAME_BYTES / 34)).expect_err("it is too long");
    assert!(matches!(error, FrameError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn nobody_listens_twice_at_one_address_in_memory() {
    let network = MemoryNetwork::default();
    let listener = network.listen("there").expect("nobody listens there");
    assert!(network.listen("there").is_err());
    drop(listener);
    assert!(network.connector().connect("there").await.is_err());
    assert!(network.listen("there").is_ok());
}
