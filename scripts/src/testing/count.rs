//! Counts tests from the output of the test programs, and why some were ignored.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) passed: u64,
    pub(super) failed: u64,
}

impl Count {
    /// Parses `test result: ok. 3 passed; 0 failed; 1 ignored; …`; `None` for any other line.
    pub(super) fn of_line(line: &str) -> Option<Self> {
        let (_, numbers) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
        let mut count = Self::default();
        for item in numbers.split(';') {
            let mut words = item.split_whitespace();
            let Some(number) = words.next().and_then(|number| number.parse().ok()) else { continue };
            match words.next() {
                Some("passed") => count.passed = number,
                Some("failed") => count.failed = number,
                _ => {}
            }
        }
        Some(count)
    }
}

/// Why tests were ignored, and how many for each reason.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Skips(BTreeMap<String, u64>);

impl Skips {
    /// Parses `test [REASON] NAME ... ignored`, and `test NAME ... ignored, REASON`, which the two kinds of test
    /// programs print; ignores any other line.
    pub(super) fn read(&mut self, line: &str) {
        let Some(said) = line.trim().strip_prefix("test ") else { return };
        let reason = match said.strip_prefix('[') {
            Some(said) if said.ends_with("... ignored") => said.rsplit_once("] ").map(|(reason, _)| reason),
            _ => said.split_once(" ... ignored, ").map(|(_, reason)| reason),
        };
        if let Some(reason) = reason {
            *self.0.entry(reason.to_owned()).or_default() += 1;
        }
    }

    /// Takes out what was left out for a reason, since it runs after all.
    pub(super) fn forget(&mut self, reason: &str) {
        self.0.remove(reason);
    }

    /// How many tests were left out.
    pub(super) fn total(&self) -> u64 {
        self.0.values().sum()
    }
}

impl fmt::Display for Skips {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(reason, count)| writeln!(f, "  skipped  {count:<3} {reason}"))
    }
}

impl AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_collected() {
        let mut skips = Skips::default();
        for line in [
            "test [nothing listens at 127.0.0.1:5001 (Connection refused)] a::b   ... ignored",
            "test [nothing listens at 127.0.0.1:5001 (Connection refused)] c ... ignored",
            "test slow::one ... ignored, takes an hour",
            "test fine ... ok",
            "test [kind] fine ... ok",
            "ignored",
        ] {
            skips.read(line);
        }
        assert_eq!(
            skips.to_string(),
            "  skipped  2   nothing listens at 127.0.0.1:5001 (Connection refused)\n  skipped  1   takes an hour\n"
        );
        assert_eq!(skips.total(), 3);
        skips.forget("takes an hour");
        assert_eq!(skips.total(), 2);
    }

    #[test]
    fn results_are_summed() {
        let mut sum = Count::default();
        for line in [
            "test result: ok. 7 passed; 0 failed; 2 ignored; 0 measured; 5 filtered out; finished in 0.00s",
            "test result: FAILED. 1 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s",
        ] {
            sum += Count::of_line(line).unwrap_or_default();
        }
        assert_eq!(sum.to_string(), "8 passed, 3 failed");
        assert_eq!(Count::of_line("test result ... ok"), None);
    }
}
