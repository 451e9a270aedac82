//! Brings snapshots back, and rehearses restores in scratch containers.
//!
//! One way through: parse ([`cli`]), run one verb ([`commands`]), report, exit code.

mod cli;
mod commands;
pub mod rehearsal;

/// Runs the process's command line and returns its exit code.
pub fn main() -> std::process::ExitCode {
    lifeboat_shell::run(commands::run)
}
