//! `key list`: everyone on the roster, and what is known about each.

use lifeboat_report::members::{KeeperLine, KeyListReport, WriterLine};
use lifeboat_shell::{Ui, describe};
use lifeboat_vault::{Listing, Members, Session, Snapshot, WriterId};

/// Lists who is on the roster, and takes each writer's host name from its snapshots.
pub(super) async fn list(session: &Session, ui: &Ui) -> KeyListReport {
    let listing = Listing::read(session).await.unwrap_or_else(|error| {
        ui.warn(&format!("the snapshots cannot be read, so that no host is named: {error}"));
        Listing::default()
    });
    if !listing.unreadable.is_empty() {
        ui.warn("some snapshots cannot be read; see `lifeboat-backup list`");
    }
    let Members { roster, recipients, writers, keepers, epoch, floor } =
        Members::of(session.repository().roster());
    KeyListReport {
        location: session.repository().location().to_owned(),
        roster,
        epoch,
        floor_days: floor.days,
        floor_snapshots: floor.snapshots,
        recipients: recipients.iter().map(describe::listed_recipient).collect(),
        writers: writers
            .into_iter()
            .map(|writer| {
                let newest = newest_of(&listing, writer.id);
                WriterLine {
                    id: writer.id.to_string(),
                    name: writer.name.as_ref().map(ToString::to_string),
                    group: writer.group.to_string(),
                    host: newest.map(|snapshot| snapshot.host().to_owned()),
                    last_snapshot_at: newest.map(Snapshot::time),
                    is_removed: writer.removed.is_some(),
                    last: writer.removed.flatten(),
                }
            })
            .collect(),
        keepers: keepers
            .into_iter()
            .map(|keeper| KeeperLine {
                id: keeper.id.to_string(),
                name: keeper.name.as_ref().map(ToString::to_string),
                is_removed: keeper.removed,
            })
            .collect(),
    }
}

/// The last snapshot that a writer took, among those that the key shows.
pub(super) fn newest_of(listing: &Listing, writer: WriterId) -> Option<&Snapshot> {
    let of_writer = listing.snapshots.iter().filter(|snapshot| snapshot.writer() == writer);
    of_writer.max_by_key(|snapshot| snapshot.sequence())
}
