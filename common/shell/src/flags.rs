//! The flags that every verb of every binary takes, before or after the verb.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// How progress is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum ProgressForm {
    /// Bars, on a terminal
    #[default]
    Auto,
    /// Not at all
    None,
    /// JSON lines
    Json,
}

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
    /// Draw no progress bars, even on a terminal: the same as `--progress none`
    #[arg(long, global = true, conflicts_with = "progress")]
    pub no_progress: bool,
    /// Tell progress on standard error: in bars on a terminal, not at all, or as one JSON document a line
    ///
    /// With `json` whatever else is told there is a JSON document on a line of its own as well: warnings, notes, errors.
    #[arg(long, global = true, value_enum, value_name = "HOW", default_value_t)]
    pub progress: ProgressForm,
    /// The folder for what must survive a run [default: the user's state folder]
    ///
    /// What this machine has seen of repositories, containers that are stopped, drills that are under way.
    #[arg(long, global = true, value_name = "DIR", env = "LIFEBOAT_STATE_DIR", help_heading = "State")]
    pub state_dir: Option<PathBuf>,
}
