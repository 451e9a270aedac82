//! What was committed: every writer's history, what is to be kept of it, and what anyone can see and check of a snapshot
//! without opening its contents.

pub(crate) mod countersign;
pub(crate) mod history;
pub(crate) mod retention;
pub(crate) mod select;
pub(crate) mod snapshot;
pub(crate) mod statistics;
pub(crate) mod summary;
pub(crate) mod trusted_contents;
