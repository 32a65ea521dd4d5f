//! The settings of one node, as everything that runs it reads them.

use std::{
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    path::PathBuf,
};

use ipnet::IpNet;

use super::{
    Allowed, ConfigError, MAX_NAME_CHARS, MAX_ORIGINS, MAX_PROXIES, MAX_SEEDS, Number, SETTINGS,
};
use crate::{model::Retention, secret::Secrets};

/// The most characters of the host of a seed: a DNS name has no more.
const MAX_HOST_CHARS: usize = 253;

/// Which changes are logged under the target `audit`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum AuditLog {
    /// None.
    Off,
    /// Those that take an admin, and attempts that were refused.
    #[default]
    Admin,
    /// Every write as well.
    Writes,
}

impl AuditLog {
    /// The choice that is called so.
    #[must_use]
    pub fn named(word: &str) -> Option<Self> {
        match word {
            "off" => Some(Self::Off),
            "admin" => Some(Self::Admin),
            "writes" => Some(Self::Writes),
            _ => None,
        }
    }
}

/// The settings of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeConfig {
    /// Its name, unique in the cluster: 1 to 63 characters of `a-z`, `A-Z`, `0-9`, `-`, `_`, `.`.
    pub name: String,
    /// The cluster it belongs to, of the same characters. Default `grapevine`.
    pub cluster: String,
    /// The data directory; made if it is not there.
    pub data: PathBuf,
    /// Where it serves HTTP. Port 0 takes a free one.
    pub http: SocketAddr,
    /// Where it listens for peers: TCP for sync, UDP on the same port for gossip. Port 0 takes a free one.
    pub peer: SocketAddr,
    /// Where others reach its HTTP, if not where it listens. Port 0 is the one it listens on.
    pub advertise_http: Option<SocketAddr>,
    /// Where other nodes reach it, if not where it listens. Port 0 is the one it listens on.
    pub advertise_peer: Option<SocketAddr>,
    /// Peer addresses (`host:port`, names allowed) through which it joins.
    pub seeds: Vec<String>,
    /// The certificate chain by which HTTP is served over TLS, in PEM; with `tls_key` or not at all.
    pub tls_cert: Option<PathBuf>,
    /// The private key of the certificate, in PEM.
    pub tls_key: Option<PathBuf>,
    /// How often it gossips, in milliseconds: 50 to 60,000. Default 200.
    pub gossip_interval_ms: u64,
    /// How often it probes a random peer, in milliseconds: 50 to 60,000. Default 1,000.
    pub pull_interval_ms: u64,
    /// How far a peer's wall clock may be off, in milliseconds: 1,000 to 3,600,000. Default 60,000.
    pub max_clock_skew_ms: u64,
    /// How long a member may be silent, while this node runs, before it is taken off the roster, in seconds: 10 to
    /// 315,360,000. Default 2,592,000 (30 days).
    pub max_offline_s: u64,
    /// How long checking what is stored against its hashes rests after each partition, in milliseconds: 0 (it
    /// never checks) to 86,400,000. Default 60,000.
    pub scrub_pause_ms: u64,
    /// Whether it gives free space back to the file system before it serves, if that pays. Default `false`.
    pub compact_at_start: bool,
    /// How much memory the cache of the storage may take, in MiB: 8 to 65,536. Default 256.
    pub cache_mib: usize,
    /// The most bytes of an HTTP request body: 1,024 to 67,108,864. Default 8 MiB.
    pub max_body_bytes: usize,
    /// How long an HTTP request may take, in milliseconds: 100 to 600,000. Default 30,000.
    pub request_timeout_ms: u64,
    /// How long a read waits for the writes that its session token names, in milliseconds: 0 to 60,000.
    /// Default 2,000.
    pub token_wait_ms: u64,
    /// The most messages that are kept of a topic: 1 to 10,000,000. Default 100,000.
    pub topic_max_messages: u64,
    /// How long a message is kept, in seconds: 1 to 3,153,600,000. Default 31,536,000 (a year).
    pub topic_max_age_s: u64,
    /// How many changes of a contact are remembered: 0 to 1,000. Default 20.
    pub contact_history_versions: usize,
    /// How long a change of a contact is remembered, in seconds: 1 to 3,153,600,000. Default 2,592,000 (30 days).
    pub contact_history_age_s: u64,
    /// How many clients may listen at once, to topics or to all changes: 0 to 15,000. Default 10,000.
    pub max_listeners: usize,
    /// How often those who listen hear something whatever happens, in milliseconds: 100 to 600,000. Default
    /// 15,000.
    pub heartbeat_ms: u64,
    /// How long it serves on when it is told to stop, while `/readyz` says so already, in milliseconds: 0 to 600,000.
    /// Default 0.
    pub drain_notice_ms: u64,
    /// How long it then waits for the requests under way before it cuts them off, in milliseconds: 0 to 600,000. Default
    /// 10,000.
    pub drain_timeout_ms: u64,
    /// The secrets that it shares with the nodes of its cluster, the one to send with first. Default none.
    pub cluster_secrets: Secrets,
    /// The file they came from; it is read again when it changes.
    pub cluster_secret_file: Option<PathBuf>,
    /// Whether it serves on addresses other than loopback although nothing protects them. Default `false`.
    pub insecure: bool,
    /// Which changes are logged under the target `audit`. Default those that take an admin, and attempts that were
    /// refused.
    pub audit_log: AuditLog,
    /// Origins of web pages that may ask this node from a browser, such as `https://example.org`; `*` for all.
    /// Default none.
    pub cors_origins: Vec<String>,
    /// The proxies whose `X-Forwarded-For` is believed. Default none.
    pub trusted_proxies: Vec<IpNet>,
}

