//! Scratch copies.
/// label
pub const REHEARSAL_LABEL: &str = "io.lifeboat.rehearsal";
