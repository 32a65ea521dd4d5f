//! What a request carries: bytes, or a file that is read while it is sent. Either can be sent again.

use std::{
    io,
    path::PathBuf,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, combinators::BoxBody};
use hyper::body::{Body, Frame};
use tokio::{fs::File, io::AsyncReadExt as _, sync::mpsc};

use super::error::ClientError;

/// How much of a file is sent at once.
const CHUNK_BYTES: usize = 64 * 1_024;
/// How many chunks are read ahead.
const CHUNKS_AHEAD: usize = 2;

/// The body of one attempt.
pub(super) type Sent = BoxBody<Bytes, io::Error>;

/// The body of a request.
#[derive(Clone, Debug)]
pub(super) enum Payload {
    Bytes(Bytes),
    File(PathBuf),
}

impl Payload {
    /// For one attempt.
    pub(super) async fn open(&self) -> Result<Sent, ClientError> {
        match self {
            Self::Bytes(bytes) => Ok(Full::new(bytes.clone())
                .map_err(|never| match never {})
                .boxed()),
            Self::File(path) => {
                let file = File::open(path)
                    .await
                    .map_err(|source| ClientError::Source {
                        what: path.display().to_string(),
                        source,
                    })?;
                let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
                tokio::spawn(read(file, sender));
                Ok(FileBody(receiver).boxed())
            }
        }
    }
}

/// Reads until the end, an error, or until nobody sends any more.
async fn read(mut file: File, sender: mpsc::Sender<io::Result<Bytes>>) {
    loop {
        let mut chunk = vec![0; CHUNK_BYTES];
        let read = file.read(&mut chunk).await.map(|read| {
            chunk.truncate(read);
            Bytes::from(chunk)
        });
        let ended = match &read {
            Ok(chunk) if chunk.is_empty() => return,
            Ok(_) => false,
            Err(_) => true,
        };
        if sender.send(read).await.is_err() || ended {
            return;
        }
    }
}

struct FileBody(mpsc::Receiver<io::Result<Bytes>>);

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.0
            .poll_recv(context)
            .map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
