//! What a listing keeps of each snapshot: its host, its streams, and their sizes. The frames that it needs are not
//! kept, since a listing is of every snapshot.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;

use crate::format::manifest::{Consistency, Original, Part, StreamKind};
use crate::ids::WriterId;

/// A part's description of a snapshot, without its needs.
#[derive(Debug, Clone)]
pub(crate) struct Summary {
    pub(crate) host: String,
    pub(crate) application: Option<String>,
    pub(crate) tags: Vec<String>,
    pub(crate) streams: Vec<StreamSummary>,
    /// The snapshot that this one is a copy of, in another repository.
    pub(crate) copied_from: Option<Original>,
    /// The size of its item streams and documents, in bytes.
    pub(crate) metadata_bytes: u64,
    /// A digest of its subject: the kinds, names and sources of its streams, and its application.
    pub(crate) what: Sha256Digest,
    /// Whether the listing had no room for its application, tags and streams: then they are omitted.
    pub(crate) is_cut: bool,
}

/// One stream of a snapshot, without its content.
#[derive(Debug, Clone)]
pub(crate) struct StreamSummary {
    pub(crate) kind: StreamKind,
    pub(crate) name: String,
    pub(crate) consistency: Consistency,
    pub(crate) items: u64,
    /// The sum of its files' data, in bytes.
    pub(crate) data_bytes: u64,
    /// How many items could not be captured.
    pub(crate) unreadable: u64,
}

impl Summary {
    pub(crate) fn of(part: &Part) -> Self {
        // Sums of a part that was checked do not overflow.
        let documents = part.documents.iter().map(|document| document.content.bytes());
        let metadata_bytes = part.streams.iter().map(|stream| stream.items.bytes()).chain(documents).sum();
        let streams = part.streams.iter().map(|stream| StreamSummary {
            kind: stream.kind,
            name: stream.name.clone(),
            consistency: stream.consistency,
            items: stream.item_count,
            data_bytes: stream.data_bytes,
            unreadable: stream.unreadable,
        });
        Self {
            host: part.host.clone(),
            application: part.application.clone(),
            tags: part.tags.clone(),
            streams: streams.collect(),
            copied_from: part.copied_from,
            metadata_bytes,
            what: what(part),
            is_cut: false,
        }
    }

    fn cut(&mut self) {
        (self.application, self.tags, self.streams, self.is_cut) = (None, Vec::new(), Vec::new(), true);
    }

    /// About how many bytes of memory it takes.
    fn memory(&self) -> usize {
        let texts = self.tags.iter().chain([&self.host]).chain(&self.application);
        let streams = self.streams.iter().map(|stream| size_of::<StreamSummary>() + stream.name.len());
        texts
            .map(|text| size_of::<String>() + text.len())
            .chain(streams)
            .fold(ANY_SUMMARY, usize::saturating_add)
    }
}

/// A digest of a snapshot's subject, independent of the order in its part.
fn what(part: &Part) -> Sha256Digest {
    let digest = |text: String| *Sha256Digest::of(text.as_bytes()).as_bytes();
    let mut what: Vec<[u8; 32]> =
        part.streams.iter().map(|s| digest(format!("{} {}", s.kind, s.name))).collect();
    what.extend(part.streams.iter().map(|s| digest(hex::encode(s.source))));
    what.extend(part.application.iter().map(|application| digest(format!("application {application}"))));
    what.sort_unstable();
    Sha256Digest::of(what.as_flattened())
}

/// The fixed size of every summary, including the manifest, in bytes.
const ANY_SUMMARY: usize = 512;
/// How much of one writer's snapshots a listing keeps, in bytes: some 15,000 snapshots of 20 volumes each.
pub(crate) const MOST_OF_A_WRITER: usize = 48 << 20;

/// How much was kept of each writer's snapshots, and how many were cut.
#[derive(Debug, Default)]
pub(crate) struct Room(BTreeMap<WriterId, (usize, usize)>);

impl Room {
    /// Returns a summary unchanged while there is room for its writer's, and a cut one after that: what one writer
    /// stores hides no snapshot, not even its own.
    pub(crate) fn fit(&mut self, writer: WriterId, mut summary: Summary) -> Summary {
        let (taken, cut) = self.0.entry(writer).or_default();
        let memory = summary.memory();
        if *taken >= MOST_OF_A_WRITER {
            *cut += 1;
            summary.cut();
        } else {
            *taken = taken.saturating_add(memory);
        }
        summary
    }

    /// The writers with cut snapshots, and how many.
    pub(crate) fn cut(&self) -> impl Iterator<Item = (WriterId, usize)> {
        self.0.iter().filter(|(_, (_, cut))| *cut > 0).map(|(writer, (_, cut))| (*writer, *cut))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::manifest::StreamRecord;
    use crate::format::name::MAX_NAME;

    fn part(names: &[&str]) -> Part {
        let streams = names.iter().map(|name| StreamRecord::of_nothing(name)).collect();
        Part { tags: vec!["nightly".to_owned()], streams, ..Part::of_nothing() }
    }

    #[test]
    fn the_names_of_one_writers_snapshots_take_so_much_and_hide_none() {
        let long = "x".repeat(MAX_NAME);
        let (greedy, modest) = (WriterId::from_bytes([1; 16]), WriterId::from_bytes([2; 16]));
        let (large, small) = (Summary::of(&part(&vec![&*long; 10_000])), Summary::of(&part(&["data"])));
        let mut room = Room::default();
        let mut kept = 0;
        for _ in 0..100 {
            let fit = room.fit(greedy, large.clone());
            kept += fit.memory();
            // Its subject is known in any case: the rules to forget use it.
            assert_eq!((&fit.host, fit.what), (&large.host, large.what));
            assert_eq!(fit.is_cut, fit.streams.is_empty());
            assert_eq!(fit.is_cut, fit.tags.is_empty());
        }
        assert!(kept < MOST_OF_A_WRITER + 2 * large.memory(), "{kept}");
        assert!(!room.fit(modest, small).is_cut);
        let cut: Vec<_> = room.cut().collect();
        assert!(matches!(cut[..], [(writer, 1..100)] if writer == greedy), "{cut:?}");
    }

    #[test]
    fn what_a_snapshot_is_of_does_not_depend_on_order_or_on_where_names_end() {
        let of = |names: &[&str]| Summary::of(&part(names)).what;
        assert_eq!(of(&["a", "b"]), of(&["b", "a"]));
        assert_ne!(of(&["a", "b"]), of(&["a"]));
        assert_ne!(of(&["ab", "c"]), of(&["a", "bc"]));
    }
}
