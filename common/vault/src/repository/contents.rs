//! Reads a group's contents index, one object at a time, to look for lost frames.

use lifeboat_store::StoreError;

use crate::format::authority::Word;
use crate::format::index::{Contents, RunContents};
use crate::format::layout;
use crate::ids::Signer;
use crate::keys::GroupView;
use crate::repository::open::Repository;

/// The contents objects of a group in one listing.
pub(crate) struct ListedContents<'a> {
    repository: &'a Repository,
    group: &'a GroupView,
    names: Vec<String>,
}

impl Repository {
    /// Lists a group's contents objects.
    pub(crate) async fn listed_contents<'a>(
        &'a self,
        group: &'a GroupView,
    ) -> Result<ListedContents<'a>, StoreError> {
        let entries = self.objects_below(&layout::contents(group.id)).await?;
        let names = entries.into_iter().map(|entry| entry.key).collect();
        Ok(ListedContents { repository: self, group, names })
    }
}

impl ListedContents<'_> {
    /// Reads each object, and passes on each run in it with its signer. An object that is damaged or gone is skipped.
    /// No more than one is in memory.
    pub(crate) async fn each_run(&self, mut tell: impl FnMut(Signer, RunContents)) -> Result<(), StoreError> {
        for name in &self.names {
            match self.repository.read_signed::<Contents>(name, self.group, Word::ChunksToRecover).await? {
                Ok((signer, contents)) => contents.runs.into_iter().for_each(|run| tell(signer, run)),
                Err(error) => tracing::info!("passed over: {error}"),
            }
        }
        Ok(())
    }
}
