//! Whose word counts: keys and identities, how many of them, and what their signatures must bring.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use lifeboat_core::Sha256Digest;

use crate::identity::Pattern;
use crate::key::VerificationKey;
use crate::trusted_root::TrustedRoot;
use crate::witness::Quorum;

/// What evidence a signature with a certificate must bring.
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

/// Whose word counts, and what it must bring.
#[derive(Debug)]
pub struct Policy {
    /// The signers.
    pub signers: Vec<Signer>,
    /// How many of them must have said it; at least one, and none counts twice.
    pub threshold: usize,
    /// Whom to believe about certificates, logs and times.
    pub root: TrustedRoot,
    /// What a signature with a certificate must bring.
    pub demands: Demands,
    /// Whether a signature with a key needs an entry in a transparency log as well.
    pub keys_need_log: bool,
    /// Which witnesses must have signed the checkpoints of the logs. Where any must, every signature needs a log entry.
    pub quorum: Quorum,
    /// What the signed subject must be annotated with.
    pub annotations: BTreeMap<String, String>,
    /// No signature that was first witnessed before this counts.
    pub minimum_time: Option<Timestamp>,
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
        }
    }
}

/// One whose word counts.
#[derive(Debug, Clone)]
pub enum Signer {
    /// The holder of a private key.
    Key {
        /// What the user calls the key, such as its file.
        name: String,
        /// The public half.
        key: VerificationKey,
    },
    /// Whoever a certificate names.
    Identity {
        /// The identity in the certificate.
        identity: Pattern,
        /// Who vouches for it.
        issuer: Pattern,
    },
}

impl Signer {
    /// What the user calls this signer.
    pub fn name(&self) -> String {
        match self {
            Self::Key { name, .. } => name.clone(),
            Self::Identity { identity, issuer } => format!("{identity} (vouched for by {issuer})"),
        }
    }
}

/// Who it was: what a threshold counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Author {
    /// The holder of the key of this id.
    Key(Sha256Digest),
    /// The one that the certificate names.
    Identity {
        /// The identity.
        identity: String,
        /// Who vouches for it.
        issuer: String,
    },
}

impl Policy {
    /// The signers' names, as a sentence has them.
    pub fn names(&self) -> Vec<String> {
        self.signers.iter().map(Signer::name).collect()
    }

    /// Whether a signature counts only with an entry in a transparency log, also one with a key.
    pub fn keys_need_log(&self) -> bool {
        self.keys_need_log || self.quorum.is_needed()
    }

    /// How many of the signers can be told apart: the most that a threshold can ask for. `None` where an identity is a
    /// pattern that any number of people may match.
    pub fn distinct_signers(&self) -> Option<usize> {
        let mut keys = BTreeSet::new();
        let mut identities = BTreeSet::new();
        for signer in &self.signers {
            match signer {
                Signer::Key { key, .. } => {
                    keys.insert(key.id());
                }
                Signer::Identity { identity: Pattern::Exact(identity), issuer: Pattern::Exact(issuer) } => {
                    identities.insert((identity, issuer));
                }
                Signer::Identity { .. } => return None,
            }
        }
        Some(keys.len() + identities.len())
    }

    /// Whether so many different signers have been found that no more are needed.
    pub fn is_met_by<'a>(&self, authors: impl IntoIterator<Item = &'a Author>) -> bool {
        authors.into_iter().collect::<BTreeSet<_>>().len() >= self.threshold.max(1)
    }
}
