//! Quantities as people read them.

use jiff::Timestamp;

use super::Objective;

/// A duration: `0.4 s`, `12 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "durations are small and not negative"
)]
pub(super) fn seconds(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        _ if seconds < 9.95 => format!("{:.1} s", seconds.max(0.0)),
        0..60 => format!("{whole} s"),
        60..3600 => pair(whole / 60, "min", whole % 60, "s"),
        3600..86_400 => pair(whole / 3600, "h", whole % 3600 / 60, "min"),
        _ => pair(whole / 86_400, "d", whole % 86_400 / 3600, "h"),
    }
}

fn pair(large: u64, large_unit: &str, small: u64, small_unit: &str) -> String {
    if small == 0 {
        format!("{large} {large_unit}")
    } else {
        format!("{large} {large_unit} {small} {small_unit}")
    }
}

/// A size: `900 B`, `1.5 KiB`, `38 MiB`.
#[expect(clippy::cast_precision_loss, reason = "two digits are shown")]
pub(super) fn bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"].into_iter();
    let mut unit = units.next().unwrap_or_default();
    for larger in units {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = larger;
    }
    if unit == "B" || value >= 99.5 { format!("{value:.0} {unit}") } else { format!("{value:.1} {unit}") }
}

/// A number with its noun: `1 file`, `12,040 files`.
pub(super) fn count(number: u64, thing: &str) -> String {
    counted(number, thing, &format!("{thing}s"))
}

/// The same for an irregular plural.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { many })
}

/// A number with its digits grouped: `12,040`.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A moment, in UTC, to the second.
pub(super) fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%S UTC").to_string()
}

/// A measurement and its target, on one line.
pub(super) fn objective(objective: &Objective) -> String {
    let Some(measured) = objective.measured_seconds else { return "not measured".to_owned() };
    let measured = seconds(measured);
    match (objective.target_seconds, objective.met) {
        (Some(target), Some(true)) => format!("{measured}, target {} met", seconds(target)),
        (Some(target), _) => format!("{measured}, target {} MISSED", seconds(target)),
        (None, _) => format!("{measured}, no target set"),
    }
}

/// How the application was stopped, in words.
pub(super) fn consistency(mode: &str) -> &str {
    match mode {
        "stop" => "stopped while it was taken",
        "pause" => "paused while it was taken",
        "none" => "running while it was taken",
        "idle" => "not running while it was taken",
        _ => "not recorded",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_short_and_rounded_to_what_matters() {
        let said: Vec<String> = [0.04, 9.96, 59.4, 61.0, 3600.0, 7500.0, 90_000.0].map(seconds).into();
        assert_eq!(said, ["0.0 s", "10 s", "59 s", "1 min 1 s", "1 h", "2 h 5 min", "1 d 1 h"]);
        assert_eq!([bytes(900), bytes(1536), bytes(39_845_888)], ["900 B", "1.5 KiB", "38.0 MiB"]);
        assert_eq!([count(1, "file"), count(12_040, "file")], ["1 file", "12,040 files"]);
    }
}
