//! Ends a restore: deletes what is not whole, and sets the owner, mode and times of everything else.

use std::collections::HashMap;

use lifeboat_core::progress::{Progress, Unit};

use super::contents::{Brought, NotWhole};
use super::{Made, Problem, Restored};
use crate::error::VaultError;
use crate::format::item::{Content, ItemKind};
use crate::tree::{Owned, TreeWriter};

/// Ends the restore of one stream. If it ended early, only deletes what is not whole.
pub(super) fn finish(
    tree: &mut TreeWriter,
    made: &Made,
    brought: Brought,
    mut restored: Restored,
    progress: &dyn Progress,
) -> Result<Restored, VaultError> {
    let Brought { mut not_whole, ended } = brought;
    made.first_names.carry(&made.items, &mut not_whole);
    take_away(tree, made, &not_whole, &mut restored);
    if let Some(error) = ended {
        return Err(error);
    }
    progress.phase("setting metadata", Unit::Items, Some(made.items.len() as u64));
    let is_folder = |place: &usize| made.items[*place].kind == ItemKind::Folder;
    let others = (0..made.items.len()).filter(|place| !is_folder(place));
    // Folders come last, the innermost first: creating an entry in a folder changes its times.
    let folders = (0..made.items.len()).rev().filter(is_folder);
    for place in others.chain(folders) {
        progress.advance(1);
        if !not_whole.contains_key(&place) {
            set_metadata(tree, made, place, &mut restored);
        }
    }
    tree.close()?;
    tree.sync().map_err(|source| VaultError::Target { path: tree.path().to_owned(), source })?;
    Ok(restored)
}

/// Deletes every name of the files that are not whole, and reports why. Their bytes are deleted first, so that a name
/// which cannot be deleted does not lead to wrong bytes.
fn take_away(
    tree: &mut TreeWriter,
    made: &Made,
    not_whole: &HashMap<usize, NotWhole>,
    restored: &mut Restored,
) {
    let mut places: Vec<usize> = not_whole.keys().copied().collect();
    places.sort_unstable();
    for place in places.iter().filter(|place| made.items[**place].kind == ItemKind::File) {
        if let Err(error) = tree.empty(&made.items[*place], made.identities[*place]) {
            tracing::warn!("{}: {error}", tree.path_of(&made.items[*place]).display());
        }
    }
    for place in places {
        let item = &made.items[place];
        let path = tree.path_of(item);
        let (list, mut reason) = match &not_whole[&place] {
            NotWhole::Damaged(reason) => (&mut restored.damaged, reason.clone()),
            NotWhole::NotWritten(reason) => (&mut restored.unfinished, reason.clone()),
        };
        if let Err(error) = tree.remove(item, made.identities[place]) {
            reason = format!("{reason}; its name could not be deleted ({error})");
        }
        list.push(Problem { path, reason });
    }
}

fn set_metadata(tree: &mut TreeWriter, made: &Made, place: usize, restored: &mut Restored) {
    let item = &made.items[place];
    restored.items += 1;
    if item.kind == ItemKind::File {
        restored.files += 1;
        restored.data_bytes += item.content.as_ref().map_or(0, Content::bytes);
    }
    // A hard link has its file's metadata, which the file's own item sets.
    if item.kind == ItemKind::HardLink {
        return;
    }
    match tree.finish(item, made.identities[place]) {
        Ok(Owned::AsCaptured) => {}
        Ok(Owned::ByThisUser { rights_left_out }) => {
            restored.owners_left += 1;
            restored.set_ids_cleared += u64::from(rights_left_out);
        }
        Err(error) => {
            restored.unfinished.push(Problem { path: tree.path_of(item), reason: error.to_string() });
        }
    }
}
