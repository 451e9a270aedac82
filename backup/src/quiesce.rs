//! Where this host keeps its journals of containers at rest.

use std::path::PathBuf;

/// The folder of the intent journals. It belongs to the machine, not to the user who called `sudo`, and survives
/// reboots, so that a container that was stopped for a backup is started again.
pub(crate) fn journal_folder() -> PathBuf {
    lifeboat_shell::machine_folder().join("at-rest")
}
