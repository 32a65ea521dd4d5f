//! The list of all settings, from which every layer and every message follows.

use super::{Allowed, Number, Switch};

/// Which commands take a setting from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What makes a node this node and no other; `dev` chooses it for each of its nodes.
    Identity,
    /// How a node behaves.
    Behaviour,
    /// What the process tells about itself.
    Log,
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Its name in the settings file.
    pub key: &'static str,
    /// Its flag, without the dashes in front.
    pub flag: &'static str,
    /// What a value is called in the help.
    pub value_name: &'static str,
    /// What it is, in one sentence.
    pub about: &'static str,
    /// The values that it may have.
    pub allowed: Allowed,
    /// Which commands take it.
    pub scope: Scope,
    /// The default as told in the help.
    pub default: Option<&'static str>,
}

impl Setting {
    /// The setting with this key, if there is one.
    #[must_use]
    pub fn find(key: &str) -> Option<&'static Self> {
        SETTINGS.iter().find(|setting| setting.key == key)
    }

    /// Its environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("GRAPEVINE_{}", self.key.to_uppercase())
    }

    /// What the help says of it.
    #[must_use]
    pub fn help(&self) -> String {
        let (about, allowed, variable) = (self.about, self.allowed, self.variable());
        let default = match (self.allowed, self.default) {
            (Allowed::Number(number), _) => format!("; default {}", number.default),
            (Allowed::Switch(_), _) => "; default false".to_owned(),
            (_, Some(default)) => format!("; default {default}"),
            (_, None) => String::new(),
        };
        format!("{about}: {allowed}{default} [env: {variable}]")
    }
}

