//! Bodies that are kept in a file until they are whole, and so may be larger than memory.

use std::{
    fs::{self, File},
    io::{self, Seek as _, Write as _},
    path::Path,
};

use axum::body::Body;
use uuid::Uuid;

use super::{
    body,
    problem::{Problem, ProblemKind},
};
use crate::store::is_no_space;

/// The body, of at most `max_bytes` bytes, as a file that is gone when it is closed; `what` it is in words.
pub(super) async fn spool(
    directory: &Path,
    mut body: Body,
    what: &str,
    max_bytes: u64,
) -> Result<File, Problem> {
    let path = directory.join(format!("{what}-{}.partial", Uuid::now_v7()));
    let opened = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&path);
    let mut file = opened.map_err(|error| unspooled(&error))?;
    // Where an open file cannot be unlinked it is left behind, and nothing is lost but its room.
    if let Err(error) = fs::remove_file(&path) {
        tracing::warn!(%error, path = %path.display(), "a spooled body stays");
    }
    let mut bytes: u64 = 0;
    while let Some(chunk) = body::next(&mut body).await? {
        bytes = bytes.saturating_add(chunk.len() as u64);
        if bytes > max_bytes {
            let detail = format!("the body of this request has at most {max_bytes} bytes");
            body::drain(&mut body).await;
            return Err(Problem::too_large(detail).about("body"));
        }
        let write = move || file.write_all(&chunk).map(|()| file);
        let written = tokio::task::spawn_blocking(write).await;
        let written = written.map_err(|error| Problem::internal(&error))?;
        file = match written {
            Ok(file) => file,
            Err(error) => {
                body::drain(&mut body).await;
                return Err(unspooled(&error));
            }
        };
    }
    file.rewind().map_err(|error| Problem::internal(&error))?;
    Ok(file)
}

fn unspooled(error: &io::Error) -> Problem {
    let kind = if is_no_space(error) {
        ProblemKind::NoSpace
    } else {
        ProblemKind::Unavailable
    };
    Problem::new(kind, format!("the body cannot be kept meanwhile: {error}"))
}
