//! Who asks: the client behind the proxies that are trusted.
//!
//! `X-Forwarded-For` is what whoever sent the request wrote there, with what each proxy on the way added at its end. So it is
//! believed from the right, and only as far as trusted proxies wrote it: what stands left of the first address that is
//! none of theirs may be forged. Without a trusted proxy at the other end of the connection nothing of it is read.

use core::fmt;
use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

const FORWARDED: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The most proxies that a request is followed back through.
const MAX_HOPS: usize = 16;

/// The most characters of an address, its brackets and port included.
const MAX_ADDRESS_CHARS: usize = 64;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// At the other end of the connection.
    peer: SocketAddr,
    /// On whose behalf that asks, if it is a trusted proxy and says so.
    behind: Option<IpAddr>,
}

impl Caller {
    /// Its address.
    pub(super) fn ip(self) -> IpAddr {
        self.behind.unwrap_or_else(|| self.peer.ip())
    }

    /// The proxy through which it asks, if it does.
    pub(super) fn proxy(self) -> Option<SocketAddr> {
        self.behind.map(|_| self.peer)
    }
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.behind {
            Some(address) => address.fmt(f),
            None => self.peer.fmt(f),
        }
    }
}

/// The proxies that are believed.
#[derive(Clone, Debug, Default)]
pub(super) struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    pub(super) fn new(networks: Vec<IpNet>) -> Self {
        Self(networks)
    }

    /// Who asks, by a request with `headers` from `peer`: the rightmost address that is no trusted proxy's. Where it is not
    /// told, the trusted proxy that should have told it.
    pub(super) fn caller(&self, peer: SocketAddr, headers: &HeaderMap) -> Caller {
        let behind = self
            .trusts(peer.ip())
            .then(|| self.behind(headers))
            .flatten();
        Caller { peer, behind }
    }

    fn behind(&self, headers: &HeaderMap) -> Option<IpAddr> {
        let values = headers.get_all(FORWARDED).iter().rev();
        let hops = values.flat_map(|value: &HeaderValue| {
            value.as_bytes().rsplit(|byte| *byte == b',').map(address)
        });
        let mut nearest = None;
        for hop in hops.take(MAX_HOPS) {
            let Some(hop) = hop else {
                return nearest;
            };
            nearest = Some(hop);
            if !self.trusts(hop) {
                return nearest;
            }
        }
        nearest
    }

    fn trusts(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }
}

/// The address of one hop; some proxies add the port.
fn address(hop: &[u8]) -> Option<IpAddr> {
    let hop = hop.trim_ascii();
    if hop.len() > MAX_ADDRESS_CHARS {
        return None;
    }
    let hop = str::from_utf8(hop).ok()?;
    let bracketed = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']'));
    let address = bracketed.unwrap_or(hop).parse::<IpAddr>().ok();
    let address = address.or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()));
    address.map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(peer: &str, forwarded: &[&str]) -> String {
        let networks = ["10.0.0.0/8", "fd00::/8"].map(|text| text.parse().expect("a network"));
        let proxies = TrustedProxies::new(networks.into());
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED, value.parse().expect("a value"));
        }
        let caller = proxies.caller(peer.parse().expect("an address"), &headers);
        caller.to_string()
    }

    #[test]
    fn a_forged_header_is_believed() {
        let direct = "192.0.2.1:9";
        assert_eq!(caller(direct, &["203.0.113.9"]), direct);
        assert_eq!(caller(direct, &["10.0.0.1"]), direct);
        // What the client wrote there itself stands on the left.
        assert_eq!(
            caller("10.0.0.1:9", &["203.0.113.9, 192.0.2.1"]),
            "192.0.2.1"
        );
        assert_eq!(
            caller("10.0.0.1:9", &["203.0.113.9", "192.0.2.1"]),
            "192.0.2.1"
        );
    }

    #[test]
    fn whoever_is_behind_a_trusted_proxy_is_taken_for_the_proxy() {
        for proxy in ["10.0.0.1:9", "[::ffff:10.0.0.1]:9", "[fd00::1]:9"] {
            assert_eq!(caller(proxy, &["192.0.2.1"]), "192.0.2.1", "{proxy}");
        }
        for (written, meant) in [
            ("192.0.2.1:4711", "192.0.2.1"),
            ("2001:db8::7", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("[2001:db8::7]:4711", "2001:db8::7"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
        ] {
            assert_eq!(caller("10.0.0.1:9", &[written]), meant, "{written}");
        }
        let chain = "203.0.113.9, 192.0.2.1 , 10.2.3.4,fd00::9";
        assert_eq!(caller("10.0.0.1:9", &[chain]), "192.0.2.1");
        // Somebody of the trusted networks asks.
        assert_eq!(caller("10.0.0.1:9", &["10.7.7.7, 10.2.3.4"]), "10.7.7.7");
    }

    #[test]
    fn what_is_no_address_is_passed_over_to_one_that_the_client_wrote() {
        for nothing in ["", "unknown", "192.0.2.1:x", "192.0.2.1 192.0.2.2", "\"x\""] {
            let forged = format!("203.0.113.9, {nothing}");
            assert_eq!(caller("10.0.0.1:9", &[&forged]), "10.0.0.1:9", "{nothing}");
            let further = format!("203.0.113.9, {nothing}, 10.2.3.4");
            assert_eq!(caller("10.0.0.1:9", &[&further]), "10.2.3.4", "{nothing}");
        }
        let long = format!("203.0.113.9, {}1", " ".repeat(2_000) + &"0".repeat(2_000));
        assert_eq!(caller("10.0.0.1:9", &[&long]), "10.0.0.1:9");
    }

    #[test]
    fn a_chain_without_end_is_followed_without_end() {
        let chain = vec!["10.2.3.4"; MAX_HOPS].join(",");
        assert_eq!(
            caller("10.0.0.1:9", &[&format!("192.0.2.1,{chain}")]),
            "10.2.3.4"
        );
        let chain = vec!["10.2.3.4"; MAX_HOPS - 1].join(",");
        assert_eq!(
            caller("10.0.0.1:9", &[&format!("192.0.2.1,{chain}")]),
            "192.0.2.1"
        );
    }
}
