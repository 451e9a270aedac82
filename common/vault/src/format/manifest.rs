//! A snapshot's manifest: an in-toto statement that the host signs, and the part that only the group can open.
//!
//! The manifest is the sole commit point. Anyone with the writer's public key can check it; its subject is the hash of
//! the sealed part, a separate object, which names the streams and the frames that they need.

use std::collections::{BTreeMap, HashSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lifeboat_core::Sha256Digest;
use lifeboat_core::text::printable;
use lifeboat_trust::dsse::{Envelope, IN_TOTO};
use lifeboat_trust::key::{SigningKey, VerificationKey};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};
use serde::{Deserialize, Serialize};

use crate::format::chunk::ChunkSizes;
use crate::format::frame_set::{FrameSet, ordinals};
use crate::format::item::Content;
use crate::format::layout::{self, MOST_NUMBER, cap};
use crate::format::name::{BadName, TextTooLong, check_name, check_text};
use crate::format::seal::Purpose;
use crate::format::signed::Body;
use crate::ids::{
    FrameName, GroupId, RepositoryId, RunId, Signer, WriterId, at_most, counted, digest_in_cbor,
};

const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// The predicate type of snapshot manifests.
pub const PREDICATE_TYPE: &str = "urn:lifeboat:snapshot:v0";

/// The public contents of a manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Predicate {
    pub(crate) format: u8,
    pub(crate) repository: RepositoryId,
    pub(crate) group: GroupId,
    pub(crate) writer: WriterId,
    /// The snapshot's number in the writer's sequence, from 0.
    pub(crate) sequence: u64,
    /// SHA-256 of the payload of the writer's snapshot before this one.
    pub(crate) previous: Option<Sha256Digest>,
    /// When the snapshot was taken, by the writer's clock.
    pub(crate) time: Timestamp,
    /// The roster that the writer used.
    pub(crate) roster: u64,
    /// The size of the sealed part, in bytes.
    pub(crate) part_bytes: u64,
    /// Whether something that should have been captured is missing.
    pub(crate) incomplete: bool,
    /// The contents objects that this run wrote.
    pub(crate) contents: Vec<Sha256Digest>,
    /// The newest snapshots of other writers that this one saw, so that a withheld one is noticed.
    pub(crate) seen: Vec<Seen>,
}

/// Another writer's newest snapshot, when it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Seen {
    pub(crate) writer: WriterId,
    pub(crate) sequence: u64,
    pub(crate) snapshot: Sha256Digest,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    #[serde(rename = "predicateType")]
    predicate_type: String,
    predicate: Predicate,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Subject {
    name: String,
    digest: BTreeMap<String, String>,
}

/// A manifest whose signature was checked.
#[derive(Debug, Clone)]
pub(crate) struct Manifest {
    pub(crate) predicate: Predicate,
    /// SHA-256 of the sealed part.
    pub(crate) part: Sha256Digest,
    /// SHA-256 of the payload: the snapshot's id.
    pub(crate) id: Sha256Digest,
}

/// Why a manifest is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("{0}")]
    Envelope(String),
    #[error("its statement does not decode: {0}")]
    Malformed(String),
    #[error("it is not a snapshot manifest of this format")]
    OtherKind,
    #[error("it belongs elsewhere: it names {found}, but it is stored at {expected}")]
    OtherPlace { expected: String, found: String },
}

/// The place of a manifest, which must match the manifest.
pub(crate) struct Place {
    pub(crate) repository: RepositoryId,
    pub(crate) writer: WriterId,
    pub(crate) group: GroupId,
    pub(crate) sequence: u64,
}

