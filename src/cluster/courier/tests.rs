use super::*;
use crate::secret::{KeyringWriter, Secret, Secrets};

const ANN: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)),
    1,
);
const BOB: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)),
    2,
);
const EVE: SocketAddr = SocketAddr::new(
    std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3)),
    3,
);

fn secrets(bytes: &[u8]) -> Secrets {
    let secrets = bytes.iter().map(|byte| Secret::from_bytes([*byte; 32]));
    Secrets::new(secrets.collect()).expect("two at most")
}

fn courier(life: u8, with: &[u8]) -> (Courier, KeyringWriter) {
    let (keyring, writer) = Keyring::new(&secrets(with), "grapevine");
    let drawn = Drawn {
        life: [life; 16],
        token_key: [life; 32],
    };
    (Courier::new(keyring, drawn), writer)
}

fn message(delivered: Result<Delivered, SealError>) -> Vec<u8> {
    match delivered {
        Ok(Delivered::Message(message)) => message,
        other => panic!("{other:?} is no message"),
    }
}

/// The datagram by which `text` came from `ann` to `bob`, who did not know each other.
fn meet(ann: &mut Courier, bob: &mut Courier, text: &[u8]) -> Vec<u8> {
    let Posted::AfterToken(greeting) = ann.post(BOB, text.to_vec()) else {
        panic!("it knows no token");
    };
    let Ok(Delivered::Unproven(answer)) = bob.take(ANN, &greeting) else {
        panic!("it proves nothing");
    };
    assert!(answer.len() <= greeting.len());
    let Ok(Delivered::Token(Some((to, datagram)))) = ann.take(BOB, &answer) else {
        panic!("it was waited for");
    };
    assert_eq!(to, BOB);
    assert_eq!(message(bob.take(ANN, &datagram)), text);
    datagram
}

fn now(posted: Posted) -> Vec<u8> {
    match posted {
        Posted::Now(datagram) => datagram,
        other => panic!("{other:?} waits"),
    }
}

#[test]
fn two_nodes_that_meet_lose_more_than_one_round() {
    let ((mut ann, _a), (mut bob, _b)) = (courier(1, &[7]), courier(2, &[7]));
    meet(&mut ann, &mut bob, b"syn");
    // The first message brought the token that the answer needs.
    let answer = now(bob.post(ANN, b"syn-ack".to_vec()));
    assert_eq!(message(ann.take(BOB, &answer)), b"syn-ack");
    let ack = now(ann.post(BOB, b"ack".to_vec()));
    assert_eq!(message(bob.take(ANN, &ack)), b"ack");
}

#[test]
fn a_recording_is_taken_again_by_the_same_node_another_one_or_one_started_later() {
    let ((mut ann, _a), (mut bob, _b)) = (courier(1, &[7]), courier(2, &[7]));
    let recorded = meet(&mut ann, &mut bob, b"syn");
    assert_eq!(bob.take(ANN, &recorded), Err(SealError::Repeated));
    let refused = |courier: &mut Courier, from| match courier.take(from, &recorded) {
        Ok(Delivered::Unproven(answer)) => assert!(answer.len() <= recorded.len()),
        other => panic!("{other:?}"),
    };
    refused(&mut bob, EVE);
    refused(&mut courier(2, &[7]).0, EVE);
    // The same node, started again: all that it drew is new.
    refused(&mut courier(3, &[7]).0, ANN);
}

#[test]
fn one_who_takes_a_fresh_datagram_off_the_wire_has_the_answer_sent_to_himself() {
    let ((mut ann, _a), (mut bob, _b)) = (courier(1, &[7]), courier(2, &[7]));
    meet(&mut ann, &mut bob, b"syn");
    let fresh = now(ann.post(BOB, b"syn".repeat(100)));
    let Ok(Delivered::Unproven(answer)) = bob.take(EVE, &fresh) else {
        panic!("it comes from elsewhere");
    };
    assert!(answer.len() <= SEALED_EXTRA_BYTES);
    // It loses nothing either: the message still comes the right way.
    assert_eq!(message(bob.take(ANN, &fresh)), b"syn".repeat(100));
}

#[test]
fn a_node_that_was_started_again_is_never_heard_again() {
    let ((mut ann, _a), (mut bob, _b)) = (courier(1, &[7]), courier(2, &[7]));
    meet(&mut ann, &mut bob, b"syn");
    let (mut bob, _b) = courier(9, &[7]);
    let lost = now(ann.post(BOB, b"syn".to_vec()));
    let Ok(Delivered::Unproven(answer)) = bob.take(ANN, &lost) else {
        panic!("its proof is for a process that is over");
    };
    assert_eq!(ann.take(BOB, &answer), Ok(Delivered::Token(None)));
    let next = now(ann.post(BOB, b"syn".to_vec()));
    assert_eq!(message(bob.take(ANN, &next)), b"syn");
}

