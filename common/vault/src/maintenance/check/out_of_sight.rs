//! The names of what could not be read: the absence of what is there proves nothing.

use std::collections::BTreeSet;

/// Objects and folders that could not be read. A storage in trouble can make them very many, so each question takes a few
/// look-ups.
#[derive(Debug, Default)]
pub(crate) struct OutOfSight(BTreeSet<String>);

impl OutOfSight {
    pub(crate) fn add(&mut self, place: &str) {
        self.0.insert(place.to_owned());
    }

    /// Whether an object could not be read: itself, or a folder in its name.
    pub(crate) fn covers(&self, key: &str) -> bool {
        let folders = key.match_indices('/').map(|(end, _)| &key[..end]);
        folders.chain([key]).any(|place| self.0.contains(place))
    }

    /// Whether any object below a folder could not be read.
    pub(crate) fn is_any_below(&self, folder: &str) -> bool {
        let below = format!("{folder}/");
        self.covers(folder)
            || self.0.range(below.clone()..).next().is_some_and(|place| place.starts_with(&below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_hides_what_is_at_it_and_below_it() {
        let mut hidden = OutOfSight::default();
        assert!(!hidden.covers("packs/g/ab/abcd") && !hidden.is_any_below("packs"));
        for place in ["packs/g/ab", "parts/g/1", "keys"] {
            hidden.add(place);
        }
        for (key, covers, below) in [
            ("packs", false, true),
            ("packs/g", false, true),
            ("packs/g/ab", true, true),
            ("packs/g/ab/abcd", true, true),
            ("packs/g/a", false, false),
            ("packs/g/abc", false, false),
            ("packs/h", false, false),
            ("parts/g/1", true, true),
            ("parts/g/10", false, false),
            ("parts/g", false, true),
            ("keys/root/x", true, true),
            ("keyset", false, false),
        ] {
            assert_eq!((hidden.covers(key), hidden.is_any_below(key)), (covers, below), "{key}");
        }
    }
}
