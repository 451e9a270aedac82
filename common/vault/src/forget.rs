//! Asking that snapshots be forgotten, down to the retention floor.

use lifeboat_core::clock::Clock;
use lifeboat_store::StoreError;

use crate::VaultError;
use crate::access::Viewer;
use crate::history::History;
use crate::ids::Signer;
use crate::layout;
use crate::request::Request;
use crate::view::Snapshot;

/// What came of asking to forget one snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// The request is stored; a keeper's prune deletes what no other snapshot needs.
    Forgotten,
    /// The retention floor keeps it, for this reason.
    Kept(&'static str),
}

impl Viewer {
    /// Asks to forget snapshots; gives what came of each, in order. A writer may ask this for its own ones only. What
    /// the retention floor keeps today is not asked for: the request would wait and strike later.
    pub async fn forget(
        &self,
        snapshots: &[&Snapshot],
        clock: &dyn Clock,
        dry_run: bool,
    ) -> Result<Vec<Asked>, VaultError> {
        let (repository, pen) = (self.repository(), self.pen()?);
        let is_others =
            |snapshot: &&Snapshot| matches!(pen.signer, Signer::Writer(id) if id != snapshot.writer());
        if snapshots.iter().any(is_others) {
            return Err(VaultError::NotAllowed {
                who: "a writer key",
                what: "forget another host's snapshots",
                needed: "--keeper-key FILE or --identity FILE",
            });
        }
        let history = repository.history().await?;
        let mut asked = Vec::with_capacity(snapshots.len());
        for snapshot in snapshots {
            if pen.signer != Signer::Root
                && let Some(reason) = self.protected(snapshot, &history, clock)
            {
                asked.push(Asked::Kept(reason));
                continue;
            }
            if !dry_run {
                let (writer, sequence) = (snapshot.writer(), snapshot.sequence());
                let id = Some(*snapshot.id());
                let request = Request::new(repository.id(), writer, sequence, id, pen.signer, clock.now());
                let key = layout::forget(writer, sequence);
                match repository.store.create(&key, request.sign(pen.key).into()).await {
                    // Someone else asked for the same before.
                    Ok(_) | Err(StoreError::AlreadyExists { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            asked.push(Asked::Forgotten);
        }
        Ok(asked)
    }

    /// Why the retention floor keeps a snapshot today.
    fn protected(&self, snapshot: &Snapshot, history: &History, clock: &dyn Clock) -> Option<&'static str> {
        let floor = self.repository().roster.floor;
        let age = clock.now().as_second() - snapshot.stored().as_second();
        if floor.days > 0 && age < i64::from(floor.days) * 24 * 60 * 60 {
            return Some("it is younger than the retention floor allows");
        }
        let of_writer = history.snapshots.iter().filter(|recorded| recorded.writer == snapshot.writer());
        let newer = of_writer.filter(|r| r.is_live() && r.sequence > snapshot.sequence()).count();
        (newer < floor.snapshots as usize).then_some("the newest one of every host is kept")
    }
}
