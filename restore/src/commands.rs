//! One module per verb.

pub(crate) mod diff;
pub(crate) mod dump;
pub(crate) mod find;
pub(crate) mod gc;
pub(crate) mod list;
pub(crate) mod ls;
pub(crate) mod path;
pub(crate) mod rehearse;
pub(crate) mod volume;
pub(crate) mod watchdog;
