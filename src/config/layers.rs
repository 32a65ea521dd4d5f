//! Flags over environment over file over defaults.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    fs::File,
    io::{self, Read as _},
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use ipnet::IpNet;

use super::{
    Allowed, AuditLog, ConfigError, NodeConfig, Origin, SETTINGS, Scope, Setting,
    node_config::default_address,
};
use crate::secret::{Secret, SecretError, Secrets};

/// The most bytes of a settings file.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// What a variable of ours begins with.
const PREFIX: &str = "GRAPEVINE_";

/// The variable that names the settings file.
const FILE_VARIABLE: &str = "GRAPEVINE_CONFIG";

/// What commands that ask nodes are told by: no settings of a node.
const CLIENT_VARIABLES: [&str; 4] = [
    "GRAPEVINE_NODE",
    "GRAPEVINE_TOKEN",
    "GRAPEVINE_TOKEN_FILE",
    "GRAPEVINE_CA",
];

/// The variable that holds the cluster's secret: no setting, for no flag and no settings file may.
pub(super) const SECRET_VARIABLE: &str = "GRAPEVINE_CLUSTER_SECRET";

/// What a text that is not shown is told as.
const NOT_SHOWN: &str = "(not shown)";

/// One value, or several for a list, and who gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    values: Vec<String>,
    origin: Origin,
}

/// The settings that somebody gave, each from the highest layer that names it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    given: BTreeMap<&'static str, Given>,
    /// What the variable of the cluster's secret says.
    secrets: Option<Secrets>,
}

impl Layers {
    /// Reads the settings file, if `file` or a variable names one, then `environment`. Flags go on top with
    /// [`Self::flag`].
    pub fn read(
        file: Option<&Path>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Self, ConfigError> {
        let variables: Vec<(String, OsString)> = environment
            .into_iter()
            .filter_map(|(name, value)| Some((ours(&name)?, value)))
            .collect();
        let named = variables.iter().find(|(name, _)| name == FILE_VARIABLE);
        let file = file.or_else(|| named.map(|(_, path)| Path::new(path)));
        let mut layers = Self::default();
        if let Some(path) = file {
            layers.file(path)?;
        }
        for (name, value) in variables {
            if name == SECRET_VARIABLE {
                layers.secrets = Some(secrets(&value)?);
            } else if name != FILE_VARIABLE && !CLIENT_VARIABLES.contains(&name.as_str()) {
                layers.variable(name, &value)?;
            }
        }
        Ok(layers)
    }

    /// Puts a flag on top of everything else.
    pub fn flag(&mut self, setting: &'static Setting, values: Vec<String>) {
        let origin = Origin::Flag(format!("--{}", setting.flag));
        self.put(setting, values, origin);
    }

    /// Refuses settings of the kind `scope`, whoever gave them: the command chooses them itself, as `reason`
    /// says.
    pub fn refuse(&self, scope: Scope, reason: &'static str) -> Result<(), ConfigError> {
        for setting in SETTINGS.iter().filter(|setting| setting.scope == scope) {
            if let Some(given) = self.given.get(setting.key) {
                return Err(ConfigError::NotHere {
                    key: setting.key,
                    value: given.values.join(","),
                    origin: given.origin.clone(),
                    reason,
                });
            }
        }
        Ok(())
    }

    /// The settings of the node, checked.
    pub fn node(&self) -> Result<NodeConfig, ConfigError> {
        let name = self.required("name")?;
        let data = PathBuf::from(self.required("data")?);
        let address = |key| {
            let address = self.address(key)?;
            Ok::<_, ConfigError>(address.unwrap_or_else(|| default_address(key)))
        };
        let mut config = NodeConfig::new(name, data, address("http")?, address("peer")?);
        config.advertise_http = self.address("advertise_http")?;
        config.advertise_peer = self.address("advertise_peer")?;
        config.tls_cert = self.text("tls_cert").map(PathBuf::from);
        config.tls_key = self.text("tls_key").map(PathBuf::from);
        if let Some(cluster) = self.text("cluster") {
            cluster.clone_into(&mut config.cluster);
        }
        if let Some(seeds) = self.given.get("seeds") {
            config.seeds.clone_from(&seeds.values);
        }
        self.complete(config)
    }

    /// `config` with the settings of [`Scope::Behaviour`] that somebody gave, checked as a whole.
    pub fn complete(&self, mut config: NodeConfig) -> Result<NodeConfig, ConfigError> {
        for setting in SETTINGS {
            let Some(text) = self.text(setting.key) else {
                continue;
            };
            let not_allowed = || self.not_allowed(setting.key, text);
            match setting.allowed {
                Allowed::Number(number) => {
                    let value = text.trim().parse().map_err(|_| not_allowed())?;
                    (number.set)(&mut config, value);
                }
                Allowed::Switch(switch) => {
                    let value = text.trim().parse().map_err(|_| not_allowed())?;
                    (switch.set)(&mut config, value);
                }
                Allowed::Name
                | Allowed::Path
                | Allowed::File
                | Allowed::Address
                | Allowed::Reachable
                | Allowed::Seeds
                | Allowed::Origins
                | Allowed::Networks
                | Allowed::Word(_)
                | Allowed::Filter => {}
            }
        }
        if let Some(secrets) = &self.secrets {
            config.cluster_secrets = secrets.clone();
        }
        if let Some(path) = self.text("cluster_secret_file") {
            config.cluster_secrets = self.secret_file(path)?;
            config.cluster_secret_file = Some(PathBuf::from(path));
        }
        if let Some(word) = self.word("audit_log")? {
            config.audit_log = AuditLog::named(word).unwrap_or_default();
        }
        if let Some(origins) = self.given.get("cors_origins") {
            config.cors_origins.clone_from(&origins.values);
        }
        if let Some(proxies) = self.given.get("trusted_proxies") {
            config.trusted_proxies = self.networks("trusted_proxies", &proxies.values)?;
        }
        config.validate().map_err(|error| self.with_origin(error))?;
        Ok(config)
    }

    /// A setting that is one of some words, checked.
    pub fn word(&self, key: &'static str) -> Result<Option<&str>, ConfigError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        match Setting::find(key).map(|setting| setting.allowed) {
            Some(Allowed::Word(words)) if !words.contains(&text) => {
                Err(self.not_allowed(key, text))
            }
            _ => Ok(Some(text)),
        }
    }

