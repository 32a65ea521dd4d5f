//! How a client asks: which nodes, how long, how often.

use std::time::Duration;

use hyper::header::HeaderValue;

use super::{address::NodeAddress, client::Client, error::ClientError};

/// The most nodes that one client is told.
pub const MAX_NODES: usize = 64;

/// What a client is made from. The defaults suit a program that works with a cluster nearby.
///
/// ```no_run
/// # async fn example() -> Result<(), grapevine::client::ClientError> {
/// use grapevine::client::ClientOptions;
///
/// let client = ClientOptions::default()
///     .node("http://127.0.0.1:7801")?
///     .node("http://127.0.0.1:7802")?
///     .connect()?;
/// client.counters().increment("visits", 1).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ClientOptions {
    pub(super) nodes: Vec<NodeAddress>,
    pub(super) connect_timeout: Duration,
    pub(super) answer_timeout: Duration,
    pub(super) rounds: u32,
    pub(super) round_pause: Duration,
    pub(super) session: bool,
    /// What stands in `Authorization`; marked as a secret, so that it is not shown.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) authorities: Option<Vec<u8>>,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            nodes: Vec::new(),
            connect_timeout: Duration::from_secs(2),
            answer_timeout: Duration::from_secs(35),
            rounds: 3,
            round_pause: Duration::from_millis(100),
            session: true,
            authorization: None,
            authorities: None,
        }
    }
}

impl ClientOptions {
    /// Adds a node; those after the first are asked when those before do not answer. At most [`MAX_NODES`].
    pub fn node(mut self, address: &str) -> Result<Self, ClientError> {
        if self.nodes.len() == MAX_NODES {
            return Err(ClientError::Address {
                address: address.to_owned(),
                why: "that is one node too many",
            });
        }
        self.nodes.push(address.parse()?);
        Ok(self)
    }

    /// How long connecting to a node may take. Default 2 s.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = timeout;
        self
    }

    /// How long one node may take to answer in full. Default 35 s, a little more than what nodes allow themselves.
    #[must_use]
    pub fn answer_timeout(mut self, timeout: Duration) -> Self {
        self.answer_timeout = timeout;
        self
    }

    /// How many times all nodes are gone through, at least once. Default 3.
    #[must_use]
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = rounds.max(1);
        self
    }

    /// Whether reads must show what this client wrote before, whichever node answers. Default true.
    #[must_use]
    pub fn session(mut self, session: bool) -> Self {
        self.session = session;
        self
    }

    /// Shows this access token to every node that is asked. Over plain `http` everybody on the way can read it.
    pub fn access_token(mut self, token: &str) -> Result<Self, ClientError> {
        let value = HeaderValue::try_from(format!("Bearer {}", token.trim()));
        let mut value =
            value.map_err(|_| ClientError::Options("this can be no access token".to_owned()))?;
        value.set_sensitive(true);
        self.authorization = Some(value);
        Ok(self)
    }

    /// Whether an access token is shown.
    #[must_use]
    pub const fn has_access_token(&self) -> bool {
        self.authorization.is_some()
    }

    /// The nodes so far.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeAddress> {
        self.nodes.iter()
    }

    /// Believes `https` nodes whose certificates are vouched for by one of these (PEM), and by nobody else. Without
    /// it those that the system trusts are believed.
    #[must_use]
    pub fn authorities(mut self, pem: Vec<u8>) -> Self {
        self.authorities = Some(pem);
        self
    }

    /// The client. It connects when it first asks.
    pub fn connect(self) -> Result<Client, ClientError> {
        Client::new(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_shown_by_accident() {
        let options = ClientOptions::default()
            .node("localhost:1")
            .expect("an address");
        let options = options.access_token("hush").expect("a header can hold it");
        let client = options.clone().connect().expect("it can be made");
        for shown in [format!("{options:?}"), format!("{client:?}")] {
            assert!(!shown.contains("hush"), "{shown}");
        }
    }
}
