//! The trusted keys and identities, how many of them must sign, and what their signatures need.
//!
//! A policy is split in one place into what each step of a verification consumes. A new flag cannot be ignored by all
//! steps: this compiles, because every flag is named,
//!
//! ```
//! # use lifeboat_trust::policy::Policy;
//! fn take_apart(policy: &Policy) {
//!     let Policy {
//!         signers: _, threshold: _, root: _, demands: _, keys_need_log: _, quorum: _, annotations: _,
//!         minimum_time: _, now: _,
//!     } = policy;
//! }
//! ```
//!
//! and this does not, because one is missing:
//!
//! ```compile_fail,E0027
//! # use lifeboat_trust::policy::Policy;
//! fn take_apart(policy: &Policy) {
//!     let Policy {
//!         signers: _, threshold: _, root: _, demands: _, keys_need_log: _, quorum: _, annotations: _,
//!         minimum_time: _,
//!     } = policy;
//! }
//! ```
//!
//! In the crate itself, a flag that is named and not used does not compile either (`unused_variables`, `dead_code`).

#![deny(unused_variables, dead_code)]

mod document;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

pub use self::document::{NotAPolicy, PolicyDocument};
use crate::identity::Pattern;
use crate::key::VerificationKey;
use crate::matching::{self, Vote};
use crate::refusal::Refusal;
use crate::signed_time;
use crate::trusted_root::TrustedRoot;
use crate::witness::Quorum;

/// The evidence that a signature with a certificate needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demands {
    /// Whether an entry in a transparency log is needed.
    pub log: bool,
    /// Whether the certificate must have been logged.
    pub certificate_log: bool,
}

impl Default for Demands {
    fn default() -> Self {
        Self { log: true, certificate_log: true }
    }
}

/// The trusted signers, and what their signatures need.
#[derive(Debug)]
pub struct Policy {
    /// The signers; each is a slot that one piece of evidence fills ([`matching`]).
    pub signers: Vec<Signer>,
    /// How many slots must be filled; at least one.
    pub threshold: usize,
    /// Whom to trust about certificates, logs and times.
    pub root: TrustedRoot,
    /// What a signature with a certificate needs.
    pub demands: Demands,
    /// Whether a signature with a key needs an entry in a transparency log as well.
    pub keys_need_log: bool,
    /// Which witnesses must have signed the checkpoints of the logs. If any must, every signature needs a log entry.
    pub quorum: Quorum,
    /// The required annotations of the signed subject.
    pub annotations: BTreeMap<String, String>,
    /// Signatures that may have been made before this do not count.
    pub minimum_time: Option<Timestamp>,
    /// The present time. By default the start of 1970, when nothing with a time counts.
    pub now: Timestamp,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            signers: Vec::new(),
            threshold: 1,
            root: TrustedRoot::public_good(),
            demands: Demands::default(),
            keys_need_log: false,
            quorum: Quorum::default(),
            annotations: BTreeMap::new(),
            minimum_time: None,
            now: Timestamp::UNIX_EPOCH,
        }
    }
}

/// A trusted signer.
#[derive(Debug, Clone)]
pub enum Signer {
    /// The holder of a private key.
    Key {
        /// The user's name for the key, such as its file.
        name: String,
        /// The public half.
        key: VerificationKey,
    },
    /// A party that a certificate names.
    Identity {
        /// The identity in the certificate.
        identity: Pattern,
        /// Who vouches for it.
        issuer: Pattern,
    },
}

impl Signer {
    /// The user's name for this signer.
    pub fn name(&self) -> String {
        match self {
            Self::Key { name, .. } => name.clone(),
            Self::Identity { identity, issuer } => format!("{identity} (vouched for by {issuer})"),
        }
    }
}

/// A policy, split into what each step consumes.
pub(crate) struct Steps<'p> {
    pub(crate) authentication: Authentication<'p>,
    pub(crate) demands: ClaimDemands<'p>,
    counting: Counting<'p>,
}

/// Decides whether a trusted signer made a signature.
#[derive(Clone, Copy)]
pub(crate) struct Authentication<'p> {
    pub(crate) signers: &'p [Signer],
    pub(crate) root: &'p TrustedRoot,
    /// Whether a signature with a key, and one with a certificate, needs an entry in a log.
    pub(crate) keys_need_log: bool,
    pub(crate) certificates_need_log: bool,
    /// Whether a certificate must have been logged.
    pub(crate) certificate_log: bool,
    pub(crate) quorum: &'p Quorum,
    pub(crate) now: Timestamp,
}

/// Decides whether the signed content is sufficient.
#[derive(Clone, Copy)]
pub(crate) struct ClaimDemands<'p> {
    pub(crate) annotations: &'p BTreeMap<String, String>,
    pub(crate) minimum_time: Option<Timestamp>,
    pub(crate) now: Timestamp,
}

/// Decides how many signatures are sufficient.
struct Counting<'p> {
    signers: &'p [Signer],
    threshold: usize,
}

