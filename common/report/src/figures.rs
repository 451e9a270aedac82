//! How numbers and names are formatted in text.

use std::fmt::Write as _;

use indicatif::{BinaryBytes, HumanCount};
use jiff::Timestamp;
pub(crate) use lifeboat_core::text::printable;

/// How many lines of one kind the text shows, because a hostile host may cause any number; the JSON form has all.
pub(crate) const TOLD: usize = 50;

/// A number of bytes with a binary prefix.
pub(crate) fn bytes(count: u64) -> String {
    BinaryBytes(count).to_string()
}

/// A number of things with its noun, such as `1 file` or `2,000 files`.
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", HumanCount(number), if number == 1 { "" } else { "s" })
}

/// A time to the second, in UTC.
pub(crate) fn time(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

/// A path in the form that commands accept; `hex` has its bytes where they are not UTF-8. The folder itself is `.`.
pub(crate) fn path_text(path: &str, hex: Option<&str>) -> String {
    let bytes = hex.and_then(|hex| hex::decode(hex).ok()).unwrap_or_else(|| path.as_bytes().to_vec());
    if bytes.is_empty() { ".".to_owned() } else { lifeboat_core::text::path_text(&bytes) }
}

/// Seconds in words.
pub(crate) fn seconds(seconds: f64) -> String {
    if seconds < 120.0 { format!("{seconds:.1} s") } else { format!("{:.1} min", seconds / 60.0) }
}

/// The first lines of a list, and how many were left out.
pub(crate) fn first_lines(lines: &[String], most: usize) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail, here and below.
    for line in lines.iter().take(most) {
        let _ = writeln!(text, "  {}", printable(line));
    }
    if lines.len() > most {
        let _ = writeln!(text, "  and {} more", lines.len() - most);
    }
    text
}
