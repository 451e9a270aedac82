//! Signs images, SBOMs, provenance, snapshots and drill reports.
//!
//! One way through: parse ([`cli`]), run one verb ([`commands`]), report, exit code.

mod cli;
mod commands;

/// Runs the process's command line and returns its exit code.
pub fn main() -> std::process::ExitCode {
    lifeboat_shell::run(commands::run)
}
