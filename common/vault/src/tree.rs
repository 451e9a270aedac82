//! Trees of the local file system: walking one into items, and writing items back.

mod exclude;
mod metadata;
mod patterns;
mod walk;
mod write;

pub use exclude::{ExcludeOptions, Excludes, LeftOut};
pub use patterns::{BadPattern, Patterns};
pub use walk::FolderSource;
pub(crate) use write::{Folders, TreeWriter};
