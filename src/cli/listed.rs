//! Lists on standard output.

use clap::Args;
use serde::{Serialize, de::DeserializeOwned};

use super::output::{Output, rendered, table};
use crate::client::List;

/// How many rows a table for people has if nobody says how many.
const TABLE_ROWS: usize = 1_000;

/// How much of a list is wanted.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Most {
    /// At most this many items [default: all with --json, else 1000]
    #[arg(long, value_name = "COUNT")]
    limit: Option<usize>,
}

/// Prints a list: as JSON item by item as it comes, else as a table of `row`s. What is left out is said.
pub(super) async fn print<T, const COLUMNS: usize>(
    output: &mut Output,
    mut list: List<T>,
    most: &Most,
    header: [&str; COLUMNS],
    row: impl Fn(&T) -> [String; COLUMNS],
) -> anyhow::Result<()>
where
    T: Serialize + DeserializeOwned,
{
    if output.is_json() {
        let mut left = most.limit.unwrap_or(usize::MAX);
        while left > 0
            && let Some(item) = list.next().await?
        {
            output.json_line(&item)?;
            left -= 1;
        }
        return Ok(());
    }
    let limit = most.limit.unwrap_or(TABLE_ROWS);
    let items = list.take(limit).await?;
    if items.is_empty() {
        return Ok(());
    }
    let mut table = table(header);
    for item in &items {
        table.add_row(row(item));
    }
    output.line(&rendered(&table))?;
    if list.next().await?.is_some() {
        output.flush()?;
        eprintln!("grapevine: these are the first {limit}; there are more (--limit)");
    }
    Ok(())
}
