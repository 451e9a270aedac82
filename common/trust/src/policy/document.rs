//! A policy as a document: all of the caller's demands, so that somebody else can make the same demands.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Demands, Policy, Signer};
use crate::identity::Pattern;
use crate::key::VerificationKey;
use crate::trusted_root::TrustedRoot;
use crate::witness::{Quorum, Witness};

/// A policy without the trusted root and the present time, which are given separately.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyDocument {
    signers: Vec<SignerDocument>,
    threshold: usize,
    certificates_need_log: bool,
    certificates_must_be_logged: bool,
    keys_need_log: bool,
    /// The verifier keys of the witnesses (C2SP, "Note").
    witnesses: Vec<String>,
    witness_threshold: usize,
    annotations: BTreeMap<String, String>,
    minimum_time: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum SignerDocument {
    Key {
        name: String,
        /// The `SubjectPublicKeyInfo` in base64.
        key: String,
    },
    Identity {
        identity: PatternDocument,
        issuer: PatternDocument,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PatternDocument {
    Exact(String),
    Regex(String),
}

/// A document that is not a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("this is not a policy ({reason})")]
pub struct NotAPolicy {
    /// What was found instead.
    pub reason: String,
}

impl Policy {
    /// The policy as a document.
    pub fn document(&self) -> PolicyDocument {
        let Self {
            signers,
            threshold,
            // Given separately.
            root: _,
            demands: Demands { log, certificate_log },
            keys_need_log,
            quorum,
            annotations,
            minimum_time,
            now: _,
        } = self;
        PolicyDocument {
            signers: signers.iter().map(SignerDocument::of).collect(),
            threshold: *threshold,
            certificates_need_log: *log,
            certificates_must_be_logged: *certificate_log,
            keys_need_log: *keys_need_log,
            witnesses: quorum.witnesses().iter().map(Witness::to_vkey).collect(),
            witness_threshold: quorum.threshold(),
            annotations: annotations.clone(),
            minimum_time: *minimum_time,
        }
    }
}

impl PolicyDocument {
    /// The policy in the document, with a trusted root and a time.
    pub fn policy(self, root: TrustedRoot, now: Timestamp) -> Result<Policy, NotAPolicy> {
        let Self {
            signers,
            threshold,
            certificates_need_log,
            certificates_must_be_logged,
            keys_need_log,
            witnesses,
            witness_threshold,
            annotations,
            minimum_time,
        } = self;
        let witnesses = witnesses.iter().map(|vkey| Witness::from_vkey(vkey).map_err(not));
        let witnesses = witnesses.collect::<Result<Vec<_>, _>>()?;
        let quorum = if witnesses.is_empty() && witness_threshold == 0 {
            Quorum::default()
        } else {
            Quorum::new(witnesses, Some(witness_threshold)).map_err(not)?
        };
        let policy = Policy {
            signers: signers.into_iter().map(SignerDocument::signer).collect::<Result<_, _>>()?,
            threshold,
            root,
            demands: Demands { log: certificates_need_log, certificate_log: certificates_must_be_logged },
            keys_need_log,
            quorum,
            annotations,
            minimum_time,
            now,
        };
        if policy.threshold == 0 || policy.threshold > policy.distinct_signers().max(1) {
            let reason = format!("{} of {} signers", policy.threshold, policy.distinct_signers());
            return Err(NotAPolicy { reason });
        }
        Ok(policy)
    }
}

impl SignerDocument {
    fn of(signer: &Signer) -> Self {
        match signer {
            Signer::Key { name, key } => {
                Self::Key { name: name.clone(), key: STANDARD.encode(key.to_spki_der()) }
            }
            Signer::Identity { identity, issuer } => Self::Identity {
                identity: PatternDocument::of(identity),
                issuer: PatternDocument::of(issuer),
            },
        }
    }

    fn signer(self) -> Result<Signer, NotAPolicy> {
        Ok(match self {
            Self::Key { name, key } => {
                let der = STANDARD.decode(key).map_err(not)?;
                Signer::Key { name, key: VerificationKey::from_any_spki_der(&der).map_err(not)? }
            }
            Self::Identity { identity, issuer } => Signer::Identity {
                identity: identity.pattern("identity")?,
                issuer: issuer.pattern("issuer")?,
            },
        })
    }
}

impl PatternDocument {
    fn of(pattern: &Pattern) -> Self {
        match pattern {
            Pattern::Exact(text) => Self::Exact(text.clone()),
            Pattern::Regex { source, .. } => Self::Regex(source.clone()),
        }
    }

    fn pattern(self, what: &'static str) -> Result<Pattern, NotAPolicy> {
        match self {
            Self::Exact(text) => Pattern::exact(what, &text),
            Self::Regex(text) => Pattern::regex(what, &text),
        }
        .map_err(not)
    }
}

fn not(error: impl std::fmt::Display) -> NotAPolicy {
    NotAPolicy { reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;

    const WITNESS: &str =
        "witness.navigli.sunlight.geomys.org+a3e00fe2+BNy/co4C1Hn1p+INwJrfUlgz7W55dSZReusH/GhUhJ/G";

    fn policy() -> Policy {
        let key = SigningKey::generate().verification_key().clone();
        Policy {
            signers: vec![
                Signer::Key { name: "release.pub".to_owned(), key },
                Signer::Identity {
                    identity: Pattern::regex("identity", "https://.*").unwrap(),
                    issuer: Pattern::exact("issuer", "https://issuer.example").unwrap(),
                },
            ],
            threshold: 2,
            demands: Demands { log: true, certificate_log: false },
            quorum: Quorum::new(vec![Witness::from_vkey(WITNESS).unwrap()], None).unwrap(),
            annotations: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
            minimum_time: Some("2024-01-02T03:04:05Z".parse().unwrap()),
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            ..Policy::default()
        }
    }

    #[test]
    fn a_policy_survives_its_document() {
        for policy in [policy(), Policy::default()] {
            let document = policy.document();
            let json = serde_json::to_vec(&document).unwrap();
            let again: PolicyDocument = serde_json::from_slice(&json).unwrap();
            let again = again.policy(TrustedRoot::public_good(), policy.now).unwrap();
            assert_eq!(again.document(), document);
            assert_eq!(format!("{again:?}"), format!("{policy:?}"));
        }
    }

    #[test]
    fn what_is_no_policy_is_refused() {
        let json = serde_json::to_string(&policy().document()).unwrap();
        let read = |json: &str| {
            let document: PolicyDocument = serde_json::from_str(json).map_err(|error| error.to_string())?;
            let policy = document.policy(TrustedRoot::public_good(), Timestamp::UNIX_EPOCH);
            policy.map(drop).map_err(|error| error.to_string())
        };
        read(&json).unwrap();
        for (good, bad) in [
            ("https://.*", "("),
            (r#""exact":"https://issuer.example""#, r#""exact":"""#),
            ("a3e00fe2", "a3e00fe3"),
            (r#""witness_threshold":1"#, r#""witness_threshold":2"#),
            (r#""witness_threshold":1"#, r#""witness_threshold":0"#),
            (r#""threshold":2,"#, r#""threshold":2,"more":1,"#),
            (r#""threshold":2,"#, r#""threshold":3,"#),
            (r#""threshold":2,"#, r#""threshold":0,"#),
            (r#""key":"M"#, r#""key":"N"#),
        ] {
            assert!(json.contains(good), "{json}");
            assert!(read(&json.replace(good, bad)).is_err(), "{bad}");
        }
    }
}
