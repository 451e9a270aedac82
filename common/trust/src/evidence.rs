//! The only way from bytes to a claim that counts.
//!
//! ```text
//! bytes → Parsed → Authenticated → Bound → Accepted
//! ```
//!
//! * [`Parsed`]: it reads the same for everybody. Nothing is vouched for.
//! * [`Authenticated`]: a trusted signer signed it, as certificates, logs and timestamps show.
//! * [`Bound`]: what was signed is about the subject in question.
//! * [`Accepted`]: it makes the claim that was asked for.
//!
//! Each type can be made only from the one before it, so everything that is accepted has passed all of them:
//!
//! ```
//! # use lifeboat_core::Sha256Digest;
//! # use lifeboat_trust::evidence::{Accepted, Parsed, Signed, Wanted};
//! # use lifeboat_trust::policy::Policy;
//! # use lifeboat_trust::refusal::Refusal;
//! fn accept<'p>(
//!     document: &[u8],
//!     subject: Sha256Digest,
//!     policy: &'p Policy,
//! ) -> Result<Accepted<'p>, Refusal> {
//!     let parsed = Parsed::bundle(document)?;
//!     let authenticated = parsed.authenticate(Signed { digest: subject, content: None }, policy)?;
//!     let bound = authenticated.bind(subject)?;
//!     bound.claim(Wanted::AnyStatement, policy)
//! }
//! ```
//!
//! Skipping a step does not compile:
//!
//! ```compile_fail,E0599
//! # use lifeboat_core::Sha256Digest;
//! # use lifeboat_trust::evidence::{Accepted, Parsed, Signed, Wanted};
//! # use lifeboat_trust::policy::Policy;
//! # use lifeboat_trust::refusal::Refusal;
//! fn accept<'p>(
//!     document: &[u8],
//!     subject: Sha256Digest,
//!     policy: &'p Policy,
//! ) -> Result<Accepted<'p>, Refusal> {
//!     let parsed = Parsed::bundle(document)?;
//!     let bound = parsed.bind(subject)?;
//!     bound.claim(Wanted::AnyStatement, policy)
//! }
//! ```

mod accepted;
mod authenticated;
mod bound;
#[cfg(test)]
mod cost;
mod parsed;

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;

pub use self::accepted::{Accepted, Wanted, describe};
pub use self::authenticated::Authenticated;
pub use self::bound::Bound;
pub use self::parsed::Parsed;
use crate::step::Step;
use crate::witness::Cosignature;

/// The findings from the certificates, logs and timestamps of one signature.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// The times at which logs and timestamp authorities witnessed the signature.
    pub times: Vec<Timestamp>,
    /// How many log entries were proved to be in their log, under a signed checkpoint.
    pub log_entries: usize,
    /// How many log entries their logs only promised to include.
    pub log_promises: usize,
    /// How many log entries are from logs that the trusted root does not know, and so were not checked.
    pub unknown_log_entries: usize,
    /// The cosignatures of witnesses under the verified checkpoints.
    pub cosignatures: Vec<Cosignature>,
    /// How many other signatures are under these checkpoints, by nobody that the policy names.
    pub unchecked_cosignatures: usize,
    /// How many timestamps were verified.
    pub timestamps: usize,
    /// The steps that were taken.
    pub steps: Vec<Step>,
}

/// The signed content, if it does not come with its signature: a file. An envelope contains its content.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The digest of the file.
    pub digest: Sha256Digest,
    /// The file itself, if available: some keys can verify only the whole file.
    pub content: Option<&'a [u8]>,
}