/// Signs a manifest; returns the stored bytes and the snapshot's id.
pub(crate) fn sign(predicate: Predicate, part: &Sha256Digest, key: &SigningKey) -> (Vec<u8>, Sha256Digest) {
    let name = crate::format::layout::part(predicate.group, part);
    let digest = BTreeMap::from([("sha256".to_owned(), part.to_string())]);
    let statement = Statement {
        kind: STATEMENT_TYPE.to_owned(),
        subject: vec![Subject { name, digest }],
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate,
    };
    let payload = serde_json::to_vec(&statement).expect("a statement is strings and numbers");
    let id = Sha256Digest::of(&payload);
    (Envelope::sign(IN_TOTO, payload, key).to_json(), id)
}

/// Checks the signature first, then what the manifest states about itself.
pub(crate) fn verify(bytes: &[u8], key: &VerificationKey, place: &Place) -> Result<Manifest, ManifestError> {
    let envelope = Envelope::from_json(bytes).map_err(|error| ManifestError::Envelope(error.to_string()))?;
    let payload =
        envelope.verify(IN_TOTO, key).map_err(|error| ManifestError::Envelope(error.to_string()))?;
    let statement: Statement =
        serde_json::from_slice(payload).map_err(|error| ManifestError::Malformed(error.to_string()))?;
    let predicate = statement.predicate;
    if statement.kind != STATEMENT_TYPE
        || statement.predicate_type != PREDICATE_TYPE
        || predicate.format != crate::format::FORMAT_VERSION
    {
        return Err(ManifestError::OtherKind);
    }
    let named = |repository: &RepositoryId, writer: WriterId, group: GroupId, sequence: u64| {
        format!("repository {repository}, group {group}, writer {writer}, sequence {sequence}")
    };
    let expected = named(&place.repository, place.writer, place.group, place.sequence);
    let found = named(&predicate.repository, predicate.writer, predicate.group, predicate.sequence);
    if expected != found {
        return Err(ManifestError::OtherPlace { expected, found });
    }
    if let Some(seen) = predicate.seen.iter().find(|seen| seen.sequence > MOST_NUMBER) {
        let reason = format!("it names snapshot {} of a writer, which is impossible", seen.sequence);
        return Err(ManifestError::Malformed(reason));
    }
    let [subject] = &statement.subject[..] else {
        return Err(ManifestError::Malformed("it does not have exactly one subject".to_owned()));
    };
    let part = match subject.digest.get("sha256") {
        Some(digest) if subject.digest.len() == 1 => {
            digest.parse().map_err(|error| ManifestError::Malformed(format!("{error}")))?
        }
        _ => return Err(ManifestError::Malformed("its subject does not have exactly a SHA-256".to_owned())),
    };
    Ok(Manifest { predicate, part, id: Sha256Digest::of(payload) })
}

/// The original of a copy, by which all copies of it can be recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
#[cbor(map)]
pub struct Original {
    /// The repository that it was taken into.
    #[n(0)]
    #[cbor(with = "digest_in_cbor")]
    pub repository: RepositoryId,
    /// Its id there.
    #[n(1)]
    #[cbor(with = "digest_in_cbor")]
    pub snapshot: Sha256Digest,
    /// The writer that took it.
    #[n(2)]
    pub writer: WriterId,
    /// Its number in that writer's sequence.
    #[n(3)]
    pub sequence: u64,
}

/// The most tags of a snapshot: more than fit on any command line.
const MOST_TAGS: usize = 1 << 20;

/// What the group can read of a snapshot: names and numbers, but no paths and no contents.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub(crate) struct Part {
    #[n(0)]
    pub(crate) host: String,
    #[n(1)]
    #[cbor(decode_with = "at_most::<MOST_TAGS, Ctx, String>")]
    pub(crate) tags: Vec<String>,
    #[n(2)]
    #[cbor(decode_with = "at_most::<MOST_STREAMS, Ctx, StreamRecord>")]
    pub(crate) streams: Vec<StreamRecord>,
    /// Documents that describe what was captured, such as the definitions of containers, by name.
    #[n(3)]
    #[cbor(decode_with = "at_most::<MOST_STREAMS, Ctx, DocumentRecord>")]
    pub(crate) documents: Vec<DocumentRecord>,
    /// The runs whose frames this snapshot needs.
    #[n(4)]
    pub(crate) runs: Vec<RunRecord>,
    /// The application, if the snapshot is of one.
    #[n(5)]
    pub(crate) application: Option<String>,
    /// The run that made the snapshot.
    #[n(6)]
    pub(crate) run: RunId,
    /// The original of this copy, in another repository.
    #[n(7)]
    pub(crate) copied_from: Option<Original>,
}

