//! What is measured of the store, of sync, gossip and the members, for one scrape.
//!
//! Invariant: series are bounded: at most [`MAX_PEERS_TOLD`] peers are told, by their names.

use std::collections::BTreeMap;

use super::{census::LastCount, view::View};
use crate::{
    cluster::{BlockedWhy, ClusterView as _, GossipTotals, Health, MemberStatus},
    metrics::{Exposition, Labels, real},
    store::Store,
    sync::{driver::DriverTotals, transport::TrafficTotals},
};

/// The most peers that are told by name.
const MAX_PEERS_TOLD: usize = 256;

/// What all peers are called that are not told by name.
const OTHERS: &str = "others";

pub(super) async fn measure(view: &View, out: &mut Exposition) {
    of_store(&view.store, out);
    of_count(&view.count, out);
    of_sync(&view.driver.totals(), out);
    of_members(view, out).await;
    of_gossip(view.gossip.totals(), out);
    of_health(&view.health().await, out);
    let refused = view.refused();
    out.gauge(
        "grapevine_peers_refused",
        "Peers that were refused at the handshake within the last minutes",
        real(refused.len()),
    );
    out.flag(
        "grapevine_clock_off",
        "Whether the clock of this node is off, so that it refuses writes",
        view.clock_fault().is_some(),
    );
    out.flag(
        "grapevine_caught_up",
        "Whether this node has caught up, since its start, with the peers that it met",
        view.catching_up().is_none(),
    );
}

fn of_store(store: &Store, out: &mut Exposition) {
    let stats = store.stats();
    out.count(
        "grapevine_store_steps",
        "Local writes and peers' steps that the writer decided",
        stats.steps,
    );
    out.count(
        "grapevine_store_commits",
        "Group commits: rows appended to the journal",
        stats.commits,
    );
    out.count(
        "grapevine_store_failed_commits",
        "Group commits that failed",
        stats.failed_commits,
    );
    out.count(
        "grapevine_store_batches",
        "Batches written to data.redb",
        stats.applied_batches,
    );
    out.count(
        "grapevine_store_batch_rows",
        "Rows in those batches",
        stats.applied_rows,
    );
    out.count(
        "grapevine_store_waits_for_space",
        "How often the writer waited for the overlay to have space",
        stats.waits_for_space,
    );
    out.count(
        "grapevine_store_recoveries",
        "How often the files were opened again after an error",
        stats.recoveries,
    );
    let collected = stats.collected;
    let kind = |kind: &str, number| (labels("kind", kind), number);
    out.counts(
        "grapevine_collection_cells",
        "What was collected of what was deleted: tombstones of fields, removals of entities, values of removed ones",
        [
            kind("tombstones", collected.tombstones),
            kind("removals", collected.removals),
            kind("values", collected.values),
        ],
    );
    let histograms = store.histograms();
    out.histogram(
        "grapevine_store_commit_duration_seconds",
        "How long it took to append a group to the journal, its fsync included",
        &histograms.commit_seconds,
    );
    out.histogram(
        "grapevine_store_commit_steps",
        "How many steps a group commit had",
        &histograms.commit_steps,
    );
    out.histogram(
        "grapevine_store_batch_duration_seconds",
        "How long it took to write a batch to data.redb, its fsync included",
        &histograms.batch_seconds,
    );
    let (waiting, most) = store.queue();
    let help = "Steps that wait for the writer";
    out.gauge("grapevine_store_queue_steps", help, real(waiting));
    let help = "How many steps may wait for the writer";
    out.gauge("grapevine_store_queue_limit_steps", help, real(most));
    out.gauge(
        "grapevine_store_overlay_rows",
        "Rows that the journal holds and data.redb does not yet",
        real(store.snapshot().overlay_rows()),
    );
    let help = "Whether anything can be written";
    out.flag(
        "grapevine_store_writable",
        help,
        store.write_fault().is_none(),
    );
    let (journal, data) = store.file_bytes();
    let file = |name: &str, bytes| (labels("file", name), real(bytes));
    out.gauges(
        "grapevine_store_file_bytes",
        "How long the files of the store are",
        [file("journal.redb", journal), file("data.redb", data)],
    );
}

fn of_count(count: &LastCount, out: &mut Exposition) {
    let count = count.lock().expect("no holder panics").clone();
    let Some(count) = count else {
        return;
    };
    let state = |collection: &str, state: &str, number| {
        let mut labels = labels("collection", collection);
        labels.push(("state", state.to_owned()));
        (labels, real(number))
    };
    let entities = count.held.iter().flat_map(|(collection, held)| {
        let name = collection.name();
        [
            state(name, "visible", held.visible),
            state(name, "hidden", held.hidden),
        ]
    });
    out.gauges(
        "grapevine_entities",
        "Entities that are held, counted in the background, a round after another",
        entities,
    );
    let bytes = count.held.iter();
    out.gauges(
        "grapevine_entity_bytes",
        "Bytes of their rows, counted in the background, a round after another",
        bytes.map(|(collection, held)| (labels("collection", collection.name()), real(held.bytes))),
    );
    out.gauge(
        "grapevine_conflicting_contacts",
        "Contacts that remember a value which lost unseen, counted in the background",
        real(count.conflicting),
    );
    out.gauge(
        "grapevine_count_timestamp_seconds",
        "When the last round of that count ended, in seconds since 1970",
        real(count.unix_ms) / 1_000.0,
    );
}

