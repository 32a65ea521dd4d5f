//! The store beside a model that holds the same rows in memory: no reader can tell them apart, wherever the
//! rows live at that moment.

use std::collections::BTreeSet;

use proptest::prelude::*;
use tempfile::tempdir;

use grapevine_crdt::Timestamp;

use super::fixture::{check_state, kv, open, options, put, range, rows};
use crate::{
    model::{Collection, PartitionId},
    store::{
        Listing, MemoryRows, Rows, State, Store, StoreOptions, Table, Workspace, layout,
        list_entities,
    },
};

#[derive(Clone, Debug)]
enum Step {
    Put {
        key: u8,
        value: u8,
    },
    Scan {
        table: Table,
        from: Bound,
        exclusive: bool,
        to: Option<Bound>,
    },
    List {
        prefix: u8,
        after: Option<u8>,
        limit: usize,
    },
    Reopen,
}

/// The place of a key in a table: of its row, or of its partition's first.
#[derive(Clone, Copy, Debug)]
struct Bound {
    key: u8,
    whole_partition: bool,
}

impl Bound {
    fn bytes(self) -> Vec<u8> {
        let id = kv(&name(self.key));
        if self.whole_partition {
            vec![id.partition().get()]
        } else {
            layout::entity_key(id.partition(), &id).to_vec()
        }
    }
}

fn name(key: u8) -> String {
    format!("{}-key", key % 24)
}

fn bound() -> impl Strategy<Value = Bound> {
    (any::<u8>(), any::<bool>()).prop_map(|(key, whole_partition)| Bound {
        key,
        whole_partition,
    })
}

fn step() -> impl Strategy<Value = Step> {
    let table = prop_oneof![Just(Table::Entities), Just(Table::Log)];
    prop_oneof![
        12 => any::<(u8, u8)>().prop_map(|(key, value)| Step::Put { key, value }),
        4 => (table, bound(), any::<bool>(), proptest::option::of(bound())).prop_map(
            |(table, from, exclusive, to)| Step::Scan { table, from, exclusive, to }
        ),
        4 => (0..4u8, proptest::option::of(any::<u8>()), 1..9usize).prop_map(
            |(prefix, after, limit)| Step::List { prefix, after, limit }
        ),
        1 => Just(Step::Reopen),
    ]
}

struct Model {
    rows: MemoryRows,
    state: State,
    /// Every key that ever had a row: those that are deleted must be nowhere.
    seen: BTreeSet<(Table, Vec<u8>)>,
}

fn listed<R: Rows>(rows: &R, prefix: &str, after: Option<&str>, limit: usize) -> Vec<String> {
    let listing = Listing {
        collection: Collection::Kv,
        prefix,
        after,
    };
    let mut keys = Vec::new();
    list_entities(rows, &listing, &mut |id, _| {
        keys.push(id.key().to_owned());
        if keys.len() == limit {
            std::ops::ControlFlow::Break(())
        } else {
            std::ops::ControlFlow::Continue(())
        }
    })
    .expect("it is listed");
    keys
}

async fn run(steps: Vec<Step>, batch_rows: usize) {
    let directory = tempdir().expect("a directory");
    let options = StoreOptions {
        batch_rows,
        idle_apply_after_ms: 1,
        ..options(directory.path())
    };
    let mut store: Store = open(options.clone()).expect("it opens");
    let mut commits = store.subscribe(1_000);
    let mut model = Model {
        rows: MemoryRows::default(),
        state: State::default(),
        seen: BTreeSet::new(),
    };
    for step in steps {
        match step {
            Step::Put { key, value } => {
                put(&store, &name(key), &[value]).await.expect("a write");
                let records = commits.recv().await.expect("a commit");
                let mut workspace = Workspace::new(&model.rows, model.state.clone());
                for record in records.iter() {
                    workspace
                        .apply(record.clone().into_op(), Timestamp::ZERO)
                        .expect("it applies");
                }
                let (_, changes) = workspace.finish(1);
                model.rows.apply(changes.rows);
                model.state = changes.state;
            }
            Step::Scan {
                table,
                from,
                exclusive,
                to,
            } => {
                let (from, to) = (from.bytes(), to.map(Bound::bytes).unwrap_or_default());
                let mut wanted = range(&model.rows, table, &from, exclusive, &to);
                let snapshot = store.snapshot();
                assert_eq!(range(&*snapshot, table, &from, exclusive, &to), wanted);
                wanted.reverse();
                let mut back = Vec::new();
                let mut visit = |key: &[u8], value: &[u8]| {
                    back.push((table, key.to_vec(), value.to_vec()));
                    std::ops::ControlFlow::Continue(())
                };
                snapshot
                    .scan_back(table, &from, exclusive, &to, &mut visit)
                    .expect("the rows are read");
                assert_eq!(back, wanted, "the last first");
            }
            Step::List {
                prefix,
                after,
                limit,
            } => {
                let prefix = ["", "1", "2-", "x"][usize::from(prefix)];
                let after = after.map(name);
                assert_eq!(
                    listed(&*store.snapshot(), prefix, after.as_deref(), limit),
                    listed(&model.rows, prefix, after.as_deref(), limit)
                );
            }
            Step::Reopen => {
                store.close().await;
                store = open(options.clone()).expect("it opens again");
                commits = store.subscribe(1_000);
            }
        }
        let snapshot = store.snapshot();
        let held = rows(&*snapshot);
        assert_eq!(held, rows(&model.rows));
        model
            .seen
            .extend(held.into_iter().map(|(table, key, _)| (table, key)));
        for (table, key) in &model.seen {
            assert_eq!(
                snapshot.get(*table, key).expect("it is read"),
                model.rows.get(*table, key).expect("it is read")
            );
        }
        assert_eq!(snapshot.state().root(), model.state.root());
        for partition in PartitionId::all() {
            assert_eq!(
                snapshot.state().partition(partition),
                model.state.partition(partition)
            );
        }
    }
    let snapshot = store.snapshot();
    check_state(&*snapshot, snapshot.state());
    store.close().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn a_reader_can_tell_where_a_row_lives(
        steps in proptest::collection::vec(step(), 1..60),
        batch_rows in 1..20usize,
    ) {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .expect("a runtime")
            .block_on(run(steps, batch_rows));
    }
}
