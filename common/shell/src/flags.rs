//! The flags that every verb of every binary takes, before or after the verb.

use std::path::PathBuf;

use clap::Args;

/// Flags that shape what is printed, and where the machine keeps what it remembers.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Output")]
pub struct GlobalFlags {
    /// Print one JSON document on standard output instead of text
    #[arg(long, global = true)]
    pub json: bool,
    /// Print errors only, and on standard error the report where something is wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Tell more on standard error; twice tells all
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Draw no progress bars, even on a terminal
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// The folder for what must survive a run [default: the user's state folder]
    ///
    /// What this machine has seen of repositories, containers that are stopped, drills that are under way.
    #[arg(long, global = true, value_name = "DIR", env = "LIFEBOAT_STATE_DIR", help_heading = "State")]
    pub state_dir: Option<PathBuf>,
}
