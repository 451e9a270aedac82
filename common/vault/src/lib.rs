//! The repository: scan, chunk, frame, seal, pack, index, snapshot, and back through a restore plan.
//!
//! One way through. *In*: a [`Source`](source::Source) is walked in the order of item streams; file contents are cut
//! into chunks (`chunk`), chunks that are new go into frames (`capture`, `frame`), frames are compressed and sealed
//! (`seal`), fill packs (`pack`, `pipeline`), and packs go to the store; then the index (`index`, `signed`), the part
//! and the signed manifest (`manifest`, `snapshot`). *Out*: a recovery key opens the keys (`restorer`), a manifest
//! leads to streams (`view`), streams to frames (`reader`), frames to files (`restore`, `tree`). *Across*: an open
//! snapshot is a source as well (`snapshot_source`), which is how it is copied into another repository (`copy`).
//!
//! What each object holds byte by byte is in `FORMAT.md` beside this crate. Nothing here knows Docker, and nothing
//! prints.

mod access;
mod authority;
mod batch;
mod capture;
pub mod check;
mod chunk;
mod compare;
mod condemn;
mod contents;
mod copy;
mod countersign;
#[cfg(test)]
mod crafted;
mod error;
mod find;
mod forget;
mod frame;
mod frame_set;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
mod heal;
mod history;
#[cfg(test)]
mod hostile;
mod ids;
mod index;
pub mod item;
mod item_records;
mod keeper_key;
mod keeping;
mod key_file;
mod keys;
mod known_contents;
mod layout;
mod locate;
mod manifest;
mod members;
mod memory;
mod moving;
mod name;
mod object_cache;
mod object_name;
mod pack;
mod pins;
mod pipeline;
mod prune;
mod reader;
mod registration;
pub mod repair;
mod repository;
mod request;
mod restore;
mod restorer;
mod retention;
mod roster;
mod rosters;
mod run_end;
mod run_keys;
mod seal;
mod select;
mod signed;
mod snapshot;
mod snapshot_diff;
mod snapshot_source;
pub mod source;
mod spool;
mod statistics;
mod stream_name;
mod summary;
mod tree;
mod view;

pub use access::Viewer;
pub use compare::{Compared, Difference, What};
pub use condemn::{GRACE_DAYS, LEASE_DAYS};
pub use copy::{Copied, Copier, CopyOptions};
pub use countersign::{BrokenChain, MOST_OF_A_PUBLIC_OBJECT, ManifestChain, SignedManifest};
pub use error::VaultError;
pub use forget::Asked;
pub use ids::{GroupId, KeeperId, NotARepositoryId, NotAnId, RepositoryId, RunId, Signer, WriterId};
pub use keeper_key::KeeperKey;
pub use key_file::{RecoveryKey, RecoveryKeyFile, WriterKey, write_private};
pub use keys::{
    Identity, IdentityFile, NoDialog, Passphrase, PluginDialog, Protection, Recipient, RecipientKind,
};
pub use manifest::{Consistency, Original, PREDICATE_TYPE, StreamKind, verification_key_text};
pub use members::{KeeperMember, Members, RecipientMember, Removed, WriterMember};
pub use name::{BadName, TextTooLong, check_name, check_text};
pub use pins::PinFile;
pub use pipeline::PackSizes;
pub use prune::{PruneOptions, Pruned, RunsUnderWay};
pub use reader::{ContentStream, FrameReader, ItemStream};
pub use registration::NO_CONDITIONAL_WRITES;
pub use repository::{Made, NewRepository, Repository};
pub use restore::{OpenSnapshot, Problem, Restored, Subtree};
pub use restorer::Restorer;
pub use retention::{Reasons, Rules, apply as apply_rules, left_without};
pub use roster::{Floor, Roster};
pub use run_end::OpenRun;
pub use snapshot::{Committed, SnapshotOptions, SnapshotWriter, Stream, StreamOutcome};
pub use snapshot_diff::{Change, ChangeCounts, Changed};
pub use statistics::{Frames, ObjectCount, ObjectKind, Statistics, Total};
pub use stream_name::{NamedStream, same_sources};
pub use tree::{BadPattern, ExcludeOptions, Excludes, FolderSource, LeftOut, Patterns, TargetFolder};
pub use view::{Listing, Snapshot, StreamView};

/// The version of the repository format. Version 0 may still break.
const FORMAT_VERSION: u8 = 0;
