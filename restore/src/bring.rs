//! Restoring a stream, and reporting the result.

use std::path::Path;

use lifeboat_report::restore::{LeftOutStream, RestoreReport, RestoredTarget};
use lifeboat_shell::{Outcome, Ui, describe};
use lifeboat_vault::{OpenSnapshot, Problem, Subtree, TargetFolder, VaultError};

use crate::open::NamedStream;

/// The folder to restore into. With `no_owner`, everything in it belongs to this user.
pub(crate) fn target(path: &Path, no_owner: bool) -> Result<TargetFolder, VaultError> {
    let target = TargetFolder::take(path)?;
    Ok(if no_owner { target.without_owners() } else { target })
}

/// Restores one stream, or only the `part` of it, into an empty folder.
pub(crate) async fn into_folder(
    snapshot: &OpenSnapshot,
    stream: &NamedStream,
    part: Option<Subtree>,
    to: TargetFolder,
    ui: &Ui,
) -> Result<RestoredTarget, VaultError> {
    let place = to.path().display().to_string();
    let context = ui.context();
    let restored = match part {
        Some(part) => snapshot.restore_subtree(part, to, &context).await?,
        None => snapshot.restore(stream.index, to, &context).await?,
    };
    let lines = |problems: Vec<Problem>| {
        problems.into_iter().map(|found| describe::problem(&found.path, found.reason)).collect()
    };
    Ok(RestoredTarget {
        kind: stream.kind.to_string(),
        name: stream.name.clone(),
        part: None,
        source: describe::source(stream),
        to: place,
        items: restored.items,
        files: restored.files,
        data_bytes: restored.data_bytes,
        damaged: lines(restored.damaged),
        unfinished: lines(restored.unfinished),
        owners_left: restored.owners_left,
        set_ids_cleared: restored.set_ids_cleared,
    })
}

/// Reports a stream of which nothing can be restored because its list of items is damaged. Any other error concerns the
/// other streams as well.
pub(crate) fn none_of(
    stream: &NamedStream,
    to: &Path,
    error: VaultError,
) -> Result<RestoredTarget, VaultError> {
    match error {
        VaultError::Object(error) => Ok(RestoredTarget {
            kind: stream.kind.to_string(),
            name: stream.name.clone(),
            part: None,
            source: describe::source(stream),
            to: to.display().to_string(),
            items: 0,
            files: 0,
            data_bytes: 0,
            damaged: vec![describe::problem(
                to,
                format!("the list of what is in it cannot be read: {error}"),
            )],
            unfinished: Vec::new(),
            owners_left: 0,
            set_ids_cleared: 0,
        }),
        other => Err(other),
    }
}

/// The streams of a snapshot that are not restored.
pub(crate) fn left_out(
    streams: &[NamedStream],
    is_brought: impl Fn(&NamedStream) -> bool,
) -> Vec<LeftOutStream> {
    let others = streams.iter().filter(|stream| !is_brought(stream));
    others.map(|stream| LeftOutStream { kind: stream.kind.to_string(), name: stream.name.clone() }).collect()
}

/// The exit of a restore: damage first, then what could not be finished.
pub(crate) fn outcome(report: &RestoreReport) -> Outcome {
    match (report.is_damaged(), report.is_unfinished()) {
        (true, _) => Outcome::Negative,
        (false, true) => Outcome::Incomplete,
        (false, false) => Outcome::Done,
    }
}