/// The most items, and the most bytes, in all streams of a snapshot.
const MOST_IN_ALL: u64 = 1 << 62;

fn fits(mut numbers: impl Iterator<Item = u64>) -> bool {
    numbers.try_fold(0_u64, u64::checked_add).is_some_and(|sum| sum <= MOST_IN_ALL)
}

/// The most streams of a snapshot, and the most documents.
pub(crate) const MOST_STREAMS: usize = 1 << 16;

/// Why a part is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum MalformedPart {
    #[error("the name `{}` of its {what} {number} is invalid: {reason}", printable(name))]
    Name { what: &'static str, number: usize, name: String, reason: BadName },
    #[error("two of its {what}s of one kind have the name `{name}`")]
    NamedTwice { what: &'static str, name: String },
    #[error("its {what} is invalid: {reason}")]
    Text { what: &'static str, reason: TextTooLong },
    #[error("it has more than {most} {0}s", most = MOST_STREAMS)]
    TooMany(&'static str),
    #[error("the chunk sizes of its stream {0} are invalid")]
    ChunkSizes(usize),
    #[error("the content of its {0} {1} names impossible chunks")]
    Content(&'static str, usize),
    #[error("it names run {0} twice")]
    RunTwice(RunId),
    #[error("its streams claim to contain more than is possible")]
    TooMuch,
}

impl Part {
    /// The frames that the snapshot needs.
    pub(crate) fn needed_frames(&self) -> FrameSet {
        let mut frames = FrameSet::default();
        for record in &self.runs {
            frames.insert_bitmap(record.run, &record.frames);
        }
        frames
    }

    /// Checks everything that readers rely on. Writers check the same before they store a part.
    pub(crate) fn check(&self) -> Result<(), MalformedPart> {
        let text = |what, text: &str| check_text(text).map_err(|reason| MalformedPart::Text { what, reason });
        text("host name", &self.host)?;
        self.tags.iter().try_for_each(|tag| text("tag", tag))?;
        self.application.iter().try_for_each(|name| text("application name", name))?;
        let mut names = Names::default();
        for (number, stream) in self.streams.iter().enumerate() {
            names.take("stream", stream.kind as u8, number, &stream.name)?;
            if !stream.chunk_sizes.are_usable() {
                return Err(MalformedPart::ChunkSizes(number));
            }
            stream.items.check().map_err(|_| MalformedPart::Content("stream", number))?;
        }
        let mut names = Names::default();
        for (number, document) in self.documents.iter().enumerate() {
            names.take("document", 0, number, &document.name)?;
            document.content.check().map_err(|_| MalformedPart::Content("document", number))?;
        }
        // Its sums do not overflow.
        let documents = self.documents.iter().map(|document| document.content.bytes());
        let metadata = self.streams.iter().map(|stream| stream.items.bytes()).chain(documents);
        if !fits(self.streams.iter().map(|stream| stream.item_count))
            || !fits(self.streams.iter().map(|stream| stream.data_bytes))
            || !fits(self.streams.iter().map(|stream| stream.unreadable))
            || !fits(metadata)
        {
            return Err(MalformedPart::TooMuch);
        }
        let mut runs = HashSet::new();
        match self.runs.iter().find(|record| !runs.insert(record.run)) {
            Some(record) => Err(MalformedPart::RunTwice(record.run)),
            None => Ok(()),
        }
    }
}

impl Body for Part {
    const PURPOSE: Purpose = Purpose::Part;
    const CAP: u64 = cap::INDEX;

    fn name(&self, group: GroupId, _: Signer, hash: &Sha256Digest) -> String {
        layout::part(group, hash)
    }

    fn check_stored(&self, _: usize) -> Result<(), String> {
        self.check().map_err(|malformed| malformed.to_string())
    }
}

/// The names of streams or documents of one part so far, by their kind.
#[derive(Default)]
struct Names<'p>(HashSet<(u8, &'p str)>);

impl<'p> Names<'p> {
    fn take(
        &mut self,
        what: &'static str,
        kind: u8,
        number: usize,
        name: &'p str,
    ) -> Result<(), MalformedPart> {
        check_name(name).map_err(|reason| {
            let name = name.chars().take(80).collect();
            MalformedPart::Name { what, number, name, reason }
        })?;
        if number >= MOST_STREAMS {
            return Err(MalformedPart::TooMany(what));
        }
        if self.0.insert((kind, name)) {
            return Ok(());
        }
        Err(MalformedPart::NamedTwice { what, name: name.to_owned() })
    }
}

/// The kinds of sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum StreamKind {
    /// A folder of the host.
    #[n(0)]
    Path,
    /// A container volume.
    #[n(1)]
    Volume,
    /// Bytes from standard input.
    #[n(2)]
    Stdin,
}

/// How containers were kept from writing while a stream was captured, the weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Consistency {
    /// Nothing was stopped: files may be from different moments.
    #[n(0)]
    None,
    /// Containers were paused: as after a power cut.
    #[n(1)]
    Paused,
    /// Containers were stopped: as after a clean shutdown.
    #[n(2)]
    Stopped,
    /// No container that could write was running.
    #[n(3)]
    Idle,
}