impl NodeConfig {
    /// A node with defaults for everything but these.
    #[must_use]
    pub fn new(name: impl Into<String>, data: PathBuf, http: SocketAddr, peer: SocketAddr) -> Self {
        let mut config = Self {
            name: name.into(),
            cluster: "grapevine".to_owned(),
            data,
            http,
            peer,
            advertise_http: None,
            advertise_peer: None,
            tls_cert: None,
            tls_key: None,
            seeds: Vec::new(),
            gossip_interval_ms: 0,
            pull_interval_ms: 0,
            max_clock_skew_ms: 0,
            max_offline_s: 0,
            scrub_pause_ms: 0,
            compact_at_start: false,
            cache_mib: 0,
            max_body_bytes: 0,
            request_timeout_ms: 0,
            token_wait_ms: 0,
            topic_max_messages: 0,
            topic_max_age_s: 0,
            contact_history_versions: 0,
            contact_history_age_s: 0,
            max_listeners: 0,
            heartbeat_ms: 0,
            drain_notice_ms: 0,
            drain_timeout_ms: 0,
            cluster_secrets: Secrets::default(),
            cluster_secret_file: None,
            insecure: false,
            audit_log: AuditLog::default(),
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
        };
        for (_, number) in numbers() {
            (number.set)(&mut config, number.default);
        }
        config
    }

    /// How much is kept of any topic.
    #[must_use]
    pub const fn topic_retention(&self) -> Retention {
        Retention {
            count: Some(self.topic_max_messages),
            seconds: Some(self.topic_max_age_s),
        }
    }