fn of_sync(totals: &DriverTotals, out: &mut Exposition) {
    let traffic = totals.traffic;
    for (name, help, value) in [
        (
            "grapevine_sync_received_bytes",
            "Bytes received from peers",
            traffic.bytes_in,
        ),
        (
            "grapevine_sync_sent_bytes",
            "Bytes sent to peers",
            traffic.bytes_out,
        ),
        (
            "grapevine_sync_received_messages",
            "Messages received from peers",
            traffic.frames_in,
        ),
        (
            "grapevine_sync_sent_messages",
            "Messages sent to peers",
            traffic.frames_out,
        ),
        (
            "grapevine_sync_pushes_dropped",
            "Pushes for which a peer had no room; it pulls what it missed",
            traffic.pushes_dropped,
        ),
        (
            "grapevine_sync_fell_behind",
            "How often a peer had no room for pushes any more",
            traffic.fell_behind,
        ),
        (
            "grapevine_sync_replies_dropped",
            "Answers for which a peer had no room",
            traffic.replies_dropped,
        ),
        (
            "grapevine_sync_rounds",
            "Times that a peer was asked whether it agrees",
            totals.probes,
        ),
        (
            "grapevine_sync_pages_pulled",
            "Pages that were asked of peers",
            totals.pulls,
        ),
        (
            "grapevine_sync_pages_served",
            "Pages that were read for peers",
            totals.pages_served,
        ),
        (
            "grapevine_sync_pages_dropped",
            "Pages that were asked for and not read or sent, for want of room",
            totals.pages_dropped,
        ),
        (
            "grapevine_sync_steps_applied",
            "Steps of peers that the store took",
            totals.steps_applied,
        ),
        (
            "grapevine_sync_steps_failed",
            "Steps of peers that the store could not take",
            totals.steps_failed,
        ),
        (
            "grapevine_sync_handshakes",
            "Handshakes with peers that were passed",
            totals.handshakes,
        ),
        (
            "grapevine_sync_refusals",
            "Peers that were refused at the handshake",
            totals.refusals,
        ),
        (
            "grapevine_sync_disconnects",
            "Peers that broke the protocol and were disconnected",
            totals.disconnects,
        ),
        (
            "grapevine_sync_tasks_dropped",
            "Work on the store that was put off for want of room",
            totals.tasks_dropped,
        ),
        (
            "grapevine_collection_steps",
            "Steps that collected tombstones and removed entities for good",
            totals.collections,
        ),
    ] {
        out.count(name, help, value);
    }
}

async fn of_members(view: &View, out: &mut Exposition) {
    let traffic = view.driver.traffic_by_peer();
    let bytes = |count: fn(&TrafficTotals) -> u64| {
        let of_peer = traffic.iter().map(move |(name, totals)| {
            let name = if name.is_empty() { OTHERS } else { name };
            (labels("peer", name), count(totals))
        });
        of_peer.collect::<Vec<_>>()
    };
    let help = "Bytes received, by peer";
    out.counts(
        "grapevine_peer_received_bytes",
        help,
        bytes(|of| of.bytes_in),
    );
    let help = "Bytes sent, by peer";
    out.counts("grapevine_peer_sent_bytes", help, bytes(|of| of.bytes_out));
    let waiting = view.driver.peers().await;
    let waiting = waiting.iter().filter_map(|report| {
        let name = &report.info.as_ref()?.name;
        Some((labels("peer", name), real(report.waiting_bytes)))
    });
    let help = "Bytes that wait to be sent, by peer";
    out.gauges(
        "grapevine_peer_waiting_bytes",
        help,
        waiting.take(MAX_PEERS_TOLD),
    );

    let members = view.members().await;
    let help = "Members of the roster, and others that are alive, this node among them";
    out.gauge("grapevine_members", help, real(members.len()));
    let ourselves = view.store.replica();
    let others = members
        .iter()
        .filter(|member| Some(member.replica) != ourselves);
    let peers = by_name(others);
    let each = |value: fn(&MemberStatus) -> Option<f64>| {
        let told = peers.iter().filter_map(move |(name, member)| {
            let value = value(member)?;
            Some((labels("peer", name), value))
        });
        told.collect::<Vec<_>>()
    };
    out.gauges(
        "grapevine_peer_alive",
        "Whether gossip or a link says that it runs, by peer",
        each(|member| Some(f64::from(u8::from(member.alive)))),
    );
    out.gauges(
        "grapevine_peer_agrees",
        "Whether it holds what this node holds, by the digest that it last told, by peer",
        each(|member| Some(f64::from(u8::from(member.agrees)))),
    );
    out.gauges(
        "grapevine_peer_lag_writes",
        "Writes held here that it lacked when it last told, by peer",
        each(|member| member.lag.map(real)),
    );
    out.gauges(
        "grapevine_peer_last_heard_seconds",
        "How long ago it was last heard of, by peer",
        each(|member| member.last_heard.map(|heard| heard.as_secs_f64())),
    );
    out.gauges(
        "grapevine_peer_clock_offset_seconds",
        "How far its clock is ahead of ours, negative if behind, by peer",
        each(|member| member.clock_offset_ms.map(seconds)),
    );
}

