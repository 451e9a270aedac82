//! The repository: scan, chunk, frame, seal, pack, index, snapshot, and back through a restore plan.
//!
//! The data flow. *In*: a [`Source`](source::Source) is walked in the order of item streams; file contents are cut into
//! chunks, new chunks go into frames, frames are compressed, sealed and put into packs, and packs go to the store; then
//! follow the index, the part and the signed manifest (`backup`). *Out*: a recovery key opens the keys (`repository`),
//! a manifest leads to streams (`snapshots`), streams to frames, frames to files (`restore`). *Across*: an open
//! snapshot is also a source, which is how it is copied into another repository (`copy`). *Afterwards*: checks,
//! repairs, forgetting, pruning (`maintenance`).
//!
//! The rooms are layered, and a room uses only those below it: `maintenance`, `copy`, `backup`, `restore`, `snapshots`,
//! `repository`, then `keys`, `tree`, `error`, then `format`, then `ids`.
//!
//! `FORMAT.md` beside this crate describes each object byte by byte. Nothing here depends on Docker, and nothing
//! prints.

mod backup;
mod copy;
mod error;
mod format;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
#[cfg(test)]
mod hostile;
mod ids;
mod keys;
mod maintenance;
mod repository;
mod restore;
mod snapshots;
mod tree;

pub use backup::pipeline::PackSizes;
pub use backup::register::NO_CONDITIONAL_WRITES;
pub use backup::run_end::OpenRun;
pub use backup::writer::{Committed, SnapshotOptions, SnapshotWriter, Stream, StreamOutcome};
pub use copy::copier::{Copied, Copier, CopyOptions};
pub use error::{ObjectError, VaultError};
pub use format::condemnation::{GRACE_DAYS, LEASE_DAYS};
pub use format::floor::Floor;
pub use format::item;
pub use format::manifest::{Consistency, Original, PREDICATE_TYPE, StreamKind, verification_key_text};
pub use format::name::{BadName, TextTooLong, check_name, check_text};
pub use format::roster::Roster;
pub use ids::{GroupId, KeeperId, NotARepositoryId, NotAnId, RepositoryId, RunId, Signer, WriterId};
pub use keys::keeper_key::KeeperKey;
pub use keys::key_file::{RecoveryKey, RecoveryKeyFile, WriterKey, write_private};
pub use keys::{
    Identity, IdentityFile, NoDialog, Passphrase, PluginDialog, Protection, Recipient, RecipientKind,
};
pub use maintenance::forget::{Asked, forget};
pub use maintenance::members::{KeeperMember, Members, Membership, RecipientMember, Removed, WriterMember};
pub use maintenance::prune::{PruneOptions, Pruned, RunsUnderWay, prune};
pub use maintenance::{check, repair};
pub use repository::access::Viewer;
pub use repository::open::{Made, NewRepository, Repository};
pub use repository::pins::PinFile;
pub use repository::restorer::Restorer;
pub use restore::compare::{Compared, Difference, What};
pub use restore::diff::{Change, ChangeCounts, Changed};
pub use restore::open::{OpenSnapshot, Problem, Restored, Subtree};
pub use restore::reader::{ContentStream, FrameReader, ItemStream};
pub use restore::stream_name::{NamedStream, same_sources};
pub use snapshots::countersign::{BrokenChain, MOST_OF_A_PUBLIC_OBJECT, ManifestChain, SignedManifest};
pub use snapshots::retention::{Reasons, Rules, apply as apply_rules, left_without};
pub use snapshots::snapshot::{Listing, Snapshot, StreamView};
pub use snapshots::statistics::{Frames, ObjectCount, ObjectKind, Statistics, Total};
pub use tree::source;
pub use tree::{BadPattern, ExcludeOptions, Excludes, FolderSource, LeftOut, Patterns, TargetFolder};
