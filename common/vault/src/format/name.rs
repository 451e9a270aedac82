//! The names of streams and documents, and the other texts of a snapshot: what writers may store and readers accept.
//!
//! A name becomes a file or folder on the machine that restores, so it is a single harmless path component. Writers and
//! readers use the same functions, and FORMAT.md states the same rule.

use lifeboat_core::text::is_deceptive;

/// The longest name, in bytes: the Linux limit for one path component.
pub(crate) const MAX_NAME: usize = 255;
/// The longest host name, tag or application name, in bytes.
pub(crate) const MAX_TEXT: usize = 1024;

/// Why a text cannot be the name of a stream or document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadName {
    /// It has no characters.
    #[error("it is empty")]
    Empty,
    /// It names an existing folder.
    #[error("`.` and `..` are folders")]
    Dots,
    /// It is too long.
    #[error("it has {found} bytes, more than the maximum of {most}", most = MAX_NAME)]
    TooLong {
        /// How many bytes it has.
        found: usize,
    },
    /// It has a character that would separate path components, control a terminal, or deceive the reader.
    #[error("it contains the character U+{:04X}", u32::from(*.0))]
    Character(char),
}

/// Why a host name, tag or application name cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it has {found} bytes, more than the maximum of {most}", most = MAX_TEXT)]
pub struct TextTooLong {
    /// How many bytes it has.
    pub found: usize,
}

/// Checks the name of a stream or document: a single path component, without characters that deceive or control.
pub fn check_name(name: &str) -> Result<(), BadName> {
    if name.is_empty() {
        return Err(BadName::Empty);
    }
    if name == "." || name == ".." {
        return Err(BadName::Dots);
    }
    if name.len() > MAX_NAME {
        return Err(BadName::TooLong { found: name.len() });
    }
    match name.chars().find(|c| is_refused(*c)) {
        Some(c) => Err(BadName::Character(c)),
        None => Ok(()),
    }
}

/// Checks a host name, a tag or an application name. They are displayed and compared, and never become paths.
pub fn check_text(text: &str) -> Result<(), TextTooLong> {
    if text.len() > MAX_TEXT { Err(TextTooLong { found: text.len() }) } else { Ok(()) }
}

/// Turns any bytes into a name, or returns `None` if nothing usable is left. What a name may not contain becomes
/// U+FFFD. The result leaves `room` bytes of the longest name free.
pub(crate) fn name_from_bytes(bytes: &[u8], room: usize) -> Option<String> {
    let most = MAX_NAME.saturating_sub(room);
    let mut name = String::new();
    for c in String::from_utf8_lossy(bytes).chars() {
        let c = if is_refused(c) { char::REPLACEMENT_CHARACTER } else { c };
        if name.len() + c.len_utf8() > most {
            break;
        }
        name.push(c);
    }
    check_name(&name).is_ok().then_some(name)
}

fn is_refused(c: char) -> bool {
    c == '/' || is_deceptive(c)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Names that streams and documents may not have, each with the reason.
    pub(crate) fn bad_names() -> Vec<(String, BadName)> {
        let character = |c: char| (format!("a{c}b"), BadName::Character(c));
        let mut names = vec![
            (String::new(), BadName::Empty),
            (".".to_owned(), BadName::Dots),
            ("..".to_owned(), BadName::Dots),
            ("a".repeat(256), BadName::TooLong { found: 256 }),
            ("é".repeat(128), BadName::TooLong { found: 256 }),
            ("/etc/systemd/system/x.service.d".to_owned(), BadName::Character('/')),
            ("../escaped".to_owned(), BadName::Character('/')),
            ("/".to_owned(), BadName::Character('/')),
        ];
        let characters = "/\0\n\r\t\u{1b}\u{7f}\u{80}\u{9b}\u{9f}\u{61c}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\
                          \u{202a}\u{202e}\u{2060}\u{2066}\u{2069}\u{206f}\u{feff}\u{e0001}\u{e007f}";
        names.extend(characters.chars().map(character));
        names
    }

    #[test]
    fn a_name_is_a_path_component_without_deceptive_characters() {
        for (name, reason) in bad_names() {
            assert_eq!(check_name(&name), Err(reason), "{name:?}");
        }
        let longest = "a".repeat(255);
        for name in
            ["path", "path-2", "shop.sql", "...", "..a", "a..", " ", "-rf", "~", "a\\b", "日本 🦀", &longest]
        {
            assert_eq!(check_name(name), Ok(()), "{name:?}");
        }
    }

    #[test]
    fn a_text_is_bounded() {
        assert_eq!(check_text(&"a".repeat(1024)), Ok(()));
        assert_eq!(check_text(&"a".repeat(1025)), Err(TextTooLong { found: 1025 }));
    }

    #[test]
    fn bytes_become_a_name_or_nothing() {
        let long = [b'a'; 300];
        let cut = "a".repeat(235);
        for (bytes, name) in [
            (&b"files"[..], Some("files")),
            (b"a\xffb", Some("a\u{fffd}b")),
            (b"a/b", Some("a\u{fffd}b")),
            (b"../../etc", Some("..\u{fffd}..\u{fffd}etc")),
            (b"a\0\x1b[2Kb", Some("a\u{fffd}\u{fffd}[2Kb")),
            ("a\u{202e}b".as_bytes(), Some("a\u{fffd}b")),
            (&long, Some(cut.as_str())),
            (b"", None),
            (b".", None),
            (b"..", None),
        ] {
            assert_eq!(name_from_bytes(bytes, 20).as_deref(), name, "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_become_a_valid_name(
            bytes in prop::collection::vec(any::<u8>(), 0..600), room in 0_usize..40
        ) {
            if let Some(name) = name_from_bytes(&bytes, room) {
                prop_assert_eq!(check_name(&name), Ok(()));
                prop_assert!(name.len() + room <= MAX_NAME);
            }
        }
    }
}
