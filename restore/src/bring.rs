//! Bringing a stream back, and what to say of it.

use std::fs;
use std::io;
use std::path::Path;

use lifeboat_report::restore::{RestoreReport, RestoredTarget};
use lifeboat_shell::{Outcome, Ui};
use lifeboat_vault::{OpenSnapshot, Problem, VaultError};

use crate::open::NamedStream;

/// Restores one stream into a folder that is empty or absent.
pub(crate) async fn into_folder(
    snapshot: &OpenSnapshot,
    stream: &NamedStream,
    to: &Path,
    ui: &Ui,
) -> Result<RestoredTarget, VaultError> {
    let restored = snapshot.restore(stream.index, to, &ui.progress(), ui.cancellation()).await?;
    let lines = |problems: Vec<Problem>| {
        problems.into_iter().map(|p| format!("{}: {}", p.path.display(), p.reason)).collect()
    };
    Ok(RestoredTarget {
        stream: format!("{} {}", stream.kind, stream.name),
        to: to.display().to_string(),
        items: restored.items,
        files: restored.files,
        data_bytes: restored.data_bytes,
        damaged: lines(restored.damaged),
        unfinished: lines(restored.unfinished),
    })
}

/// Makes the folder that several streams come below, or takes it if it is empty.
pub(crate) fn make_empty_folder(path: &Path) -> Result<(), VaultError> {
    let failed = |source: io::Error| VaultError::Target { path: path.to_owned(), source };
    match fs::create_dir(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(failed(error)),
    }
    match fs::read_dir(path).map_err(failed)?.next() {
        None => Ok(()),
        Some(_) => Err(VaultError::TargetNotEmpty { path: path.to_owned() }),
    }
}

/// The exit of a restore: damage first, then what could not be finished.
pub(crate) fn outcome(report: &RestoreReport) -> Outcome {
    match (report.is_damaged(), report.is_unfinished()) {
        (true, _) => Outcome::Negative,
        (false, true) => Outcome::Incomplete,
        (false, false) => Outcome::Done,
    }
}