    /// A setting as text, not checked.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.given.get(key)?.values.last().map(String::as_str)
    }

    /// The error that says that `value` of `key` is not allowed, and who gave it.
    #[must_use]
    pub fn not_allowed(&self, key: &'static str, value: &str) -> ConfigError {
        self.with_origin(ConfigError::not_allowed(key, value))
    }

    fn secret_file(&self, path: &str) -> Result<Secrets, ConfigError> {
        const KEY: &str = "cluster_secret_file";
        if self.secrets.is_some() {
            return Err(ConfigError::TwoSecrets);
        }
        if path.is_empty() || unless_secret(KEY, path.to_owned()) == NOT_SHOWN {
            return Err(self.not_allowed(KEY, &unless_secret(KEY, path.to_owned())));
        }
        Secrets::read(Path::new(path)).map_err(|source| ConfigError::SecretFile {
            origin: self
                .given
                .get(KEY)
                .map_or(Origin::Program, |given| given.origin.clone()),
            source,
        })
    }

    fn required(&self, key: &'static str) -> Result<String, ConfigError> {
        let setting = Setting::find(key).expect("only keys of the list are asked for");
        self.text(key)
            .map(str::to_owned)
            .ok_or_else(|| ConfigError::Missing {
                key: setting.key,
                flag: format!("--{}", setting.flag),
                variable: setting.variable(),
            })
    }

    fn address(&self, key: &'static str) -> Result<Option<SocketAddr>, ConfigError> {
        let Some(text) = self.text(key) else {
            return Ok(None);
        };
        let address = text.parse().map_err(|_| self.not_allowed(key, text))?;
        Ok(Some(address))
    }

    /// Addresses, and networks of them.
    fn networks(&self, key: &'static str, texts: &[String]) -> Result<Vec<IpNet>, ConfigError> {
        let network = |text: &String| {
            let address = text.parse::<IpAddr>().map(IpNet::from);
            let network = address.or_else(|_| text.parse::<IpNet>());
            network.map_err(|_| self.not_allowed(key, text))
        };
        texts.iter().map(network).collect()
    }

    fn with_origin(&self, error: ConfigError) -> ConfigError {
        match error {
            ConfigError::NotAllowed {
                key,
                value,
                origin: Origin::Program,
                allowed,
            } => ConfigError::NotAllowed {
                key,
                value,
                origin: self
                    .given
                    .get(key)
                    .map_or(Origin::Program, |given| given.origin.clone()),
                allowed,
            },
            other => other,
        }
    }

    fn put(&mut self, setting: &'static Setting, values: Vec<String>, origin: Origin) {
        let values = match setting.allowed {
            Allowed::Seeds | Allowed::Origins | Allowed::Networks => values
                .iter()
                .flat_map(|value| value.split(','))
                .map(|seed| seed.trim().to_owned())
                .filter(|seed| !seed.is_empty())
                .collect(),
            Allowed::Name
            | Allowed::Path
            | Allowed::File
            | Allowed::Address
            | Allowed::Reachable
            | Allowed::Number(_)
            | Allowed::Switch(_)
            | Allowed::Word(_)
            | Allowed::Filter => values,
        };
        self.given.insert(setting.key, Given { values, origin });
    }

    fn variable(&mut self, name: String, value: &OsStr) -> Result<(), ConfigError> {
        let key = name[PREFIX.len()..].to_lowercase();
        let setting = SETTINGS
            .iter()
            .find(|setting| setting.key == key && setting.variable() == name);
        let shown = value.to_string_lossy().into_owned();
        let origin = Origin::Variable(name.clone());
        let Some(setting) = setting else {
            return Err(ConfigError::Unknown {
                value: unless_secret(&name, shown),
                key: name,
                origin: Origin::Environment,
                known: known(Setting::variable, &[FILE_VARIABLE, SECRET_VARIABLE]),
            });
        };
        match value.to_str() {
            Some(value) => {
                self.put(setting, vec![value.to_owned()], origin);
                Ok(())
            }
            None => Err(ConfigError::NotAllowed {
                key: setting.key,
                value: shown,
                origin,
                allowed: format!("{}, in UTF-8", setting.allowed),
            }),
        }
    }

    fn file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let text = read_bounded(path).map_err(|source| ConfigError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        let table: toml::Table =
            toml::from_str(&text).map_err(|error| syntax(path, &text, &error))?;
        for (key, value) in table {
            let origin = Origin::File(path.to_owned());
            let Some(setting) = Setting::find(&key) else {
                return Err(ConfigError::Unknown {
                    value: unless_secret(&key, shown(&value)),
                    key,
                    origin,
                    known: known(|setting| setting.key.to_owned(), &[]),
                });
            };
            let values = texts(setting.allowed, &value).ok_or_else(|| ConfigError::NotAllowed {
                key: setting.key,
                value: shown(&value),
                origin: origin.clone(),
                allowed: format!("{}, given as {}", setting.allowed, toml_type(setting)),
            })?;
            self.put(setting, values, origin);
        }
        Ok(())
    }
}

