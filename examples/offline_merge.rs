//! Two sites edit the same address book without hearing of each other, then meet.
//!
//! Everything goes through the library: nodes are started in this process, and contacts and counters are read
//! and written in their stores, as a program would that embeds Grapevine. The contacts are real vCards.
//!
//! `cargo run --example offline_merge`

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, Instant},
};

use grapevine::{
    config::NodeConfig,
    model::{
        CardFile, Collection, Contact, ContactDraft, Counter, Direction, EntityId, Source,
        WriteStamp, contact_edit, vcard_edit,
    },
    node::Node,
    store::{Edit, Listing},
};
use serde_json::json;

type Failure = Box<dyn Error + Send + Sync>;

/// The address book that both sites know.
const CARDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/vcards");

/// How long the nodes may take to agree.
const AGREEMENT_DEADLINE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let directory = directory.path();

    println!("Two sites, joined: the shore imports an address book, the ship gets it");
    let shore = start("shore", directory, vec![]).await?;
    let ship = start("ship", directory, vec![shore.peer_addr().to_string()]).await?;
    import(&shore, Path::new(CARDS)).await?;
    count(&shore, Direction::Increment, 100).await?;
    let nodes = [shore, ship];
    agree(&nodes).await?;
    let known = book(&nodes[1])?;
    println!("  {} contacts on the ship", known.len());

    println!("They part: each runs alone, on other ports, with no seed");
    for node in nodes {
        node.shutdown().await;
    }
    let shore = start("shore", directory, vec![]).await?;
    let ship = start("ship", directory, vec![]).await?;
    let mut ids = known.keys();
    let [first, second, third] = [ids.next(), ids.next(), ids.next()]
        .map(|id| id.expect("the address book has more than three contacts"));
    edit(&shore, first, json!({ "title": "Harbour master" })).await?;
    edit(&ship, first, json!({ "note": "Met in the lagoon" })).await?;
    edit(&shore, second, json!({ "organization": "Shore Ltd" })).await?;
    edit(&ship, second, json!({ "organization": "Ship Ltd" })).await?;
    remove(&shore, third).await?;
    edit(&ship, third, json!({ "note": "Owes us a rope" })).await?;
    count(&shore, Direction::Increment, 10).await?;
    count(&ship, Direction::Decrement, 25).await?;
    println!("  shore: a title, an organization, a contact removed, 10 counted");
    println!("  ship: a note, an organization, a note on the removed one, 25 counted down");

    println!("They meet through a harbour that knows both");
    let seeds = [&shore, &ship].map(|node| node.peer_addr().to_string());
    let harbour = start("harbour", directory, seeds.to_vec()).await?;
    let nodes = [harbour, shore, ship];
    agree(&nodes).await?;

    let merged = book(&nodes[0])?;
    println!("  {}", show(&merged[first]));
    println!("  {}", show(&merged[second]));
    println!("  {}", show(&merged[third]));
    println!("  the counter stands at {}", counter(&nodes[0])?.value);
    let answers = nodes
        .iter()
        .map(answer_bytes)
        .collect::<Result<Vec<_>, _>>()?;
    if answers.iter().any(|bytes| *bytes != answers[0]) {
        return Err("the nodes answer different bytes".into());
    }
    println!("All nodes answer the same {} bytes", answers[0].len());
    for node in nodes {
        node.shutdown().await;
    }
    Ok(())
}

async fn start(name: &str, directory: &Path, seeds: Vec<String>) -> Result<Node, Failure> {
    let free = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut config = NodeConfig::new(name, directory.join(name), free, free);
    config.seeds = seeds;
    Ok(Node::start(config).await?)
}