impl std::fmt::Display for StreamKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Path => "path",
            Self::Volume => "volume",
            Self::Stdin => "stdin",
        })
    }
}

impl std::fmt::Display for Consistency {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::None => "live",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
            Self::Idle => "idle",
        })
    }
}

/// One stream of a snapshot.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub(crate) struct StreamRecord {
    #[n(0)]
    pub(crate) kind: StreamKind,
    #[n(1)]
    pub(crate) name: String,
    #[n(2)]
    pub(crate) consistency: Consistency,
    #[n(3)]
    pub(crate) chunk_sizes: ChunkSizes,
    /// The item stream.
    #[n(4)]
    pub(crate) items: Content,
    #[n(5)]
    pub(crate) item_count: u64,
    /// The sum of the files' lengths, without holes.
    #[n(6)]
    pub(crate) data_bytes: u64,
    /// How many items could not be captured.
    #[n(7)]
    pub(crate) unreadable: u64,
    /// A keyed hash of what was captured, such as a folder's path, by which the group's writers recognise snapshots of
    /// the same thing.
    #[n(8)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) source: [u8; 16],
}

/// A document of a snapshot.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub(crate) struct DocumentRecord {
    #[n(0)]
    pub(crate) name: String,
    #[n(1)]
    pub(crate) content: Content,
}

/// The frames of a run that a snapshot needs.
#[derive(Debug, Clone, Encode, Decode)]
#[cbor(map)]
pub(crate) struct RunRecord {
    #[n(0)]
    pub(crate) run: RunId,
    /// Lets a reader recognise the run's true key.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) commitment: [u8; 32],
    /// Bit `n` (of byte `n / 8`, counted from the lowest) is set if frame `n` is needed.
    #[n(2)]
    pub(crate) frames: ByteVec,
    /// For each needed frame, in order, how many of its chunks the snapshot uses; chunks that are used twice count
    /// once. The next run uses it to find frames with so few used chunks that it is better to store these again.
    #[n(3)]
    #[cbor(decode_with = "counted::<Ctx, u16>")]
    pub(crate) used: Vec<u16>,
}

