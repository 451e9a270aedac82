//! One folder of a stream with its contents, or one file, as a separate tree.

use std::collections::{BTreeSet, HashMap};

use minicbor::bytes::ByteVec;

use crate::error::VaultError;
use crate::format::item::{Item, ItemKind, is_at_or_below};
use crate::restore::open::OpenSnapshot;

/// One folder of a stream with its contents, or one file, as a separate tree: the folder has the empty path, a file its
/// own name.
#[derive(Debug)]
pub struct Subtree {
    pub(crate) items: Vec<Item>,
}

impl Subtree {
    /// The name of the file, if it is one; `None` for a folder.
    pub fn file_name(&self) -> Option<&[u8]> {
        self.items.first().map(|first| &first.path[..]).filter(|path| !path.is_empty())
    }

    /// The same file under another name; a folder is unchanged.
    #[must_use]
    pub fn named(mut self, name: &[u8]) -> Self {
        if self.file_name().is_some() {
            self.items.iter_mut().for_each(|item| item.path = name.to_vec().into());
        }
        self
    }
}

impl OpenSnapshot {
    /// Reads what is at `path` in the stream at `index`; `None` if nothing is. A file that also has a name outside
    /// becomes a separate file.
    pub async fn subtree(&self, index: usize, path: &[u8]) -> Result<Option<Subtree>, VaultError> {
        let mut found = Vec::new();
        let mut items = self.items(index)?;
        while let Some(item) = items.next().await? {
            if is_at_or_below(&item.path, path) {
                found.push(item);
            }
        }
        let mut elsewhere = HashMap::new();
        let mut wanted = leading_out(&found, path);
        // A link leads to a file, or to another link that does. Longer chains are not followed.
        for _ in 0..2 {
            if wanted.is_empty() {
                break;
            }
            let mut next = BTreeSet::new();
            let mut items = self.items(index)?;
            while let Some(item) = items.next().await? {
                if wanted.remove(&item.path[..]) {
                    next.extend(leading_out(std::slice::from_ref(&item), path));
                    elsewhere.insert(item.path.to_vec(), item);
                }
            }
            next.retain(|path| !elsewhere.contains_key(path));
            wanted = next;
        }
        let is_empty = found.is_empty();
        let items = as_a_tree(found, path, &elsewhere);
        Ok((!is_empty).then_some(Subtree { items }))
    }
}

/// The paths outside `top` that hard links among `items` lead to.
fn leading_out(items: &[Item], top: &[u8]) -> BTreeSet<Vec<u8>> {
    let links = items.iter().filter(|item| item.kind == ItemKind::HardLink);
    let targets = links.filter_map(|link| link.target.as_ref()).filter(|target| !is_at_or_below(target, top));
    targets.map(|target| target.to_vec()).collect()
}

/// The file that `path` leads to among `elsewhere`; `None` for a circle or a missing target.
fn file_at<'i>(path: &[u8], elsewhere: &'i HashMap<Vec<u8>, Item>) -> Option<&'i Item> {
    let mut item = elsewhere.get(path)?;
    for _ in 0..elsewhere.len() {
        match (item.kind, &item.target) {
            (ItemKind::HardLink, Some(target)) => item = elsewhere.get(&target[..])?,
            _ => return Some(item),
        }
    }
    None
}