const fn identity(
    [key, flag]: [&'static str; 2],
    value_name: &'static str,
    about: &'static str,
    allowed: Allowed,
    default: Option<&'static str>,
) -> Setting {
    Setting {
        key,
        flag,
        value_name,
        about,
        allowed,
        scope: Scope::Identity,
        default,
    }
}

const fn number(
    [key, flag]: [&'static str; 2],
    value_name: &'static str,
    about: &'static str,
    number: Number,
) -> Setting {
    Setting {
        key,
        flag,
        value_name,
        about,
        allowed: Allowed::Number(number),
        scope: Scope::Behaviour,
        default: None,
    }
}

/// Every setting there is.
pub const SETTINGS: &[Setting] = &[
    identity(
        ["name", "name"],
        "NAME",
        "The name of the node, unique in its cluster",
        Allowed::Name,
        None,
    ),
    identity(
        ["data", "data"],
        "DIR",
        "The data directory, made if it is not there",
        Allowed::Path,
        None,
    ),
    identity(
        ["http", "http"],
        "ADDR",
        "Where it serves HTTP",
        Allowed::Address,
        Some("127.0.0.1:7801"),
    ),
    identity(
        ["peer", "peer"],
        "ADDR",
        "Where it listens for peers, TCP and UDP on the same port",
        Allowed::Address,
        Some("127.0.0.1:7901"),
    ),
    identity(
        ["advertise_http", "advertise-http"],
        "ADDR",
        "Where others reach its HTTP, if not where it listens",
        Allowed::Reachable,
        Some("where it listens; on 0.0.0.0 the address from which its first seed is reached"),
    ),
    identity(
        ["advertise_peer", "advertise-peer"],
        "ADDR",
        "Where other nodes reach it, TCP and UDP on the same port, if not where it listens",
        Allowed::Reachable,
        Some("where it listens; on 0.0.0.0 the address from which its first seed is reached"),
    ),
    identity(
        ["seeds", "seed"],
        "HOST:PORT",
        "Peer addresses through which it joins; repeat the flag, or part them by commas",
        Allowed::Seeds,
        None,
    ),
    identity(
        ["cluster", "cluster"],
        "NAME",
        "The cluster it belongs to; nodes of another are refused",
        Allowed::Name,
        Some("grapevine"),
    ),
    identity(
        ["tls_cert", "tls-cert"],
        "FILE",
        "The certificate chain by which HTTP is served over TLS, in PEM; read again when it changes",
        Allowed::File,
        Some("none: plain HTTP"),
    ),
    identity(
        ["tls_key", "tls-key"],
        "FILE",
        "The private key of the certificate, in PEM; read again when it changes",
        Allowed::File,
        None,
    ),
    number(
        ["gossip_interval_ms", "gossip-interval-ms"],
        "MS",
        "How often it gossips",
        Number {
            min: 50,
            max: 60_000,
            default: 200,
            unit: "milliseconds",
            get: |config| config.gossip_interval_ms,
            set: |config, value| config.gossip_interval_ms = value,
        },
    ),
    number(
        ["pull_interval_ms", "pull-interval-ms"],
        "MS",
        "How often it probes a random peer",
        Number {
            min: 50,
            max: 60_000,
            default: 1_000,
            unit: "milliseconds",
            get: |config| config.pull_interval_ms,
            set: |config, value| config.pull_interval_ms = value,
        },
    ),
    number(
        ["max_clock_skew_ms", "max-clock-skew-ms"],
        "MS",
        "How far a peer's wall clock may be off",
        Number {
            min: 1_000,
            max: 3_600_000,
            default: 60_000,
            unit: "milliseconds",
            get: |config| config.max_clock_skew_ms,
            set: |config, value| config.max_clock_skew_ms = value,
        },
    ),
    number(
        ["max_offline_s", "max-offline-s"],
        "S",
        "How long a member may be silent, while this node runs, before it is taken off the roster",
        Number {
            min: 10,
            max: 315_360_000,
            default: 2_592_000,
            unit: "seconds",
            get: |config| config.max_offline_s,
            set: |config, value| config.max_offline_s = value,
        },
    ),
    number(
        ["scrub_pause_ms", "scrub-pause-ms"],
        "MS",
        "How long checking what is stored against its hashes rests after each partition; 0 never checks",
        Number {
            min: 0,
            max: 86_400_000,
            default: 60_000,
            unit: "milliseconds",
            get: |config| config.scrub_pause_ms,
            set: |config, value| config.scrub_pause_ms = value,
        },
    ),
    number(
        ["cache_mib", "cache-mib"],
        "MIB",
        "How much memory the cache of the storage may take",
        Number {
            min: 8,
            max: 65_536,
            default: 256,
            unit: "MiB",
            get: |config| wide(config.cache_mib),
            set: |config, value| config.cache_mib = narrow(value),
        },
    ),
    number(
        ["max_body_bytes", "max-body-bytes"],
        "BYTES",
        "The most bytes of an HTTP request body",
        Number {
            min: 1_024,
            max: 67_108_864,
            default: 8_388_608,
            unit: "bytes",
            get: |config| wide(config.max_body_bytes),
            set: |config, value| config.max_body_bytes = narrow(value),
        },
    ),
    number(
        ["request_timeout_ms", "request-timeout-ms"],
        "MS",
        "How long an HTTP request may take",
        Number {
            min: 100,
            max: 600_000,
            default: 30_000,
            unit: "milliseconds",
            get: |config| config.request_timeout_ms,
            set: |config, value| config.request_timeout_ms = value,
        },
    ),
    number(
        ["token_wait_ms", "token-wait-ms"],
        "MS",
        "How long a read waits for the writes that its session token names",
        Number {
            min: 0,
            max: 60_000,
            default: 2_000,
            unit: "milliseconds",
            get: |config| config.token_wait_ms,
            set: |config, value| config.token_wait_ms = value,
        },
    ),
    number(
        ["topic_max_messages", "topic-max-messages"],
        "COUNT",
        "The most messages that are kept of a topic; a topic's own setting may be less",
        Number {
            min: 1,
            max: 10_000_000,
            default: 100_000,
            unit: "messages",
            get: |config| config.topic_max_messages,
            set: |config, value| config.topic_max_messages = value,
        },
    ),
    number(
        ["topic_max_age_s", "topic-max-age-s"],
        "S",
        "How long a message is kept; a topic's own setting may be less",
        Number {
            min: 1,
            max: 3_153_600_000,
            default: 31_536_000,
            unit: "seconds",
            get: |config| config.topic_max_age_s,
            set: |config, value| config.topic_max_age_s = value,
        },
    ),
    number(
        ["contact_history_versions", "contact-history-versions"],
        "COUNT",
        "How many changes of a contact are remembered, to be looked at and taken back",
        Number {
            min: 0,
            max: 1_000,
            default: 20,
            unit: "changes",
            get: |config| config.contact_history_versions as u64,
            set: |config, value| {
                config.contact_history_versions = usize::try_from(value).unwrap_or(usize::MAX);
            },
        },
    ),
    number(
        ["contact_history_age_s", "contact-history-age-s"],
        "S",
        "How long a change of a contact is remembered",
        Number {
            min: 1,
            max: 3_153_600_000,
            default: 2_592_000,
            unit: "seconds",
            get: |config| config.contact_history_age_s,
            set: |config, value| config.contact_history_age_s = value,
        },
    ),
    number(
        ["max_listeners", "max-listeners"],
        "COUNT",
        "How many clients may listen at once, to topics or to all changes",
        Number {
            min: 0,
            max: 15_000,
            default: 10_000,
            unit: "clients",
            get: |config| wide(config.max_listeners),
            set: |config, value| config.max_listeners = narrow(value),
        },
    ),
    number(
        ["heartbeat_ms", "heartbeat-ms"],
        "MS",
        "How often those who listen hear something, whatever happens",
        Number {
            min: 100,
            max: 600_000,
            default: 15_000,
            unit: "milliseconds",
            get: |config| config.heartbeat_ms,
            set: |config, value| config.heartbeat_ms = value,
        },
    ),
    number(
        ["drain_notice_ms", "drain-notice-ms"],
        "MS",
        "How long it serves on when it is told to stop, while /readyz says so already; at least what a load balancer needs to hear of it",
        Number {
            min: 0,
            max: 600_000,
            default: 0,
            unit: "milliseconds",
            get: |config| config.drain_notice_ms,
            set: |config, value| config.drain_notice_ms = value,
        },
    ),
    number(
        ["drain_timeout_ms", "drain-timeout-ms"],
        "MS",
        "How long it then waits for the HTTP requests under way before it cuts them off",
        Number {
            min: 0,
            max: 600_000,
            default: 10_000,
            unit: "milliseconds",
            get: |config| config.drain_timeout_ms,
            set: |config, value| config.drain_timeout_ms = value,
        },
    ),
    Setting {
        key: "compact_at_start",
        flag: "compact-at-start",
        value_name: "BOOL",
        about: "Whether it gives free space back to the file system before it serves, if more than half of data.redb is free",
        allowed: Allowed::Switch(Switch {
            get: |config| config.compact_at_start,
            set: |config, value| config.compact_at_start = value,
        }),
        scope: Scope::Behaviour,
        default: None,
    },
    Setting {
        key: "cluster_secret_file",
        flag: "cluster-secret-file",
        value_name: "FILE",
        about: "The file of the cluster's secret, as `grapevine secret new` prints it, or of two while it is changed; read again when it changes",
        allowed: Allowed::File,
        scope: Scope::Behaviour,
        default: Some(
            "none: what GRAPEVINE_CLUSTER_SECRET says, or else no secret, on loopback alone",
        ),
    },
    Setting {
        key: "insecure",
        flag: "insecure",
        value_name: "BOOL",
        about: "Whether it serves on addresses other than loopback although nothing protects them",
        allowed: Allowed::Switch(Switch {
            get: |config| config.insecure,
            set: |config, value| config.insecure = value,
        }),
        scope: Scope::Behaviour,
        default: None,
    },
    Setting {
        key: "audit_log",
        flag: "audit-log",
        value_name: "WHAT",
        about: "Which changes are logged under the target `audit`: none, those that take an admin and attempts that were refused, or every write as well",
        allowed: Allowed::Word(&["off", "admin", "writes"]),
        scope: Scope::Behaviour,
        default: Some("admin"),
    },
    Setting {
        key: "cors_origins",
        flag: "cors-origin",
        value_name: "ORIGIN",
        about: "Web pages that may ask this node from a browser; repeat the flag, or part them by commas",
        allowed: Allowed::Origins,
        scope: Scope::Behaviour,
        default: Some("none"),
    },
    Setting {
        key: "trusted_proxies",
        flag: "trusted-proxy",
        value_name: "NETWORK",
        about: "Proxies whose `X-Forwarded-For` is believed, for the audit log and the limit on failed attempts; repeat the flag, or part them by commas",
        allowed: Allowed::Networks,
        scope: Scope::Behaviour,
        default: Some("none"),
    },
    Setting {
        key: "log_format",
        flag: "log-format",
        value_name: "FORMAT",
        about: "How log lines look on standard error",
        allowed: Allowed::Word(&["human", "json"]),
        scope: Scope::Log,
        default: Some("human on a terminal, else json"),
    },
    Setting {
        key: "log_level",
        flag: "log-level",
        value_name: "LEVEL",
        about: "How much it logs; without it RUST_LOG is asked",
        allowed: Allowed::Filter,
        scope: Scope::Log,
        default: Some("info; warn under dev"),
    },
];

/// Saturates: what does not fit is above every range, so the check refuses it.
fn narrow(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// As [`narrow`], the other way.
fn wide(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// The lines that `docs/operations.md` must hold.
    fn table() -> String {
        let rows = SETTINGS.iter().map(|setting| {
            let default = match (setting.allowed, setting.default) {
                (Allowed::Number(number), _) => number.default.to_string(),
                (Allowed::Switch(_), _) => "false".to_owned(),
                (_, Some(default)) => default.to_owned(),
                (_, None) => "none".to_owned(),
            };
            let (key, about, allowed) = (setting.key, setting.about, setting.allowed);
            format!("| `{key}` | {about} | {allowed} | {default} |\n")
        });
        let head = "| setting | what | allowed | default |\n|---|---|---|---|\n".to_owned();
        [head].into_iter().chain(rows).collect()
    }

    #[test]
    fn the_settings_are_documented_as_they_are() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations.md");
        let documentation = fs::read_to_string(&path).expect("it can be read");
        let table = table();
        assert!(
            documentation.contains(&table),
            "docs/operations.md should hold:\n{table}"
        );
    }
}
