//! A file of vCards, imported into one contact.

use grapevine::model::{Card, CardFile, Contact, Source, WriteStamp, vcard_edit};
use grapevine_crdt::{Dot, Entity, ReplicaId, Seq, Timestamp};

const MAX_CARDS: usize = 100;

pub(super) fn run(bytes: &[u8]) {
    for charset in [None, Some("iso-8859-1"), Some("utf-16le")] {
        let Ok(file) = CardFile::read(bytes, charset, MAX_CARDS) else {
            continue;
        };
        assert!(file.cards.len() <= MAX_CARDS);
        for card in file.cards.into_iter().flatten() {
            import(&card);
        }
    }
}

/// An import either is refused or shows a contact, and a second one changes nothing.
fn import(card: &Card) {
    let source = Source::default().and(card);
    let mut entity = Entity::default();
    let stamp = |seq| WriteStamp {
        dot: Dot::new(ReplicaId::from_bytes([1; 16]), Seq::new(seq)),
        time: Timestamp::from_unix_ms(1_000_000 + seq),
        collected: None,
        region: None,
    };
    let Ok((cells, _)) = vcard_edit::import(&entity, card, source, stamp(1)) else {
        return;
    };
    for cell in cells {
        entity.merge_cell(cell);
    }
    assert!(Contact::read(&card.id, &entity).is_some());
    let again = vcard_edit::import(&entity, card, source, stamp(2));
    assert!(again.is_ok_and(|(cells, _)| cells.is_empty()));
}
