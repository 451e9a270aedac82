//! Patterns over the paths of a tree, in the syntax of `.gitignore` files (gitignore(5)).
//!
//! A pattern without a slash matches a name at any depth; one with a slash is anchored to the captured folder. `*` and
//! `?` stop at slashes, `**` does not; `[a-z]` is a class, `{a,b}` are alternatives. A slash at the end requires a
//! folder, `!` in front reverts a match of an earlier pattern, and the last pattern that matches counts. In addition,
//! `\xHH` is the byte with these hexadecimal digits.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use lifeboat_core::text::escaped_byte;
use lifeboat_core::{Fault, Kind};

/// The most patterns that are accepted: more are a mistake, and each one costs time at every path.
const MAX_PATTERNS: usize = 100_000;

/// Parsed patterns.
#[derive(Debug)]
pub struct Patterns {
    matcher: Gitignore,
    /// Those with bytes that are not UTF-8, which are matched only against paths with such bytes.
    matcher_of_bytes: Gitignore,
    texts: Vec<String>,
    numbers: HashMap<String, usize>,
}

/// The result of matching a path; the number is the index of the deciding pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No pattern matches.
    Silent,
    /// A pattern matches.
    Matched(usize),
    /// A pattern with `!` reverts the match.
    TakenBack(usize),
}

/// A pattern that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the pattern `{pattern}` is malformed: {reason}")]
pub struct BadPattern {
    /// The pattern as it was given.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

impl Fault for BadPattern {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        Some(
            "write it as in a .gitignore file; a backslash before one of `*?[]{}!#\\` makes it an ordinary character"
                .to_owned(),
        )
    }
}

impl Patterns {
    /// Parses patterns; every one must match something. A pattern may contain bytes that are not UTF-8, raw or escaped.
    pub fn parse<P: AsRef<OsStr>>(
        patterns: impl IntoIterator<Item = P>,
        ignore_case: bool,
    ) -> Result<Self, BadPattern> {
        let builder = || -> Result<GitignoreBuilder, ignore::Error> {
            let mut builder = GitignoreBuilder::new("");
            // An unclosed class is a typo, which is reported instead of matching nothing.
            builder.allow_unclosed_class(false).case_insensitive(ignore_case)?;
            Ok(builder)
        };
        let setting_up = |error| BadPattern { pattern: String::new(), reason: reason(&error) };
        let (mut of_text, mut of_bytes) = (builder().map_err(setting_up)?, builder().map_err(setting_up)?);
        let (mut texts, mut numbers) = (Vec::new(), HashMap::new());
        for pattern in patterns {
            let given = text_of(pattern.as_ref());
            let bad = |reason: &str| BadPattern { pattern: given.clone(), reason: reason.to_owned() };
            let text = without_trailing_spaces(&given);
            if text.starts_with('#') {
                return Err(bad("it is a comment"));
            }
            if matches!(text.strip_prefix('!').unwrap_or(text), "" | "/") {
                return Err(bad("it matches nothing"));
            }
            let Unescaped { glob, has_bytes } = unescaped(text);
            if glob.contains('\0') {
                return Err(bad("no name contains a NUL"));
            }
            if texts.len() == MAX_PATTERNS {
                return Err(bad("there are more than a hundred thousand"));
            }
            let builder = if has_bytes { &mut of_bytes } else { &mut of_text };
            builder.add_line(None, &glob).map_err(|error| bad(&reason(&error)))?;
            numbers.entry(glob).or_insert(texts.len());
            texts.push(text.to_owned());
        }
        let built = |builder: GitignoreBuilder| {
            builder.build().map_err(|error| BadPattern { pattern: texts.join(" "), reason: reason(&error) })
        };
        let (matcher, matcher_of_bytes) = (built(of_text)?, built(of_bytes)?);
        Ok(Self { matcher, matcher_of_bytes, texts, numbers })
    }

    /// Matches the path below the captured folder. The folders that contain it were matched before.
    pub(crate) fn verdict(&self, path: &[u8], is_folder: bool) -> Verdict {
        let number = |glob: &ignore::gitignore::Glob| self.numbers.get(glob.original()).copied();
        let said = |matched| match matched {
            Match::None => None,
            Match::Ignore(glob) => number(glob).map(|number| (number, Verdict::Matched(number))),
            Match::Whitelist(glob) => number(glob).map(|number| (number, Verdict::TakenBack(number))),
        };
        let mut counts = said(self.matcher.matched(OsStr::from_bytes(path), is_folder));
        if !self.matcher_of_bytes.is_empty() && std::str::from_utf8(path).is_err() {
            let of_bytes = said(self.matcher_of_bytes.matched(with_stand_ins(path), is_folder));
            // The later pattern counts.
            counts = [counts, of_bytes].into_iter().flatten().max_by_key(|(number, _)| *number);
        }
        counts.map_or(Verdict::Silent, |(_, verdict)| verdict)
    }

