//! Keys, envelopes, bundles, statements and policy: evidence in, verdict out.
//!
//! Pure: no network, no files, no clock of its own. What it is given it checks; what it cannot check it says.

pub mod dsse;
pub mod key;
