//! Tags as they are given on the command line.

/// Parses a tag. An empty one, as from an unset variable, could mean none or all, and is refused.
pub fn tag(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("a tag has at least one letter; leave --tag out where none is meant".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::tag;

    #[test]
    fn a_tag_has_at_least_one_letter() {
        assert_eq!(tag("nightly"), Ok("nightly".to_owned()));
        for empty in ["", " ", "\t"] {
            assert!(tag(empty).unwrap_err().contains("at least one letter"), "{empty:?}");
        }
    }
}
