//! What people call a recipient, a writer or a keeper.

use std::fmt;
use std::str::FromStr;

use lifeboat_core::text::is_deceptive;
use serde::{Deserialize as _, Deserializer, Serialize};

/// The most characters that a name has.
const MOST: usize = 64;

/// A name for people, which nothing depends on: ids, not names, say who is meant in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct MemberName(String);

/// Why a text is not such a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMemberName {
    /// It is empty or too long.
    #[error("a name has 1 to {MOST} characters")]
    Length,
    /// It has a character that controls a terminal or deceives the reader, or white space at its beginning or end.
    #[error("a name has no control or invisible characters, and no white space at its beginning or end")]
    Character,
}

impl MemberName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MemberName {
    type Err = BadMemberName;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.to_owned().try_into()
    }
}

impl TryFrom<String> for MemberName {
    type Error = BadMemberName;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if !(1..=MOST).contains(&text.chars().count()) {
            return Err(BadMemberName::Length);
        }
        if text.contains(is_deceptive) || text.trim() != text {
            return Err(BadMemberName::Character);
        }
        Ok(Self(text))
    }
}

impl From<MemberName> for String {
    fn from(MemberName(text): MemberName) -> Self {
        text
    }
}

impl fmt::Display for MemberName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads the name of a member; one that this program would not give is no name. A roster that the root signed counts
/// whatever its names are: another program, or a later release, may give others.
pub(super) fn lenient<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<MemberName>, D::Error> {
    let stored = serde_json::Value::deserialize(deserializer)?;
    Ok(stored.as_str().and_then(|text| text.parse().ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_short_and_shows_what_it_is() {
        let (longest, too_long) = ("ä".repeat(MOST), "ä".repeat(MOST + 1));
        let rows = [
            ("web-2", Ok(())),
            ("Ann's safe, Zürich", Ok(())),
            (&*longest, Ok(())),
            (&*too_long, Err(BadMemberName::Length)),
            ("", Err(BadMemberName::Length)),
            (" web-2", Err(BadMemberName::Character)),
            ("web-2\u{a0}", Err(BadMemberName::Character)),
            ("web\n2", Err(BadMemberName::Character)),
            ("web\u{1b}[2J", Err(BadMemberName::Character)),
            ("web\u{202e}2", Err(BadMemberName::Character)),
        ];
        for (text, expected) in rows {
            assert_eq!(text.parse::<MemberName>().map(drop), expected, "{text:?}");
            assert_eq!(lenient(serde_json::json!(text)).unwrap().is_some(), expected.is_ok(), "{text:?}");
        }
        for stored in [serde_json::json!(7), serde_json::Value::Null, serde_json::json!(["web"])] {
            assert_eq!(lenient(stored).unwrap(), None);
        }
    }
}
