//! Verifies images, SBOMs, files and snapshots.
//!
//! One way through: parse (`cli`), run one verb (`commands`), report, exit code. `signers` makes the policy of those
//! whose word counts, `evidence` collects what is attached to an image and has it judged, `findings` turns what was
//! judged into the report, `checkpoint` remembers which snapshots were seen.

mod checkpoint;
mod cli;
mod commands;
mod evidence;
mod findings;
mod signers;

/// Runs the process's command line and returns its exit code.
pub fn main() -> std::process::ExitCode {
    lifeboat_shell::run(commands::run)
}
