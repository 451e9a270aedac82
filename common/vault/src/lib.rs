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
//!
//! # A snapshot, and back
//!
//! ```
//! use std::sync::Arc;
//!
//! use lifeboat_core::Context;
//! use lifeboat_core::progress::Silent;
//! use lifeboat_store::Store;
//! use lifeboat_vault::*;
//! use tokio_util::sync::CancellationToken;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let home = tempfile::tempdir()?;
//! # let (data, back) = (home.path().join("data"), home.path().join("back"));
//! # std::fs::create_dir(&data)?;
//! std::fs::write(data.join("orders.csv"), "1,oars\n")?;
//! let context = Context::new(Arc::new(Silent), CancellationToken::new());
//! let store = Store::memory();
//!
//! // A new repository has a key for the first host, and recovery keys, which belong elsewhere. Both must be kept
//! // before anything is stored.
//! let new = NewRepository {
//!     recipients: Vec::new(),
//!     recovery_keys: 2,
//!     single_recipient: false,
//!     floor: Floor::default(),
//! };
//! let key_file = home.path().join("safe-1.key");
//! let made = Repository::create(store.clone(), new, &context, |made| {
//!     write_private(&key_file, &made.recovery_keys[0])
//! })
//! .await?;
//!
//! // The host takes a snapshot. It can read nothing back.
//! let repository = Repository::open(store.clone(), made.repository.id(), PinFile::none()).await?;
//! let options = SnapshotOptions {
//!     host: "web-1".to_owned(),
//!     tags: Vec::new(),
//!     application: None,
//!     compression_level: 3,
//!     pack_sizes: PackSizes::default(),
//!     threads: 1,
//!     cache: None,
//!     dry_run: false,
//! };
//! let writer = Arc::new(made.writer_key);
//! let run = SnapshotWriter::begin(repository, writer, options, &context).await?;
//! let stream = Stream {
//!     kind: StreamKind::Path,
//!     name: "data".to_owned(),
//!     consistency: Consistency::None,
//!     cache_key: data.display().to_string(),
//!     source: Box::new(FolderSource::open(&data)?),
//! };
//! let (run, captured) = run.capture(stream).await?;
//! assert!(captured.unreadable.is_empty());
//! run.commit().await?;
//!
//! // A recovery key lists the snapshots, and restores the newest one.
//! let dialog: Arc<dyn PluginDialog> = Arc::new(NoDialog);
//! let key = RecoveryKeyFile::read(&key_file)?.key(&dialog)?;
//! let restorer = RecoverySession::open(store, &key, None, |_| PinFile::none()).await?;
//! let listing = Listing::read(restorer.session()).await?;
//! assert!(listing.unreadable.is_empty());
//! let newest = listing.find("latest", None)?;
//! assert_eq!(newest.host(), "web-1");
//! let snapshot = OpenSnapshot::open(&restorer, newest).await?;
//! let target = TargetFolder::take(&back)?;
//! let restored = snapshot.restore(0, target, &context).await?;
//! assert!(restored.damaged.is_empty());
//! assert_eq!(std::fs::read_to_string(back.join("orders.csv"))?, "1,oars\n");
//! # Ok(())
//! # }
//! ```

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
pub use format::member_name::{BadMemberName, MemberName};
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
pub use repository::access::Session;
pub use repository::open::{Made, NewRepository, Repository};
pub use repository::pins::PinFile;
pub use repository::recovery_session::RecoverySession;
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