/// Members by name, a bounded number. Of lives with one name, that is told which is alive.
fn by_name<'a>(
    members: impl Iterator<Item = &'a MemberStatus>,
) -> BTreeMap<&'a str, &'a MemberStatus> {
    let mut named: BTreeMap<&str, &MemberStatus> = BTreeMap::new();
    for member in members {
        let name = member.name.as_str();
        if named.len() >= MAX_PEERS_TOLD && !named.contains_key(name) {
            continue;
        }
        let held = named.entry(name).or_insert(member);
        if member.alive && !held.alive {
            *held = member;
        }
    }
    named
}

fn of_gossip(totals: GossipTotals, out: &mut Exposition) {
    for (name, help, value) in [
        (
            "grapevine_gossip_received_messages",
            "Gossip messages received",
            totals.received,
        ),
        (
            "grapevine_gossip_sent_messages",
            "Gossip messages sent",
            totals.sent,
        ),
        (
            "grapevine_gossip_unreadable_messages",
            "Datagrams received that are no gossip of this cluster",
            totals.unreadable,
        ),
        (
            "grapevine_gossip_foreign_messages",
            "Datagrams that no key of this node opens, or that should be sealed and are not",
            totals.strangers,
        ),
        (
            "grapevine_gossip_repeated_messages",
            "Sealed datagrams that came before",
            totals.repeated,
        ),
        (
            "grapevine_gossip_unproven_messages",
            "Sealed datagrams that did not prove from where they came",
            totals.unproven,
        ),
        (
            "grapevine_gossip_carried_messages",
            "Gossip messages too large for a datagram that were sent over links between peers",
            totals.carried,
        ),
        (
            "grapevine_gossip_unsent_messages",
            "Gossip messages that the operating system did not take",
            totals.unsent,
        ),
        (
            "grapevine_gossip_oversized_messages",
            "Gossip messages too large even for links between peers",
            totals.too_large,
        ),
        (
            "grapevine_gossip_restarts",
            "How often gossip failed and was started anew",
            totals.restarts,
        ),
    ] {
        out.count(name, help, value);
    }
}

fn of_health(health: &Health, out: &mut Exposition) {
    let collection = &health.collection;
    out.gauge(
        "grapevine_collection_partitions",
        "Of the 256 partitions, those in which something was collected",
        real(collection.partitions_collected),
    );
    out.gauge(
        "grapevine_collection_garbage_entities",
        "Entities that hold something deleted which may go some day",
        real(collection.garbage),
    );
    let blocked = collection.blocked_by.iter().take(MAX_PEERS_TOLD);
    let blocked = blocked.map(|blocker| {
        let mut labels = labels("peer", &blocker.name);
        labels.push(("why", why(blocker.why).to_owned()));
        (labels, blocker.lasted.as_secs_f64())
    });
    out.gauges(
        "grapevine_collection_blocked_seconds",
        "For how long a member has kept what was deleted from being collected, by peer and reason",
        blocked,
    );
    out.gauge(
        "grapevine_diverging_partitions",
        "Partitions that differ from a peer's although both took in the same writes; repair is under way",
        real(health.divergences.len()),
    );
    let alarms = health.alarms;
    let alarm = |kind: &str, number| (labels("kind", kind), number);
    out.counts(
        "grapevine_alarms",
        "What should never happen: damaged rows, partitions that differed, two writes of one name",
        [
            alarm("damaged", alarms.damaged),
            alarm("divergences", alarms.divergences),
            alarm("clashes", alarms.clashes),
        ],
    );
}

const fn why(why: BlockedWhy) -> &'static str {
    match why {
        BlockedWhy::Silent => "silent",
        BlockedWhy::Open => "open",
        BlockedWhy::Ahead => "ahead",
        BlockedWhy::Unwarned => "unwarned",
    }
}

fn labels(name: &'static str, value: &str) -> Labels {
    vec![(name, value.to_owned())]
}

/// Of milliseconds, with their sign.
fn seconds(ms: i64) -> f64 {
    let seconds = real(ms.unsigned_abs()) / 1_000.0;
    if ms < 0 { -seconds } else { seconds }
}
