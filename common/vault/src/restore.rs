//! Restores from the repository: an open snapshot, its frames, and the trees in it.

pub(crate) mod compare;
pub(crate) mod diff;
pub(crate) mod find;
pub(crate) mod open;
pub(crate) mod reader;
pub(crate) mod recover;
pub(crate) mod run_keys;
pub(crate) mod stream_name;
