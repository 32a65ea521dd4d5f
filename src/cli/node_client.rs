//! HTTP to a node that runs, for the commands that ask one.

use std::path::Path;

use anyhow::{Context as _, bail};
use axum::body::Body;
use hyper::{
    Method, Request, Response, Uri,
    body::{Body as _, Incoming},
    client::conn::http1,
    header,
};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::mpsc,
};

/// The most bytes of an answer that is no bundle.
const MAX_ANSWER_BYTES: usize = 16 * 1_024 * 1_024;
/// How much of a file is sent at once.
const CHUNK_BYTES: usize = 64 * 1_024;
const DEFAULT_PORT: u16 = 80;

/// A node, by its address.
#[derive(Clone, Debug)]
pub(super) struct NodeClient {
    authority: String,
    address: String,
}

impl NodeClient {
    /// The node at `url`: `http://host:port`, or `host:port`.
    pub(super) fn new(url: &str) -> anyhow::Result<Self> {
        let full = if url.contains("://") {
            url.to_owned()
        } else {
            format!("http://{url}")
        };
        let uri: Uri = full
            .parse()
            .with_context(|| format!("{url} is no address"))?;
        if uri.scheme_str() != Some("http") {
            bail!("{url} is not an http address");
        }
        let Some(authority) = uri.authority() else {
            bail!("{url} names no host");
        };
        let port = authority.port_u16().unwrap_or(DEFAULT_PORT);
        Ok(Self {
            authority: authority.to_string(),
            address: format!("{}:{port}", authority.host()),
        })
    }

    /// Asks for JSON.
    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.send(Method::GET, path, "", Body::empty()).await?;
        Ok(serde_json::from_slice(&whole(answer).await?)?)
    }

    /// Sends JSON, and writes the answer into `file`.
    pub(super) async fn download(
        &self,
        path: &str,
        body: &Value,
        file: &mut File,
    ) -> anyhow::Result<()> {
        let body = Body::from(body.to_string());
        let answer = self
            .send(Method::POST, path, "application/json", body)
            .await?;
        let mut body = answer.into_body();
        while let Some(chunk) = next(&mut body).await? {
            file.write_all(&chunk).await?;
        }
        file.sync_all().await?;
        Ok(())
    }

    /// Sends a file, and yields the JSON of the answer.
    pub(super) async fn upload(&self, path: &str, file: &Path) -> anyhow::Result<Value> {
        let mut file = File::open(file).await?;
        let (sender, receiver) = mpsc::channel(2);
        let sending = async move {
            loop {
                let mut chunk = vec![0; CHUNK_BYTES];
                let read = file.read(&mut chunk).await;
                let ended = matches!(read, Ok(0) | Err(_));
                let chunk = read.map(|read| chunk[..read].to_vec());
                if matches!(&chunk, Ok(chunk) if chunk.is_empty()) {
                    break;
                }
                if sender.send(chunk).await.is_err() || ended {
                    break;
                }
            }
        };
        let body = Body::new(FileBody(receiver));
        let media_type = "application/vnd.grapevine.bundle";
        let answering = self.send(Method::POST, path, media_type, body);
        let (answer, ()) = tokio::join!(answering, sending);
        Ok(serde_json::from_slice(&whole(answer?).await?)?)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        media_type: &str,
        body: Body,
    ) -> anyhow::Result<Response<Incoming>> {
        let stream = TcpStream::connect(&self.address)
            .await
            .with_context(|| format!("no node answers at {}", self.address))?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(connection);
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority);
        if !media_type.is_empty() {
            request = request.header(header::CONTENT_TYPE, media_type);
        }
        let answer = sender.send_request(request.body(body)?).await?;
        if answer.status().is_success() {
            return Ok(answer);
        }
        let status = answer.status();
        let body = whole(answer).await?;
        let problem: Value = serde_json::from_slice(&body).unwrap_or_default();
        match problem["detail"].as_str() {
            Some(detail) => bail!("the node refuses: {detail}"),
            None => bail!("the node answers {status}"),
        }
    }
}

async fn whole(answer: Response<Incoming>) -> anyhow::Result<Vec<u8>> {
    let mut body = answer.into_body();
    let mut bytes = Vec::new();
    while let Some(chunk) = next(&mut body).await? {
        if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
            bail!("the node's answer is too long");
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn next(body: &mut Incoming) -> anyhow::Result<Option<axum::body::Bytes>> {
    loop {
        let frame =
            std::future::poll_fn(|context| std::pin::Pin::new(&mut *body).poll_frame(context));
        let Some(frame) = frame.await else {
            return Ok(None);
        };
        let frame = frame.context("the node's answer was cut off")?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
}

/// The body of a request that is read from a file while it is sent.
struct FileBody(mpsc::Receiver<std::io::Result<Vec<u8>>>);

impl hyper::body::Body for FileBody {
    type Data = axum::body::Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<std::io::Result<hyper::body::Frame<Self::Data>>>> {
        self.0.poll_recv(context).map(|chunk| {
            chunk.map(|chunk| chunk.map(|bytes| hyper::body::Frame::data(bytes.into())))
        })
    }
}
