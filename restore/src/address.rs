//! Addresses inside a snapshot: `SNAP`, `SNAP:NAME` or `SNAP:NAME/PATH`, and paths given as arguments.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;

use lifeboat_core::text::path_bytes;
use lifeboat_shell::Failure;

/// A parsed address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// Which snapshot.
    pub(crate) snapshot: String,
    /// Which captured volume, folder or file in it.
    pub(crate) stream: Option<String>,
    /// The path in there.
    pub(crate) path: GivenPath,
}

/// A path below a captured folder as it was given: any bytes, which may be escaped as `find` and `ls` print them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct GivenPath(Vec<u8>);

impl Address {
    pub(crate) fn parse(text: &OsStr) -> Result<Self, Failure> {
        let malformed = || {
            Failure::usage(
                format!("`{}` is neither a snapshot nor a part of one", text.display()),
                "write SNAP, SNAP:NAME or SNAP:NAME/PATH, as `lifeboat-restore find` prints it",
            )
        };
        let utf8 = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| malformed());
        let Some((snapshot, rest)) = split_once(text.as_bytes(), b':') else {
            return Ok(Self {
                snapshot: utf8(text.as_bytes().to_vec())?,
                stream: None,
                path: GivenPath::default(),
            });
        };
        let (stream, path) = split_once(rest, b'/').unwrap_or((rest, b""));
        if snapshot.is_empty() || stream.is_empty() {
            return Err(malformed());
        }
        let (snapshot, stream) = (utf8(snapshot.to_vec())?, utf8(path_bytes(stream))?);
        Ok(Self { snapshot, stream: Some(stream), path: GivenPath(trimmed(path).to_vec()) })
    }
}

impl GivenPath {
    /// The path of an argument, which may be absent.
    pub(crate) fn of(argument: Option<&OsString>) -> Self {
        Self(argument.map_or_else(Vec::new, |path| trimmed(path.as_bytes()).to_vec()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The path `below` in this one; either may be empty.
    pub(crate) fn joined(&self, below: &Self) -> Self {
        let parts: Vec<&[u8]> = [&self.0[..], &below.0[..]].into_iter().filter(|p| !p.is_empty()).collect();
        Self(parts.join(&b'/'))
    }

    /// What may be meant, the likelier first: the unescaped bytes and, if different, the text as written.
    pub(crate) fn meanings(&self) -> Vec<Vec<u8>> {
        let mut meanings = vec![path_bytes(&self.0), self.0.clone()];
        meanings.dedup();
        meanings
    }

    /// As it was given, for people.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.0).into_owned()
    }
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let place = text.iter().position(|byte| *byte == at)?;
    Some((&text[..place], &text[place + 1..]))
}

fn trimmed(mut path: &[u8]) -> &[u8] {
    while let [b'/', rest @ ..] | [rest @ .., b'/'] = path {
        path = rest;
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_snapshot_a_name_and_a_path() {
        let parsed = |text: &str| {
            let Address { snapshot, stream, path } = Address::parse(OsStr::new(text)).unwrap();
            format!("{snapshot} {} {}", stream.unwrap_or_default(), path.shown())
        };
        for (text, expected) in [
            ("latest", "latest  "),
            ("latest:db", "latest db "),
            ("3f2a:db/", "3f2a db "),
            ("3f2a:etc/a:b/c", "3f2a etc a:b/c"),
            (r"3f2a:a\\b//c\\d/", r"3f2a a\b c\\d"),
        ] {
            assert_eq!(parsed(text), expected, "{text}");
        }
        for wrong in [&b":db"[..], b"latest:", b"latest:/etc", b"\xff", b"latest:\xff", br"latest:\xff"] {
            assert!(
                Address::parse(OsStr::from_bytes(wrong)).is_err(),
                "{}",
                OsStr::from_bytes(wrong).display()
            );
        }
    }

    #[test]
    fn a_path_is_bytes_and_what_its_escapes_stand_for() {
        let given = |path: &[u8]| GivenPath::of(Some(&OsStr::from_bytes(path).to_owned()));
        for (path, meanings) in [
            (&b"/a/b/"[..], vec![&b"a/b"[..]]),
            (b"a\xff", vec![b"a\xff"]),
            (br"a\xff", vec![b"a\xff", br"a\xff"]),
            (br"by\x2duuid.swap", vec![b"by-uuid.swap", br"by\x2duuid.swap"]),
            (b"", vec![b""]),
        ] {
            assert_eq!(given(path).meanings(), meanings, "{}", OsStr::from_bytes(path).display());
        }
        let joined = |a: &[u8], b: &[u8]| given(a).joined(&given(b)).shown();
        assert_eq!(
            (joined(b"a/", b"/b"), joined(b"", b"b"), joined(b"a", b"")),
            ("a/b".into(), "b".into(), "a".into())
        );
        assert!(GivenPath::of(None).is_empty());
    }
}
