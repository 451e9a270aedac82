//! Trees of the local file system: walking one into items, and writing items into one.

mod exclude;
mod identity;
mod metadata;
mod patterns;
pub mod source;
mod target;
mod walk;
mod write;

pub use exclude::{ExcludeOptions, Excludes, LeftOut};
pub(crate) use identity::Identity;
pub(crate) use metadata::{Owned, leave_out_owner};
pub use patterns::{BadPattern, Patterns};
pub use target::TargetFolder;
pub use walk::FolderSource;
pub(crate) use write::{Folders, TreeWriter};