#[test]
fn an_old_answer_makes_a_node_forget_a_good_token() {
    let ((mut ann, _a), (mut bob, _b)) = (courier(1, &[7]), courier(2, &[7]));
    let Posted::AfterToken(greeting) = ann.post(BOB, b"syn".to_vec()) else {
        panic!("it knows no token");
    };
    let Ok(Delivered::Unproven(recorded)) = bob.take(ANN, &greeting) else {
        panic!("it proves nothing");
    };
    assert!(ann.take(BOB, &recorded).is_ok());
    assert_eq!(ann.take(BOB, &recorded), Err(SealError::Repeated));
    let (mut ann, _a) = courier(5, &[7]);
    assert_eq!(ann.take(BOB, &recorded), Err(SealError::Repeated));
}

#[test]
fn a_peer_that_answers_from_another_address_of_its_own_is_never_heard() {
    let ((mut ann, _a), (mut bob, _b)) = (courier(1, &[7]), courier(2, &[7]));
    // Bob is reached at BOB and sends from EVE.
    meet(&mut ann, &mut bob, b"syn");
    let answer = now(bob.post(ANN, b"syn-ack".to_vec()));
    let Ok(Delivered::Unproven(token)) = ann.take(EVE, &answer) else {
        panic!("the token was for BOB");
    };
    assert_eq!(bob.take(ANN, &token), Ok(Delivered::Token(None)));
    for round in 0..3 {
        let syn = now(ann.post(BOB, vec![round]));
        assert_eq!(message(bob.take(ANN, &syn)), [round]);
        let answer = now(bob.post(ANN, b"syn-ack".to_vec()));
        assert_eq!(message(ann.take(EVE, &answer)), b"syn-ack");
    }
}

#[test]
fn a_change_of_secrets_parts_nodes_that_are_one_step_apart() {
    let steps: [&[u8]; 4] = [&[7], &[7, 8], &[8, 7], &[8]];
    let ((mut ann, ann_keys), (mut bob, bob_keys)) = (courier(1, steps[0]), courier(2, steps[0]));
    meet(&mut ann, &mut bob, b"syn");
    let both = |ann: &mut Courier, bob: &mut Courier| {
        let there = now(ann.post(BOB, b"there".to_vec()));
        assert_eq!(message(bob.take(ANN, &there)), b"there");
        let back = now(bob.post(ANN, b"back".to_vec()));
        assert_eq!(message(ann.take(BOB, &back)), b"back");
    };
    for step in &steps[1..] {
        ann_keys.replace(&secrets(step));
        both(&mut ann, &mut bob);
        bob_keys.replace(&secrets(step));
        both(&mut ann, &mut bob);
    }
    let (mut eve, _e) = courier(3, &[7]);
    let Posted::AfterToken(greeting) = eve.post(BOB, Vec::new()) else {
        panic!("it knows no token");
    };
    assert_eq!(bob.take(EVE, &greeting), Err(SealError::Stranger));
}

#[test]
fn open_and_sealed_nodes_take_each_other_for_something_else() {
    let ((mut open, _o), (mut sealed, _s)) = (courier(1, &[]), courier(2, &[7]));
    let plain = now(open.post(BOB, vec![1, 2, 3]));
    assert_eq!(plain, [1, 2, 3]);
    assert_eq!(sealed.take(ANN, &plain), Err(SealError::Unsealed));
    let Posted::AfterToken(greeting) = sealed.post(ANN, vec![1]) else {
        panic!("it knows no token");
    };
    assert_eq!(open.take(BOB, &greeting), Err(SealError::Sealed));
}

#[test]
fn what_does_not_fit_sealed_is_cut_or_lost() {
    let ((mut open, _o), (mut sealed, _s)) = (courier(1, &[]), courier(2, &[7]));
    let most = vec![1; MAX_DATAGRAM_BYTES];
    assert_eq!(now(open.post(BOB, most.clone())), most);
    assert_eq!(sealed.post(BOB, most.clone()), Posted::TooLarge(most));
    let ((mut ann, _a), (mut bob, _b)) = (courier(1, &[7]), courier(2, &[7]));
    let most = vec![1; MAX_DATAGRAM_BYTES - SEALED_EXTRA_BYTES];
    assert_eq!(meet(&mut ann, &mut bob, &most).len(), MAX_DATAGRAM_BYTES);
}

#[test]
fn thousands_of_lives_and_addresses_fill_memory_or_let_a_recording_in() {
    let ((mut ann, _a), (mut bob, _b)) = (courier(1, &[7]), courier(2, &[7]));
    let recorded = meet(&mut ann, &mut bob, b"syn");
    for life in 0..u32::try_from(MAX_LIVES).expect("few") + 10 {
        let name = Name {
            life: {
                let mut bytes = [9; 16];
                bytes[..4].copy_from_slice(&life.to_be_bytes());
                bytes
            },
            number: 0,
        };
        assert_eq!(bob.take_name(name), Ok(()));
        bob.learn(SocketAddr::from((life.to_be_bytes(), 1)), [0; 16]);
        let _waits = bob.post(SocketAddr::from((life.to_be_bytes(), 9)), vec![1]);
    }
    assert!(bob.windows.len() <= MAX_LIVES);
    assert!(bob.tokens.len() <= MAX_ADDRESSES);
    assert!(bob.waiting.len() <= MAX_WAITING);
    assert!(!bob.windows.contains_key(&[1; 16]), "it was forgotten");
    assert!(matches!(
        bob.take(ANN, &recorded),
        Ok(Delivered::Unproven(_))
    ));
}
