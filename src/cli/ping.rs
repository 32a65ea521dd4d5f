//! `grapevine ping`: which nodes answer.

use std::{process::ExitCode, time::Instant};

use clap::Args;
use serde_json::json;

use super::{failure, nodes::NodeArgs};

/// Says which of the nodes answer, and how fast.
///
/// Exit code 3 says that one of them does not.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  grapevine ping --node http://ship:7801 --node http://home:7801"
)]
pub(super) struct Ping {
    #[command(flatten)]
    nodes: NodeArgs,
}

impl Ping {
    /// Asks each node once.
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let client = self.nodes.options()?.rounds(1).connect()?;
        let mut output = self.nodes.output();
        let mut code = ExitCode::SUCCESS;
        for node in client.each_node()? {
            let address = node.nodes().map(ToString::to_string).collect::<String>();
            let asked = Instant::now();
            let answer = node.ping().await;
            let ms = asked.elapsed().as_secs_f64() * 1_000.0;
            if answer.is_err() {
                code = ExitCode::from(failure::NOT_REACHED);
            }
            let told = match &answer {
                Ok(_) => json!({ "node": address, "answers": true, "ms": ms }),
                Err(error) => {
                    json!({ "node": address, "answers": false, "why": error.to_string() })
                }
            };
            output.answer(&told, |_| match &answer {
                Ok(_) => format!("{address} answers after {ms:.1} ms"),
                Err(error) => error.to_string(),
            })?;
            output.flush()?;
        }
        Ok(code)
    }
}