/// The value of an unknown setting, unless it is a secret in the wrong place or its name sounds like that of one.
fn unless_secret(name: &str, value: String) -> String {
    let named = ["TOK", "SECR", "KEY", "PASS"];
    let name = name.to_uppercase();
    let sounds = name != "CLUSTER_SECRET_FILE" && named.iter().any(|sound| name.contains(sound));
    if sounds || Secret::is_like(&value) {
        return NOT_SHOWN.to_owned();
    }
    value
}

fn secrets(value: &OsStr) -> Result<Secrets, ConfigError> {
    let text = value.to_str().ok_or(SecretError::Shape);
    text.and_then(Secrets::parse)
        .map_err(ConfigError::SecretVariable)
}

/// The name of a variable that is meant for us.
fn ours(name: &OsStr) -> Option<String> {
    let name = name.to_string_lossy();
    name.starts_with(PREFIX).then(|| name.into_owned())
}

/// The texts of a TOML value; `None` if it is of another type than the setting takes.
fn texts(allowed: Allowed, value: &toml::Value) -> Option<Vec<String>> {
    match (allowed, value) {
        (Allowed::Number(_), toml::Value::Integer(number)) => Some(vec![number.to_string()]),
        (Allowed::Seeds | Allowed::Origins | Allowed::Networks, toml::Value::Array(texts)) => texts
            .iter()
            .map(|seed| seed.as_str().map(str::to_owned))
            .collect(),
        (Allowed::Switch(_), toml::Value::Boolean(switch)) => Some(vec![switch.to_string()]),
        (
            Allowed::Number(_)
            | Allowed::Switch(_)
            | Allowed::Seeds
            | Allowed::Origins
            | Allowed::Networks,
            _,
        ) => None,
        (
            Allowed::Name
            | Allowed::Path
            | Allowed::File
            | Allowed::Address
            | Allowed::Reachable
            | Allowed::Word(_)
            | Allowed::Filter,
            value,
        ) => value.as_str().map(|text| vec![text.to_owned()]),
    }
}

/// How the settings file writes a value of this setting.
const fn toml_type(setting: &Setting) -> &'static str {
    match setting.allowed {
        Allowed::Number(_) => "a whole number",
        Allowed::Seeds | Allowed::Origins | Allowed::Networks => "a list of strings",
        Allowed::Switch(_) => "true or false without quotes",
        Allowed::Name
        | Allowed::Path
        | Allowed::File
        | Allowed::Address
        | Allowed::Reachable
        | Allowed::Word(_)
        | Allowed::Filter => "a string",
    }
}

/// A TOML value for a message: short, and on one line.
fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Integer(number) => number.to_string(),
        toml::Value::Float(number) => number.to_string(),
        toml::Value::Boolean(flag) => flag.to_string(),
        toml::Value::Datetime(time) => time.to_string(),
        toml::Value::Array(items) => {
            let items: Vec<_> = items.iter().map(shown).collect();
            format!("[{}]", items.join(", "))
        }
        toml::Value::Table(_) => "a table".to_owned(),
    }
}

fn known(name: impl Fn(&Setting) -> String, also: &[&str]) -> String {
    let mut names: Vec<String> = SETTINGS.iter().map(name).collect();
    names.extend(also.iter().map(|name| (*name).to_owned()));
    names.join(", ")
}

fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let offset = error.span().map_or(0, |span| span.start);
    let before = text.get(..offset).unwrap_or_default();
    ConfigError::Syntax {
        path: path.to_owned(),
        line: before.matches('\n').count() + 1,
        message: error.message().replace('\n', ", "),
    }
}

fn read_bounded(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(MAX_FILE_BYTES + 1)
        .read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        let message = format!("it has more than {MAX_FILE_BYTES} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, message));
    }
    Ok(text)
}
