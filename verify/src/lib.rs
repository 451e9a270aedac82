//! Verifies images, SBOMs and files.
//!
//! One way through: parse ([`cli`]), run one verb ([`commands`]), report, exit code. [`signers`] reads the keys whose
//! word counts, [`evidence`] collects what refers to an image and has it judged.

mod cli;
mod commands;
mod evidence;
mod findings;
mod signers;

/// Runs the process's command line and returns its exit code.
pub fn main() -> std::process::ExitCode {
    lifeboat_shell::run(commands::run)
}
