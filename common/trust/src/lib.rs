//! Keys, envelopes, bundles, statements and policy: evidence in, verdict out.
//!
//! This crate is pure: no network, no files, no clock of its own. It checks what it is given, and reports what it
//! cannot check.
//!
//! One way through: a [`key_file`] holds a key; a [`policy`] names the trusted signers; a [`bundle`] (or a [`legacy`]
//! layer) holds the signature; [`evidence`] leads from its bytes to a claim that counts, by its certificates, logs and
//! timestamps under a [`trusted_root`], with [`witness`]es besides the log; and [`judge`](judge::judge) returns what it
//! shows about a subject, or why not ([`refusal`]), step by step ([`step`]).

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
