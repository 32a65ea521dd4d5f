//! Two nodes that were given one name: a mistake that must be seen, and cost neither of them its place.

mod nodes;

use std::collections::BTreeSet;

use nodes::{Site, all_equal, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_of_one_name_one_takes_the_place_of_the_other() {
    let site = Site::new();
    let ann = site.start("ann", &[]).await;
    let mut config = site.config("bob", &[&ann]);
    config.name = "ann".to_owned();
    let other = nodes::start(config).await;
    let both = [&ann, &other].map(|node| node.cluster().node().replica);
    let both: BTreeSet<_> = both.into_iter().flatten().collect();
    assert_eq!(both.len(), 2, "each writes under a life of its own");
    for node in [&ann, &other] {
        eventually("both are named", || async {
            let namesakes = node.cluster().namesakes().await;
            (namesakes.get("ann") == Some(&both)).then_some(())
        })
        .await;
    }
    all_equal(&[&ann, &other]).await;
    other.shutdown().await;
    // It comes back as itself, and was not struck for being silent.
    let mut config = site.config("bob", &[&ann]);
    config.name = "ann".to_owned();
    let other = nodes::start(config).await;
    all_equal(&[&ann, &other]).await;
    for node in [&ann, &other] {
        eventually("the life before is over", || async {
            let namesakes = node.cluster().namesakes().await;
            let lives = namesakes.get("ann").map(BTreeSet::len);
            (lives == Some(2)).then_some(())
        })
        .await;
    }
    for node in [ann, other] {
        node.shutdown().await;
    }
}