impl RunRecord {
    pub(crate) fn needs(&self, ordinal: u32) -> bool {
        self.frames.get(ordinal as usize / 8).is_some_and(|byte| byte >> (ordinal % 8) & 1 == 1)
    }

    /// The frames that are needed, in order.
    pub(crate) fn needed(&self) -> impl Iterator<Item = FrameName> {
        ordinals(&self.frames).map(|ordinal| self.run.frame(ordinal))
    }
}

/// Base64 of a verification key, for people to exchange.
pub fn verification_key_text(key: &VerificationKey) -> String {
    STANDARD.encode(key.to_spki_der())
}

/// For tests: an empty record that needs nothing, to be modified by a test.
#[cfg(test)]
impl Part {
    pub(crate) fn of_nothing() -> Self {
        Self {
            host: "host".to_owned(),
            tags: Vec::new(),
            streams: Vec::new(),
            documents: Vec::new(),
            runs: Vec::new(),
            application: None,
            run: RunId::random(&lifeboat_core::random::OsEntropy),
            copied_from: None,
        }
    }
}

#[cfg(test)]
impl StreamRecord {
    pub(crate) fn of_nothing(name: &str) -> Self {
        Self {
            kind: StreamKind::Volume,
            name: name.to_owned(),
            consistency: Consistency::None,
            chunk_sizes: ChunkSizes::FINE,
            items: Content { runs: Vec::new(), extents: Vec::new(), hash: [0; 32] },
            item_count: 0,
            data_bytes: 0,
            unreadable: 0,
            source: [0; 16],
        }
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_core::random::OsEntropy;

    use super::*;
    use crate::format::frame_set::bitmap;
    use crate::ids::{from_cbor, to_cbor};

    fn example() -> (Predicate, Place) {
        let (repository, writer, group) =
            (Sha256Digest::of(b"r"), WriterId::random(&OsEntropy), GroupId::random(&OsEntropy));
        let predicate = Predicate {
            format: crate::format::FORMAT_VERSION,
            repository,
            group,
            writer,
            sequence: 7,
            previous: None,
            time: Timestamp::UNIX_EPOCH,
            roster: 0,
            part_bytes: 3,
            incomplete: false,
            contents: Vec::new(),
            seen: Vec::new(),
        };
        (predicate, Place { repository, writer, group, sequence: 7 })
    }

    #[test]
    fn a_manifest_verifies_in_its_place_and_nowhere_else() {
        let key = SigningKey::generate();
        let (predicate, place) = example();
        let part = Sha256Digest::of(b"part");
        let (bytes, id) = sign(predicate, &part, &key);
        let manifest = verify(&bytes, key.verification_key(), &place).unwrap();
        assert_eq!((manifest.part, manifest.id), (part, id));
        let moved = verify(&bytes, key.verification_key(), &Place { sequence: 8, ..place }).unwrap_err();
        assert!(matches!(moved, ManifestError::OtherPlace { .. }));
        let (_, place) = example();
        verify(&bytes, SigningKey::generate().verification_key(), &place).unwrap_err();
    }

    #[test]
    fn a_bitmap_names_the_frames_that_were_added() {
        let run = RunId::from_bytes([3; 16]);
        let record =
            RunRecord { run, commitment: [0; 32], frames: bitmap([0, 9, 17, 9]), used: vec![1, 1, 1] };
        let ordinals: Vec<_> = record.needed().map(|frame| frame.ordinal).collect();
        assert_eq!(ordinals, [0, 9, 17]);
        assert!(!record.needs(1000));
    }

    #[test]
    fn too_many_tags_are_refused_before_they_take_memory() {
        let with = |count| Part { tags: vec![String::new(); count], ..Part::of_nothing() };
        let decode = |count| from_cbor::<Part>(&to_cbor(&with(count)));
        assert_eq!(decode(MOST_TAGS).unwrap().tags.len(), MOST_TAGS);
        decode(MOST_TAGS + 1).unwrap_err();
    }
}
