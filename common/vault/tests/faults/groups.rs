//! One damaged key costs one group: the other groups are restored, checked and pruned as usual.

use std::collections::BTreeMap;
use std::sync::Arc;

use lifeboat_testkit::context;
use lifeboat_vault::check::{CheckOptions, Maintenance, ReadData, Shard};
use lifeboat_vault::repair::RepairOptions;
use lifeboat_vault::{
    KeeperKey, Listing, Membership, NoDialog, PluginDialog, RecoveryKeyFile, VaultError, WriterKey,
};

use crate::test_repository::{Files, TestRepository, noise};

fn files(seed: u64) -> Files {
    BTreeMap::from([("file".to_owned(), noise(seed, 400_000))])
}

fn flip(repo: &TestRepository, key: &str) {
    repo.flip(key, repo.faults.contents()[key].len() / 2);
}

/// Two hosts in separate groups with two snapshots each, of which the first is forgotten, and a keeper.
async fn repo() -> (TestRepository, Arc<WriterKey>, KeeperKey) {
    let mut repo = TestRepository::new().await;
    let one = Arc::clone(&repo.writer);
    let restorer = repo.restorer().await.unwrap();
    let two = Arc::new(
        Membership::of(&restorer, &repo.context()).add_writer(None, None, |_| Ok(())).await.unwrap(),
    );
    let keeper = repo.add_keeper().await;
    for seed in 0..2 {
        repo.snapshot_by(&one, &files(seed)).await.unwrap();
        repo.snapshot_by(&two, &files(10 + seed)).await.unwrap();
    }
    let session = repo.as_keeper(&keeper).await.unwrap();
    repo.forget_all_but(&session, 1).await.unwrap();
    (repo, two, keeper)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_group_key_loses_that_group_and_no_other() {
    let (repo, two, keeper) = repo().await;
    let group = two.group_id().to_string();
    let keys = repo.store().list(&format!("keys/group-{group}")).await.unwrap();
    assert_eq!(keys.len(), 2, "one for the data identity, one for the keeper");
    let (mut closed_to_root, mut closed_to_keeper) = (0, 0);
    for entry in keys {
        let repo = repo.fork();
        flip(&repo, &entry.key);
        let restorer = repo.restorer().await.unwrap();
        let listing = Listing::read(restorer.session()).await.unwrap();
        let (of_two, of_one): (Vec<_>, Vec<_>) =
            listing.snapshots.into_iter().partition(|snapshot| snapshot.writer() == two.writer);
        assert_eq!(of_one.len(), 1);
        for snapshot in of_one {
            let id = *snapshot.id();
            let (damaged, restored) = repo.restore(&restorer, snapshot).await.unwrap();
            assert!(damaged.is_empty() && restored == repo.committed[&id], "{damaged:?}");
        }
        // Closed groups are reported, with the object's name.
        assert_eq!(of_two.is_empty(), !listing.unreadable.is_empty(), "{:?}", listing.unreadable);
        closed_to_root += usize::from(of_two.is_empty());
        assert!(listing.unreadable.iter().all(|error| error.to_string().contains(&group)));

        // A keeper prunes the other group, and reports which one it skips.
        let pruned = repo.prune(&keeper, 0).await.unwrap();
        assert!(pruned.deleted_objects > 0, "{pruned:?}");
        closed_to_keeper += pruned.held_back.len();
        assert!(pruned.held_back.iter().all(|held| held.contains(&group)), "{:?}", pruned.held_back);

        // A check finds the object, and a repair with a recovery key does what it can.
        let maintenance = Maintenance::new(repo.as_keeper(&keeper).await.unwrap(), context());
        let everything = CheckOptions { read_data: ReadData::All, shard: Shard::WHOLE };
        let findings = maintenance.check(everything).await.unwrap();
        assert!(findings.damage.iter().any(|damage| damage.key == entry.key), "{findings:?}");
        let file = repo.home.path().join("again.key");
        lifeboat_vault::write_private(&file, &repo.recovery).unwrap();
        let dialog: Arc<dyn PluginDialog> = Arc::new(NoDialog);
        let key = RecoveryKeyFile::read(&file).unwrap().key(&dialog).unwrap();
        let root = Maintenance::with_recovery_key(restorer, key, context());
        let repaired = root.repair(RepairOptions::default()).await.unwrap();
        let is_open =
            Listing::read(repo.restorer().await.unwrap().session()).await.unwrap().unreadable.is_empty();
        if is_open {
            assert_eq!(repaired.remaining.len(), 0, "{repaired:?}");
        }
        // The group's own host can seal again what a recovery key cannot.
        let repository = repo.repository().await.unwrap();
        let host = Maintenance::with_writer_key(repository, &two, context()).unwrap();
        host.repair(RepairOptions::default()).await.unwrap();
        let listing = Listing::read(repo.restorer().await.unwrap().session()).await.unwrap();
        assert!(listing.unreadable.is_empty() && listing.snapshots.len() == 2, "{:?}", listing.unreadable);
    }
    assert_eq!((closed_to_root, closed_to_keeper), (1, 1), "each key was tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_only_group_closed_a_recovery_key_reports_the_damaged_object() {
    let mut repo = TestRepository::new().await;
    repo.snapshot(&files(0)).await.unwrap();
    let keys = repo.store().list("keys").await.unwrap();
    let key = keys.iter().find(|entry| entry.key.starts_with("keys/group-")).unwrap();
    flip(&repo, &key.key);
    let refused = repo.restorer().await.err().unwrap();
    assert!(matches!(refused, VaultError::Object(_)), "{refused}");
    assert!(refused.to_string().contains("keys/group-"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn members_are_added_and_the_epoch_advances_while_a_group_is_closed() {
    let (repo, two, _) = repo().await;
    let group = two.group_id();
    for entry in repo.store().list(&format!("keys/group-{group}")).await.unwrap() {
        flip(&repo, &entry.key);
    }
    let restorer = repo.restorer().await.unwrap();
    let refused = Membership::of(&restorer, &repo.context())
        .add_writer(Some(group), None, |_| Ok(()))
        .await
        .unwrap_err();
    assert!(refused.to_string().contains(&group.to_string()), "{refused}");
    Membership::of(&repo.restorer().await.unwrap(), &repo.context())
        .add_writer(None, None, |_| Ok(()))
        .await
        .unwrap();
    let keeper = repo.add_keeper().await;
    let pruned = repo.prune(&keeper, 0).await.unwrap();
    assert!(pruned.deleted_objects > 0 && pruned.held_back.len() == 1, "{pruned:?}");
    Membership::of(&repo.restorer().await.unwrap(), &repo.context()).rotate(None).await.unwrap();
    let listing = Listing::read(repo.restorer().await.unwrap().session()).await.unwrap();
    assert_eq!(listing.snapshots.len(), 1);
}
