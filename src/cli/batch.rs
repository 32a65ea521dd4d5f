//! `grapevine batch`: many writes of a file.

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Args;
use serde_json::{Value, json};

use super::{kv, nodes::NodeArgs, output::shown, progress};
use crate::client::MAX_BATCH;

/// Makes many writes, up to 1,000 in one durable commit.
///
/// The file holds one write after another, or a list of them, or {"writes": [...]}; docs/api.md shows what a write is.
/// Each is judged alone: exit code 1 says that some were not done, and which.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  grapevine batch writes.json\n  \
        echo '{\"collection\": \"counters\", \"op\": \"increment\", \"key\": \"visits\"}' | grapevine batch -")]
pub(super) struct Batch {
    #[command(flatten)]
    nodes: NodeArgs,
    /// The file; `-` is standard input
    file: PathBuf,
}

impl Batch {
    /// Runs to its end.
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let client = self.nodes.client()?;
        let mut output = self.nodes.output();
        let writes = writes(&kv::read(&self.file).await?)
            .with_context(|| format!("{} holds no writes", self.file.display()))?;
        let bar = progress::items("writing", writes.len() as u64);
        let (mut done, mut failed) = (0_u64, 0_u64);
        for some in writes.chunks(MAX_BATCH) {
            let results = client.batch(some).await?;
            for result in results {
                let place = done + failed;
                if result.is_done() {
                    done += 1;
                } else {
                    failed += 1;
                }
                if output.is_json() {
                    output.json_line(&result)?;
                } else if let Some(problem) = &result.problem {
                    let why = problem["detail"].as_str().unwrap_or("?");
                    output.line(&format!("{place}: {} {}", result.status, shown(why)))?;
                }
            }
            bar.inc(some.len() as u64);
        }
        bar.finish_and_clear();
        if !output.is_json() {
            output.answer(&json!({}), |_| format!("{done} done, {failed} not done"))?;
        }
        output.flush()?;
        if failed > 0 {
            bail!("{failed} of {} writes were not done", done + failed);
        }
        Ok(())
    }
}

/// The writes that a file holds, in whichever of the three shapes.
fn writes(bytes: &[u8]) -> anyhow::Result<Vec<Value>> {
    let mut writes = Vec::new();
    for value in serde_json::Deserializer::from_slice(bytes).into_iter::<Value>() {
        match value? {
            Value::Array(all) => writes.extend(all),
            Value::Object(mut object) if object.contains_key("writes") => {
                match object.remove("writes") {
                    Some(Value::Array(all)) if object.is_empty() => writes.extend(all),
                    Some(_) | None => bail!("\"writes\" is a list, and nothing stands beside it"),
                }
            }
            write @ Value::Object(_) => writes.push(write),
            other => bail!("{other} is no write"),
        }
    }
    if writes.is_empty() {
        bail!("there is none");
    }
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_of_file_is_read_as_another() {
        let expected = vec![json!({"op": "a"}), json!({"op": "b"})];
        for text in [
            "{\"op\": \"a\"}\n{\"op\": \"b\"}\n",
            "[{\"op\": \"a\"}, {\"op\": \"b\"}]",
            "{\"writes\": [{\"op\": \"a\"}, {\"op\": \"b\"}]}",
        ] {
            assert_eq!(writes(text.as_bytes()).expect("writes"), expected, "{text}");
        }
        for text in [
            "",
            "[]",
            "7",
            "{\"writes\": 7}",
            "{\"writes\": [], \"more\": 1}",
            "{",
        ] {
            assert!(writes(text.as_bytes()).is_err(), "{text}");
        }
    }
}
