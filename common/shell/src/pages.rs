//! The verbs that every binary has for its own documentation: shell completions and the manual page.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::{Failure, Outcome, Ui};

/// Print completions for a shell
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Print the manual page
#[derive(Debug, Args)]
pub struct ManArgs {}

/// Prints completions of the program `P`.
pub fn completions<P: CommandFactory>(args: &CompletionsArgs, ui: &Ui) -> Result<Outcome, Failure> {
    let mut command = P::command();
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    ui.data(&script)?;
    Ok(Outcome::Done)
}

/// Prints the manual page of the program `P`, with a section for every verb.
pub fn man<P: CommandFactory>(_args: &ManArgs, ui: &Ui) -> Result<Outcome, Failure> {
    let mut page = Vec::new();
    let mut command = P::command();
    command.build();
    let rendered = clap_mangen::Man::new(command.clone()).render(&mut page).and_then(|()| {
        command.get_subcommands().try_for_each(|verb| clap_mangen::Man::new(verb.clone()).render(&mut page))
    });
    rendered.map_err(|error| Failure::refused(format!("the page cannot be made: {error}"), "report this"))?;
    ui.data(&page)?;
    Ok(Outcome::Done)
}