/// Takes every card of every file of a directory in.
async fn import(node: &Node, directory: &Path) -> Result<(), Failure> {
    let mut files = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "vcf"));
    files.sort();
    for path in files {
        for card in CardFile::read(&fs::read(&path)?, None, 1_000)?.cards {
            let card = card.map_err(|rejected| rejected.problem)?;
            let id = EntityId::new(Collection::Contacts, card.id.clone())?;
            let source = Source::default().and(&card);
            node.store()
                .write(id, move |edit| {
                    vcard_edit::import(edit.entity, &card, source, stamp(&edit))
                })
                .await?;
        }
    }
    Ok(())
}

/// Changes some fields of a contact and leaves the others alone.
async fn edit(node: &Node, id: &str, patch: serde_json::Value) -> Result<(), Failure> {
    let key = id.to_owned();
    node.store()
        .write(EntityId::new(Collection::Contacts, id)?, move |edit| {
            let current = Contact::read(&key, edit.entity).ok_or("there is no such contact")?;
            let draft =
                ContactDraft::patched(&current, &patch).map_err(|error| error.to_string())?;
            Ok::<_, String>(contact_edit::put(edit.entity, &draft, stamp(&edit)))
        })
        .await?;
    Ok(())
}

async fn remove(node: &Node, id: &str) -> Result<(), Failure> {
    let id = EntityId::new(Collection::Contacts, id)?;
    node.store()
        .write(id, |edit| {
            Ok::<_, String>((contact_edit::delete(edit.entity, edit.dot), ()))
        })
        .await?;
    Ok(())
}

async fn count(node: &Node, direction: Direction, by: u64) -> Result<(), Failure> {
    let id = EntityId::new(Collection::Counters, "cargo")?;
    node.store()
        .write(id, move |edit| {
            Counter::count(edit.entity, direction, by, edit.dot).map(|cells| (cells, ()))
        })
        .await?;
    Ok(())
}

fn stamp<'a>(edit: &Edit<'a>) -> WriteStamp<'a> {
    WriteStamp {
        dot: edit.dot,
        time: edit.time,
        collected: Some(&edit.floor.vector),
        region: None,
    }
}

/// All contacts that are visible, by id.
fn book(node: &Node) -> Result<BTreeMap<String, Contact>, Failure> {
    let mut book = BTreeMap::new();
    let listing = Listing {
        collection: Collection::Contacts,
        prefix: "",
        after: None,
    };
    node.store().snapshot().list(&listing, &mut |id, entity| {
        if let Some(contact) = Contact::read(id.key(), &entity) {
            book.insert(id.key().to_owned(), contact);
        }
        std::ops::ControlFlow::Continue(())
    })?;
    Ok(book)
}

fn counter(node: &Node) -> Result<Counter, Failure> {
    let id = EntityId::new(Collection::Counters, "cargo")?;
    let entity = node.store().snapshot().entity(&id)?.unwrap_or_default();
    Ok(Counter::read("cargo", &entity))
}

/// What a node says of everything, as bytes.
fn answer_bytes(node: &Node) -> Result<Vec<u8>, Failure> {
    Ok(serde_json::to_vec(&(book(node)?, counter(node)?))?)
}

/// Waits until the nodes hold the same: their roots, hashes over everything, are equal.
async fn agree(nodes: &[Node]) -> Result<(), Failure> {
    let start = Instant::now();
    loop {
        let roots: Vec<_> = nodes
            .iter()
            .map(|node| node.store().snapshot().state().root())
            .collect();
        if roots.iter().all(|root| *root == roots[0]) {
            println!("  they agree after {:?}", start.elapsed());
            return Ok(());
        }
        if start.elapsed() > AGREEMENT_DEADLINE {
            return Err("the nodes do not agree in time".into());
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn show(contact: &Contact) -> String {
    let text = |field: &Option<String>| field.clone().unwrap_or_else(|| "-".to_owned());
    format!(
        "{}: title {}, organization {}, note {}{}{}",
        contact.name,
        text(&contact.title),
        text(&contact.organization),
        text(&contact.note),
        if contact.revived { ", came back" } else { "" },
        if contact.conflicts > 0 {
            ", an edit lost a conflict"
        } else {
            ""
        },
    )
}
