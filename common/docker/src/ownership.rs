//! Who owns a scratch object, and until when: the labels that distinguish a rehearsal's objects from all others.
//!
//! Labels alone prove nothing: anybody can write them, and a container inherits those of its image. So each object also
//! carries a mark, a keyed hash of its kind, its name, its rehearsal and its date, under a key that only this machine
//! has ([`MachineKey`]). An object that [`MachineKey::claim`] does not recognise is never removed.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use lifeboat_core::random::Entropy;

pub use crate::machine_key::MachineKey;

/// The label that holds the rehearsal's id.
pub const REHEARSAL_LABEL: &str = "io.lifeboat.rehearsal";

/// The label that holds the moment after which the object may be removed (RFC 3339).
pub const EXPIRES_LABEL: &str = "io.lifeboat.expires";

/// The label that names the original volume or service.
pub const STANDS_FOR_LABEL: &str = "io.lifeboat.stands-for";

/// The label with the mark of the machine that created the object.
pub const MARK_LABEL: &str = "io.lifeboat.mark";

/// The id of one rehearsal: 16 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RehearsalId(String);

impl RehearsalId {
    /// A new random id.
    pub fn random(entropy: &dyn Entropy) -> Self {
        Self(hex::encode(entropy.array::<8>()))
    }

    /// Parses an id; `None` if `text` is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (text.len() == 16 && text.bytes().all(digits)).then(|| Self(text.to_owned()))
    }
}

impl fmt::Display for RehearsalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The kinds of objects that a rehearsal creates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScratchKind {
    /// A container.
    Container,
    /// A volume.
    Volume,
    /// A network.
    Network,
    /// An image.
    Image,
    /// The rules of a packet filter.
    Filter,
}

impl ScratchKind {
    /// The name of the kind.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Volume => "volume",
            Self::Network => "network",
            Self::Image => "image",
            Self::Filter => "packet filter rule",
        }
    }
}

/// Who owns a scratch object, and until when.
#[derive(Debug, Clone)]
pub struct Ownership {
    /// The rehearsal.
    pub id: RehearsalId,
    /// When it may be removed.
    pub expires: Timestamp,
    key: MachineKey,
}

/// A scratch object that this machine created, as its mark proves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The rehearsal.
    pub id: RehearsalId,
    /// When the object may be removed.
    pub expires: Timestamp,
}

impl Ownership {
    /// The owner of what the rehearsal `id` creates until `expires`, marked with this machine's key.
    pub fn new(id: RehearsalId, expires: Timestamp, key: MachineKey) -> Self {
        Self { id, expires, key }
    }

    /// The labels of the object `name`, a copy of `original`.
    pub fn labels(&self, kind: ScratchKind, name: &str, original: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            (REHEARSAL_LABEL.to_owned(), self.id.to_string()),
            (EXPIRES_LABEL.to_owned(), self.expires.to_string()),
            (STANDS_FOR_LABEL.to_owned(), original.to_owned()),
            (MARK_LABEL.to_owned(), self.mark(kind, name)),
        ])
    }

    /// The mark of the object `name`.
    pub(crate) fn mark(&self, kind: ScratchKind, name: &str) -> String {
        self.key.mark(kind, name, &self.id.to_string(), &self.expires.to_string())
    }

    /// This machine's key.
    pub(crate) fn key(&self) -> &MachineKey {
        &self.key
    }

    /// The name of the scratch volume for the volume `original`.
    pub fn volume_name(&self, original: &str) -> String {
        let anonymous = original.len() == 64 && original.bytes().all(|b| b.is_ascii_hexdigit());
        format!("lifeboat-{}-{}", self.id, if anonymous { &original[..12] } else { original })
    }

    /// The name of the scratch container for the container `original`.
    pub fn container_name(&self, original: &str) -> String {
        format!("lifeboat-{}-{original}", self.id)
    }

    pub(crate) fn network_name(&self) -> String {
        format!("lifeboat-{}", self.id)
    }

    /// The tag of the probe's image.
    pub(crate) fn image_tag(&self) -> String {
        format!("lifeboat-rehearsal:{}", self.id)
    }

    /// The name of the network's bridge on the host; interface names have at most 15 characters.
    pub(crate) fn bridge_name(&self) -> String {
        format!("lb-{}", &self.id.0[..12])
    }
}

