//! The names of a snapshot's streams, for people.

use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use crate::error::VaultError;
use crate::format::manifest::StreamKind;
use crate::format::name::{MAX_NAME, name_from_bytes};
use crate::restore::open::OpenSnapshot;

/// How many bytes of a name are kept free for the number that distinguishes streams of the same name.
const ROOM_FOR_A_NUMBER: usize = 8;

/// One stream of a snapshot, by its position, with the name that a person would use: a volume's name, a captured
/// folder's last component, a file's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedStream {
    /// Its position in the snapshot.
    pub index: usize,
    /// What it was captured from.
    pub kind: StreamKind,
    /// The name: a single path component ([`crate::format::name::check_name`]). No two streams of a snapshot have the
    /// same.
    pub name: String,
    /// A captured folder's own path on its host, if it is known.
    pub origin: Option<Vec<u8>>,
}

/// Which streams of a later and an earlier snapshot have the same source, by their positions in the lists: the later
/// one for each earlier one, if there is one. A folder is identified by its path on the host, everything else by its
/// name.
pub fn same_sources(earlier: &[NamedStream], later: &[NamedStream]) -> Vec<Option<usize>> {
    let (mut found, mut taken) = (vec![None; earlier.len()], HashSet::new());
    let mut pair = |is_same: fn(&NamedStream, &NamedStream) -> bool| {
        for (place, stream) in earlier.iter().enumerate() {
            let is_its = |(other, candidate): &(usize, &NamedStream)| {
                candidate.kind == stream.kind && is_same(stream, candidate) && !taken.contains(other)
            };
            if found[place].is_none() {
                found[place] = later.iter().enumerate().find(is_its).map(|(other, _)| other);
                taken.extend(found[place]);
            }
        }
    };
    pair(|a, b| a.origin.is_some() && a.origin == b.origin);
    pair(|a, b| a.name == b.name && (a.origin.is_none() || b.origin.is_none()));
    found
}

impl OpenSnapshot {
    /// All streams with their names. Captured folders with the same name are distinguished by a number. A folder whose
    /// own path cannot be read has its name in the snapshot.
    pub async fn named_streams(&self) -> Result<Vec<NamedStream>, VaultError> {
        let mut stored: Vec<(StreamKind, String, Option<Vec<u8>>)> = Vec::new();
        for (index, stream) in self.snapshot().streams().enumerate() {
            let origin = match stream.kind {
                StreamKind::Path => match self.origin(index).await {
                    Ok(origin) => origin.map(|path| path.into_os_string().into_vec()),
                    Err(error @ VaultError::Object(_)) => {
                        tracing::info!("the folder of stream {index} is unknown: {error}");
                        None
                    }
                    Err(error) => return Err(error),
                },
                StreamKind::Volume | StreamKind::Stdin => None,
            };
            stored.push((stream.kind, stream.name.to_owned(), origin));
        }
        Ok(names(stored))
    }
}

/// Gives every stream a unique name, from its kind, its stored name, and a folder's path on its host.
fn names(stored: Vec<(StreamKind, String, Option<Vec<u8>>)>) -> Vec<NamedStream> {
    let mut taken = HashSet::new();
    let mut next_number = HashMap::new();
    let named = stored.into_iter().enumerate().map(|(index, (kind, stored_name, origin))| {
        let last = origin.as_deref().and_then(last_part);
        let base = last.and_then(|part| name_from_bytes(part, ROOM_FOR_A_NUMBER)).unwrap_or(stored_name);
        let mut name = base.clone();
        while !taken.insert(name.clone()) {
            // Numbers are counted for each name, so that many streams of one name cost no more than others.
            let number = next_number.entry(base.clone()).or_insert(2_u32);
            let ending = format!("-{number}");
            *number += 1;
            let kept = base.floor_char_boundary(MAX_NAME - ending.len());
            name = format!("{}{ending}", &base[..kept]);
        }
        NamedStream { index, kind, name, origin }
    });
    named.collect()
}

