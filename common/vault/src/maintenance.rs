//! Maintains a repository: checks and repairs, forgetting and pruning, and its members.

pub mod check;
pub(crate) mod forget;
pub(crate) mod members;
pub(crate) mod prune;
pub mod repair;
