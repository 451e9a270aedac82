//! Durations as they are given on the command line.

/// Parses a duration such as `36h`, `14d` or `0s`. Ambiguous durations are refused: `m`, which other tools read as
/// months or as minutes, and a number without a unit.
pub(crate) fn duration(text: &str) -> Result<jiff::SignedDuration, String> {
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(at);
    let number: i64 =
        number.parse().map_err(|_| "give a number and a unit, such as 36h or 14d".to_owned())?;
    let seconds = match unit {
        "s" => 1,
        "min" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        "" if number == 0 => 0,
        "" => return Err(format!("{number} of what? write {number}d for days")),
        "m" => {
            return Err(format!("`m` can mean minutes or months: write {number}min, or days such as 180d"));
        }
        _ => return Err(format!("`{unit}` is not a unit: use s, min, h, d or w")),
    };
    let seconds = number.checked_mul(seconds).filter(|seconds| *seconds < 100 * 366 * 24 * 60 * 60);
    seconds.map(jiff::SignedDuration::from_secs).ok_or_else(|| "that is more than a hundred years".to_owned())
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn durations_are_read_with_their_units() {
        assert_eq!(duration("36h").unwrap().as_secs(), 36 * 60 * 60);
        assert_eq!(duration("90min").unwrap().as_secs(), 90 * 60);
        assert_eq!(duration("0").unwrap(), duration("0s").unwrap());
        for bad in ["", "d", "-1d", "1y", "99999999w", "1.5h", "6m", "6M", "6mo", "6"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
