//! A process that dies at any operation of the store leaves every committed snapshot whole, and the next one can
//! continue.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lifeboat_testkit::fault_store::{Answer, Fault, Landing, Operation, Rule};
use lifeboat_testkit::{FakeClock, FaultStore, context};
use lifeboat_vault::check::Maintenance;
use lifeboat_vault::repair::RepairOptions;
use lifeboat_vault::{
    Copier, CopyOptions, Floor, Listing, Membership, NewRepository, OpenSnapshot, PinFile, Repository,
    VaultError, forget,
};

use crate::test_repository::{Files, TestRepository, noise};

fn files(seed: u64) -> Files {
    BTreeMap::from([
        ("changing".to_owned(), noise(seed, 700_000)),
        ("staying".to_owned(), noise(1_000, 500_000)),
        ("small".to_owned(), format!("content {seed}").into_bytes()),
    ])
}

/// A repository with two snapshots.
async fn repo() -> TestRepository {
    let mut repo = TestRepository::new().await;
    for seed in 0..2 {
        repo.snapshot(&files(seed)).await.unwrap();
    }
    repo
}

/// Lets `act` die at every operation of the store, with that operation done and not done; then checks that everything
/// is whole and that `act` succeeds when it is repeated.
async fn die_everywhere(
    repo: &TestRepository,
    what: &str,
    act: impl AsyncFn(&mut TestRepository) -> Result<(), VaultError>,
) {
    let mut whole = repo.fork();
    let before = whole.faults.operations();
    act(&mut whole).await.unwrap();
    let operations = whole.faults.operations() - before;
    assert!(operations > 3, "{what} asks for {operations} operations only");
    for landing in [Landing::NotLanded, Landing::Landed] {
        for n in 1..=operations {
            let when = format!("{what} that died at operation {n} of {operations} ({landing:?})");
            let mut repo = repo.fork();
            repo.faults.die_at(n, landing);
            let outcome = act(&mut repo).await;
            assert!(outcome.is_err() || n == operations, "{when}: it claims success");
            repo.faults.revive();
            repo.assert_all_restore(&when).await;
            act(&mut repo).await.unwrap_or_else(|error| panic!("again after {when}: {error}"));
            repo.assert_all_restore(&format!("again after {when}")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_may_die_anywhere() {
    let repo = repo().await;
    die_everywhere(&repo, "a run", async |repo| repo.snapshot(&files(2)).await.map(drop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_may_die_anywhere() {
    let mut repo = repo().await;
    let keeper = repo.add_keeper().await;
    let session = repo.as_keeper(&keeper).await.unwrap();
    repo.forget_all_but(&session, 1).await.unwrap();
    die_everywhere(&repo, "a prune without grace", async |repo| repo.prune(&keeper, 0).await.map(drop)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn forgetting_may_die_anywhere() {
    let repo = repo().await;
    die_everywhere(&repo, "a forget", async |repo| {
        let session = repo.as_writer(&repo.writer.clone()).await?;
        let listing = Listing::read(&session).await?;
        // Once the request was sent, the snapshot may be gone, even if the answer was lost.
        let chosen: Vec<_> = listing.snapshots.iter().filter(|s| s.sequence() == 0).collect();
        for snapshot in &chosen {
            repo.committed.remove(snapshot.id());
        }
        forget(&session, &chosen, false, &repo.context()).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changing_the_roster_may_die_anywhere() {
    let repo = repo().await;
    die_everywhere(&repo, "adding a writer", async |repo| {
        let restorer = repo.restorer().await?;
        Membership::of(&restorer, &repo.context()).add_writer(None, None, |_| Ok(())).await.map(drop)
    })
    .await;
    die_everywhere(&repo, "adding a keeper", async |repo| {
        Membership::of(&repo.restorer().await?, &repo.context()).add_keeper(None, |_| Ok(())).await.map(drop)
    })
    .await;
    die_everywhere(&repo, "rotating", async |repo| {
        Membership::of(&repo.restorer().await?, &repo.context()).rotate(None).await.map(drop)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn making_a_repository_may_die_anywhere() {
    let new = || NewRepository {
        recipients: Vec::new(),
        recovery_keys: 2,
        single_recipient: false,
        floor: Floor::default(),
    };
    let clock = FakeClock::new();
    let whole = FaultStore::new();
    Repository::create(whole.open(), new(), &context().with_clock(clock.clone()), |_| Ok(())).await.unwrap();
    let operations = whole.operations();
    for landing in [Landing::NotLanded, Landing::Landed] {
        for n in 1..=operations {
            let when = format!("at operation {n} of {operations} ({landing:?})");
            let faults = FaultStore::new();
            faults.die_at(n, landing);
            let mut repository = None;
            let keep = |made: &lifeboat_vault::Made| {
                repository = Some(*made.repository.id());
                Ok(())
            };
            Repository::create(faults.open(), new(), &context().with_clock(clock.clone()), keep)
                .await
                .err()
                .unwrap();
            faults.revive();
            // Either the keys that were kept open it, or another attempt can succeed.
            match Repository::create(faults.open(), new(), &context().with_clock(clock.clone()), |_| Ok(()))
                .await
            {
                Ok(_) => {}
                Err(VaultError::AlreadyARepository { .. }) => {
                    let opened = Repository::open(faults.open(), &repository.unwrap(), PinFile::none()).await;
                    opened.unwrap_or_else(|error| panic!("{when}: {error}"));
                }
                Err(error) => panic!("{when}: {error}"),
            }
        }
    }
    // A store that fails once and recovers is left unchanged.
    for n in 3..operations {
        let faults = FaultStore::new();
        faults.script(Rule::new(Fault::answer(Answer::Denied)).on(Operation::Put).nth(n - 2));
        Repository::create(faults.open(), new(), &context().with_clock(clock.clone()), |_| Ok(()))
            .await
            .err()
            .unwrap();
        assert!(faults.contents().is_empty(), "put {}: {:?}", n - 2, faults.contents().keys());
    }
}

/// Copies the newest snapshot of one repository into another, unless it exists there.
async fn copy_newest(from: &TestRepository, to: &mut TestRepository) -> Result<(), VaultError> {
    let restorer = from.restorer().await?;
    let newest = Listing::read(restorer.session()).await?.find("latest", None)?;
    let files = from.committed[newest.id()].clone();
    let source = OpenSnapshot::open(&restorer, newest).await?;
    let options = CopyOptions {
        compression_level: 1,
        threads: 2,
        cache: Some(to.home.path().join("cache")),
        keeps_damaged: false,
    };
    let mut copier = Copier::new(to.repository().await?, Arc::clone(&to.writer), options).await?;
    if copier.holds(source.snapshot()) {
        return Ok(());
    }
    let copied = copier.copy(&source, &to.context()).await?;
    to.committed.insert(copied.committed.id.unwrap(), files);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_may_die_anywhere_on_either_side() {
    let (from, mut to) = (repo().await, repo().await);
    die_everywhere(&to, "a copy's target", async |to| copy_newest(&from, to).await).await;

    let before = from.faults.operations();
    copy_newest(&from, &mut to.fork()).await.unwrap();
    let operations = from.faults.operations() - before;
    for n in 1..=operations {
        let when = format!("a copy whose source died at operation {n} of {operations}");
        let mut to = to.fork();
        from.faults.die_at(n, Landing::NotLanded);
        let outcome = copy_newest(&from, &mut to).await;
        from.faults.revive();
        assert!(outcome.is_err(), "{when}: it claims success");
        to.assert_all_restore(&when).await;
    }
    copy_newest(&from, &mut to).await.unwrap();
    to.assert_all_restore("a copy in the end").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repair_may_die_anywhere() {
    let repo = repo().await;
    let keeper = repo.add_keeper().await;
    // Damage that affects no restore, and that only a repair with delete rights can repair.
    let contents = repo.faults.contents();
    let first = |folder: &str| contents.keys().find(|key| key.starts_with(folder)).unwrap().clone();
    let (pack, listing, run) = (first("packs/"), first("contents/"), first("runs/"));
    repo.faults.plant(&pack, [&contents[&pack][..], b"more"].concat());
    repo.faults.plant(&listing, contents[&listing].slice(..100));
    repo.faults.take_away(&run);
    repo.faults.take_away("lifeboat.json");
    die_everywhere(&repo, "a repair", async |repo| {
        let maintenance = Maintenance::new(repo.as_keeper(&keeper).await?, context());
        let repaired = maintenance.repair(RepairOptions::default()).await?;
        if !repaired.unread.is_empty() {
            return Err(VaultError::Interrupted);
        }
        assert_eq!(repaired.remaining, Vec::new());
        Ok(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_run_uses_what_was_stored_and_does_not_read_finished_files_again() {
    let mut repo = TestRepository::new().await;
    let many: Files = (0..12).map(|n| (format!("file-{n:02}"), noise(n, 400_000))).collect();
    // Files that changed within the clock's grain before a run are read again, so make these old.
    repo.clock.advance(Duration::from_hours(50 * 365 * 24));
    repo.fill_source(&many);
    let writer = Arc::clone(&repo.writer);
    let run = repo.begin(&writer).await.unwrap();
    assert_eq!(repo.files_read(), 12);
    let dies_before_its_manifest = Rule::new(Fault::answer(Answer::Gone)).below("parts/").always();
    repo.faults.script(dies_before_its_manifest);
    run.commit().await.unwrap_err();
    repo.faults.clear_script();

    let run = repo.begin(&writer).await.unwrap();
    assert_eq!(repo.files_read(), 12, "stored files were read again");
    let committed = run.commit().await.unwrap();
    // Only the list of the files is new.
    assert!(committed.new_bytes < 10_000, "{} bytes were stored again", committed.new_bytes);
    repo.committed.insert(committed.id.unwrap(), many);
    repo.assert_all_restore("after a killed run").await;
}
