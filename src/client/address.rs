//! Where a node serves HTTP.

use std::{fmt, str::FromStr};

use hyper::{Uri, http::uri::Authority};

use super::error::ClientError;

/// The address of a node: `http://host:port`, or `host:port`.
///
/// ```
/// use grapevine::client::NodeAddress;
///
/// let address: NodeAddress = "localhost:7801".parse()?;
/// assert_eq!(address.to_string(), "http://localhost:7801");
/// assert!("https://localhost".parse::<NodeAddress>().is_err());
/// # Ok::<(), grapevine::client::ClientError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress(Authority);

impl NodeAddress {
    /// The address of `path` on this node. `path` begins with a slash and is escaped.
    pub(super) fn uri(&self, path: &str) -> Result<Uri, ClientError> {
        Uri::builder()
            .scheme("http")
            .authority(self.0.clone())
            .path_and_query(path)
            .build()
            .map_err(|error| ClientError::Request(format!("{path}: {error}")))
    }
}

impl FromStr for NodeAddress {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let wrong = |why| ClientError::Address {
            address: text.to_owned(),
            why,
        };
        let full = if text.contains("://") {
            text.to_owned()
        } else {
            format!("http://{text}")
        };
        let uri: Uri = full.parse().map_err(|_| wrong("it cannot be read"))?;
        if uri.scheme_str() != Some("http") {
            return Err(wrong("only http is spoken"));
        }
        if uri.path().len() > 1 || uri.query().is_some() {
            return Err(wrong("it is http://host:port and nothing more"));
        }
        let authority = uri.into_parts().authority;
        let authority = authority.ok_or_else(|| wrong("it names no host"))?;
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(wrong("it is http://host:port and nothing more"));
        }
        Ok(Self(authority))
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "http://{}", self.0)
    }
}
