//! From the vault's view of a snapshot to the report's.

use lifeboat_report::backup::{RecipientLine, StreamLine};
use lifeboat_report::snapshots::{SnapshotLine, SnapshotList};
use lifeboat_vault::{Listing, Recipient, RecipientMember, Repository, Snapshot};

/// A recipient as reports show it.
pub fn recipient_line(recipient: &Recipient) -> RecipientLine {
    RecipientLine {
        id: recipient.id(),
        recipient: recipient.as_str().to_owned(),
        kind: recipient.kind().to_string(),
        protection: recipient.protection().to_string(),
    }
}

/// A recipient of the roster as reports show it. One of a kind that this version does not know is shown as it stands.
pub fn listed_recipient(listed: &RecipientMember) -> RecipientLine {
    let known = listed.recipient.parse::<Recipient>().map(|recipient| recipient_line(&recipient));
    known.unwrap_or_else(|_| RecipientLine {
        id: listed.id.clone(),
        recipient: listed.recipient.clone(),
        kind: "unknown".to_owned(),
        protection: "unknown".to_owned(),
    })
}

/// Where a repository lies, in a form that holds wherever a program is started.
pub fn lasting_location(repository: &Repository) -> String {
    let location = repository.location();
    if location.contains("://") {
        return location.to_owned();
    }
    std::path::absolute(location).map_or(location.to_owned(), |path| path.display().to_string())
}

/// A snapshot as reports show it.
pub fn snapshot_line(snapshot: &Snapshot) -> SnapshotLine {
    SnapshotLine {
        id: snapshot.id().to_string(),
        time: snapshot.time(),
        host: snapshot.host().to_owned(),
        writer: snapshot.writer().to_string(),
        sequence: snapshot.sequence(),
        application: snapshot.application().map(str::to_owned),
        tags: snapshot.tags().to_vec(),
        copied_from: snapshot.is_copy().then(|| snapshot.original().snapshot.to_string()),
        streams: snapshot
            .streams()
            .map(|stream| StreamLine {
                kind: stream.kind.to_string(),
                name: stream.name.to_owned(),
                consistency: stream.consistency.to_string(),
                items: stream.items,
                data_bytes: stream.data_bytes,
            })
            .collect(),
        incomplete: snapshot.is_incomplete(),
    }
}

/// A listing as reports show it: the snapshots of `host`, where one is given, that bear all of `tags`.
pub fn snapshot_list(location: &str, listing: &Listing, host: Option<&str>, tags: &[String]) -> SnapshotList {
    let wanted = |s: &&Snapshot| s.is_of(host, tags);
    SnapshotList {
        location: location.to_owned(),
        snapshots: listing.snapshots.iter().filter(wanted).map(snapshot_line).collect(),
        unreadable: listing.unreadable.iter().map(ToString::to_string).collect(),
    }
}
