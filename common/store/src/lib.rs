//! Object storage: a folder, S3, GCS, Azure, or memory, behind one small set of promises.
//!
//! * Objects are immutable. [`Store::create`] never overwrites: if an object of that name exists, it succeeds only if
//!   the bytes are the same, so a retried request whose first answer was lost is not an error. If several callers
//!   create one name at the same time, exactly one gets [`Created::Now`].
//! * Names are plain ASCII: letters, digits, `-`, `_`, `.`, in at most 16 parts between `/`. Every listed object has
//!   such a name, and can be read and deleted by it.
//! * [`Store::read`] has a ceiling, [`Store::read_range`] returns exactly the bytes of its range, [`Store::list`] is
//!   complete and sorted, [`Store::delete`] of a missing object succeeds, and times are the storage's.
//! * An odd thing among the objects (a link, a pipe, a folder that this user may not open, an invalid name) is skipped
//!   and reported by listings ([`Store::listing`]), and is an error of its own if it is in the place of an object
//!   ([`StoreError::NotAnObject`]). In a folder, no operation follows a link below the root.
//! * Objects survive a crash of this host once they are created: a folder's files and folders are flushed to disk. A
//!   crash may undo a delete.
//!
//! Every attempt at an operation has a deadline that grows with its size, by a monotonic clock. Transient failures are
//! retried within one budget for the whole operation, and a store that keeps failing is left alone for a while
//! ([`StoreError::Suspended`]). Credentials that can put, get and list below the prefix are enough for everything but
//! `delete`. This crate knows no packs and no keys.

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
mod refusal;
mod retry_budget;
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