/// The last component of a path; `None` if it ends in `..` or has no components.
fn last_part(path: &[u8]) -> Option<&[u8]> {
    let path = std::path::Path::new(std::ffi::OsStr::from_bytes(path));
    path.file_name().map(OsStrExt::as_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::name::check_name;

    #[test]
    fn a_folder_is_the_same_by_its_path_and_all_else_by_its_name() {
        let stream = |name: &str, origin: &str| NamedStream {
            index: 0,
            kind: if origin == "volume" { StreamKind::Volume } else { StreamKind::Path },
            name: name.to_owned(),
            origin: origin.starts_with('/').then(|| origin.as_bytes().to_vec()),
        };
        let etc = || stream("etc", "/etc");
        for (name, earlier, later, expected) in [
            ("alike", vec![etc()], vec![etc()], vec![Some(0)]),
            // The order in which they were captured decides the numbers of two folders with one name.
            (
                "names changed places",
                vec![stream("data", "/a/data"), stream("data-2", "/b/data")],
                vec![stream("data", "/b/data"), stream("data-2", "/a/data")],
                vec![Some(1), Some(0)],
            ),
            (
                "another folder of that name",
                vec![stream("data", "/a/data")],
                vec![stream("data", "/b/data")],
                vec![None],
            ),
            ("a path that is not known", vec![etc()], vec![stream("etc", "")], vec![Some(0)]),
            ("volumes", vec![stream("db", "volume")], vec![etc(), stream("db", "volume")], vec![Some(1)]),
            ("of another kind", vec![stream("db", "volume")], vec![stream("db", "")], vec![None]),
            ("the path comes first", vec![stream("etc", ""), etc()], vec![etc()], vec![None, Some(0)]),
        ] {
            assert_eq!(same_sources(&earlier, &later), expected, "{name}");
        }
    }

    fn named(streams: &[(StreamKind, &str, Option<&[u8]>)]) -> Vec<String> {
        let stored = streams
            .iter()
            .map(|(kind, name, origin)| (*kind, (*name).to_owned(), origin.map(<[u8]>::to_vec)));
        names(stored.collect()).into_iter().map(|stream| stream.name).collect()
    }

    #[test]
    fn a_stream_is_named_after_its_folder_or_else_its_stored_name() {
        use StreamKind::{Path, Stdin, Volume};
        for (streams, expected) in [
            (
                &[(Path, "path", Some(&b"/srv/files"[..])), (Path, "path-2", Some(b"/etc"))][..],
                &["files", "etc"][..],
            ),
            (&[(Path, "path", Some(b"/a/x")), (Path, "path-2", Some(b"/b/x"))], &["x", "x-2"]),
            (
                &[
                    (Path, "path", Some(b"/x-3")),
                    (Path, "path-2", Some(b"/x")),
                    (Path, "path-3", Some(b"/b/x")),
                ],
                &["x-3", "x", "x-2"],
            ),
            (&[(Volume, "db", None), (Path, "path", Some(b"/srv/db"))], &["db", "db-2"]),
            (&[(Stdin, "shop.sql", None)], &["shop.sql"]),
            (&[(Path, "path", None)], &["path"]),
            (&[(Path, "path", Some(b"/"))], &["path"]),
            (&[(Path, "path", Some(b"/srv/.."))], &["path"]),
            (&[(Path, "path", Some(b"/srv/a\nb"))], &["a\u{fffd}b"]),
            (&[(Path, "path", Some(b"/srv/a\0b"))], &["a\u{fffd}b"]),
        ] {
            assert_eq!(named(streams), expected);
        }
        let long = [&b"/"[..], &[b'n'; 255]].concat();
        let names = named(&[(Path, "path", Some(&long)), (Path, "path-2", Some(&long))]);
        assert_eq!(names, ["n".repeat(247), format!("{}-2", "n".repeat(247))]);
    }

    proptest! {
        #[test]
        fn whatever_a_host_claims_about_its_folders_they_have_unique_names(
            origins in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..300)), 0..9)
        ) {
            let stored = origins.into_iter().enumerate();
            let stored = stored.map(|(n, origin)| (StreamKind::Path, format!("path-{n}"), origin));
            let named = names(stored.collect());
            let different: HashSet<&str> = named.iter().map(|stream| stream.name.as_str()).collect();
            prop_assert_eq!(different.len(), named.len());
            for stream in &named {
                prop_assert_eq!(check_name(&stream.name), Ok(()));
            }
        }
    }
}
