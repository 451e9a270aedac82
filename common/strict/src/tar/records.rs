//! Extension headers: records of the pax format, and GNU's long names.

use super::header::{Extension, Header, Kind};
use crate::{Refusal, printable};

/// What the extension headers of a member say about it.
#[derive(Debug, Default)]
pub(super) struct Records {
    seen: Vec<Extension>,
    name: Option<String>,
    link: Option<String>,
    size: Option<u64>,
}

impl Records {
    pub(super) fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    pub(super) fn add(&mut self, kind: Extension, content: &[u8]) -> Result<(), Refusal> {
        // Go's reader forgets extension headers that precede a global one.
        if self.seen.contains(&kind) || (kind == Extension::Global && !self.seen.is_empty()) {
            return Err(Refusal::ambiguous("the headers before a member's own can be read in two ways"));
        }
        self.seen.push(kind);
        match kind {
            Extension::Name => set(&mut self.name, long(content)?),
            Extension::Link => set(&mut self.link, long(content)?),
            Extension::Records => self.records(content),
            Extension::Global => {
                let mut global = Self::default();
                global.records(content)?;
                if global.name.is_some() || global.link.is_some() || global.size.is_some() {
                    let reason = "a header for the whole archive names or sizes its members, which not all programs heed";
                    return Err(Refusal::ambiguous(reason));
                }
                Ok(())
            }
        }
    }

    /// Applies the extensions to the header.
    pub(super) fn complete(self, header: Header) -> Result<Header, Refusal> {
        let size = self.size.unwrap_or(header.size);
        let is_link = matches!(header.kind, Kind::Symbolic | Kind::Hard);
        if self.link.is_some() && !is_link {
            let reason = format!("`{}` has the name of a link and is none", printable(&header.name));
            return Err(Refusal::ambiguous(reason));
        }
        let (name, link) = (self.name.unwrap_or(header.name), self.link.unwrap_or(header.link));
        Ok(Header { name, link, size, kind: header.kind })
    }

    /// Records as `LENGTH KEY=VALUE\n` (POSIX.1-2024, `pax`, "pax Header Block").
    fn records(&mut self, mut content: &[u8]) -> Result<(), Refusal> {
        while !content.is_empty() {
            let (record, rest) = split(content)
                .ok_or_else(|| Refusal::malformed("a header of the pax format breaks the format"))?;
            content = rest;
            let (key, value) = record;
            if key.starts_with("GNU.sparse.") || key == "SUN.holesdata" {
                let reason = format!("the record `{}` makes a member a sparse file", printable(key));
                return Err(Refusal::ambiguous(reason));
            }
            if !["path", "linkpath", "size"].contains(&key) {
                continue;
            }
            let value =
                std::str::from_utf8(value).ok().filter(|value| !value.is_empty() && !value.contains('\0'));
            let unclear = || Refusal::ambiguous(format!("the record `{key}` can be read in two ways"));
            let value = value.ok_or_else(unclear)?;
            match key {
                "path" => set(&mut self.name, value.to_owned())?,
                "linkpath" => set(&mut self.link, value.to_owned())?,
                _ => {
                    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
                    let size: u64 = value.parse().ok().filter(|_| is_number).ok_or_else(unclear)?;
                    set(&mut self.size, size)?;
                }
            }
        }
        Ok(())
    }
}

/// Programs differ in which of two such values they use.
fn set<T>(place: &mut Option<T>, value: T) -> Result<(), Refusal> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Refusal::ambiguous("the headers before a member's own name or size it twice")),
    }
}

/// The content of a long name header. Most programs end it with one NUL; given more, some remove only the last one.
fn long(content: &[u8]) -> Result<String, Refusal> {
    let name = content.strip_suffix(&[0]).unwrap_or(content);
    let name = std::str::from_utf8(name).ok().filter(|name| !name.is_empty() && !name.contains('\0'));
    name.map(str::to_owned)
        .ok_or_else(|| Refusal::ambiguous("a long name of the GNU format can be read in two ways"))
}

/// A record's key and value.
type Record<'c> = (&'c str, &'c [u8]);

/// The first record, and the rest.
fn split(content: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = content.iter().position(|byte| *byte == b' ')?;
    let digits = std::str::from_utf8(&content[..space]).ok()?;
    if digits.is_empty() || digits.starts_with('0') || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let length: usize = digits.parse().ok()?;
    let record = content.get(space + 1..length)?;
    let record = record.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let key =
        std::str::from_utf8(&record[..equals]).ok().filter(|key| !key.is_empty() && !key.contains('\0'))?;
    Some(((key, &record[equals + 1..]), &content[length..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_the_format_has_them() {
        assert_eq!(split(b"11 path=a/b\n13 size=12345\n"), None);
        assert_eq!(split(b"12 path=a/b\nrest"), Some((("path", &b"a/b"[..]), &b"rest"[..])));
        assert_eq!(split(b"14 path=a=b\nc\n"), Some((("path", &b"a=b\nc"[..]), &b""[..])));
        for bad in [
            &b""[..],
            b"12",
            b"0012 path=a/b\n",
            b"+12 path=a/b\n",
            b"99 path=a/b\n",
            b"5 a\n",
            b"4 =\n",
            b"3 \n",
        ] {
            assert_eq!(split(bad), None, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn what_is_said_twice_or_in_two_ways_is_refused() {
        use Extension::{Global, Link, Name, Records as Pax};

        let add = |kinds: &[(Extension, &[u8])]| {
            let mut records = Records::default();
            kinds.iter().try_for_each(|(kind, content)| records.add(*kind, content))
        };
        add(&[(Pax, b"12 path=a/b\n13 mtime=1.5\n"), (Link, b"x\0")]).unwrap();
        add(&[(Global, b"15 comment=abc\n")]).unwrap();
        for twice in [
            &[(Pax, &b"12 path=a/b\n12 path=a/c\n"[..])][..],
            &[(Pax, b"12 path=a/b\n"), (Pax, b"12 path=a/c\n")],
            &[(Name, b"a/b\0"), (Pax, b"12 path=a/c\n")],
            &[(Name, b"a\0b\0")],
            &[(Name, b"\0")],
            &[(Name, b"a/b\0\0")],
            &[(Pax, b"8 path=\n")],
            &[(Pax, b"9 path=\0\n")],
            &[(Pax, b"11 size=-1\n")],
            &[(Pax, b"22 GNU.sparse.major=1\n")],
            &[(Global, b"12 path=a/b\n")],
            &[(Global, b"22 GNU.sparse.major=1\n")],
        ] {
            assert!(add(twice).is_err(), "{twice:?}");
        }
    }
}
