//! Restores a stream: makes the tree, then fetches contents pack by pack in the order of the store, then sets owners,
//! modes and times.

mod contents;
mod finish;
mod hard_links;
mod subtree;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::Arc;

use lifeboat_core::Context;
use lifeboat_core::progress::Unit;
use lifeboat_core::text::path_text;

use self::contents::{Brought, ends_the_restore};
use self::hard_links::{FirstNames, LeadsTo, leads_to};
pub use self::subtree::Subtree;
use crate::error::VaultError;
use crate::format::item::{Content, Item, ItemKind};
use crate::format::manifest::{Part, StreamRecord};
use crate::keys::GroupView;
use crate::repository::recovery_session::RecoverySession;
use crate::restore::reader::{ContentStream, FrameReader, ItemStream};
use crate::snapshots::snapshot::Snapshot;
use crate::snapshots::summary::Summary;
use crate::tree::{Identity, TargetFolder, TreeWriter};

/// A snapshot whose contents can be read.
#[derive(Debug)]
pub struct OpenSnapshot {
    snapshot: Snapshot,
    part: Part,
    reader: FrameReader,
}

/// The results of a restore.
#[derive(Debug, Default)]
pub struct Restored {
    /// How many items exist now.
    pub items: u64,
    /// How many of them are files.
    pub files: u64,
    /// Bytes of file data written.
    pub data_bytes: u64,
    /// Files that the repository does not have whole, under all of their names, none of which exists now; and the
    /// target itself, if the snapshot lists more or fewer items than its host counted.
    pub damaged: Vec<Problem>,
    /// Items whose owner, mode, attributes or times could not be set, or that could not be made or written.
    pub unfinished: Vec<Problem>,
    /// How many items now belong to this user, because owners were not wanted or only root may set them.
    pub owners_left: u64,
    /// How many of these lost set-user-ID, set-group-ID or capabilities for that reason.
    pub set_ids_cleared: u64,
}

/// A problem with one path.
#[derive(Debug)]
pub struct Problem {
    /// The path.
    pub path: PathBuf,
    /// What is wrong.
    pub reason: String,
}

/// The largest document that is read, in bytes.
const MAX_DOCUMENT: u64 = 64 << 20;

impl OpenSnapshot {
    /// Opens a snapshot for reading.
    pub async fn open(restorer: &RecoverySession, snapshot: Snapshot) -> Result<Self, VaultError> {
        let group = GroupView::from(restorer.group(snapshot.manifest.predicate.group)?);
        let part = restorer.repository().part(&snapshot.manifest, &group).await??;
        Self::with_part(restorer, Snapshot { summary: Summary::of(&part), ..snapshot }, part).await
    }

    /// The same with the part at hand to which the snapshot's summary belongs.
    pub(crate) async fn with_part(
        restorer: &RecoverySession,
        snapshot: Snapshot,
        part: Part,
    ) -> Result<Self, VaultError> {
        let reader = FrameReader::of(restorer, &snapshot, &part).await?;
        Ok(Self { snapshot, part, reader })
    }

    pub(crate) fn chunker(&self, sizes: crate::format::chunk::ChunkSizes) -> crate::format::chunk::Chunker {
        self.reader.chunker(sizes)
    }

    pub(crate) fn reader(&self) -> &FrameReader {
        &self.reader
    }

    /// The part's record of the stream at `index`.
    pub(crate) fn record(&self, index: usize) -> Result<&StreamRecord, VaultError> {
        self.part.streams.get(index).ok_or(VaultError::Internal("streams are counted from the listing"))
    }

    pub(crate) fn part(&self) -> &Part {
        &self.part
    }

