//! Bundles: what a node holds, as a file for another that no network reaches.

use std::path::Path;

use hyper::Method;
use serde_json::{Value, json};
use tokio::fs::File;

use super::{body::Payload, call::Call, client::Client, error::ClientError};

const MEDIA_TYPE: &str = "application/vnd.grapevine.bundle";
/// How long a node may take to check and apply a file.
const IMPORT_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(3_600);

/// The bundles of a node.
#[derive(Clone, Copy, Debug)]
pub struct Bundles<'a>(&'a Client);

impl<'a> Bundles<'a> {
    pub(super) const fn of(client: &'a Client) -> Self {
        Self(client)
    }

    /// What stands for everything that the node holds.
    pub async fn token(&self) -> Result<String, ClientError> {
        let answer = self.0.send(Call::get("/v1/bundle/token")).await?;
        let token: Value = answer.json()?;
        match token["token"].as_str() {
            Some(token) => Ok(token.to_owned()),
            None => Err(ClientError::Unexpected {
                node: answer.node,
                why: "it tells no token".to_owned(),
            }),
        }
    }

    /// Writes what the node holds since the token `since`, or everything, into `file`; says after every piece how
    /// many bytes there are. What is written is not checked.
    pub async fn export(
        &self,
        since: Option<&str>,
        file: &mut File,
        progress: impl FnMut(u64) + Send,
    ) -> Result<(), ClientError> {
        let call = Call::new(Method::POST, "/v1/bundle/export".to_owned())
            .repeatable()
            .json(&json!({ "since": since }))?;
        self.keep(call, file, progress).await
    }

    /// Writes everything that the node holds at one moment into `file`: a backup. Otherwise as [`Self::export`].
    pub async fn backup(
        &self,
        file: &mut File,
        progress: impl FnMut(u64) + Send,
    ) -> Result<(), ClientError> {
        self.keep(Call::get("/v1/backup"), file, progress).await
    }

    async fn keep(
        &self,
        call: Call,
        file: &mut File,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<(), ClientError> {
        self.0.download(&call, file, &mut progress).await?;
        let unwritten = |source| ClientError::Target { source };
        file.sync_all().await.map_err(unwritten)
    }

    /// Takes a file into the node; yields what it says. The same file twice changes nothing.
    pub async fn import(&self, file: &Path) -> Result<Value, ClientError> {
        let mut call = Call::new(Method::POST, "/v1/bundle".to_owned())
            .repeatable()
            .body(MEDIA_TYPE, Payload::File(file.to_owned()))?;
        call.timeout = Some(IMPORT_TIMEOUT);
        self.0.send(call).await?.json()
    }
}
