//! Converts the vault's description of a snapshot and its content to the report's.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use lifeboat_core::text::path_text;
use lifeboat_report::backup::{RecipientLine, StreamLine};
use lifeboat_report::problem::{PathProblem, StreamProblem};
use lifeboat_report::snapshots::{SnapshotLine, SnapshotList};
use lifeboat_vault::item::ItemKind;
use lifeboat_vault::source::Unreadable;
use lifeboat_vault::{Listing, NamedStream, Recipient, RecipientMember, Repository, Snapshot};

/// A recipient in the form that reports show.
pub fn recipient_line(recipient: &Recipient) -> RecipientLine {
    RecipientLine {
        id: recipient.id(),
        recipient: recipient.as_str().to_owned(),
        kind: recipient.kind().to_string(),
        protection: recipient.protection().to_string(),
        name: None,
    }
}

/// A recipient from the roster in the form that reports show. A kind that this version does not know is shown verbatim.
pub fn listed_recipient(listed: &RecipientMember) -> RecipientLine {
    let known = listed.recipient.parse::<Recipient>().map(|recipient| recipient_line(&recipient));
    let known = known.unwrap_or_else(|_| RecipientLine {
        id: listed.id.clone(),
        recipient: listed.recipient.clone(),
        kind: "unknown".to_owned(),
        protection: "unknown".to_owned(),
        name: None,
    });
    RecipientLine { name: listed.name.as_ref().map(ToString::to_string), ..known }
}

/// A repository's location in a form that is valid in any working directory.
pub fn lasting_location(repository: &Repository) -> String {
    let location = repository.location();
    if location.contains("://") {
        return location.to_owned();
    }
    std::path::absolute(location).map_or(location.to_owned(), |path| path.display().to_string())
}

/// A snapshot in the form that reports show.
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
                source: None,
                consistency: stream.consistency.to_string(),
                items: stream.items,
                data_bytes: stream.data_bytes,
            })
            .collect(),
        incomplete: snapshot.is_incomplete(),
    }
}

/// A path of this machine in the form that reports show.
pub fn path(path: &Path) -> String {
    path_text(path.as_os_str().as_bytes())
}

/// The path of a captured folder on its host in the form that reports show, if it is known.
pub fn source(stream: &NamedStream) -> Option<String> {
    stream.origin.as_deref().map(path_text)
}

/// The same with the names of folders and their paths on the host, which need a recovery key.
pub fn named_snapshot_line(snapshot: &Snapshot, streams: &[NamedStream]) -> SnapshotLine {
    let mut line = snapshot_line(snapshot);
    for (shown, named) in line.streams.iter_mut().zip(streams) {
        shown.name.clone_from(&named.name);
        shown.source = source(named);
    }
    line
}

/// A listing in the form that reports show: all snapshots, or those of `host`.
pub(crate) fn snapshot_list(location: &str, listing: &Listing, host: Option<&str>) -> SnapshotList {
    let wanted = |s: &&Snapshot| s.is_of(host, &[]);
    SnapshotList {
        location: location.to_owned(),
        snapshots: listing.snapshots.iter().filter(wanted).map(snapshot_line).collect(),
        unreadable: listing.unreadable.iter().map(ToString::to_string).collect(),
    }
}

/// Bytes in the form that reports show: a path or the target of a link, as text, and in hexadecimal if it is not UTF-8.
pub fn bytes(bytes: &[u8]) -> (String, Option<String>) {
    let text = String::from_utf8_lossy(bytes);
    let hex = matches!(text, Cow::Owned(_)).then(|| {
        let mut hex = String::with_capacity(2 * bytes.len());
        for byte in bytes {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
        }
        hex
    });
    (text.into_owned(), hex)
}

/// A path and what is wrong with it.
pub fn problem(path: &Path, reason: String) -> PathProblem {
    let (path, path_hex) = bytes(path.as_os_str().as_bytes());
    PathProblem { path, path_hex, reason }
}

/// An item of the stream of that name that could not be captured.
pub fn unreadable(stream: String, lost: &Unreadable) -> StreamProblem {
    StreamProblem { stream, problem: problem(&lost.path, lost.error.to_string()) }
}

/// The kind of an item, in one word.
pub fn item_kind(kind: ItemKind) -> &'static str {
    match kind {
        ItemKind::File => "file",
        ItemKind::Folder => "folder",
        ItemKind::Symlink => "symlink",
        ItemKind::HardLink => "hard-link",
        ItemKind::BlockDevice => "block-device",
        ItemKind::CharacterDevice => "character-device",
        ItemKind::Fifo => "fifo",
        ItemKind::Socket => "socket",
    }
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn a_path_that_is_no_text_is_shown_whole_in_hexadecimal() {
        assert_eq!(bytes(b"a/b"), ("a/b".to_owned(), None));
        assert_eq!(bytes(b"a\xff"), ("a\u{fffd}".to_owned(), Some("61ff".to_owned())));
    }
}
