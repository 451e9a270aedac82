//! The errors of a repository, with the evidence and what to do next.

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

/// Why an operation of the vault failed.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// There is no repository at the location.
    #[error("there is no repository at {store}")]
    NotARepository {
        /// The location.
        store: String,
    },
    /// There is already a repository at the location.
    #[error("there is already a repository at {store}")]
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
    #[error("the key belongs to repository {expected}, but {store} holds repository {found}")]
    OtherRepository {
        /// The location.
        store: String,
        /// The repository that the key names.
        expected: RepositoryId,
        /// The repository that was found.
        found: RepositoryId,
    },
    /// An identity that does not name its repository was given without a repository id.
    #[error("the recovery key does not name its repository")]
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
    /// An object is damaged or missing, although the storage answered.
    #[error(transparent)]
    Object(ObjectError),
    /// The storage shows an older state than this machine has seen.
    #[error("{store} shows roster {found}, but this machine has seen roster {seen}")]
    RolledBack {
        /// The location.
        store: String,
        /// The newest roster in the storage.
        found: u64,
        /// The newest one that was seen.
        seen: u64,
        /// The file that records it.
        pins: Option<PathBuf>,
    },
    /// Snapshots that must exist are missing, and nobody asked to forget them.
    #[error("{} of writer {writer} {} missing, and nobody asked to forget {}", numbers(*first, *last), if first == last { "is" } else { "are" }, if first == last { "it" } else { "them" })]
    Withheld {
        /// The writer.
        writer: WriterId,
        /// The first sequence that is missing.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// A writer claims to have seen snapshots of another that do not exist.
    #[error(
        "writer {claimant} claims to have seen {} of writer {writer}, but {}",
        numbers(*first, *last),
        if first == last { "it does not exist" } else { "they do not exist" }
    )]
    Claimed {
        /// The writer that makes the claim.
        claimant: WriterId,
        /// The writer whose snapshots are missing if the claim is true.
        writer: WriterId,
        /// The first missing sequence.
        first: u64,
        /// The last one.
        last: u64,
    },
    /// A writer saw a different snapshot in the place of the existing one.
    #[error(
        "writer {claimant} claims that snapshot {sequence} of writer {writer} was {claimed}, but the repository shows \
         {found}"
    )]
    Contradicted {
        /// The writer that makes the claim.
        claimant: WriterId,
        /// The snapshot's writer.
        writer: WriterId,
        /// Its place.
        sequence: u64,
        /// The id that was seen.
        claimed: Sha256Digest,
        /// The id in the repository.
        found: Sha256Digest,
    },
    /// A writer claims to have seen a snapshot of another writer that had not taken it yet.
    #[error(
        "writer {claimant} claims to have seen snapshot {claimed} of writer {writer}, which took its snapshot {found} \
         later"
    )]
    Disproved {
        /// The writer that makes the claim.
        claimant: WriterId,
        /// The writer that disproves it.
        writer: WriterId,
        /// The claimed sequence.
        claimed: u64,
        /// The sequence of the snapshot that came later.
        found: u64,
    },
    /// The last snapshot in the history of a writer is uncertain.
    #[error("the history of writer {writer} is not whole, so its last snapshot is unknown: {first}")]
    Doubtful {
        /// The writer.
        writer: WriterId,
        /// The first problem.
        first: String,
    },
    /// A writer cannot number another snapshot.
    #[error("writer {writer} has a snapshot with the highest possible number, so no other can follow it")]
    NoMoreNumbers {
        /// The writer.
        writer: WriterId,
    },
    /// An object would be larger than readers accept; it was not stored.
    #[error("`{key}` would have {size} bytes, but readers accept at most {most}; nothing was stored")]
    TooLarge {
        /// The object's name.
        key: String,
        /// Its size.
        size: u64,
        /// The limit.
        most: u64,
    },
    /// An object would have a body that every reader refuses; it was not stored.
    #[error("`{key}` cannot be stored in a readable form: {reason}; nothing was stored")]
    Unsound {
        /// The object's name.
        key: String,
        /// What readers would refuse.
        reason: String,
    },
    /// The storage shows an older state than the writer key knows.
    #[error(
        "{store} shows a roster whose data identity is of epoch {found}, but this writer key was made in epoch {made}"
    )]
    OlderEpoch {
        /// The location.
        store: String,
        /// The newest epoch on the roster.
        found: u32,
        /// The epoch of the key.
        made: u32,
    },
    /// The key does not permit the operation.
    #[error("{who} cannot {what}")]
    NotAllowed {
        /// The kind of key.
        who: &'static str,
        /// The operation.
        what: &'static str,
        /// The key that is needed.
        needed: &'static str,
    },
    /// Nothing on the roster has this name.
    #[error("there is no {what} `{wanted}` on the roster")]
    NoSuchMember {
        /// The name that was asked for.
        wanted: String,
        /// What was looked for.
        what: &'static str,
    },
    /// Someone else changed the roster at the same time.
    #[error("roster {number} was written by someone else in the meantime; nothing was changed")]
    RosterChanged {
        /// The number of the roster.
        number: u64,
    },
    /// While a prune ran, a newer roster removed its key or changed the retention floor, or cannot be read.
    #[error(
        "roster {number} was stored while the prune ran: it has removed this key or changed the retention floor, or it \
         cannot be read, so nothing more is deleted"
    )]
    RosterReplaced {
        /// The number of the new roster.
        number: u64,
    },
    /// A prune took so long that what it worked out is too old to delete by.
    #[error("the prune took more than {days} days, and what it worked out is too old to delete by")]
    PruneTooLong {
        /// How many days it may take.
        days: i64,
    },
    /// The holder of the key was removed from the roster.
    #[error("this {0} key was removed from the roster of the repository")]
    Removed(&'static str),
    /// A run lasted longer than its lease, so a keeper may treat its frames as garbage.
    #[error("the run lasted longer than its lease of {days} days, so what it stored may have been pruned")]
    PastLease {
        /// The length of the lease.
        days: i64,
    },
    /// A keeper deleted, while a run was under way, what the run referred to.
    #[error(
        "while this run was under way, a prune with a short grace deleted what it referred to ({evidence})"
    )]
    PrunedUnderWay {
        /// What does not exist any more.
        evidence: String,
    },
    /// A snapshot was committed so long after its last check that a prune has deleted some of what it refers to.
    #[error(
        "snapshot {snapshot} was committed, but data that it needs was deleted while this machine slept: {evidence}"
    )]
    CommittedTooLate {
        /// The snapshot, which cannot be fully restored.
        snapshot: lifeboat_core::Sha256Digest,
        /// What does not exist any more.
        evidence: String,
    },
    /// An inconsistent history, on which no deletion may be based.
    #[error("the repository's history is not whole, so nothing is deleted: {first}")]
    NotWhole {
        /// The first problem.
        first: String,
        /// How many more problems there are.
        others: usize,
    },
    /// No snapshot has this name.
    #[error("there is no snapshot `{wanted}`{among}")]
    NoSuchSnapshot {
        /// The name that was asked for.
        wanted: String,
        /// Which snapshots were searched, if not all.
        among: String,
    },
    /// The names in a writer's snapshots take more memory than a listing has room for.
    #[error(
        "the tags and volumes of {count} older snapshots of host {writer} are not listed: the names in its snapshots \
         take more than {most} MiB", most = most_bytes >> 20
    )]
    TooMuchToList {
        /// The writer.
        writer: crate::ids::WriterId,
        /// For how many snapshots they are omitted.
        count: usize,
        /// The limit for a host's names, in bytes.
        most_bytes: usize,
    },
    /// Several snapshots match the name.
    #[error("`{wanted}` could be any of {}", candidates.join(", "))]
    AmbiguousSnapshot {
        /// The name that was asked for.
        wanted: String,
        /// The names that match.
        candidates: Vec<String>,
    },
    /// A member of the roster has this name.
    #[error("`{name}` is the name of {id}")]
    MemberNameTaken {
        /// The name.
        name: String,
        /// The member's id.
        id: String,
    },
    /// Several members of the roster match a name or the prefix of an id.
    #[error("`{wanted}` could be any of {}", candidates.join(", "))]
    AmbiguousMember {
        /// What was given.
        wanted: String,
        /// The ids that match.
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
    /// A source that cannot be captured.
    #[error("{path} cannot be captured")]
    Source {
        /// The folder or file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A restore's target cannot be written.
    #[error("{path} cannot be restored to")]
    Target {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// A restore's target is not empty.
    #[error("{path} is not empty")]
    TargetNotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A restore's target belongs to another user, who could change it while it is filled.
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
    /// Two streams of one kind, or two documents, with the same name.
    #[error("the snapshot already has a {what} called `{}`", printable(name))]
    NameTaken {
        /// A stream or a document.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A host name, tag or application name that cannot be stored.
    #[error("the {what} cannot be stored: {reason}")]
    BadText {
        /// Which of them.
        what: &'static str,
        /// What is wrong with it.
        reason: TextTooLong,
    },
    /// Readers would refuse the snapshot's description, so it was not stored.
    #[error("the snapshot cannot be stored in a readable form: {reason}; nothing was committed")]
    Unreadable {
        /// What readers would refuse.
        reason: String,
    },
    /// One of Lifeboat's own local files could not be read or written.
    #[error("{path} cannot be {action}")]
    Local {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        action: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// The object storage failed.
    #[error(transparent)]
    Store(StoreError),
    /// The operation was interrupted.
    #[error("interrupted; what was committed before is unchanged")]
    Interrupted,
    /// An invariant is broken.
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
    /// The same error again.
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

    /// What to do if the storage shows less than before.
    fn advice_on_older_state(&self) -> String {
        let meant = match self {
            Self::RolledBack { pins: Some(pins), .. } => format!(
                "; if the older state is intended, remove this machine's record of the newer one: rm '{}'",
                pins.display()
            ),
            // Their numbers must not be used again: other machines may have seen them.
            Self::Withheld { .. } => {
                "; if the older state is intended, give up the missing snapshots with a recovery key or a keeper's: \
                                      `lifeboat-backup repair --forget-damaged`"
                    .to_owned()
            }
            _ => String::new(),
        };
        format!(
            "ask who runs the storage: it was set back to an older state, or hides objects; restore what exists by its \
             id, as `lifeboat-restore list` shows it{meant}"
        )
    }

    /// What to do if the histories of writers contradict each other or themselves.
    fn advice_on_history(&self) -> Option<String> {
        Some(match self {
            Self::Claimed { claimant, .. } | Self::Contradicted { claimant, .. } => format!(
                "ask who runs the storage whether it was set back to an older state; if host {claimant} was \
                 compromised, end its claims with `lifeboat-backup key remove {claimant} --last N`, where N is its \
                 last snapshot before that"
            ),
            Self::Disproved { claimant, .. } => format!(
                "host {claimant} was set back or compromised; end its claims with `lifeboat-backup key remove \
                 {claimant} --last N`, where N is its last snapshot before that"
            ),
            Self::Doubtful { .. } => {
                "restore what is missing in the storage, or choose the last snapshot that counts with --last N"
                    .to_owned()
            }
            Self::NoMoreNumbers { .. } => {
                "remove the writer with `lifeboat-backup key remove ID --last N`, where N is its last genuine \
                 snapshot, and give the host a new key with `lifeboat-backup key add writer FILE`"
                    .to_owned()
            }
            _ => return None,
        })
    }

    /// The first problem of a history that is not whole.
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