    /// Whether every setting is allowed. Opens nothing, resolves nothing.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (key, name) in [("name", &self.name), ("cluster", &self.cluster)] {
            if !is_name(name) {
                return Err(ConfigError::not_allowed(key, name));
            }
        }
        if self.data.as_os_str().is_empty() {
            return Err(ConfigError::not_allowed("data", ""));
        }
        if self.http == self.peer && self.http.port() != 0 {
            return Err(ConfigError::Twice { address: self.http });
        }
        if !self.peer.ip().is_loopback() && self.cluster_secrets.is_empty() && !self.insecure {
            return Err(ConfigError::Unsealed { address: self.peer });
        }
        let reachable = [
            ("advertise_http", self.advertise_http),
            ("advertise_peer", self.advertise_peer),
        ];
        for (key, address) in reachable {
            if let Some(address) = address.filter(|address| address.ip().is_unspecified()) {
                return Err(ConfigError::not_allowed(key, address.to_string()));
            }
        }
        for (given, missing) in [
            ((&self.tls_cert, "tls_cert"), (&self.tls_key, "tls_key")),
            ((&self.tls_key, "tls_key"), (&self.tls_cert, "tls_cert")),
        ] {
            if let (Some(_), None) = (given.0, missing.0) {
                return Err(ConfigError::Alone {
                    given: given.1,
                    missing: missing.1,
                });
            }
        }
        for (key, path) in [("tls_cert", &self.tls_cert), ("tls_key", &self.tls_key)] {
            if path
                .as_ref()
                .is_some_and(|path| path.as_os_str().is_empty())
            {
                return Err(ConfigError::not_allowed(key, ""));
            }
        }
        if self.seeds.len() > MAX_SEEDS {
            let count = format!("{} seeds", self.seeds.len());
            return Err(ConfigError::not_allowed("seeds", count));
        }
        if let Some(seed) = self.seeds.iter().find(|seed| !is_host_and_port(seed)) {
            return Err(ConfigError::not_allowed("seeds", seed));
        }
        if self.cors_origins.len() > MAX_ORIGINS {
            let count = format!("{} origins", self.cors_origins.len());
            return Err(ConfigError::not_allowed("cors_origins", count));
        }
        if let Some(origin) = self.cors_origins.iter().find(|origin| !is_origin(origin)) {
            return Err(ConfigError::not_allowed("cors_origins", origin));
        }
        if self.trusted_proxies.len() > MAX_PROXIES {
            let count = format!("{} proxies", self.trusted_proxies.len());
            return Err(ConfigError::not_allowed("trusted_proxies", count));
        }
        if let Some(all) = self.trusted_proxies.iter().find(|of| of.prefix_len() == 0) {
            return Err(ConfigError::not_allowed("trusted_proxies", all.to_string()));
        }
        for (key, number) in numbers() {
            let value = (number.get)(self);
            if !(number.min..=number.max).contains(&value) {
                return Err(ConfigError::not_allowed(key, value.to_string()));
            }
        }
        Ok(())
    }
}

/// Where a node listens if nobody says.
pub(super) fn default_address(key: &str) -> SocketAddr {
    let port = if key == "http" { 7801 } else { 7901 };
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn numbers() -> impl Iterator<Item = (&'static str, Number)> {
    SETTINGS.iter().filter_map(|setting| match setting.allowed {
        Allowed::Number(number) => Some((setting.key, number)),
        Allowed::Name
        | Allowed::Path
        | Allowed::File
        | Allowed::Address
        | Allowed::Reachable
        | Allowed::Switch(_)
        | Allowed::Seeds
        | Allowed::Origins
        | Allowed::Networks
        | Allowed::Word(_)
        | Allowed::Filter => None,
    })
}

fn is_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=MAX_NAME_CHARS).contains(&text.len()) && text.bytes().all(plain)
}

/// Whether a browser may tell this as the origin of a page, or it is `*`.
fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else {
        return text == "*";
    };
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let in_scheme = |byte: u8| plain(byte) || matches!(byte, b'+' | b'-' | b'.');
    let in_host = |byte: u8| plain(byte) || matches!(byte, b'-' | b'.' | b':' | b'[' | b']');
    (1..=MAX_HOST_CHARS).contains(&host.len())
        && !scheme.is_empty()
        && scheme.bytes().all(in_scheme)
        && host.bytes().all(in_host)
}

fn is_host_and_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else {
        return false;
    };
    let bracketed = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    let host_is_good = match bracketed {
        Some(address) => address.parse::<Ipv6Addr>().is_ok(),
        None => is_dns_name(host),
    };
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    host_is_good && digits && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Whether it may be a DNS name or an IPv4 address: labels of letters, digits, `-` and `_`.
fn is_dns_name(host: &str) -> bool {
    let in_label = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let host = host.strip_suffix('.').unwrap_or(host);
    (1..=MAX_HOST_CHARS).contains(&host.len())
        && host
            .split('.')
            .all(|label| (1..=63).contains(&label.len()) && label.bytes().all(in_label))
}
