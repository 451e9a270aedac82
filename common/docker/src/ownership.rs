//! Whose a scratch object is, and until when: the labels by which what a rehearsal makes is told from all else.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use lifeboat_core::random::Entropy;

/// The label that holds the rehearsal's id.
pub const REHEARSAL_LABEL: &str = "io.lifeboat.rehearsal";

/// The label that holds the moment after which anyone may remove the object (RFC 3339).
pub const EXPIRES_LABEL: &str = "io.lifeboat.expires";

/// The label that names what the object stands for: the original volume or service.
pub const STANDS_FOR_LABEL: &str = "io.lifeboat.stands-for";

/// The id of one rehearsal: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RehearsalId(String);

impl RehearsalId {
    /// A new random id.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(hex::encode(entropy.array::<8>()))
    }
}

impl fmt::Display for RehearsalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose a scratch object is, and until when.
#[derive(Debug, Clone)]
pub struct Ownership {
    /// The rehearsal.
    pub id: RehearsalId,
    /// When anyone may remove it.
    pub expires: Timestamp,
}

impl Ownership {
    /// The labels of an object that stands for `original`.
    pub fn labels(&self, original: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            (REHEARSAL_LABEL.to_owned(), self.id.to_string()),
            (EXPIRES_LABEL.to_owned(), self.expires.to_string()),
            (STANDS_FOR_LABEL.to_owned(), original.to_owned()),
        ])
    }

    /// The name of the scratch volume that stands for the volume `original`.
    pub fn volume_name(&self, original: &str) -> String {
        let anonymous = original.len() == 64 && original.bytes().all(|b| b.is_ascii_hexdigit());
        format!("lifeboat-{}-{}", self.id, if anonymous { &original[..12] } else { original })
    }

    /// The name of the scratch container that stands for the container `original`.
    pub fn container_name(&self, original: &str) -> String {
        format!("lifeboat-{}-{original}", self.id)
    }

    pub(crate) fn network_name(&self) -> String {
        format!("lifeboat-{}", self.id)
    }
}
