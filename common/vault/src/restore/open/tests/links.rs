//! Files with several names.

use std::fs;
use std::os::unix::fs::MetadataExt;

use super::workshop::{Items, Text, Workshop, given, noise, own, root};
use crate::format::item::{Item, ItemKind};
use crate::format::manifest::StreamKind;
use crate::tree::FolderSource;
use crate::tree::source::Source;

fn link(path: &str, target: &str) -> Item {
    let target = Some(target.as_bytes().to_vec().into());
    Item { kind: ItemKind::HardLink, size: None, target, ..own(path.as_bytes()) }
}

fn text(seed: u64) -> Text {
    Text(Some(noise(seed, 3_000_000)))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_name_of_a_damaged_file_comes_back() {
    let workshop = Workshop::new().await;
    let items = vec![
        (root(), None),
        (own(b"a.db"), Some(text(1))),
        (link("b.db", "a.db"), None),
        (link("c.db", "b.db"), None),
        (own(b"whole"), Some(text(2))),
        (link("whole-too", "whole"), None),
    ];
    workshop.take(vec![given(StreamKind::Path, "path", Items::of(items))]).await.unwrap();
    // One bit in the middle of the first file, in the first and larger pack.
    let packs = workshop.objects("packs/");
    let (pack, _) = packs.iter().max_by_key(|(_, bytes)| bytes.len()).unwrap();
    workshop.change(pack, |bytes| bytes[1_500_000] ^= 1);
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("target");
    let restored = workshop.restore(0, &target).await.unwrap();
    let damaged: Vec<_> = restored.damaged.iter().map(|p| p.path.strip_prefix(&target).unwrap()).collect();
    assert_eq!(
        damaged,
        [b"a.db", b"b.db", b"c.db"].map(|n| std::path::Path::new(std::str::from_utf8(n).unwrap()))
    );
    assert!(restored.damaged[2].reason.contains("another name of a.db"), "{:?}", restored.damaged);
    assert!(restored.unfinished.is_empty(), "{:?}", restored.unfinished);
    assert_eq!((restored.items, restored.files, restored.data_bytes), (3, 1, 3_000_000));
    let mut names: Vec<_> = fs::read_dir(&target).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["whole", "whole-too"]);
    assert_eq!(fs::read(target.join("whole-too")).unwrap(), noise(2, 3_000_000));
    assert_eq!(fs::metadata(target.join("whole")).unwrap().nlink(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_to_what_does_not_exist_is_reported() {
    let workshop = Workshop::new().await;
    let unnameable = "n".repeat(300);
    let items = vec![
        (root(), None),
        (link("a", "nothing"), None),
        (link("b", "z"), None),
        (own(unnameable.as_bytes()), None),
        (link("o", &unnameable), None),
        (link("p", "o"), None),
        (own(b"z"), None),
    ];
    workshop.take(vec![given(StreamKind::Path, "path", Items::of(items))]).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("target");
    let restored = workshop.restore(0, &target).await.unwrap();
    let names = |problems: &[crate::restore::open::Problem]| -> Vec<String> {
        problems.iter().map(|p| p.path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    };
    assert_eq!(names(&restored.damaged), ["a", "b"]);
    assert_eq!(names(&restored.unfinished), [unnameable.as_str(), "o", "p"]);
    assert!(restored.damaged[0].reason.contains("the snapshot has no such file"), "{:?}", restored.damaged);
    assert!(restored.unfinished[1].reason.contains("could not be made"), "{:?}", restored.unfinished);
    assert_eq!((restored.items, restored.files), (2, 1));
    assert_eq!(fs::read_dir(&target).unwrap().count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_link_to_a_file_that_could_not_be_read_stays_in_the_stream() {
    let workshop = Workshop::new().await;
    let items = vec![
        (root(), None),
        (own(b"a"), Some(Text(None))),
        (link("b", "a"), None),
        (link("c", "b"), None),
        (own(b"d"), Some(Text(Some(b"whole".to_vec())))),
        (link("e", "d"), None),
    ];
    let (committed, outcomes) =
        workshop.take(vec![given(StreamKind::Path, "path", Items::of(items))]).await.unwrap();
    assert!(committed.incomplete);
    let unreadable: Vec<_> = outcomes[0].unreadable.iter().map(|u| u.path.to_str().unwrap()).collect();
    assert_eq!(unreadable, ["a", "b", "c"]);
    let home = tempfile::tempdir().unwrap();
    let restored = workshop.restore(0, &home.path().join("target")).await.unwrap();
    assert!(restored.damaged.is_empty() && restored.unfinished.is_empty(), "{restored:?}");
    assert_eq!(restored.items, 3);
}

#[test]
fn a_folder_yields_the_file_itself_under_the_next_name_if_the_first_could_not_be_captured() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a"), "content").unwrap();
    for name in ["b", "c"] {
        fs::hard_link(folder.path().join("a"), folder.path().join(name)).unwrap();
    }
    let mut source = FolderSource::open(folder.path()).unwrap();
    let mut kinds = Vec::new();
    while let Some(found) = source.next() {
        let item = found.unwrap().item;
        kinds.push((String::from_utf8(item.path.to_vec()).unwrap(), item.kind));
        if &item.path[..] == b"a" {
            source.not_captured(&item.path);
        }
    }
    let kinds: Vec<_> = kinds.iter().map(|(path, kind)| (path.as_str(), *kind)).collect();
    let expected =
        [("", ItemKind::Folder), ("a", ItemKind::File), ("b", ItemKind::File), ("c", ItemKind::HardLink)];
    assert_eq!(kinds, expected);
}
