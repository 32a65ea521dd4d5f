//! `grapevine completions`: what makes a shell complete commands and flags.

use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::output::Output;

/// Prints what makes a shell complete commands and flags.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  grapevine completions bash > ~/.local/share/bash-completion/completions/grapevine\n  \
        grapevine completions zsh > ~/.zfunc/_grapevine\n  \
        grapevine completions fish > ~/.config/fish/completions/grapevine.fish"
)]
pub(super) struct Completions {
    /// For which shell
    shell: Shell,
}

impl Completions {
    /// Prints them for the commands of `C`.
    pub(super) fn run<C: CommandFactory>(self) -> anyhow::Result<()> {
        let mut script = Vec::new();
        generate(self.shell, &mut C::command(), "grapevine", &mut script);
        let mut output = Output::new(false);
        output.bytes(&script)?;
        output.flush()
    }
}
