//! Signs images, SBOMs and files.
//!
//! One way through: parse (`cli`), run one verb (`commands`), report, exit code. `key` opens the key, `secret`
//! reads and makes key files, `target` finds the image and attaches the signature to it.

mod cli;
mod commands;
mod key;
mod secret;
mod target;

/// Runs the process's command line and returns its exit code.
pub fn main() -> std::process::ExitCode {
    lifeboat_shell::run(commands::run)
}
