//! What of a snapshot is meant: `SNAP`, `SNAP:NAME` or `SNAP:NAME/PATH`.

use lifeboat_shell::Failure;

/// An address, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address<'a> {
    /// Which snapshot.
    pub(crate) snapshot: &'a str,
    /// Which captured volume, folder or file of it.
    pub(crate) stream: Option<&'a str>,
    /// What lies in there.
    pub(crate) path: Option<&'a str>,
}

impl<'a> Address<'a> {
    pub(crate) fn parse(text: &'a str) -> Result<Self, Failure> {
        let Some((snapshot, rest)) = text.split_once(':') else {
            return Ok(Self { snapshot: text, stream: None, path: None });
        };
        let (stream, path) = rest.split_once('/').unwrap_or((rest, ""));
        if snapshot.is_empty() || stream.is_empty() {
            return Err(Failure::usage(
                format!("`{text}` is no snapshot and no part of one"),
                "write SNAP, SNAP:NAME or SNAP:NAME/PATH, as `lifeboat-restore find` prints it",
            ));
        }
        let path = Some(path.trim_matches('/')).filter(|path| !path.is_empty());
        Ok(Self { snapshot, stream: Some(stream), path })
    }
}

/// The path `below` in the folder `path`; either may be absent.
pub(crate) fn joined(path: Option<&str>, below: Option<&str>) -> String {
    let parts = [path, below].into_iter().flatten().map(|part| part.trim_matches('/'));
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_snapshot_a_name_and_a_path() {
        let parsed = |text| {
            let Address { snapshot, stream, path } = Address::parse(text).unwrap();
            (snapshot, stream, path)
        };
        assert_eq!(parsed("latest"), ("latest", None, None));
        assert_eq!(parsed("latest:db"), ("latest", Some("db"), None));
        assert_eq!(parsed("3f2a:db/"), ("3f2a", Some("db"), None));
        assert_eq!(parsed("3f2a:etc/a:b/c"), ("3f2a", Some("etc"), Some("a:b/c")));
        for wrong in [":db", "latest:", "latest:/etc"] {
            assert!(Address::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(joined(Some("a/"), Some("/b")), "a/b");
        assert_eq!((joined(None, Some("b")), joined(Some("a"), None)), ("b".to_owned(), "a".to_owned()));
    }
}