/// `items`, which are at or below `top`, with paths below it. A link to a file `elsewhere` becomes that file; further
/// names of it link to the first one here.
fn as_a_tree(items: Vec<Item>, top: &[u8], elsewhere: &HashMap<Vec<u8>, Item>) -> Vec<Item> {
    let is_folder = items.first().is_some_and(|first| *first.path == *top && first.kind == ItemKind::Folder);
    let name = top.rsplit(|byte| *byte == b'/').next().unwrap_or(top);
    let below = |path: &[u8]| -> ByteVec {
        match path.strip_prefix(top) {
            Some([b'/', rest @ ..]) if !top.is_empty() => rest.to_vec().into(),
            Some(rest) if top.is_empty() || is_folder => rest.to_vec().into(),
            _ => name.to_vec().into(),
        }
    };
    let mut first_here: HashMap<Vec<u8>, ByteVec> = HashMap::new();
    let mut tree = Vec::with_capacity(items.len());
    for mut item in items {
        let path = below(&item.path);
        match item.target.take() {
            Some(target) if item.kind == ItemKind::HardLink && is_at_or_below(&target, top) => {
                item.target = Some(below(&target));
            }
            Some(target) if item.kind == ItemKind::HardLink => match file_at(&target, elsewhere) {
                Some(file) => {
                    if let Some(first) = first_here.get(&file.path[..]) {
                        item.target = Some(first.clone());
                    } else {
                        first_here.insert(file.path.to_vec(), path.clone());
                        item = file.clone();
                    }
                }
                // What the snapshot does not have is reported as for any other link.
                None => item.target = Some(target),
            },
            target => item.target = target,
        }
        item.path = path;
        item.origin = None;
        tree.push(item);
    }
    tree
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::item::tests::file;

    fn of_kind(kind: ItemKind, path: &str, target: Option<&str>) -> Item {
        let target = target.map(|target| target.as_bytes().to_vec().into());
        Item { kind, size: None, target, ..file(path.as_bytes()) }
    }

    fn link(path: &str, target: &str) -> Item {
        of_kind(ItemKind::HardLink, path, Some(target))
    }

    fn shown(items: &[Item]) -> Vec<String> {
        let text = |bytes: &ByteVec| String::from_utf8_lossy(bytes).into_owned();
        let target =
            |item: &Item| item.target.as_ref().map_or_else(String::new, |t| format!(" -> {}", text(t)));
        items.iter().map(|item| format!("{:?} {}{}", item.kind, text(&item.path), target(item))).collect()
    }

    #[test]
    fn what_is_at_a_path_becomes_a_tree() {
        let folder = |path| of_kind(ItemKind::Folder, path, None);
        let symlink = |path, target| of_kind(ItemKind::Symlink, path, Some(target));
        let all = [
            folder(""),
            folder("a"),
            file(b"a/first"),
            link("a/second", "a/first"),
            folder("a/sub"),
            symlink("a/sub/s", "../first"),
            file(b"ab"),
            folder("b"),
            link("b/in", "b/x"),
            link("b/one", "a/first"),
            link("b/two", "a/second"),
            link("b/void", "gone"),
        ];
        for (top, expected) in [
            (
                "a",
                vec![
                    "Folder ",
                    "File first",
                    "HardLink second -> first",
                    "Folder sub",
                    "Symlink sub/s -> ../first",
                ],
            ),
            ("a/sub", vec!["Folder ", "Symlink s -> ../first"]),
            ("a/first", vec!["File first"]),
            ("a/second", vec!["File second"]),
            ("ab", vec!["File ab"]),
            (
                "b",
                vec![
                    "Folder ",
                    "HardLink in -> x",
                    "File one",
                    "HardLink two -> one",
                    "HardLink void -> gone",
                ],
            ),
            ("missing", vec![]),
        ] {
            let top = top.as_bytes();
            let found: Vec<Item> =
                all.iter().filter(|item| is_at_or_below(&item.path, top)).cloned().collect();
            // As the snapshot is read: until nothing new is wanted.
            let mut elsewhere: HashMap<Vec<u8>, Item> = HashMap::new();
            let mut wanted = leading_out(&found, top);
            while let Some(path) = wanted.pop_first() {
                for item in all.iter().filter(|item| item.path[..] == path) {
                    if elsewhere.insert(path.clone(), item.clone()).is_none() {
                        wanted.extend(leading_out(std::slice::from_ref(item), top));
                    }
                }
            }
            assert_eq!(
                shown(&as_a_tree(found, top, &elsewhere)),
                expected,
                "{}",
                String::from_utf8_lossy(top)
            );
        }
    }

    #[test]
    fn links_in_a_circle_lead_to_nothing() {
        let elsewhere = HashMap::from([(b"x".to_vec(), link("x", "y")), (b"y".to_vec(), link("y", "x"))]);
        let tree = as_a_tree(vec![link("a", "x")], b"a", &elsewhere);
        assert_eq!(shown(&tree), ["HardLink a -> x"]);
    }
}
