//! `grapevine contacts photo`: the photo of a contact.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, bail};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::{
    kv::read,
    output::{Output, shown},
    partial::Partial,
};
use crate::{
    client::{Client, Condition, Photo, Tagged},
    model::sniffed_image,
};

#[derive(Debug, Args)]
pub(super) struct PhotoOf {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Writes the photo into a file, or to standard output, as it is
    #[command(
        after_help = "Examples:\n  grapevine contacts photo get ada ada.png\n  grapevine contacts photo get ada | display -"
    )]
    Get {
        /// The id of the contact
        id: String,
        /// The file to write; `-` is standard output
        #[arg(default_value = "-", value_name = "FILE")]
        file: PathBuf,
    },
    /// Gives a contact this photo in place of the one it has
    #[command(
        after_help = "Examples:\n  grapevine contacts photo set ada ada.png\n  \
            curl https://ada.example.org/me.jpg | grapevine contacts photo set ada -"
    )]
    Set(Set),
    /// Removes the photo
    #[command(after_help = "Example:\n  grapevine contacts photo rm ada")]
    Rm {
        /// The id of the contact
        id: String,
    },
}

#[derive(Debug, Args)]
struct Set {
    /// The id of the contact
    id: String,
    /// The file of the image, of at most 393,024 bytes; `-` is standard input
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The media type [default: what the image begins like]
    #[arg(long, value_name = "TYPE")]
    content_type: Option<String>,
    /// Only if there is none, as far as the node knows
    #[arg(long, conflicts_with = "if_match")]
    if_absent: bool,
    /// Only if the photo still has this tag, as `contacts photo get --json` tells it
    #[arg(long, value_name = "TAG")]
    if_match: Option<String>,
}

impl PhotoOf {
    pub(super) async fn run(self, client: &Client, output: &mut Output) -> anyhow::Result<()> {
        match self.action {
            Action::Get { id, file } => get(client, output, &id, &file).await,
            Action::Set(set) => set.run(client, output).await,
            Action::Rm { id } => {
                client.contacts().delete_photo(&id).await?;
                if output.is_json() {
                    output.json_line(&json!({ "id": id, "deleted": true }))?;
                }
                Ok(())
            }
        }
    }
}

async fn get(client: &Client, output: &mut Output, id: &str, file: &Path) -> anyhow::Result<()> {
    let Tagged { value: photo, tag } = client.contacts().photo(id).await?;
    let is_piped = file == Path::new("-");
    if is_piped && !output.is_json() {
        return output.bytes(&photo.bytes);
    }
    if !is_piped {
        write_whole(file, &photo.bytes)?;
    }
    if !output.is_json() {
        return Ok(());
    }
    let mut answer = json!({
        "id": id,
        "media_type": photo.media_type,
        "bytes": photo.bytes.len(),
        "etag": tag,
    });
    if is_piped {
        answer["base64"] = BASE64_STANDARD.encode(&photo.bytes).into();
    }
    output.json_line(&answer)
}

fn write_whole(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let partial = Partial::of(file);
    let written = fs::write(partial.path(), bytes).and_then(|()| partial.keep());
    written.with_context(|| format!("{} cannot be written", file.display()))
}

impl Set {
    async fn run(self, client: &Client, output: &mut Output) -> anyhow::Result<()> {
        let condition = match self.if_match {
            Some(tag) => Condition::Unchanged(tag),
            None if self.if_absent => Condition::Absent,
            None => Condition::None,
        };
        let bytes = read(&self.file).await?;
        let media_type = match self.content_type {
            Some(given) => given,
            None => media_type_of(&self.file, &bytes)?.to_owned(),
        };
        let photo = client
            .contacts()
            .put_photo(&self.id, &media_type, bytes, &condition)
            .await?;
        output.answer(&photo.value, |photo| described(photo, &self.id))
    }
}

/// The type of an image, by how it begins; of one that is text, by the ending of its name.
fn media_type_of(file: &Path, bytes: &[u8]) -> anyhow::Result<&'static str> {
    let is_svg = file
        .extension()
        .is_some_and(|ending| ending.eq_ignore_ascii_case("svg"));
    match sniffed_image(bytes) {
        Some(found) => Ok(found),
        None if is_svg => Ok("image/svg+xml"),
        None => bail!(
            "{} begins like no image that is known here; say its type with --content-type",
            file.display()
        ),
    }
}

/// A photo in words.
pub(super) fn described(photo: &Photo, id: &str) -> String {
    match photo {
        Photo {
            problem: Some(problem),
            ..
        } => format!("cannot be read: {}", shown(problem)),
        Photo { uri: Some(uri), .. } => format!("at {}", shown(uri)),
        Photo {
            media_type, bytes, ..
        } => {
            let size = sized(media_type.as_deref(), *bytes);
            format!("{size} (grapevine contacts photo get {})", shown(id))
        }
    }
}

/// The value of a photo in a conflict or a history, without its bytes; `None` if it is none.
pub(super) fn summary(value: &Value) -> Option<String> {
    let media_type = value.get("media_type")?.as_str()?;
    Some(sized(Some(media_type), value.get("bytes")?.as_u64()))
}

fn sized(media_type: Option<&str>, bytes: Option<u64>) -> String {
    let media_type = shown(media_type.unwrap_or("an image"));
    format!("{media_type}, {} bytes", bytes.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_known_by_its_bytes_or_else_by_its_name() {
        let found = |file, bytes| media_type_of(Path::new(file), bytes).ok();
        assert_eq!(found("a.svg", b"\xff\xd8\xff"), Some("image/jpeg"));
        assert_eq!(found("a.SVG", b"<svg>"), Some("image/svg+xml"));
        assert_eq!(found("-", b"hello"), None);
    }

    #[test]
    fn a_photo_fills_the_terminal_of_who_lists_conflicts() {
        let photo =
            json!({"media_type": "image/png", "bytes": 3, "uri": "data:image/png;base64,AAAA"});
        assert_eq!(summary(&photo).as_deref(), Some("image/png, 3 bytes"));
        assert_eq!(summary(&json!({"label": null, "url": "x"})), None);
        assert_eq!(summary(&json!("text")), None);
    }
}
