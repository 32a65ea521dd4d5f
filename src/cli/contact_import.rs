//! `grapevine contacts import`: a file of vCards, in as many requests as it takes.

use std::path::Path;

use anyhow::bail;
use bytes::Bytes;

use super::{
    kv,
    output::{Output, shown},
    progress,
};
use crate::client::{Client, ImportReport};

/// The most bytes of one request: less than the least that a node takes unless it is told otherwise.
const PIECE_BYTES: usize = 4 * 1_024 * 1_024;
/// The most cards of one request.
const PIECE_CARDS: usize = 10_000;

pub(super) async fn run(
    client: &Client,
    output: &mut Output,
    file: &Path,
    charset: Option<&str>,
) -> anyhow::Result<()> {
    let content_type = match charset {
        Some(charset) => format!("text/vcard; charset={charset}"),
        None => "text/vcard".to_owned(),
    };
    let bytes = Bytes::from(kv::read(file).await?);
    let bar = progress::bytes("importing", bytes.len() as u64);
    let mut report = ImportReport::default();
    let mut sent = 0;
    for piece in pieces(&bytes) {
        let end = sent + piece.len();
        let taken = client.contacts().import(&content_type, piece).await;
        match taken {
            Ok(taken) => report.append(taken),
            Err(error) if report.cards.is_empty() => return Err(error.into()),
            Err(error) => {
                let cards = report.cards.len();
                return Err(anyhow::Error::new(error).context(format!(
                    "the first {cards} cards were taken in, and importing again changes nothing of them"
                )));
            }
        }
        sent = end;
        bar.set_position(sent as u64);
    }
    bar.finish_and_clear();
    output.answer(&report, |report| {
        format!(
            "{} created, {} updated, {} unchanged, {} rejected",
            report.created, report.updated, report.unchanged, report.rejected
        )
    })?;
    output.flush()?;
    if report.rejected == 0 {
        return Ok(());
    }
    let rejected = report.cards.iter().filter(|card| card.status == "rejected");
    for card in rejected {
        let why = card.problem.as_deref().unwrap_or("?");
        eprintln!("grapevine: card {}: {}", card.index, shown(why));
    }
    bail!("{} cards were rejected", report.rejected)
}

/// Pieces of whole cards. What is no ASCII within two bytes a character is sent as it is: the node says what it takes.
fn pieces(bytes: &Bytes) -> Vec<Bytes> {
    let mut pieces = Vec::new();
    let (mut start, mut place, mut cards, mut depth) = (0, 0, 0, 0_usize);
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        place += line.len();
        let line = line.trim_ascii();
        if line.eq_ignore_ascii_case(b"BEGIN:VCARD") {
            depth += 1;
        } else if line.eq_ignore_ascii_case(b"END:VCARD") {
            depth = depth.saturating_sub(1);
            cards += usize::from(depth == 0);
        }
        let full = cards >= PIECE_CARDS || place - start >= PIECE_BYTES;
        if depth == 0 && cards > 0 && full {
            pieces.push(bytes.slice(start..place));
            (start, cards) = (place, 0);
        }
    }
    if !bytes[start..].trim_ascii().is_empty() || pieces.is_empty() {
        pieces.push(bytes.slice(start..));
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_file_is_cut_between_cards_and_nothing_is_lost() {
        let card = |note: &str| {
            format!(
                "BEGIN:VCARD\r\nFN:A\r\nNOTE:{note}\r\nBEGIN:VCARD\r\nFN:Agent\r\nEND:VCARD\r\nEND:VCARD\r\n"
            )
        };
        let long = "x".repeat(PIECE_BYTES / 3);
        let file: String = (0..8).map(|_| card(&long)).collect();
        let file = Bytes::from(file);
        let pieces = pieces(&file);
        assert!(pieces.len() > 2, "{}", pieces.len());
        for piece in &pieces {
            assert!(piece.starts_with(b"BEGIN:VCARD"));
            assert!(piece.ends_with(b"END:VCARD\r\n"));
            assert!(piece.len() < 2 * PIECE_BYTES);
        }
        assert_eq!(pieces.concat(), file);
        let many: String = (0..=PIECE_CARDS).map(|_| card("")).collect();
        assert_eq!(super::pieces(&Bytes::from(many)).len(), 2);
        assert_eq!(super::pieces(&Bytes::from_static(b"nothing")).len(), 1);
    }
}
