//! Files with several names: which item has the file that another item is a further name of, and the consequences if
//! the file is not restored.

use std::collections::{HashMap, HashSet};

use lifeboat_core::text::path_text;

use super::contents::NotWhole;
use crate::format::item::{Item, ItemKind, path_order};

/// For each item that is another name of a file, the item that has the file, both by their positions.
#[derive(Debug, Default)]
pub(super) struct FirstNames(HashMap<usize, usize>);

/// What a hard link leads to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LeadsTo {
    /// An item that was made, by its place.
    Made(usize),
    /// An item that could not be made.
    NotMade,
    /// Nothing that came before it in the snapshot.
    Nothing,
}

/// Looks up the target of a hard link. `items` are those that were made so far, in stream order.
pub(super) fn leads_to(target: &[u8], items: &[Item], not_made: &HashSet<Vec<u8>>) -> LeadsTo {
    match items.binary_search_by(|item| path_order(&item.path, target)) {
        Ok(place) if items[place].kind != ItemKind::Folder => LeadsTo::Made(place),
        _ if not_made.contains(target) => LeadsTo::NotMade,
        _ => LeadsTo::Nothing,
    }
}

impl FirstNames {
    /// Notes that the item at `link` is another name of the one at `target`, which may be a link itself.
    pub(super) fn note(&mut self, link: usize, target: usize) {
        let first = self.0.get(&target).copied().unwrap_or(target);
        self.0.insert(link, first);
    }

    /// Copies the verdict on a file that is not whole to all its other names, which lead to the same bytes.
    pub(super) fn carry(&self, items: &[Item], not_whole: &mut HashMap<usize, NotWhole>) {
        let of_others: Vec<(usize, NotWhole)> = self
            .0
            .iter()
            .filter_map(|(link, first)| {
                let path = path_text(&items[*first].path);
                let reason = |reason: &str| format!("it is another name of {path}: {reason}");
                let verdict = match not_whole.get(first)? {
                    NotWhole::Damaged(why) => NotWhole::Damaged(reason(why)),
                    NotWhole::NotWritten(why) => NotWhole::NotWritten(reason(why)),
                };
                Some((*link, verdict))
            })
            .collect();
        not_whole.extend(of_others);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::item::tests::file;

    fn link(path: &str, target: &str) -> Item {
        let target = Some(target.as_bytes().to_vec().into());
        Item { kind: ItemKind::HardLink, size: None, target, ..file(path.as_bytes()) }
    }

    #[test]
    fn a_link_leads_to_what_was_made_before_it_and_to_nothing_else() {
        let folder = Item { kind: ItemKind::Folder, size: None, ..file(b"folder") };
        let items = [file(b"a"), link("b", "a"), folder];
        let not_made = HashSet::from([b"device".to_vec()]);
        for (target, expected) in [
            ("a", LeadsTo::Made(0)),
            ("b", LeadsTo::Made(1)),
            ("device", LeadsTo::NotMade),
            ("folder", LeadsTo::Nothing),
            ("later", LeadsTo::Nothing),
        ] {
            assert_eq!(leads_to(target.as_bytes(), &items, &not_made), expected, "{target}");
        }
    }

    #[test]
    fn every_name_of_a_file_that_is_not_whole_has_its_verdict() {
        let items = [file(b"a"), link("b", "a"), link("c", "b"), file(b"d"), link("e", "d"), file(b"f")];
        let mut names = FirstNames::default();
        for (link, target) in [(1, 0), (2, 1), (4, 3)] {
            names.note(link, target);
        }
        let mut not_whole = HashMap::from([
            (0, NotWhole::Damaged("a bit is wrong".to_owned())),
            (3, NotWhole::NotWritten("no room".to_owned())),
        ]);
        names.carry(&items, &mut not_whole);
        let mut places: Vec<usize> = not_whole.keys().copied().collect();
        places.sort_unstable();
        assert_eq!(places, [0, 1, 2, 3, 4]);
        let of_a = NotWhole::Damaged("it is another name of a: a bit is wrong".to_owned());
        assert_eq!((&not_whole[&1], &not_whole[&2]), (&of_a, &of_a));
        assert_eq!(not_whole[&4], NotWhole::NotWritten("it is another name of d: no room".to_owned()));
    }
}
