//! Brings snapshots back, and rehearses restores in scratch containers.
//!
//! One way through: parse (`cli`), run one verb (`commands`), report, exit code. The drill is [`rehearsal`]; it knows
//! a snapshot only as a [`rehearsal::RecoveryPoint`], and `recovery_point` is the vault's.

mod bring;
mod cli;
mod commands;
mod open;
mod recovery_point;
pub mod rehearsal;

/// Runs the process's command line and returns its exit code.
pub fn main() -> std::process::ExitCode {
    lifeboat_shell::run(commands::run)
}
