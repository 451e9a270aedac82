//! Patterns over the paths of a tree, in the syntax of `.gitignore` files (gitignore(5)).
//!
//! A pattern without a slash matches a name at any depth; one with a slash is anchored to the captured folder. `*` and
//! `?` stop at slashes, `**` does not; `[a-z]` is a class, `{a,b}` are alternatives. A slash at the end asks for a
//! folder, `!` in front takes back what an earlier pattern matched, and the last pattern that matches counts.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use ignore::Match;
use ignore::gitignore::{Gitignore, GitignoreBuilder};
use lifeboat_core::{Fault, Kind};

/// The most patterns that are taken: more are a mistake, and each one costs time at every path.
const MAX_PATTERNS: usize = 100_000;

/// Patterns that were parsed.
#[derive(Debug)]
pub struct Patterns {
    matcher: Gitignore,
    texts: Vec<String>,
    numbers: HashMap<String, usize>,
}

/// What the patterns say of a path; the number is the place of the pattern that counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No pattern matches.
    Silent,
    /// A pattern matches.
    Matched(usize),
    /// A pattern with `!` takes it back.
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
    /// Parses patterns; every one must say something.
    pub fn parse<P: AsRef<str>>(
        patterns: impl IntoIterator<Item = P>,
        ignore_case: bool,
    ) -> Result<Self, BadPattern> {
        let mut builder = GitignoreBuilder::new("");
        // A class that is not closed is a slip of the hand, and says so instead of matching nothing.
        builder.allow_unclosed_class(false);
        let (mut texts, mut numbers) = (Vec::new(), HashMap::new());
        for pattern in patterns {
            let pattern = pattern.as_ref();
            let bad = |reason: &str| BadPattern { pattern: pattern.to_owned(), reason: reason.to_owned() };
            let text = without_trailing_spaces(pattern);
            if text.starts_with('#') {
                return Err(bad("it is a comment"));
            }
            if matches!(text.strip_prefix('!').unwrap_or(text), "" | "/") {
                return Err(bad("it names nothing"));
            }
            if text.contains('\0') {
                return Err(bad("no name holds a NUL"));
            }
            if texts.len() == MAX_PATTERNS {
                return Err(bad("there are more than a hundred thousand"));
            }
            let whole = |error: String| BadPattern { pattern: pattern.to_owned(), reason: error };
            if ignore_case {
                builder.case_insensitive(true).map_err(|error| whole(reason(&error)))?;
            }
            builder.add_line(None, pattern).map_err(|error| whole(reason(&error)))?;
            numbers.entry(text.to_owned()).or_insert(texts.len());
            texts.push(text.to_owned());
        }
        let matcher = builder
            .build()
            .map_err(|error| BadPattern { pattern: texts.join(" "), reason: reason(&error) })?;
        Ok(Self { matcher, texts, numbers })
    }

    /// What the patterns say of the path below the captured folder. Of a folder that holds it they were asked before.
    pub(crate) fn verdict(&self, path: &[u8], is_folder: bool) -> Verdict {
        let number = |glob: &ignore::gitignore::Glob| self.numbers.get(glob.original()).copied();
        match self.matcher.matched(OsStr::from_bytes(path), is_folder) {
            Match::None => Verdict::Silent,
            Match::Ignore(glob) => number(glob).map_or(Verdict::Silent, Verdict::Matched),
            Match::Whitelist(glob) => number(glob).map_or(Verdict::Silent, Verdict::TakenBack),
        }
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
        Self { matcher: Gitignore::empty(), texts: Vec::new(), numbers: HashMap::new() }
    }
}

fn reason(error: &ignore::Error) -> String {
    match error {
        ignore::Error::Glob { err, .. } => err.clone(),
        other => other.to_string(),
    }
}

/// Spaces at the end do not count, unless a backslash stands before them.
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
    fn the_last_pattern_counts_and_an_exclamation_mark_takes_back() {
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
    fn every_pattern_is_known_by_its_place_however_it_ends() {
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
    fn what_says_nothing_or_is_malformed_is_refused_with_the_reason() {
        for bad in ["", " ", "#a", "!", "/", "!/", "[a", "a[z-a]", "{a,b", "a\0b"] {
            let error = Patterns::parse(["fine", bad], false).unwrap_err();
            assert_eq!(error.pattern, bad);
            assert!(!error.reason.is_empty());
        }
    }
}
