//! Access tokens: who may ask. For admins.

use hyper::Method;
use serde::{Deserialize, Serialize};

use super::{
    call::{Call, escaped},
    client::Client,
    error::ClientError,
    list::List,
};

/// What a token is made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TokenDraft {
    /// What it is called.
    pub name: String,
    /// What it is for: `read`, `write` or `admin`.
    pub role: String,
    /// The collection that it is limited to, if to one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    /// What the keys begin with that it is limited to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// After how many seconds it is worth nothing, if ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// What a node says of a token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct TokenInfo {
    /// Its public name.
    pub id: String,
    /// What it is called.
    pub name: String,
    /// What it is for.
    pub role: String,
    /// The collection that it is limited to.
    pub collection: Option<String>,
    /// What the keys begin with that it is limited to.
    pub prefix: Option<String>,
    /// When it was made (RFC 3339).
    pub created_at: String,
    /// From when on it is worth nothing (RFC 3339).
    pub expires_at: Option<String>,
}

/// A token that was just made: the only time that it is told.
#[derive(Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NewToken {
    /// What it is.
    #[serde(flatten)]
    pub info: TokenInfo,
    /// The token itself. Whoever has it may do what it is for.
    pub token: String,
}

impl std::fmt::Debug for NewToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewToken")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// The access tokens of the cluster behind a client.
#[derive(Clone, Copy, Debug)]
pub struct Tokens<'a>(&'a Client);

impl<'a> Tokens<'a> {
    pub(super) const fn of(client: &'a Client) -> Self {
        Self(client)
    }

    /// Makes one. It is not repeated: if the answer is lost, revoke the one that the list tells.
    pub async fn create(&self, draft: &TokenDraft) -> Result<NewToken, ClientError> {
        let call = Call::new(Method::POST, "/v1/tokens".to_owned()).json(draft)?;
        self.0.send(call).await?.json()
    }

    /// Makes the first of a cluster, while access is open.
    pub async fn create_first(&self) -> Result<NewToken, ClientError> {
        let call = Call::new(Method::POST, "/v1/tokens/first".to_owned());
        self.0.send(call).await?.json()
    }

    /// All of them, in the order of their ids.
    #[must_use]
    pub fn list(&self) -> List<TokenInfo> {
        List::new(self.0, Call::get("/v1/tokens"))
    }

    /// Revokes one: it is worth nothing on every node that has heard of it.
    pub async fn revoke(&self, id: &str) -> Result<(), ClientError> {
        let path = format!("/v1/tokens/{}", escaped(id));
        self.0.send(Call::new(Method::DELETE, path)).await.map(drop)
    }
}
