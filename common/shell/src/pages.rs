//! The verbs of every binary for its own documentation: shell completions and the manual page.

use std::io;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use crate::{Failure, Outcome, Ui};

/// Print completions for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  lifeboat-backup completions bash > /etc/bash_completion.d/lifeboat-backup
  lifeboat-verify completions zsh > ~/.zfunc/_lifeboat-verify")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Print the manual page
#[derive(Debug, Args)]
#[command(after_help = "Example:
  lifeboat-backup man > /usr/local/share/man/man1/lifeboat-backup.1")]
pub struct ManArgs {}

/// Prints completions of the program `P`.
pub fn completions<P: CommandFactory>(args: &CompletionsArgs, ui: &Ui) -> Result<Outcome, Failure> {
    let mut command = P::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, &name, &mut script);
    if args.shell == Shell::Bash {
        script = with_one_name(&String::from_utf8_lossy(&script), &name).into_bytes();
    }
    ui.page(&script)?;
    Ok(Outcome::Done)
}

/// The generator spells a program's name with a hyphen in two ways, one where it sets the verb and one where it reads
/// it, so that verbs would have no options (`clap_complete` 4.6).
fn with_one_name(script: &str, name: &str) -> String {
    script.replace(&name.replace('-', "__subcmd__"), &name.replace('-', "__"))
}

/// Prints the manual page of the program `P`, with a section for every verb.
pub fn man<P: CommandFactory>(_args: &ManArgs, ui: &Ui) -> Result<Outcome, Failure> {
    let mut page = Vec::new();
    let mut command = P::command();
    command.build();
    let rendered = render(&command, &mut page);
    rendered.map_err(|error| Failure::refused(format!("the page cannot be made: {error}"), "report this"))?;
    ui.page(&page)?;
    Ok(Outcome::Done)
}

/// The page of a command, and of each of its verbs.
fn render(command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    clap_mangen::Man::new(command.clone()).render(page)?;
    command.get_subcommands().filter(|verb| !verb.is_hide_set()).try_for_each(|verb| render(verb, page))
}