impl Policy {
    /// The only place where a policy is split.
    pub(crate) fn steps(&self) -> Steps<'_> {
        let Self {
            signers,
            threshold,
            root,
            demands: Demands { log, certificate_log },
            keys_need_log,
            quorum,
            annotations,
            minimum_time,
            now,
        } = self;
        Steps {
            authentication: Authentication {
                signers,
                root,
                keys_need_log: *keys_need_log || quorum.is_needed(),
                certificates_need_log: *log || quorum.is_needed(),
                certificate_log: *certificate_log,
                quorum,
                now: *now,
            },
            demands: ClaimDemands { annotations, minimum_time: *minimum_time, now: *now },
            counting: Counting { signers, threshold: (*threshold).max(1) },
        }
    }

    /// Checks a signed time against the minimum, if one is demanded: it must not be before that, and not in the future.
    pub fn check_signed_time(&self, time: Timestamp) -> Result<(), Refusal> {
        let ClaimDemands { minimum_time, now, annotations: _ } = self.steps().demands;
        let Some(minimum) = minimum_time else { return Ok(()) };
        signed_time::check(time, now)?;
        if time < minimum {
            return Err(Refusal::Stale { time: time.to_string(), minimum: minimum.to_string() });
        }
        Ok(())
    }

    /// The signers' names, for use in a sentence.
    pub fn names(&self) -> Vec<String> {
        self.signers.iter().map(Signer::name).collect()
    }

    /// Whether every signature, even one with a key, needs an entry in a transparency log.
    pub fn keys_need_log(&self) -> bool {
        self.steps().authentication.keys_need_log
    }

    /// The most slots that can be filled together: two signers with one key, or with one identity, are one party. A
    /// pattern is one slot, no matter whom it matches.
    pub fn distinct_signers(&self) -> usize {
        let mut keys = BTreeSet::new();
        let mut identities = BTreeSet::new();
        let mut patterns = 0;
        for signer in &self.signers {
            match signer {
                Signer::Key { key, .. } => {
                    keys.insert(key.id());
                }
                Signer::Identity { identity: Pattern::Exact(identity), issuer: Pattern::Exact(issuer) } => {
                    identities.insert((identity, issuer));
                }
                Signer::Identity { .. } => patterns += 1,
            }
        }
        keys.len() + identities.len() + patterns
    }

    /// Assigns votes to signers' slots, filling as many as possible.
    pub fn fill<'v>(&self, votes: impl IntoIterator<Item = &'v Vote>) -> Vec<Option<usize>> {
        let Counting { signers, threshold: _ } = self.steps().counting;
        let votes: Vec<Vote> = votes.into_iter().cloned().collect();
        matching::fill(signers.len(), &votes)
    }

    /// Whether these votes fill as many slots as the threshold demands.
    pub fn is_met_by<'v>(&self, votes: impl IntoIterator<Item = &'v Vote>) -> bool {
        self.fill(votes).iter().flatten().count() >= self.steps().counting.threshold
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The places where parts of a policy are split, with the start of each pattern.
    const PLACES: [(&str, &str, usize); 5] = [
        (include_str!("policy.rs"), "let Self {", 1),
        (include_str!("policy/document.rs"), "let Self {", 2),
        (include_str!("evidence/authenticated.rs"), "let Authentication {", 2),
        (include_str!("evidence/accepted.rs"), "let ClaimDemands {", 1),
        (include_str!("log.rs"), "let Rules {", 1),
    ];

    #[test]
    fn nothing_of_a_policy_is_passed_over_where_it_is_taken_apart() {
        for (source, pattern, count) in PLACES {
            let source = source.split("#[cfg(test)]").next().unwrap();
            let found: Vec<&str> = source.split(pattern).skip(1).collect();
            assert_eq!(found.len(), count, "{pattern}");
            for rest in found {
                let (members, _) = rest.split_once("} = ").unwrap();
                assert!(!members.contains(".."), "{members}");
            }
        }
    }

    #[test]
    fn a_time_that_was_signed_is_neither_before_the_minimum_nor_ahead_of_now() {
        let time = |text: &str| text.parse::<Timestamp>().unwrap();
        let now = time("2024-05-06T07:08:09Z");
        let with = |minimum_time| Policy { minimum_time, now, ..Policy::default() };
        let policy = with(Some(time("2024-05-01T00:00:00Z")));
        for (signed, is_met) in [
            ("2024-04-30T23:59:59Z", false),
            ("2024-05-01T00:00:00Z", true),
            ("2024-05-06T07:09:09Z", true),
            ("2024-05-06T07:09:10Z", false),
            ("2036-01-01T00:00:00Z", false),
        ] {
            assert_eq!(policy.check_signed_time(time(signed)).is_ok(), is_met, "{signed}");
            assert!(with(None).check_signed_time(time(signed)).is_ok(), "nothing is demanded");
        }
    }
}
