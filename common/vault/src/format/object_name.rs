//! Identifies an object by its name. Code that lists objects uses [`listed`]: an object whose name is not exactly in
//! the format's form does not belong to the repository, whatever a part of its name looks like.

use lifeboat_core::Sha256Digest;

use crate::format::layout::{self, cap};
use crate::format::pack::MAX_PACK;
use crate::ids::{GroupId, RunId, Signer, WriterId};

/// The kinds of objects of the format, with the contents of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Name {
    Marker,
    Roster(u64),
    Key { folder: KeyFolder, recipient: String, hash: Sha256Digest },
    Run { group: GroupId, run: RunId },
    RunEnd { group: GroupId, run: RunId },
    Pack { group: GroupId, hash: Sha256Digest },
    Contents { group: GroupId, hash: Sha256Digest },
    Locations { group: GroupId, run: RunId, hash: Sha256Digest },
    Part { group: GroupId, hash: Sha256Digest },
    Snapshot { writer: WriterId, sequence: u64 },
    Countersignature { hash: Sha256Digest },
    Forget { writer: WriterId, sequence: u64 },
    Condemnation { group: GroupId, hash: Sha256Digest },
    Loss { group: GroupId, hash: Sha256Digest },
}

/// The folders of sealed keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum KeyFolder {
    Root,
    Data(u32),
    Group(GroupId),
}

impl Name {
    /// Parses a name; `None` if it is not of this format.
    pub(crate) fn parse(key: &str) -> Option<Self> {
        // Storages differ in what other characters they accept, so no others are used.
        if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte)) {
            return None;
        }
        let parts: Vec<&str> = key.split('/').collect();
        let name = match parts[..] {
            [layout::MARKER] => Self::Marker,
            [layout::ROSTERS, number] => Self::Roster(layout::number(number)?),
            ["keys", folder, file] => {
                let (recipient, hash) = file.strip_suffix(".age")?.rsplit_once('-')?;
                let folder = KeyFolder::parse(folder)?;
                Self::Key { folder, recipient: recipient.to_owned(), hash: hash.parse().ok()? }
            }
            ["runs", group, name] if layout::is_run_end(name) => {
                Self::RunEnd { group: group.parse().ok()?, run: layout::run_of(name)? }
            }
            ["runs", group, run] => Self::Run { group: group.parse().ok()?, run: run.parse().ok()? },
            ["packs", group, _, hash] => Self::Pack { group: group.parse().ok()?, hash: hash.parse().ok()? },
            ["contents", group, hash] => {
                Self::Contents { group: group.parse().ok()?, hash: hash.parse().ok()? }
            }
            ["locations", group, run, hash] => Self::Locations {
                group: group.parse().ok()?,
                run: run.parse().ok()?,
                hash: hash.parse().ok()?,
            },
            ["parts", group, hash] => Self::Part { group: group.parse().ok()?, hash: hash.parse().ok()? },
            [layout::SNAPSHOTS, writer, sequence] => {
                Self::Snapshot { writer: writer.parse().ok()?, sequence: layout::number(sequence)? }
            }
            [layout::SNAPSHOTS, writer, folder, hash] => {
                let number = layout::number(folder.strip_suffix(".sig")?)?;
                let hash: Sha256Digest = hash.parse().ok()?;
                let manifest = layout::snapshot(writer.parse().ok()?, number);
                return (format!("{manifest}.sig/{hash}") == key).then_some(Self::Countersignature { hash });
            }
            [layout::FORGET, writer, sequence] => {
                Self::Forget { writer: writer.parse().ok()?, sequence: layout::number(sequence)? }
            }
            [layout::CONDEMNED, by, group, hash] => {
                let signer = match by {
                    "root" => Signer::Root,
                    keeper => Signer::Keeper(keeper.parse().ok()?),
                };
                let (group, hash) = (group.parse().ok()?, hash.parse().ok()?);
                let is_its_name = layout::condemnation(signer, group, &hash) == key;
                return is_its_name.then_some(Self::Condemnation { group, hash });
            }
            ["lost", group, hash] => Self::Loss { group: group.parse().ok()?, hash: hash.parse().ok()? },
            _ => return None,
        };
        // An epoch with another count of digits, or a pack below other digits, is a different object.
        (name.key().as_deref() == Some(key)).then_some(name)
    }

    /// The name again, if this value has everything in it.
    fn key(&self) -> Option<String> {
        Some(match self {
            Self::Marker => layout::MARKER.to_owned(),
            Self::Roster(number) => layout::roster(*number),
            Self::Key { folder, recipient, hash } => {
                format!("{}/{recipient}-{hash}.age", folder.name())
            }
            Self::Run { group, run } => layout::run(*group, *run),
            Self::RunEnd { group, run } => layout::run_end(*group, *run),
            Self::Pack { group, hash } => layout::pack(*group, hash),
            Self::Contents { group, hash } => layout::contents_object(*group, hash),
            Self::Locations { group, run, hash } => layout::locations_object(*group, *run, hash),
            Self::Part { group, hash } => layout::part(*group, hash),
            Self::Snapshot { writer, sequence } => layout::snapshot(*writer, *sequence),
            Self::Forget { writer, sequence } => layout::forget(*writer, *sequence),
            Self::Loss { group, hash } => layout::loss(*group, hash),
            Self::Countersignature { .. } | Self::Condemnation { .. } => return None,
        })
    }

    /// The hash of the object's bytes, if it is in its name.
    pub(crate) fn hash(&self) -> Option<&Sha256Digest> {
        match self {
            Self::Marker
            | Self::Roster(_)
            | Self::Run { .. }
            | Self::RunEnd { .. }
            | Self::Snapshot { .. }
            | Self::Forget { .. } => None,
            Self::Key { hash, .. }
            | Self::Pack { hash, .. }
            | Self::Contents { hash, .. }
            | Self::Locations { hash, .. }
            | Self::Part { hash, .. }
            | Self::Countersignature { hash }
            | Self::Condemnation { hash, .. }
            | Self::Loss { hash, .. } => Some(hash),
        }
    }

    /// The most bytes that such an object can have.
    pub(crate) fn cap(&self) -> u64 {
        match self {
            Self::Marker => cap::MARKER,
            Self::Roster(_) => cap::ROSTER,
            Self::Key { .. } | Self::Run { .. } | Self::RunEnd { .. } => cap::KEY,
            Self::Pack { .. } => MAX_PACK,
            Self::Snapshot { .. } | Self::Countersignature { .. } => cap::MANIFEST,
            Self::Forget { .. } => cap::FORGET,
            Self::Contents { .. }
            | Self::Locations { .. }
            | Self::Part { .. }
            | Self::Condemnation { .. }
            | Self::Loss { .. } => cap::INDEX,
        }
    }
}