/// Whether `name` is one that the rehearsal `id` gives to objects of this kind.
pub(crate) fn is_named_after(id: &RehearsalId, kind: ScratchKind, name: &str) -> bool {
    match kind {
        ScratchKind::Image => name == format!("lifeboat-rehearsal:{id}"),
        ScratchKind::Network | ScratchKind::Filter => name == format!("lifeboat-{id}"),
        ScratchKind::Container | ScratchKind::Volume => name.starts_with(&format!("lifeboat-{id}-")),
    }
}

impl MachineKey {
    /// Recognises what this machine has created.
    ///
    /// # Errors
    ///
    /// Why the object is not one of those, in words.
    pub fn claim(
        &self,
        kind: ScratchKind,
        name: &str,
        labels: &BTreeMap<String, String>,
    ) -> Result<Claim, String> {
        let label = |key: &str| labels.get(key).map(String::as_str).unwrap_or_default();
        let id = RehearsalId::parse(label(REHEARSAL_LABEL))
            .ok_or_else(|| "its label names no rehearsal of Lifeboat's".to_owned())?;
        if !is_named_after(&id, kind, name) {
            return Err(format!("its name is not one that rehearsal {id} gave"));
        }
        let dated = label(EXPIRES_LABEL);
        if label(MARK_LABEL).is_empty() {
            return Err(
                "it bears no mark (an older release made it, or somebody wrote its labels)".to_owned()
            );
        }
        if !self.marked(label(MARK_LABEL), kind, name, &id.to_string(), dated) {
            return Err("its mark is not this machine's".to_owned());
        }
        let expires = dated.parse().map_err(|_| "its date cannot be read".to_owned())?;
        Ok(Claim { id, expires })
    }
}

#[cfg(test)]
mod tests {
    use lifeboat_core::random::OsEntropy;

    use super::*;

    #[test]
    fn only_what_this_machine_marked_under_its_own_name_is_claimed() {
        let key = MachineKey::random(&OsEntropy);
        let id = RehearsalId::random(&OsEntropy);
        let owner = Ownership::new(id.clone(), Timestamp::UNIX_EPOCH, key.clone());
        let name = owner.volume_name("data");
        let labels = owner.labels(ScratchKind::Volume, &name, "data");
        assert_eq!(
            key.claim(ScratchKind::Volume, &name, &labels),
            Ok(Claim { id: id.clone(), expires: Timestamp::UNIX_EPOCH })
        );
        let with = |key: &str, value: &str| {
            let mut changed = labels.clone();
            changed.insert(key.to_owned(), value.to_owned());
            changed
        };
        let without = |key: &str| {
            let mut changed = labels.clone();
            changed.remove(key);
            changed
        };
        let other = format!("lifeboat-{id}-other");
        let cases = [
            (ScratchKind::Volume, name.as_str(), without(MARK_LABEL), "an older release"),
            (ScratchKind::Volume, &name, with(MARK_LABEL, &"0".repeat(64)), "not this machine's"),
            (ScratchKind::Volume, &name, with(EXPIRES_LABEL, "1999-01-01T00:00:00Z"), "not this machine's"),
            (ScratchKind::Volume, &name, with(REHEARSAL_LABEL, "x"), "no rehearsal"),
            (ScratchKind::Volume, &name, with(REHEARSAL_LABEL, "0123456789abcdef"), "its name"),
            (ScratchKind::Volume, "prod", labels.clone(), "its name"),
            (ScratchKind::Volume, &other, labels.clone(), "not this machine's"),
            (ScratchKind::Container, &name, labels.clone(), "not this machine's"),
        ];
        for (kind, name, labels, reason) in cases {
            let refused = key.claim(kind, name, &labels).unwrap_err();
            assert!(refused.contains(reason), "{kind:?} {name}: {refused}");
        }
        let another = MachineKey::random(&OsEntropy);
        assert!(another.claim(ScratchKind::Volume, &name, &labels).is_err());
    }

    #[test]
    fn an_id_has_sixteen_small_digits() {
        assert!(RehearsalId::parse("0123456789abcdef").is_some());
        for bad in ["", "x", "0123456789abcde", "0123456789ABCDEF", "0123456789abcdef0", "../3456789abcdef"] {
            assert!(RehearsalId::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_interface_can_bear_the_bridges_name() {
        let id = RehearsalId::random(&OsEntropy);
        let owner = Ownership::new(id, Timestamp::UNIX_EPOCH, MachineKey::random(&OsEntropy));
        assert_eq!(owner.bridge_name().len(), 15);
    }
}
