//! `grapevine contacts export`: the address book into a file, or to standard output.

use std::{
    ffi::OsStr,
    io::{self, Stdout, Write as _},
    path::{Path, PathBuf},
    pin::Pin,
    task::{Context as TaskContext, Poll},
};

use anyhow::{Context as _, bail};
use clap::{Args, ValueEnum};
use tokio::{fs::File, io::AsyncWrite};

use super::{output::gone, partial::Partial, progress};
use crate::client::{Client, ClientError, ExportFormat};

#[derive(Debug, Args)]
pub(super) struct Export {
    /// The file to write; `-` is standard output
    #[arg(default_value = "-", value_name = "FILE")]
    file: PathBuf,
    /// What to write [default: by the ending of the file, else vcard3]
    #[arg(long)]
    format: Option<Format>,
    /// Only those of this group
    #[arg(long, value_name = "NAME")]
    group: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// vCard 3.0, which most programs read
    Vcard3,
    /// vCard 4.0
    Vcard4,
    /// A table: less than a vCard says
    Csv,
}

impl Export {
    /// A file is written beside its place, and put there only when it is whole.
    pub(super) async fn run(self, client: &Client) -> anyhow::Result<()> {
        let format = match self.format {
            Some(Format::Vcard3) => ExportFormat::VCard3,
            Some(Format::Vcard4) => ExportFormat::VCard4,
            Some(Format::Csv) => ExportFormat::Csv,
            None => by_ending(&self.file)?,
        };
        let group = self.group.as_deref();
        let contacts = client.contacts();
        if self.file == Path::new("-") {
            let mut out = ToReader(io::stdout());
            let exported = contacts.export(format, group, &mut out, |_bytes| {}).await;
            return exported.map_err(|error| match error {
                ClientError::Target { source } => gone(source),
                error => error.into(),
            });
        }
        let partial = Partial::of(&self.file);
        let unwritten = |path: &Path| format!("{} cannot be written", path.display());
        let mut file = File::create(partial.path())
            .await
            .with_context(|| unwritten(partial.path()))?;
        let bar = progress::growing("exporting");
        let exported = contacts
            .export(format, group, &mut file, |bytes| bar.set_position(bytes))
            .await;
        bar.finish_and_clear();
        exported?;
        let synced = file.sync_all().await;
        synced.with_context(|| unwritten(partial.path()))?;
        partial.keep().with_context(|| unwritten(&self.file))
    }
}

/// Standard output. A command does nothing else while its reader is slow.
struct ToReader(Stdout);

impl AsyncWrite for ToReader {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _context: &mut TaskContext<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(self.0.write(bytes))
    }

    fn poll_flush(
        mut self: Pin<&mut Self>,
        _context: &mut TaskContext<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.flush())
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut TaskContext<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

fn by_ending(file: &Path) -> anyhow::Result<ExportFormat> {
    let ending = file.extension().map(OsStr::to_ascii_lowercase);
    match ending.as_deref().and_then(|ending| ending.to_str()) {
        None | Some("vcf" | "vcard") => Ok(ExportFormat::VCard3),
        Some("csv") => Ok(ExportFormat::Csv),
        Some(other) => bail!(".{other} says no format that is written here; say it with --format"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ending_of_a_file_says_its_format() {
        let format = |file| by_ending(Path::new(file)).ok();
        assert_eq!(format("a.VCF"), Some(ExportFormat::VCard3));
        assert_eq!(format("a.csv"), Some(ExportFormat::Csv));
        assert_eq!(format("-"), Some(ExportFormat::VCard3));
        assert_eq!(format("a.pdf"), None);
    }
}
