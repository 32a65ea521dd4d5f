//! `grapevine contacts import`: a file of vCards or CSV, in one request, told card by card.

use std::path::{Path, PathBuf};

use anyhow::bail;
use clap::{Args, ValueEnum};

use super::{
    kv,
    output::{Output, shown},
    progress,
};
use crate::client::{Client, ContactsFile, ImportReport};

/// The most rejected cards that are named.
const MAX_NAMED: usize = 1_000;

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file; `-` is standard input
    file: PathBuf,
    /// What it is [default: by the ending of the file, else vcard]
    #[arg(long)]
    format: Option<Format>,
    /// What columns of CSV mean: `Column=field;Column=field`, as the documentation of the API says
    #[arg(long)]
    map: Option<String>,
    /// The charset of what declares none, if it is not UTF-8
    #[arg(long)]
    charset: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// vCard 2.1, 3.0 or 4.0
    Vcard,
    /// A table with a header
    Csv,
}

impl Import {
    pub(super) async fn run(self, client: &Client, output: &mut Output) -> anyhow::Result<()> {
        let format = self.format.unwrap_or_else(|| by_ending(&self.file));
        let mut content_type = match format {
            Format::Vcard => "text/vcard".to_owned(),
            Format::Csv => "text/csv".to_owned(),
        };
        if let Some(charset) = &self.charset {
            content_type = format!("{content_type}; charset={charset}");
        }
        let mut file = if self.file == Path::new("-") {
            ContactsFile::of(kv::read(&self.file).await?, content_type)
        } else {
            ContactsFile::at(&self.file, content_type)
        };
        if let Some(map) = self.map {
            file = file.with_map(map);
        }
        let bar = progress::counting("importing");
        let (is_json, mut named) = (output.is_json(), 0);
        let mut report = ImportReport::default();
        let told = client
            .contacts()
            .import_file(file, |card| {
                bar.inc(1);
                let is_named = card.status == "rejected" && named < MAX_NAMED;
                named += usize::from(is_named);
                if is_json || is_named {
                    report.cards.push(card);
                }
            })
            .await;
        bar.finish_and_clear();
        report.counts = told?;
        output.answer(&report, |report| {
            let counts = &report.counts;
            format!(
                "{} created, {} updated, {} unchanged, {} rejected",
                counts.created, counts.updated, counts.unchanged, counts.rejected
            )
        })?;
        output.flush()?;
        if !report.counts.ignored_columns.is_empty() {
            let columns = report.counts.ignored_columns.join(", ");
            eprintln!("grapevine: nothing is taken of {}", shown(&columns));
        }
        if report.counts.rejected == 0 {
            return Ok(());
        }
        let rejected = report.cards.iter().filter(|card| card.status == "rejected");
        for card in rejected.take(MAX_NAMED) {
            let why = card.problem.as_deref().unwrap_or("?");
            eprintln!("grapevine: card {}: {}", card.index, shown(why));
        }
        bail!("{} cards were rejected", report.counts.rejected)
    }
}

fn by_ending(file: &Path) -> Format {
    let is_csv = file
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("csv"));
    if is_csv { Format::Csv } else { Format::Vcard }
}