    /// Whether a pattern matches the path below the captured folder.
    pub(crate) fn matches(&self, path: &[u8], is_folder: bool) -> bool {
        matches!(self.verdict(path, is_folder), Verdict::Matched(_))
    }

    /// Whether any pattern begins with a slash.
    pub(crate) fn is_anchored(&self) -> bool {
        self.texts.iter().any(|text| text.starts_with('/'))
    }

    /// The patterns in order.
    pub(crate) fn texts(&self) -> &[String] {
        &self.texts
    }
}

impl Default for Patterns {
    fn default() -> Self {
        let (matcher, matcher_of_bytes) = (Gitignore::empty(), Gitignore::empty());
        Self { matcher, matcher_of_bytes, texts: Vec::new(), numbers: HashMap::new() }
    }
}

/// Bytes as text, with each byte that is not UTF-8 replaced.
fn with_odd_bytes(bytes: &[u8], write: impl Fn(&mut String, u8)) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|byte| write(&mut text, *byte));
    }
    text
}

/// A pattern as text: bytes that are not UTF-8 are written `\xHH`.
fn text_of(pattern: &OsStr) -> String {
    // Writing to a String cannot fail.
    with_odd_bytes(pattern.as_bytes(), |text, byte| _ = write!(text, "\\x{byte:02x}"))
}

/// The replacement of a byte that is not UTF-8: globs are text, and no name contains a character of the private use
/// area by chance.
fn stand_in(byte: u8) -> char {
    char::from_u32(0xf700 + u32::from(byte)).unwrap_or(char::REPLACEMENT_CHARACTER)
}

fn with_stand_ins(path: &[u8]) -> String {
    with_odd_bytes(path, |text, byte| text.push(stand_in(byte)))
}

/// A pattern without `\xHH`, and whether some of these were not UTF-8 and have stand-ins.
struct Unescaped {
    glob: String,
    has_bytes: bool,
}

fn unescaped(text: &str) -> Unescaped {
    let (mut glob, mut has_bytes) = (String::with_capacity(text.len()), false);
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (run, after) = escaped_bytes(rest);
        if run.is_empty() {
            // A backslash and the character that it escapes belong together.
            let taken =
                if first == '\\' { rest.chars().take(2).map(char::len_utf8).sum() } else { first.len_utf8() };
            glob.push_str(&rest[..taken]);
            rest = &rest[taken..];
            continue;
        }
        for chunk in run.utf8_chunks() {
            for c in chunk.valid().chars() {
                if c.is_ascii() && !c.is_ascii_alphanumeric() && c != '/' {
                    glob.push('\\');
                }
                glob.push(c);
            }
            has_bytes |= !chunk.invalid().is_empty();
            glob.extend(chunk.invalid().iter().map(|byte| stand_in(*byte)));
        }
        rest = after;
    }
    Unescaped { glob, has_bytes }
}

/// The bytes of the `\xHH` sequences at the beginning of `text`, and the rest.
fn escaped_bytes(mut text: &str) -> (Vec<u8>, &str) {
    let mut bytes = Vec::new();
    while let Some((byte, after)) = escaped_byte(text.as_bytes()) {
        bytes.push(byte);
        text = &text[text.len() - after.len()..];
    }
    (bytes, text)
}

fn reason(error: &ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => err.clone(),
        other => other.to_string(),
    }
}

