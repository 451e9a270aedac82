//! Object storage: a folder, S3, GCS, Azure, or memory, behind one small set of promises.
//!
//! Objects are immutable. [`Store::create`] never overwrites: where an object of that name already stands, it
//! succeeds only if the bytes are the same ones, so a retried request whose first answer was lost is no error.
//! Every read has a ceiling, every request a deadline that grows with its size. This crate knows no packs and no keys.

mod answer;
mod error;
mod location;
mod open;
mod store;

pub use answer::ServerAnswer;
pub use error::StoreError;
pub use location::Location;
pub use open::{OpenOptions, Settings};
pub use store::{Created, Entry, Store};
