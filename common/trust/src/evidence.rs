//! The one way from bytes to a claim that counts.
//!
//! ```text
//! bytes → Parsed → Authenticated → Bound → Accepted
//! ```
//!
//! * [`Parsed`]: it is read in one way by everybody. Nothing is vouched for.
//! * [`Authenticated`]: somebody whose word counts signed it, as certificates, logs and timestamps show.
//! * [`Bound`]: what was signed is about the subject in question.
//! * [`Accepted`]: it says what was asked for.
//!
//! Each is made by the one before it and by nothing else, so that whatever is accepted has gone through all of them:
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
//! A step that is left out does not compile:
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

/// What the certificates, logs and timestamps of one signature show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Evidence {
    /// When it was witnessed that the signature was there: by logs and by timestamp authorities.
    pub times: Vec<Timestamp>,
    /// How many log entries were shown to be in their log, by a proof under a signed checkpoint.
    pub log_entries: usize,
    /// How many log entries their logs only promised to take.
    pub log_promises: usize,
    /// How many log entries were not: those of logs that the trusted root does not know.
    pub unknown_log_entries: usize,
    /// The cosignatures of witnesses under the checkpoints of the logs that were verified.
    pub cosignatures: Vec<Cosignature>,
    /// How many other signatures stand under these checkpoints: of nobody that the policy names.
    pub unchecked_cosignatures: usize,
    /// How many timestamps were verified.
    pub timestamps: usize,
    /// The steps that were taken.
    pub steps: Vec<Step>,
}

/// What is signed, where it does not come with its signature: a file. An envelope brings it along.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// The digest of the file.
    pub digest: Sha256Digest,
    /// The file itself, where it is at hand: some keys sign nothing less.
    pub content: Option<&'a [u8]>,
}