/// Trailing spaces do not count, unless they are escaped with a backslash.
fn without_trailing_spaces(pattern: &str) -> &str {
    let trimmed = pattern.trim_end_matches(' ');
    let backslashes = trimmed.bytes().rev().take_while(|b| *b == b'\\').count();
    let kept = usize::from(backslashes % 2 == 1 && trimmed.len() < pattern.len());
    &pattern[..trimmed.len() + kept]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matched<'p>(patterns: &[&str], paths: &[&'p str]) -> Vec<&'p str> {
        let patterns = Patterns::parse(patterns, false).unwrap();
        let is_matched =
            |path: &&&str| patterns.matches(path.trim_end_matches('/').as_bytes(), path.ends_with('/'));
        paths.iter().filter(is_matched).copied().collect()
    }

    #[test]
    fn a_name_matches_anywhere_and_a_path_from_the_captured_folder() {
        let paths = ["a.tmp", "x/y/a.tmp", "cache/", "x/cache/", "cache", "log/new", "x/log/new"];
        assert_eq!(matched(&["*.tmp"], &paths), ["a.tmp", "x/y/a.tmp"]);
        assert_eq!(matched(&["/*.tmp"], &paths), ["a.tmp"]);
        assert_eq!(matched(&["cache/"], &paths), ["cache/", "x/cache/"]);
        assert_eq!(matched(&["log/new"], &paths), ["log/new"]);
        assert_eq!(matched(&["**/log/new"], &paths), ["log/new", "x/log/new"]);
        assert_eq!(matched(&["x/**"], &paths), ["x/y/a.tmp", "x/cache/", "x/log/new"]);
    }

    #[test]
    fn the_last_pattern_counts_and_an_exclamation_mark_reverts() {
        let paths = ["a.log", "keep.log", "b.txt"];
        assert_eq!(matched(&["*.log", "!keep.log"], &paths), ["a.log"]);
        assert_eq!(matched(&["!keep.log", "*.log"], &paths), ["a.log", "keep.log"]);
        let patterns = Patterns::parse(["*.log", "!keep.log"], false).unwrap();
        assert_eq!(patterns.verdict(b"keep.log", false), Verdict::TakenBack(1));
        assert_eq!(patterns.verdict(b"a.log", false), Verdict::Matched(0));
        assert_eq!(patterns.verdict(b"b.txt", false), Verdict::Silent);
    }

    #[test]
    fn names_are_bytes() {
        let patterns = Patterns::parse(["*.bad", "caf?\\ "], false).unwrap();
        assert!(patterns.matches(b"x/no-utf8-\xff\xfe.bad", false));
        assert!(patterns.matches(b"caf\xe9 ", false));
        assert!(Patterns::parse(["*.BAD"], true).unwrap().matches(b"a.bad", false));
    }

    #[test]
    fn bytes_are_written_raw_or_escaped() {
        let odd = OsStr::from_bytes(b"\xff\xfe*");
        for pattern in [odd, OsStr::new(r"\xff\xfe*"), OsStr::new(r"/\xFF\xfe.log")] {
            let patterns = Patterns::parse([pattern], false).unwrap();
            assert!(patterns.matches(b"\xff\xfe.log", false), "{}", pattern.display());
            for other in [&b"\xff.log"[..], b"xff.log", "\u{f7ff}\u{f7fe}.log".as_bytes()] {
                assert!(!patterns.matches(other, false), "{} {other:?}", pattern.display());
            }
            let again = Patterns::parse(patterns.texts(), false).unwrap();
            assert_eq!(again.texts(), patterns.texts());
            assert!(again.matches(b"\xff\xfe.log", false));
        }
        assert_eq!(
            matched(
                &[r"caf\xc3\xa9", r"a\x2a", r"b\x5cc", r"\\x41"],
                &["café", "a*", "ab", r"b\c", r"\x41", "A"]
            ),
            ["café", "a*", r"b\c", r"\x41"]
        );
        // The last pattern counts, of whichever kind it is.
        let keeps = Patterns::parse([odd, OsStr::new("!*.log")], false).unwrap();
        assert_eq!(keeps.verdict(b"\xff\xfe.log", false), Verdict::TakenBack(1));
        let drops = Patterns::parse([OsStr::new("!*.log"), odd], false).unwrap();
        assert_eq!(drops.verdict(b"\xff\xfe.log", false), Verdict::Matched(1));
        assert_eq!(drops.verdict(b"b\xff.log", false), Verdict::TakenBack(0));
    }

    #[test]
    fn every_pattern_is_identified_by_its_index_however_it_ends() {
        for text in ["a", "a  ", "a\\ ", "a\\\\", "a\\\\  ", "\\#a", "\\!a", "a/", "/a", "!a"] {
            let patterns = Patterns::parse([text], false).unwrap();
            for path in [&b"a"[..], b"a ", b"a\\", b"#a", b"!a"] {
                if !matches!(patterns.matcher.matched(OsStr::from_bytes(path), true), Match::None) {
                    assert_ne!(patterns.verdict(path, true), Verdict::Silent, "{text:?} at {path:?}");
                }
            }
        }
    }

    #[test]
    fn an_empty_or_malformed_pattern_is_refused_with_the_reason() {
        for bad in ["", " ", "#a", "!", "/", "!/", "[a", "a[z-a]", "{a,b", "a\0b"] {
            let error = Patterns::parse(["fine", bad], false).unwrap_err();
            assert_eq!(error.pattern, bad);
            assert!(!error.reason.is_empty());
        }
    }
}