    /// The snapshot as a session sees it.
    pub fn snapshot(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The items of the stream at `index`.
    pub fn items(&self, index: usize) -> Result<ItemStream, VaultError> {
        Ok(ItemStream::new(self.reader.clone(), self.record(index)?.items.clone()))
    }

    /// The bytes of a file's content.
    pub fn content(&self, content: &Content) -> ContentStream {
        ContentStream::new(self.reader.clone(), content.clone())
    }

    /// A document that is stored beside the streams.
    pub async fn document(&self, name: &str) -> Result<Option<Vec<u8>>, VaultError> {
        match self.part.documents.iter().find(|document| document.name == name) {
            Some(document) => self.reader.read_all(&document.content, MAX_DOCUMENT).await.map(Some),
            None => Ok(None),
        }
    }

    /// The path of a captured folder on its host.
    pub async fn origin(&self, index: usize) -> Result<Option<PathBuf>, VaultError> {
        use std::os::unix::ffi::OsStringExt;
        let first = self.items(index)?.next().await?;
        Ok(first.and_then(|item| item.origin).map(|p| std::ffi::OsString::from_vec(p.into()).into()))
    }

    /// Restores the stream at `index` into the empty folder `to`.
    ///
    /// A restore that ends early, for whatever reason, leaves no file with other bytes than were backed up: incomplete
    /// files are deleted again.
    pub async fn restore(
        &self,
        index: usize,
        to: TargetFolder,
        context: &Context,
    ) -> Result<Restored, VaultError> {
        let record = self.record(index)?;
        let mut tree = TreeWriter::new(to);
        context.progress.phase("reading the tree", Unit::Items, Some(record.item_count));
        let mut restored = Restored::default();
        let mut made = Made { root: tree.path().to_owned(), ..Made::default() };
        let listed = self.make_all(index, &mut tree, &mut made, &mut restored, context).await;
        let listed = listed.map(|listed| {
            if listed != record.item_count {
                let reason = format!(
                    "the snapshot claims {} items, but it lists {listed}: its host recorded a wrong number",
                    record.item_count
                );
                restored.damaged.push(Problem { path: made.root.clone(), reason });
            }
            record.data_bytes
        });
        self.fill(tree, made, restored, listed, context).await
    }

    /// The same for a part of a stream.
    pub async fn restore_subtree(
        &self,
        subtree: Subtree,
        to: TargetFolder,
        context: &Context,
    ) -> Result<Restored, VaultError> {
        let mut tree = TreeWriter::new(to);
        let mut restored = Restored::default();
        let mut made = Made { root: tree.path().to_owned(), ..Made::default() };
        let data_bytes = subtree.items.iter().filter_map(|item| item.size).sum();
        let mut items = subtree.items.into_iter();
        let all = items.try_for_each(|item| made.make(&mut tree, item, &mut restored)).map(|()| data_bytes);
        self.fill(tree, made, restored, all, context).await
    }

    /// Fills the files that were made, which need this many bytes in total, and sets owners, modes and times. If that
    /// fails, deletes what is not whole.
    async fn fill(
        &self,
        mut tree: TreeWriter,
        made: Made,
        restored: Restored,
        data_bytes: Result<u64, VaultError>,
        context: &Context,
    ) -> Result<Restored, VaultError> {
        let made = Arc::new(made);
        let brought = match data_bytes {
            Err(error) => Brought::nothing(&made, error),
            Ok(data_bytes) => {
                context.progress.phase("restoring", Unit::Bytes, Some(data_bytes));
                contents::bring(&self.reader, &tree, &made, context).await
            }
        };
        let progress = Arc::clone(&context.progress);
        let finish = move || finish::finish(&mut tree, &made, brought, restored, &*progress);
        tokio::task::spawn_blocking(finish)
            .await
            .map_err(|_| VaultError::Internal("the restoring thread panicked"))?
    }

    /// Makes all items of a stream, with empty files. Returns how many the stream lists.
    async fn make_all(
        &self,
        index: usize,
        tree: &mut TreeWriter,
        made: &mut Made,
        restored: &mut Restored,
        context: &Context,
    ) -> Result<u64, VaultError> {
        let mut stream = self.items(index)?;
        let mut listed = 0;
        while let Some(item) = stream.next().await? {
            if context.is_cancelled() {
                return Err(VaultError::Interrupted);
            }
            made.make(tree, item, restored)?;
            listed += 1;
            context.progress.advance(1);
        }
        Ok(listed)
    }
}

/// The items that were made, in stream order, and their form.
#[derive(Default)]
struct Made {
    /// The target, for people.
    root: PathBuf,
    items: Vec<Item>,
    identities: Vec<Identity>,
    first_names: FirstNames,
    /// The paths of items that could not be made.
    missing: HashSet<Vec<u8>>,
}

impl Made {
    /// Makes one more item. A problem of this item alone is noted; one that ends the restore is an error.
    fn make(&mut self, tree: &mut TreeWriter, item: Item, restored: &mut Restored) -> Result<(), VaultError> {
        let (mut first, mut first_name) = (None, None);
        if let (ItemKind::HardLink, Some(target)) = (item.kind, &item.target) {
            let name = path_text(target);
            match leads_to(target, &self.items, &self.missing) {
                LeadsTo::Made(place) => (first, first_name) = (Some(self.identities[place]), Some(place)),
                LeadsTo::NotMade => {
                    let reason = format!("it is another name of {name}, which could not be made");
                    restored.unfinished.push(Problem { path: tree.path_of(&item), reason });
                    self.missing.insert(item.path.into());
                    return Ok(());
                }
                LeadsTo::Nothing => {
                    let reason = format!("it is another name of {name}, but the snapshot has no such file");
                    restored.damaged.push(Problem { path: tree.path_of(&item), reason });
                    return Ok(());
                }
            }
        }
        match tree.make(&item, first) {
            Ok(identity) => {
                if let Some(first_name) = first_name {
                    self.first_names.note(self.items.len(), first_name);
                }
                self.items.push(item);
                self.identities.push(identity);
                Ok(())
            }
            Err(source) if ends_the_restore(&source) => {
                Err(VaultError::Target { path: tree.path_of(&item), source })
            }
            Err(error) => {
                restored.unfinished.push(Problem { path: tree.path_of(&item), reason: error.to_string() });
                self.missing.insert(item.path.into());
                Ok(())
            }
        }
    }

    fn path_of(&self, place: usize) -> PathBuf {
        use std::os::unix::ffi::OsStrExt;
        self.root.join(std::ffi::OsStr::from_bytes(&self.items[place].path))
    }
}
