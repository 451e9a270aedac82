//! Snapshots container volumes into an encrypted, deduplicated repository.
//!
//! One way through: parse (`cli`), run one verb (`commands`), report, exit code.

mod cli;
mod commands;
mod quiesce;
mod shown;

/// Runs the process's command line and returns its exit code.
pub fn main() -> std::process::ExitCode {
    lifeboat_shell::run(commands::run)
}
