//! Restores that end early, and obstacles on the target's side.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use lifeboat_testkit::fault_store::{Answer, Fault, Operation, Rule};

use super::workshop::{Items, Text, Workshop, given, noise, own, root};
use crate::error::VaultError;
use crate::format::item::{Item, ItemKind};
use crate::format::manifest::StreamKind;
use crate::tree::{TargetFolder, TreeWriter};

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_ends_early_leaves_no_file_that_is_not_whole() {
    let workshop = Workshop::new().await;
    let file = |name: &str, seed| (own(name.as_bytes()), Some(Text(Some(noise(seed, 20_000_000)))));
    let items = vec![(root(), None), file("a", 1), (own(b"empty"), None), file("z", 2)];
    workshop.take(vec![given(StreamKind::Path, "path", Items::of(items))]).await.unwrap();
    for number in 2..5 {
        workshop.faults.clear_script();
        workshop.faults.clear_log();
        let answer = Fault::answer(Answer::Denied);
        workshop.faults.script(Rule::new(answer).on(Operation::GetRange).below("packs/").nth(number));
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("target");
        let error = workshop.restore(0, &target).await.unwrap_err();
        assert!(matches!(error, VaultError::Store(_)), "{error:?}");
        for (name, seed) in [("a", 1), ("z", 2)] {
            let found = fs::read(target.join(name)).ok();
            assert!(found.is_none_or(|bytes| bytes == noise(seed, 20_000_000)), "read {number}, {name}");
        }
        assert_eq!(fs::metadata(&target).unwrap().mode() & 0o7777, 0o700);
    }
}

type Exchange<'e> = &'e dyn Fn(&std::path::Path, &std::path::Path);

/// A tree with one item that is made but not finished; then `exchange` replaces the item.
fn exchanged(
    it: &Item,
    exchange: impl FnOnce(&std::path::Path, &std::path::Path),
) -> (tempfile::TempDir, TreeWriter, crate::tree::Identity) {
    let home = tempfile::tempdir().unwrap();
    let secret = home.path().join("secret");
    fs::write(&secret, "nobody may change this").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    let target = home.path().join("target");
    let mut tree = TreeWriter::new(TargetFolder::take(&target).unwrap());
    tree.make(&root(), None).unwrap();
    let identity = tree.make(it, None).unwrap();
    exchange(&target.join("it"), &secret);
    (home, tree, identity)
}

#[test]
fn no_step_of_a_restore_touches_what_replaced_an_item() {
    let kind = |kind, size| Item { kind, size, mode: 0o6777, ..own(b"it") };
    let items = [
        kind(ItemKind::File, Some(0)),
        kind(ItemKind::Folder, None),
        kind(ItemKind::Fifo, None),
        kind(ItemKind::Socket, None),
        Item { target: Some(b"elsewhere".to_vec().into()), ..kind(ItemKind::Symlink, None) },
    ];
    let by_link = |it: &std::path::Path, secret: &std::path::Path| {
        if fs::remove_file(it).is_err() {
            fs::remove_dir(it).unwrap();
        }
        symlink(secret, it).unwrap();
    };
    let by_another_name = |it: &std::path::Path, secret: &std::path::Path| {
        if fs::remove_file(it).is_err() {
            fs::remove_dir(it).unwrap();
        }
        fs::hard_link(secret, it).unwrap();
    };
    let exchanges: [Exchange<'_>; 2] = [&by_link, &by_another_name];
    for item in &items {
        for exchange in exchanges {
            let (home, mut tree, identity) = exchanged(item, exchange);
            let before = fs::metadata(home.path().join("secret")).unwrap();
            tree.finish(item, identity).unwrap_err();
            tree.remove(item, identity).unwrap_err();
            if item.kind == ItemKind::File {
                tree.empty(item, identity).unwrap_err();
                tree.folders().open_file(b"it", identity).unwrap_err();
                let target = Some(b"it".to_vec().into());
                let link = Item { kind: ItemKind::HardLink, size: None, target, ..own(b"link") };
                tree.make(&link, Some(identity)).unwrap_err();
                assert!(!home.path().join("target/link").exists());
            }
            if item.kind == ItemKind::Folder {
                tree.make(&own(b"it/below"), None).unwrap_err();
            }
            let after = fs::metadata(home.path().join("secret")).unwrap();
            let facts =
                |meta: &fs::Metadata| (meta.mode(), meta.uid(), meta.mtime(), meta.mtime_nsec(), meta.len());
            assert_eq!(facts(&before), facts(&after), "{:?}", item.kind);
            assert!(home.path().join("target/it").symlink_metadata().is_ok(), "what was put there stays");
        }
    }
}

#[test]
fn a_folder_that_replaced_a_restored_folder_is_not_filled() {
    let folder = Item { kind: ItemKind::Folder, size: None, ..own(b"it") };
    let (home, mut tree, identity) = exchanged(&folder, |it, _| {
        fs::rename(it, it.with_file_name("moved")).unwrap();
        fs::create_dir(it).unwrap();
    });
    tree.make(&own(b"it/below"), None).unwrap_err();
    tree.finish(&folder, identity).unwrap_err();
    assert_eq!(fs::read_dir(home.path().join("target/it")).unwrap().count(), 0);
}

#[test]
fn metadata_is_set_on_everything_in_a_tree() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("target");
    let mut tree = TreeWriter::new(TargetFolder::take(&target).unwrap());
    let item = |path: &str, kind, size| Item {
        kind,
        size,
        mode: 0o1751,
        mtime: 1_000_000_000,
        mtime_ns: 5,
        ..own(path.as_bytes())
    };
    let link = Item { target: Some(b"nowhere".to_vec().into()), ..item("link", ItemKind::Symlink, None) };
    let items = [
        item("", ItemKind::Folder, None),
        item("fifo", ItemKind::Fifo, None),
        item("file", ItemKind::File, Some(3)),
        item("folder", ItemKind::Folder, None),
        link,
        item("socket", ItemKind::Socket, None),
    ];
    let made: Vec<_> = items.iter().map(|item| tree.make(item, None).unwrap()).collect();
    for (item, identity) in items.iter().zip(made).rev() {
        tree.finish(item, identity).unwrap();
    }
    for item in &items {
        let path = target.join(std::str::from_utf8(&item.path).unwrap());
        let meta = fs::symlink_metadata(&path).unwrap();
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_000_000_000, 5), "{}", path.display());
        if item.kind != ItemKind::Symlink {
            assert_eq!(meta.mode() & 0o7777, 0o1751, "{}", path.display());
        }
    }
}

