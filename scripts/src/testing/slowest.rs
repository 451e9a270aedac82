//! Which tests take longest, from what the test programs report.

use std::fmt;
use std::time::Duration;

use crate::terminal::duration;

/// How many are shown.
const SHOWN: usize = 10;

/// The tests that ran, each with its time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Slowest(Vec<(Duration, String)>);

impl Slowest {
    /// Reads `test NAME ... ok <1.234s>`, as libtest writes it; any other line is passed over.
    pub(super) fn read(&mut self, line: &str) {
        let name_and_result = line.strip_prefix("test ").and_then(|line| line.split_once(" ... "));
        if let Some((name, result)) = name_and_result
            && let Some((_, seconds)) = result.strip_suffix("s>").and_then(|result| result.split_once('<'))
        {
            self.add(seconds, name);
        }
    }

    /// Reads `1.234 NAME`, as the gate of `tests/services` writes it; any other line is passed over.
    pub(super) fn read_gate(&mut self, line: &str) {
        if let Some((seconds, name)) = line.split_once(' ') {
            self.add(seconds, name);
        }
    }

    fn add(&mut self, seconds: &str, name: &str) {
        let time = seconds.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        self.0.extend(time.map(|time| (time, name.trim().to_owned())));
    }
}

impl fmt::Display for Slowest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<_> = self.0.iter().collect();
        sorted.sort_by(|one, other| other.cmp(one));
        let mut shown = sorted.into_iter().take(SHOWN);
        shown.try_for_each(|(time, name)| writeln!(f, "  {:>10}  {name}", duration(*time)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_come_first() {
        let mut slowest = Slowest::default();
        for line in [
            "test a::b ... ok <0.500s>",
            "test c ... FAILED <2.000s>",
            "test e ... ignored",
            "test result: ok. 7 passed; 0 failed; finished in 0.00s",
            "running 3 tests",
            "1.500 not::libtest",
        ] {
            slowest.read(line);
        }
        for line in ["1.500 services::d", "nan x", "-1 y", ""] {
            slowest.read_gate(line);
        }
        let names: Vec<_> =
            slowest.to_string().lines().map(|line| line.rsplit(' ').next().unwrap().to_owned()).collect();
        assert_eq!(names, ["c", "services::d", "a::b"]);
    }

    #[test]
    fn only_ten_are_shown() {
        let mut slowest = Slowest::default();
        for number in 0..30 {
            slowest.read_gate(&format!("{number}.0 test {number}"));
        }
        assert_eq!(slowest.to_string().lines().count(), SHOWN);
        assert!(slowest.to_string().contains("test 29"));
    }
}
