//! Keys, envelopes, bundles, statements and policy: evidence in, verdict out.
//!
//! Pure: no network, no files, no clock of its own. What it is given it checks; what it cannot check it says.
//!
//! One way through: a [`key_file`] gives a key, a [`policy`] names whose word counts, a [`bundle`] (or a [`legacy`] layer)
//! holds the signature, [`evidence`] leads from its bytes to a claim that counts, by what its certificates, logs and
//! timestamps show under a [`trusted_root`], with a [`witness`] or more beside the log, and [`judge`](judge::judge) says what
//! it shows of a subject, or why not ([`refusal`]), step by step ([`step`]).

pub mod bundle;
pub mod certificate;
mod certificate_log;
pub mod domain;
pub mod dsse;
pub mod enclosed;
pub mod evidence;
#[cfg(any(test, feature = "fuzz"))]
pub mod fuzz;
pub mod identity;
mod json;
pub mod judge;
pub mod key;
pub mod key_file;
pub mod legacy;
mod log;
pub mod matching;
mod path;
pub mod policy;
pub mod private_key;
pub mod provenance;
pub mod refusal;
mod signed_time;
pub mod statement;
pub mod step;
mod timestamp;
pub mod trusted_root;
pub mod witness;