impl KeyFolder {
    fn parse(name: &str) -> Option<Self> {
        if name == "root" {
            return Some(Self::Root);
        }
        match name.split_once('-')? {
            ("data", epoch) => Some(Self::Data(epoch.parse().ok()?)),
            ("group", group) => Some(Self::Group(group.parse().ok()?)),
            _ => None,
        }
    }

    /// The folder's name.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Root => layout::ROOT_KEYS.to_owned(),
            Self::Data(epoch) => layout::data_keys(epoch),
            Self::Group(group) => layout::group_keys(group),
        }
    }
}

/// A name of every kind in the format, for tests that go through all of them.
#[cfg(test)]
pub(crate) fn one_of_each_kind() -> Vec<Name> {
    known_keys().iter().filter_map(|key| Name::parse(key)).collect()
}

#[cfg(test)]
fn known_keys() -> Vec<String> {
    let (group, run) = (GroupId::from_bytes([1; 16]), RunId::from_bytes([2; 16]));
    let hash = Sha256Digest::of(b"x");
    vec![
        layout::MARKER.to_owned(),
        layout::roster(7),
        layout::root_key("0123", &hash),
        layout::data_key(3, "0123", &hash),
        layout::group_key(group, "0123", &hash),
        layout::run(group, run),
        layout::run_end(group, run),
        layout::pack(group, &hash),
        layout::contents_object(group, &hash),
        layout::locations_object(group, run, &hash),
        layout::part(group, &hash),
        layout::snapshot(WriterId::from_bytes([3; 16]), 9),
        format!("{}.sig/{hash}", layout::snapshot(WriterId::from_bytes([3; 16]), 9)),
        layout::forget(WriterId::from_bytes([3; 16]), 9),
        layout::condemnation(crate::ids::Signer::Root, group, &hash),
        layout::loss(group, &hash),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_format_are_distinguished_from_others() {
        let (group, hash) = (GroupId::from_bytes([1; 16]), Sha256Digest::of(b"x"));
        let known = known_keys();
        assert_eq!(one_of_each_kind().len(), known.len(), "each of them is a name");
        for key in known {
            assert!(Name::parse(&key).is_some(), "{key}");
            for other in [format!("{key}x"), format!("x{key}"), format!("{key}/x")] {
                assert!(Name::parse(&other).is_none(), "{other}");
            }
        }
        let long = layout::forget(WriterId::from_bytes([3; 16]), 10_000_000_000);
        for number in ["roster/7", "roster/10000000000", "roster/+000000007", &long] {
            assert!(Name::parse(number).is_none(), "{number}: numbers have ten digits");
        }
        assert!(Name::parse(&layout::pack(group, &hash).replacen(&hash.to_string()[..2], "zz", 1)).is_none());
    }
}
