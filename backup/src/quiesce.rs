//! Where this host keeps its journals of containers at rest.

use std::path::PathBuf;

/// The folder of the intent journals, which belongs to the machine and not to the user who called `sudo`. It survives reboots: a container that was stopped for a backup is started again.
pub(crate) fn journal_folder() -> PathBuf {
    lifeboat_shell::machine_folder().join("at-rest")
}
