//! What can go wrong in a repository, with the evidence and what to do next.

mod fault;
mod object;

use std::io;
use std::path::PathBuf;

use lifeboat_core::Sha256Digest;
use lifeboat_core::text::printable;
use lifeboat_store::StoreError;

pub use self::object::ObjectError;
pub(crate) use self::object::Read;

use crate::format::name::{BadName, TextTooLong};
use crate::format::signed::Unstorable;
use crate::ids::{RepositoryId, WriterId};

/// Why the vault could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The location holds no repository.
    #[error("there is no repository at {store}")]
    NotARepository {
        /// The location.
        store: String,
    },
    /// The location holds a repository already.
    #[error("there is a repository at {store} already")]
    AlreadyARepository {
        /// The location.
        store: String,
    },
    /// The repository was written in a format that this version does not read.
    #[error("the repository at {store} has format version {found}; this program reads version {supported}")]
    OtherFormat {
        /// The location.
        store: String,
        /// The version in the repository.
        found: u64,
        /// The version of this program.
        supported: u8,
    },
    /// The key belongs to another repository.
    #[error("the key belongs to repository {expected}, and {store} holds repository {found}")]
    OtherRepository {
        /// The location.
        store: String,
        /// The repository that the key names.
        expected: RepositoryId,
        /// The repository that was found.
        found: RepositoryId,
    },
    /// An identity that names no repository was given without one to check against.
    #[error("the recovery key does not say which repository it belongs to")]
    UnboundIdentity,
    /// The given identity opens none of the repository's keys.
    #[error("none of the repository's {what} opens with this recovery key")]
    WrongIdentity {
        /// Which keys were tried.
        what: &'static str,
    },
    /// The writer key is not the one that the roster lists.
    #[error("the roster of the repository does not list this writer key")]
    UnknownWriter,
    /// A recipient that cannot be used.
    #[error("`{text}` cannot be used as a recipient ({reason})")]
    BadRecipient {
        /// The recipient as it was given.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Fewer recipients than the repository needs to survive the loss of one.
    #[error("a repository needs at least two recovery keys, and {found} was given")]
    TooFewRecipients {
        /// How many there are.
        found: usize,
    },
    /// Too few recipients would be left after one is removed.
    #[error("the repository would be left with {left} recovery {}, and needs at least two", if *left == 1 { "key" } else { "keys" })]
    LastRecipients {
        /// How many would be left.
        left: usize,
    },
    /// A key file that cannot be used.
    #[error("the key file {path} cannot be used ({reason})")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// An object is not there whole, though the storage answered.
    #[error(transparent)]
    Object(ObjectError),
    /// The storage shows an older state than this machine has seen.
    #[error("{store} shows roster {found}, and this machine has seen roster {seen}")]
    RolledBack {
        /// The location.
        store: String,
        /// The newest roster that is there.
        found: u64,
        /// The newest one that was seen.
        seen: u64,
        /// The file that says so.
        pins: Option<PathBuf>,
    },
    /// Snapshots that must be there are not, and nobody asked to forget them.
    #[error("{} of writer {writer} {} missing, and nobody asked to forget {}", numbers(*first, *last), if first == last { "is" } else { "are" }, if first == last { "it" } else { "them" })]
    Withheld {
        /// Whose.
        writer: WriterId,
        /// The first sequence that is missing.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// A writer names snapshots of another as seen, and they are not there.
    #[error("writer {claimant} says that it saw {} of writer {writer}, and {}", numbers(*first, *last), if first == last { "it is not there" } else { "they are not there" })]
    Claimed {
        /// Who says so.
        claimant: WriterId,
        /// Whose snapshots are missing if it is true.
        writer: WriterId,
        /// The first sequence that is missing then.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// A writer saw another snapshot in a place than the one that is there.
    #[error(
        "writer {claimant} says that snapshot {sequence} of writer {writer} was {claimed}, and by what is there it is {found}"
    )]
    Contradicted {
        /// Who says so.
        claimant: WriterId,
        /// Whose snapshot it is.
        writer: WriterId,
        /// Its place.
        sequence: u64,
        /// The id that was seen.
        claimed: Sha256Digest,
        /// The id that is there.
        found: Sha256Digest,
    },
    /// A writer names a snapshot of another as seen that the other had not taken then.
    #[error(
        "writer {claimant} says that it saw snapshot {claimed} of writer {writer}, which took its snapshot {found} after that"
    )]
    Disproved {
        /// Who says so.
        claimant: WriterId,
        /// Who disproves it.
        writer: WriterId,
        /// The sequence that is claimed.
        claimed: u64,
        /// The sequence of the snapshot that came later.
        found: u64,
    },
    /// The history of a writer does not say what its last snapshot is.
    #[error("the history of writer {writer} is not whole, so its last snapshot is not known: {first}")]
    Doubtful {
        /// The writer.
        writer: WriterId,
        /// The first thing that is wrong.
        first: String,
    },
    /// A writer cannot number another snapshot.
    #[error(
        "writer {writer} has a snapshot with the highest number that there is, so no other can follow it"
    )]
    NoMoreNumbers {
        /// The writer.
        writer: WriterId,
    },
    /// An object would be larger than any reader takes; it was not stored.
    #[error("`{key}` would have {size} bytes, and nobody reads more than {most} there; nothing was stored")]
    TooLarge {
        /// The object's name.
        key: String,
        /// Its size.
        size: u64,
        /// The ceiling.
        most: u64,
    },
    /// An object would say what every reader refuses; it was not stored.
    #[error("`{key}` cannot be stored so that it can be read: {reason}; nothing was stored")]
    Unsound {
        /// The object's name.
        key: String,
        /// What readers would refuse.
        reason: String,
    },
    /// The storage shows an older state than the writer key knows.
    #[error(
        "{store} shows a roster whose data identity is of epoch {found}, and this writer key was made in epoch {made}"
    )]
    OlderEpoch {
        /// The location.
        store: String,
        /// The newest epoch on the roster.
        found: u32,
        /// The epoch of the key.
        made: u32,
    },
    /// The key may not do what was asked.
    #[error("{who} cannot {what}")]
    NotAllowed {
        /// Whose key it is.
        who: &'static str,
        /// What was asked.
        what: &'static str,
        /// Which key can.
        needed: &'static str,
    },
    /// Nobody and nothing on the roster answers to the name.
    #[error("there is no {what} `{wanted}` on the roster")]
    NoSuchMember {
        /// The name that was asked for.
        wanted: String,
        /// What was looked for.
        what: &'static str,
    },
    /// Someone else changed the roster at the same time.
    #[error("roster {number} was written by someone else meanwhile; nothing was changed")]
    RosterChanged {
        /// The number of the roster.
        number: u64,
    },
    /// The holder of the key was removed from the roster.
    #[error("this {0} key was removed from the roster of the repository")]
    Removed(&'static str),
    /// A run lasted longer than its lease, so that a keeper may count its frames as garbage.
    #[error("the run lasted longer than its lease of {days} days, so what it stored may have been pruned")]
    PastLease {
        /// The length of the lease.
        days: i64,
    },
    /// A keeper took away, while a run was under way, what the run leaned on.
    #[error(
        "while this run was under way, a prune with a short grace took away what it leaned on ({evidence})"
    )]
    PrunedUnderWay {
        /// What is not there any more.
        evidence: String,
    },
    /// A snapshot was committed so long after it looked for what it refers to that a prune has deleted some of it.
    #[error(
        "snapshot {snapshot} was committed, and data that it needs was deleted while this machine slept: {evidence}"
    )]
    CommittedTooLate {
        /// The snapshot, which cannot be restored whole.
        snapshot: lifeboat_core::Sha256Digest,
        /// What is not there any more.
        evidence: String,
    },
    /// A history that does not hold together, so nothing may be deleted by it.
    #[error("the repository's history is not whole, so nothing is deleted: {first}")]
    NotWhole {
        /// The first thing that is wrong.
        first: String,
        /// How many more there are.
        others: usize,
    },
    /// No snapshot answers to the name.
    #[error("there is no snapshot `{wanted}`{among}")]
    NoSuchSnapshot {
        /// The name that was asked for.
        wanted: String,
        /// Among which ones it was looked for, where not among all.
        among: String,
    },
    /// The names in a writer's snapshots take more memory than a listing has room for.
    #[error(
        "of {count} older snapshots of host {writer} the tags and volumes are not listed: the names in its snapshots \
         take more than {most} MiB", most = most_bytes >> 20
    )]
    TooMuchToList {
        /// Whose snapshots.
        writer: crate::ids::WriterId,
        /// Of how many they are left out.
        count: usize,
        /// For how many bytes of a host's names there is room.
        most_bytes: usize,
    },
    /// Several snapshots answer to the name.
    #[error("`{wanted}` could be any of {}", candidates.join(", "))]
    AmbiguousSnapshot {
        /// The name that was asked for.
        wanted: String,
        /// The names that answer to it.
        candidates: Vec<String>,
    },
    /// Several members of the roster answer to the first digits of an id.
    #[error("`{wanted}` could be any of {}", candidates.join(", "))]
    AmbiguousMember {
        /// The digits that were given.
        wanted: String,
        /// The ids that begin with them.
        candidates: Vec<String>,
    },
    /// The snapshot has no such volume or path.
    #[error("the snapshot has no {what} `{wanted}`{}", near(candidates))]
    NotInSnapshot {
        /// What was looked for.
        what: &'static str,
        /// Its name.
        wanted: String,
        /// What the snapshot has.
        candidates: Vec<String>,
    },
    /// What was to be captured cannot be.
    #[error("{path} cannot be captured")]
    Source {
        /// The folder or file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A restore's target cannot be written.
    #[error("{path} cannot be restored to")]
    Target {
        /// The path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A restore's target holds something already.
    #[error("{path} is not empty")]
    TargetNotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A restore's target belongs to someone who could change it while it is filled.
    #[error("{path} belongs to user {owner}, who could change what is restored there while it is restored")]
    TargetOfAnother {
        /// The folder.
        path: PathBuf,
        /// The number of its owner.
        owner: u32,
    },
    /// A name that no stream or document may have.
    #[error("`{}` cannot be the name of a {what}: {reason}", printable(name))]
    BadName {
        /// A stream or a document.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: BadName,
    },
    /// Two streams of one kind, or two documents, of one name.
    #[error("the snapshot has a {what} called `{}` already", printable(name))]
    NameTaken {
        /// A stream or a document.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A host name, tag or application name that no snapshot can carry.
    #[error("the {what} cannot be stored: {reason}")]
    BadText {
        /// Which of them.
        what: &'static str,
        /// What is wrong with it.
        reason: TextTooLong,
    },
    /// What describes the snapshot is nothing that readers accept, so it was not stored.
    #[error("the snapshot cannot be stored so that it can be read: {reason}; nothing was committed")]
    Unreadable {
        /// What readers would refuse.
        reason: String,
    },
    /// A local file of Lifeboat's own could not be read or written.
    #[error("{path} cannot be {action}")]
    Local {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The object storage failed.
    #[error(transparent)]
    Store(StoreError),
    /// Someone asked to stop.
    #[error("stopped before the end, as asked; nothing that was committed before is changed")]
    Interrupted,
    /// Something that must hold by construction does not.
    #[error("internal: {0}")]
    Internal(&'static str),
}

fn numbers(first: u64, last: u64) -> String {
    if first == last { format!("snapshot {first}") } else { format!("snapshots {first} to {last}") }
}

fn near(candidates: &[String]) -> String {
    let shown: Vec<String> = candidates.iter().map(|name| printable(name)).collect();
    if shown.is_empty() { String::new() } else { format!("; it has {}", shown.join(", ")) }
}

impl VaultError {
    /// The same finding, told once more.
    pub(crate) fn again(&self) -> Self {
        match self {
            Self::Object(error) => Self::Object(error.clone()),
            Self::RolledBack { store, found, seen, pins } => {
                Self::RolledBack { store: store.clone(), found: *found, seen: *seen, pins: pins.clone() }
            }
            Self::Withheld { writer, first, last } => {
                Self::Withheld { writer: *writer, first: *first, last: *last }
            }
            Self::Claimed { claimant, writer, first, last } => {
                Self::Claimed { claimant: *claimant, writer: *writer, first: *first, last: *last }
            }
            Self::Contradicted { claimant, writer, sequence, claimed, found } => Self::Contradicted {
                claimant: *claimant,
                writer: *writer,
                sequence: *sequence,
                claimed: *claimed,
                found: *found,
            },
            Self::Disproved { claimant, writer, claimed, found } => {
                Self::Disproved { claimant: *claimant, writer: *writer, claimed: *claimed, found: *found }
            }
            other => ObjectError::damaged("the repository", other).into(),
        }
    }

    /// What to do where the storage shows less than it did.
    fn advice_on_older_state(&self) -> String {
        let meant = match self {
            Self::RolledBack { pins: Some(pins), .. } => format!(
                "; if the older state is meant, remove what this machine remembers of the newer one: rm '{}'",
                pins.display()
            ),
            // Their numbers must not be used again: other machines may have seen them.
            Self::Withheld { .. } => {
                "; if the older state is meant, give up what is gone with a recovery key or a keeper's: \
                                      `lifeboat-backup repair --forget-damaged`"
                    .to_owned()
            }
            _ => String::new(),
        };
        format!(
            "ask who runs the storage: it was put back to an older state, or hides objects; what is there is restored by its \
             id, as `lifeboat-restore list` shows it{meant}"
        )
    }

    /// What to do where the histories of writers contradict each other or themselves.
    fn advice_on_history(&self) -> Option<String> {
        Some(match self {
            Self::Claimed { claimant, .. } | Self::Contradicted { claimant, .. } => format!(
                "ask who runs the storage whether it was put back to an older state; if host {claimant} was taken over, \
                 its word ends with `lifeboat-backup key remove {claimant} --last N`, where N is its last snapshot before \
                 that"
            ),
            Self::Disproved { claimant, .. } => format!(
                "host {claimant} was set back, or taken over; its word ends with `lifeboat-backup key remove {claimant} \
                 --last N`, where N is its last snapshot before that"
            ),
            Self::Doubtful { .. } => {
                "put back what is missing, or say with --last N which snapshot is the last that is to count".to_owned()
            }
            Self::NoMoreNumbers { .. } => {
                "remove the writer with `lifeboat-backup key remove ID --last N`, where N is its last true snapshot, and \
                 give the host a new key with `lifeboat-backup key add writer FILE`"
                    .to_owned()
            }
            _ => return None,
        })
    }

    /// What is wrong first, of a history that is not whole.
    pub(crate) fn first_reason(&self) -> String {
        if let Self::NotWhole { first, .. } = self { first.clone() } else { self.to_string() }
    }
}

impl From<StoreError> for VaultError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<ObjectError> for VaultError {
    fn from(error: ObjectError) -> Self {
        Self::Object(error)
    }
}

impl From<Unstorable> for VaultError {
    fn from(error: Unstorable) -> Self {
        match error {
            Unstorable::TooLarge { name, size, most } => Self::TooLarge { key: name, size, most },
            Unstorable::Unsound { name, reason } => Self::Unsound { key: name, reason },
        }
    }
}
