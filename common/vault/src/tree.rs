//! Trees of the local file system: walking one into items, and writing items back.

mod metadata;
mod walk;
mod write;

pub use walk::FolderSource;
pub(crate) use write::{Folders, TreeWriter};
