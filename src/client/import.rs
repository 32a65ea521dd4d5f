//! Taking a file of contacts in, told card by card.

use std::path::PathBuf;

use bytes::{Buf as _, Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::{Method, Response, StatusCode, body::Incoming, header::ACCEPT};
use serde_json::Value;

use super::{
    body::Payload,
    call::Call,
    client::{Client, innermost},
    contact::{CardReport, ImportCounts},
    error::ClientError,
    problem::Problem,
};

/// How long a node may take to get a file before it begins to tell.
const UPLOAD_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3_600);
/// The most bytes of what is told of one card.
const MAX_LINE_BYTES: usize = 4 * 1_024 * 1_024;

/// A file of contacts.
#[derive(Clone, Debug)]
pub struct ContactsFile {
    content_type: String,
    map: Option<String>,
    payload: Payload,
}

impl ContactsFile {
    /// The file at `path`, which is read while it is sent; `content_type` says what it is: `text/vcard`, `text/csv`, with a
    /// charset if need be.
    pub fn at(path: impl Into<PathBuf>, content_type: impl Into<String>) -> Self {
        Self {
            content_type: content_type.into(),
            map: None,
            payload: Payload::File(path.into()),
        }
    }

    /// A file that is in memory.
    pub fn of(bytes: impl Into<Bytes>, content_type: impl Into<String>) -> Self {
        Self {
            content_type: content_type.into(),
            map: None,
            payload: Payload::Bytes(bytes.into()),
        }
    }

    /// Says what columns of CSV mean (`Column=field;Column=field`, see `docs/api.md`).
    #[must_use]
    pub fn with_map(mut self, map: impl Into<String>) -> Self {
        self.map = Some(map.into());
        self
    }

    /// Sends it, and calls `tell` for each card as the node decides it. The same file again changes nothing, also after
    /// an error halfway.
    pub(super) async fn import(
        self,
        client: &Client,
        mut tell: impl FnMut(CardReport) + Send,
    ) -> Result<ImportCounts, ClientError> {
        let mut call = Call::new(Method::POST, "/v1/contacts/import".to_owned())
            .repeatable()
            .body(&self.content_type, self.payload)?
            .header(ACCEPT, "application/x-ndjson")?;
        if let Some(map) = &self.map {
            call = call.parameter("map", map);
        }
        call.timeout = Some(UPLOAD_TIMEOUT);
        let (node, response) = client.stream(&call).await?;
        let mut lines = Lines {
            node,
            response,
            waiting: BytesMut::new(),
        };
        while let Some(line) = lines.next().await? {
            let mut value: Value = lines.read(&line)?;
            let summary = value["summary"].take();
            if value.get("problem").is_some_and(Value::is_object) {
                let status = value["problem"]["status"].as_u64().unwrap_or_default();
                let status =
                    u16::try_from(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR.as_u16());
                let body = value["problem"].to_string();
                let problem = Problem::read(status, body.as_bytes(), None);
                return Err(ClientError::Problem(Box::new(problem)));
            }
            if summary.is_object() {
                if let Some(token) = value["token"].as_str() {
                    client.go_on_from(token);
                }
                return serde_json::from_value(summary)
                    .map_err(|error| lines.unexpected(&error.to_string()));
            }
            tell(lines.read(&line)?);
        }
        Err(ClientError::Unanswered {
            node: lines.node,
            why: "its report ends early".to_owned(),
            write: true,
        })
    }
}

/// The lines of an answer, as they come.
struct Lines {
    node: String,
    response: Response<Incoming>,
    waiting: BytesMut,
}

impl Lines {
    async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            if let Some(end) = self.waiting.iter().position(|byte| *byte == b'\n') {
                let line = self.waiting.split_to(end).freeze();
                self.waiting.advance(1);
                return Ok(Some(line));
            }
            if self.waiting.len() > MAX_LINE_BYTES {
                return Err(self.unexpected("a line without an end"));
            }
            let Some(frame) = self.response.body_mut().frame().await else {
                return Ok(None);
            };
            let frame = frame.map_err(|error| ClientError::Unanswered {
                node: self.node.clone(),
                why: innermost(&error),
                write: true,
            })?;
            if let Ok(data) = frame.into_data() {
                self.waiting.extend_from_slice(&data);
            }
        }
    }

    fn read<T: serde::de::DeserializeOwned>(&self, line: &[u8]) -> Result<T, ClientError> {
        serde_json::from_slice(line).map_err(|error| self.unexpected(&error.to_string()))
    }

    fn unexpected(&self, why: &str) -> ClientError {
        ClientError::Unexpected {
            node: self.node.clone(),
            why: why.to_owned(),
        }
    }
}
