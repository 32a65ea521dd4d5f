//! The values that a setting may have, and how they are told.

use core::fmt;

use super::NodeConfig;

/// The most characters of a name of a node or a cluster.
pub const MAX_NAME_CHARS: usize = 63;

/// The most seeds of a node.
pub const MAX_SEEDS: usize = 64;

/// The most origins of web pages that may be let in.
pub const MAX_ORIGINS: usize = 64;

/// The most networks of proxies that are trusted.
pub const MAX_PROXIES: usize = 64;

/// A setting that is a whole number.
#[derive(Clone, Copy, Debug)]
pub struct Number {
    /// The least value.
    pub min: u64,
    /// The greatest value.
    pub max: u64,
    /// What is used if nobody gives one.
    pub default: u64,
    /// What it counts.
    pub unit: &'static str,
    /// Reads it.
    pub get: fn(&NodeConfig) -> u64,
    /// Writes it.
    pub set: fn(&mut NodeConfig, u64),
}

/// A setting that is on or off.
#[derive(Clone, Copy, Debug)]
pub struct Switch {
    /// Reads it.
    pub get: fn(&NodeConfig) -> bool,
    /// Writes it.
    pub set: fn(&mut NodeConfig, bool),
}

/// The values that a setting may have.
#[derive(Clone, Copy, Debug)]
pub enum Allowed {
    /// 1 to [`MAX_NAME_CHARS`] of `a-z`, `A-Z`, `0-9`, `-`, `_`, `.`.
    Name,
    /// A path, not empty.
    Path,
    /// The path of a file, not empty.
    File,
    /// An IP address and a port; port 0 takes a free one.
    Address,
    /// An IP address that others can reach, and a port; port 0 is the one that is listened on.
    Reachable,
    /// `true` or `false`.
    Switch(Switch),
    /// Up to [`MAX_SEEDS`] of `host:port`, the host an IP address or a DNS name, the port 1 to 65,535.
    Seeds,
    /// Up to [`MAX_ORIGINS`] origins of web pages, such as `https://example.org`, or `*` for all.
    Origins,
    /// Up to [`MAX_PROXIES`] IP addresses, or networks of them such as `10.0.0.0/8`, none of them of all addresses.
    Networks,
    /// A number within a range.
    Number(Number),
    /// One of these words.
    Word(&'static [&'static str]),
    /// What `tracing`'s filter reads: a level, or levels by module.
    Filter,
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name => write!(
                f,
                "1 to {MAX_NAME_CHARS} characters of a-z, A-Z, 0-9, `-`, `_`, `.`"
            ),
            Self::Path => f.write_str("the path of a directory"),
            Self::File => f.write_str("the path of a file"),
            Self::Address => f.write_str(
                "an IP address and a port from 0 to 65535, as in 127.0.0.1:7801 or [::1]:7801 (port 0 takes a free one)",
            ),
            Self::Reachable => f.write_str(
                "an IP address, not 0.0.0.0 or [::], and a port from 0 to 65535, as in 192.0.2.7:7901 (port 0 is the one it listens on)",
            ),
            Self::Switch(_) => f.write_str("true or false"),
            Self::Seeds => write!(
                f,
                "up to {MAX_SEEDS} of host:port, the host an IP address or a DNS name, the port from 1 to 65535"
            ),
            Self::Origins => write!(
                f,
                "up to {MAX_ORIGINS} origins as in https://example.org or http://localhost:8080, or * for all"
            ),
            Self::Networks => write!(
                f,
                "up to {MAX_PROXIES} IP addresses or networks as in 10.0.0.7, 10.0.0.0/8 or fd00::/8, none of all addresses"
            ),
            Self::Number(number) => {
                write!(f, "{} to {} {}", number.min, number.max, number.unit)
            }
            Self::Word(words) => f.write_str(&words.join(" or ")),
            Self::Filter => f.write_str(
                "off, error, warn, info, debug or trace, or such levels by module as in info,grapevine=debug",
            ),
        }
    }
}