/// `user::rwx, user:65534:rwx, group::rwx, mask::rwx, other::---` as the kernel stores it (`linux/posix_acl_xattr.h`).
fn acl_for_nobody() -> Vec<u8> {
    let entries: [(u16, u16, u32); 5] =
        [(1, 7, u32::MAX), (2, 7, 65534), (4, 7, u32::MAX), (0x10, 7, u32::MAX), (0x20, 0, u32::MAX)];
    let mut acl = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        acl.extend(tag.to_le_bytes().into_iter().chain(permissions.to_le_bytes()).chain(id.to_le_bytes()));
    }
    acl
}

#[test]
fn what_is_restored_inherits_no_access_list() {
    use rustix::fs::XattrFlags;
    let home = tempfile::tempdir().unwrap();
    let share = home.path().join("share");
    fs::create_dir(&share).unwrap();
    let flags = XattrFlags::empty();
    rustix::fs::setxattr(&share, "system.posix_acl_default", &acl_for_nobody(), flags).unwrap();
    let lists = |path: &std::path::Path| {
        ["system.posix_acl_access", "system.posix_acl_default"]
            .map(|name| rustix::fs::getxattr(path, name, &mut [0_u8; 256][..]).is_ok())
    };
    fs::create_dir(share.join("control")).unwrap();
    assert_eq!(lists(&share.join("control")), [true, true], "this file system supports access lists");
    let taken = TargetFolder::take(&share.join("new")).unwrap();
    let below = taken.make_below("below").unwrap();
    let mut tree = TreeWriter::new(below);
    let items = [
        Item { mode: 0o750, ..root() },
        Item { kind: ItemKind::Folder, size: None, mode: 0o750, ..own(b"folder") },
        Item { mode: 0o640, ..own(b"folder/file") },
    ];
    let made: Vec<_> = items.iter().map(|item| tree.make(item, None).unwrap()).collect();
    for (item, identity) in items.iter().zip(made).rev() {
        tree.finish(item, identity).unwrap();
    }
    for path in ["new", "new/below", "new/below/folder", "new/below/folder/file"] {
        assert_eq!(lists(&share.join(path)), [false, false], "{path}");
    }
    assert_eq!(fs::metadata(share.join("new/below/folder/file")).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn root_takes_over_the_folder_of_somebody_else_and_gives_it_back() {
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("target");
    fs::create_dir(&target).unwrap();
    fs::set_permissions(&target, fs::Permissions::from_mode(0o777)).unwrap();
    if std::os::unix::fs::chown(&target, Some(65534), Some(65534)).is_err() {
        // Only root can give folders away; the decision itself has its own table (tree/target.rs).
        return;
    }
    let taken = TargetFolder::take(&target).unwrap();
    let meta = fs::metadata(&target).unwrap();
    assert_eq!((meta.uid(), meta.mode() & 0o7777), (0, 0o700));
    taken.give_back().unwrap();
    let meta = fs::metadata(&target).unwrap();
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o7777), (65534, 65534, 0o777));
}
