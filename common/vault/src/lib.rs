//! The repository: scan, chunk, frame, seal, pack, index, snapshot, and back through a restore plan.
//!
//! One way through. *In*: a [`Source`](source::Source) is walked in the order of item streams; file contents are cut
//! into chunks (`chunk`), chunks that are new go into frames (`capture`, `frame`), frames are compressed and sealed
//! (`seal`), fill packs (`pack`, `pipeline`), and packs go to the store; then the index (`index`, `signed`), the part
//! and the signed manifest (`manifest`, `snapshot`). *Out*: a recovery key opens the keys (`restorer`), a manifest
//! leads to streams (`view`), streams to frames (`reader`), frames to files (`restore`, `tree`).
//!
//! What each object holds byte by byte is in `FORMAT.md` beside this crate. Nothing here knows Docker, and nothing
//! prints.

mod capture;
mod chunk;
mod compare;
mod countersign;
mod error;
mod frame;
mod ids;
mod index;
pub mod item;
mod key_file;
mod keys;
mod layout;
mod manifest;
mod memory;
mod pack;
mod pipeline;
mod reader;
mod repository;
mod restore;
mod restorer;
mod roster;
mod seal;
mod signed;
mod snapshot;
pub mod source;
mod tree;
mod view;

pub use compare::{Difference, What};
pub use countersign::{BrokenChain, ManifestChain, SignedManifest};
pub use error::VaultError;
pub use ids::{GroupId, NotARepositoryId, NotAnId, RepositoryId, RunId, WriterId};
pub use key_file::{RecoveryKey, WriterKey, write_private};
pub use keys::{Identity, Recipient};
pub use manifest::{Consistency, PREDICATE_TYPE, StreamKind, verification_key_text};
pub use reader::{ContentStream, FrameReader, ItemStream};
pub use repository::{Made, NewRepository, Repository, Viewer};
pub use restore::{OpenSnapshot, Problem, Restored};
pub use restorer::Restorer;
pub use roster::Roster;
pub use snapshot::{Committed, SnapshotOptions, SnapshotWriter, Stream, StreamOutcome};
pub use tree::FolderSource;
pub use view::{Listing, Snapshot, StreamView};

/// The version of the repository format. Version 0 may still break.
const FORMAT_VERSION: u8 = 0;
