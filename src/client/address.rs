//! Where a node serves HTTP.

use std::{fmt, net::IpAddr, str::FromStr};

use hyper::{
    Uri,
    http::uri::{Authority, Scheme},
};

use super::error::ClientError;

/// The address of a node: `http://host:port` or `https://host:port`; without a scheme it is `http`.
///
/// ```
/// use grapevine::client::NodeAddress;
///
/// let address: NodeAddress = "localhost:7801".parse()?;
/// assert_eq!(address.to_string(), "http://localhost:7801");
/// let address: NodeAddress = "https://ship.example:7801".parse()?;
/// assert!(address.is_encrypted());
/// assert!("ftp://localhost".parse::<NodeAddress>().is_err());
/// # Ok::<(), grapevine::client::ClientError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeAddress {
    scheme: Scheme,
    authority: Authority,
}

impl NodeAddress {
    /// Whether what is sent there is encrypted.
    #[must_use]
    pub fn is_encrypted(&self) -> bool {
        self.scheme == Scheme::HTTPS
    }

    /// Whether it is named as this machine, so that what is sent there meets no network.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.authority.host();
        let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
        host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// The address of `path` on this node. `path` begins with a slash and is escaped.
    pub(super) fn uri(&self, path: &str) -> Result<Uri, ClientError> {
        Uri::builder()
            .scheme(self.scheme.clone())
            .authority(self.authority.clone())
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
        let scheme = uri.scheme().cloned();
        let scheme = scheme.filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        let scheme = scheme.ok_or_else(|| wrong("only http and https are spoken"))?;
        if uri.path().len() > 1 || uri.query().is_some() {
            return Err(wrong("it is a scheme, a host and a port, and nothing more"));
        }
        let authority = uri.into_parts().authority;
        let authority = authority.ok_or_else(|| wrong("it names no host"))?;
        if authority.host().is_empty() || authority.as_str().contains('@') {
            return Err(wrong("it is a scheme, a host and a port, and nothing more"));
        }
        Ok(Self { scheme, authority })
    }
}

impl fmt::Display for NodeAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.scheme, self.authority)
    }
}
