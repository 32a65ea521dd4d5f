//! The flags of the settings, made from the one list of settings, so that none is missing or said otherwise.
//!
//! Values are taken as text: whoever gave a value, file, variable or flag, it is checked in the same place
//! and refused in the same words.

use std::{env, path::PathBuf};

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Allowed, ConfigError, Layers, SETTINGS, Scope, Setting};

/// The settings given as flags; those of [`Scope::Identity`] are flags only if `IDENTITY`.
#[derive(Debug)]
pub(super) struct SettingFlags<const IDENTITY: bool> {
    file: Option<PathBuf>,
    given: Vec<(&'static Setting, Vec<String>)>,
}

impl<const IDENTITY: bool> SettingFlags<IDENTITY> {
    /// These flags over the environment over the file.
    pub(super) fn layers(&self) -> Result<Layers, ConfigError> {
        let mut layers = Layers::read(self.file.as_deref(), env::vars_os())?;
        for (setting, values) in &self.given {
            layers.flag(setting, values.clone());
        }
        Ok(layers)
    }

    fn settings() -> impl Iterator<Item = &'static Setting> {
        SETTINGS
            .iter()
            .filter(|setting| IDENTITY || setting.scope != Scope::Identity)
    }
}

impl<const IDENTITY: bool> Args for SettingFlags<IDENTITY> {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("A TOML file of settings, each under its flag's name with `_` for `-` (seeds = [...] for --seed) [env: GRAPEVINE_CONFIG]");
        Self::settings().fold(command.arg(file), |command, setting| {
            let repeated = matches!(
                setting.allowed,
                Allowed::Seeds | Allowed::Origins | Allowed::Networks
            );
            let arg = Arg::new(setting.key)
                .long(setting.flag)
                .value_name(setting.value_name)
                .help(setting.help())
                .help_heading(heading(setting.scope))
                .action(if repeated {
                    ArgAction::Append
                } else {
                    ArgAction::Set
                });
            command.arg(match setting.allowed {
                Allowed::Switch(_) => arg.num_args(0..=1).default_missing_value("true"),
                Allowed::Name
                | Allowed::Path
                | Allowed::File
                | Allowed::Address
                | Allowed::Reachable
                | Allowed::Seeds
                | Allowed::Origins
                | Allowed::Networks
                | Allowed::Number(_)
                | Allowed::Word(_)
                | Allowed::Filter => arg,
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<const IDENTITY: bool> FromArgMatches for SettingFlags<IDENTITY> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let given = Self::settings()
            .filter_map(|setting| {
                let values = matches.get_many::<String>(setting.key)?;
                Some((setting, values.cloned().collect()))
            })
            .collect();
        Ok(Self {
            file: matches.get_one::<PathBuf>("config").cloned(),
            given,
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

const fn heading(scope: Scope) -> Option<&'static str> {
    match scope {
        Scope::Identity => None,
        Scope::Behaviour => Some("Behaviour"),
        Scope::Log => Some("Log"),
    }
}
