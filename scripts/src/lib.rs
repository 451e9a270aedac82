//! The developer's programs behind `scripts/setup`, `scripts/test` and `scripts/demo`.
//!
//! They use only the standard library, so that they build in seconds on a fresh machine.

pub mod demo;
mod problem;
mod process;
pub mod setup;
mod terminal;
pub mod testing;

use std::path::Path;

/// The workspace that this program was built in.
fn workspace() -> &'static Path {
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR"));
    scripts.parent().unwrap_or(scripts)
}
