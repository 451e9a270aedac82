//! Object storage: a folder, S3, GCS, Azure, or memory, behind one small set of promises.
//!
//! - Objects are immutable. [`Store::create`] never overwrites: where an object of that name already stands, it succeeds
//!   only if the bytes are the same ones, so a retried request whose first answer was lost is no error. Of several who
//!   create one name at the same time, exactly one is told [`Created::Now`].
//! - Names are plain ASCII: letters, digits, `-`, `_`, `.`, in at most 16 parts between `/`. What is listed has such a
//!   name, and is what is read and deleted by it.
//! - [`Store::read`] has a ceiling, [`Store::read_range`] gives exactly the bytes of its range, [`Store::list`] is
//!   complete and sorted, [`Store::delete`] of what is not there succeeds, and times are the storage's.
//! - One odd thing among the objects (a link, a pipe, a folder that this user may not open, a name that no object can
//!   have) is passed over by listings, which say so ([`Store::listing`]), and is an error of its own where it stands in
//!   the place of an object ([`StoreError::NotAnObject`]). In a folder no link below the root is followed by anything.
//! - What was created stands after a crash of this host: a folder's files and folders are flushed to the disk. A delete
//!   may be undone by one.
//!
//! Every attempt at an operation has a deadline that grows with its size, by a clock that nothing sets; trouble that may
//! pass is met by trying again within one budget for the whole operation, and a store that fails again and again is
//! left alone for a while ([`StoreError::Suspended`]). Credentials that can put, get and list below the prefix suffice
//! for everything but `delete`. This crate knows no packs and no keys.

mod answer;
mod breaker;
mod create;
mod diagnosis;
mod error;
mod folder;
mod listing;
mod location;
mod name;
mod obstacle;
mod open;
mod patience;
mod refusal;
mod site;
mod store;
mod tame;
mod transport;

pub use answer::ServerAnswer;
pub use create::Created;
pub use error::{Effort, StoreError};
pub use folder::Swept;
pub use listing::{Listing, PassedOver};
pub use location::Location;
pub use obstacle::Obstacle;
pub use open::{OpenOptions, Settings, is_setting};
pub use refusal::{Refusal, Unreached};
pub use store::{Entry, Store};
