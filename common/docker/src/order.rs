//! The order in which containers start, according to their dependencies.

use std::collections::{BTreeMap, BTreeSet};

/// Something that depends on others.
pub trait Depends {
    /// The names by which others may refer to this one.
    fn names(&self) -> Vec<String>;
    /// The names of its dependencies.
    fn needs(&self) -> Vec<String>;
}

/// The indices of `items` in starting order: everything comes after its dependencies, and otherwise in the original
/// order. Dependencies that are not among the items are ignored, and a cycle is broken where it is entered, because a
/// container that was running must be started again even if its labels contradict each other. Stop in reverse order.
pub fn starting_order<T: Depends>(items: &[T]) -> Vec<usize> {
    let mut places: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for (place, item) in items.iter().enumerate() {
        for name in item.names() {
            places.entry(name).or_default().push(place);
        }
    }
    let mut order = Vec::with_capacity(items.len());
    let mut seen = BTreeSet::new();
    for place in 0..items.len() {
        visit(place, items, &places, &mut seen, &mut order);
    }
    order
}

fn visit<T: Depends>(
    start: usize,
    items: &[T],
    places: &BTreeMap<String, Vec<usize>>,
    seen: &mut BTreeSet<usize>,
    order: &mut Vec<usize>,
) {
    // An explicit stack: a chain as long as the list must not overflow the thread's.
    let needs = |place: usize| -> Vec<usize> {
        items[place].needs().iter().rev().filter_map(|name| places.get(name)).flatten().copied().collect()
    };
    if !seen.insert(start) {
        return;
    }
    let mut stack = vec![(start, needs(start))];
    while let Some((place, open)) = stack.last_mut() {
        match open.pop() {
            Some(next) if seen.insert(next) => {
                let its_needs = needs(next);
                stack.push((next, its_needs));
            }
            Some(_) => {}
            None => {
                order.push(*place);
                stack.pop();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Item(&'static str, &'static [&'static str]);

    impl Depends for Item {
        fn names(&self) -> Vec<String> {
            vec![self.0.to_owned()]
        }
        fn needs(&self) -> Vec<String> {
            self.1.iter().map(|&name| name.to_owned()).collect()
        }
    }

    fn names(items: &[Item]) -> Vec<&'static str> {
        starting_order(items).into_iter().map(|place| items[place].0).collect()
    }

    #[test]
    fn what_is_needed_comes_first_and_the_rest_keeps_its_place() {
        let items =
            [Item("web", &["app", "cache"]), Item("app", &["db"]), Item("db", &[]), Item("cache", &[])];
        assert_eq!(names(&items), ["db", "app", "cache", "web"]);
        let independent = [Item("b", &[]), Item("a", &[])];
        assert_eq!(names(&independent), ["b", "a"]);
    }

    #[test]
    fn circles_and_unknown_names_lose_nobody() {
        let circle = [Item("a", &["b"]), Item("b", &["c", "gone"]), Item("c", &["a"])];
        assert_eq!(names(&circle), ["c", "b", "a"]);
        let itself = [Item("a", &["a"])];
        assert_eq!(names(&itself), ["a"]);
    }

    #[test]
    fn two_replicas_of_a_service_both_come_before_what_needs_it() {
        let items = [Item("web", &["db"]), Item("db", &[]), Item("db", &[])];
        assert_eq!(names(&items).last(), Some(&"web"));
    }
}
