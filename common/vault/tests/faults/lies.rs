//! A store that lies: listings out of order, truncated or outdated, bytes changed in transit, objects that do not
//! exist. The result is an error or nothing; never wrong bytes, and never a loss that outlasts the lie.

use std::collections::BTreeMap;
use std::time::Duration;

use lifeboat_testkit::context;
use lifeboat_testkit::fault_store::{Fault, Operation, Rule};
use lifeboat_vault::check::{CheckOptions, Maintenance, ReadData, Shard};
use lifeboat_vault::{GRACE_DAYS, KeeperKey, Listing, VaultError};

use crate::test_repository::{Files, TestRepository, noise};

fn files(seed: u64) -> Files {
    BTreeMap::from([
        ("changing".to_owned(), noise(seed, 700_000)),
        ("staying".to_owned(), noise(1_000, 500_000)),
    ])
}

fn past_the_grace() -> Duration {
    Duration::from_hours(24) * u32::try_from(GRACE_DAYS + 1).unwrap()
}

/// A repository with three snapshots, of which one has a request to forget it, and its keeper.
async fn repo() -> (TestRepository, KeeperKey) {
    let mut repo = TestRepository::new().await;
    for seed in 0..3 {
        repo.snapshot(&files(seed)).await.unwrap();
    }
    let keeper = repo.add_keeper().await;
    let session = repo.as_keeper(&keeper).await.unwrap();
    repo.forget_all_but(&session, 2).await.unwrap();
    (repo, keeper)
}

async fn check(repo: &TestRepository, keeper: &KeeperKey) -> Result<usize, VaultError> {
    let maintenance = Maintenance::new(repo.as_keeper(keeper).await?, context());
    let findings = maintenance.check(CheckOptions { read_data: ReadData::All, shard: Shard::WHOLE }).await?;
    Ok(findings.damage.len() + findings.unread.len())
}

/// Restores everything that is listed. Restored bytes are right or reported as missing; returns how many snapshots are
/// whole.
async fn restore_or_say(repo: &TestRepository, when: &str) -> Result<usize, VaultError> {
    let restorer = repo.restorer().await?;
    let listing = Listing::read(restorer.session()).await?;
    let mut whole = 0;
    for snapshot in listing.snapshots {
        let id = *snapshot.id();
        let (damaged, files) = repo.restore(&restorer, snapshot).await?;
        let Some(committed) = repo.committed.get(&id) else { continue };
        for (name, bytes) in &files {
            assert!(
                committed.get(name) == Some(bytes),
                "{when}: {name} of {id} was restored with other bytes"
            );
        }
        assert_eq!(
            files.len() + damaged.len(),
            committed.len(),
            "{when}: a file of {id} is missing without a report"
        );
        whole += usize::from(damaged.is_empty());
    }
    Ok(whole)
}

#[tokio::test(flavor = "multi_thread")]
async fn listings_may_come_in_any_order() {
    let (mut repo, keeper) = repo().await;
    let mixed = |mut entries: Vec<_>| {
        let middle = entries.len() / 2;
        entries.rotate_left(middle);
        entries
    };
    for order in [Fault::reversed_listing(), Fault::change_listing(mixed)] {
        repo.faults.clear_script();
        repo.faults.script(Rule::new(order).always());
        repo.snapshot(&files(3)).await.unwrap();
        assert_eq!(check(&repo, &keeper).await.unwrap(), 0);
        let session = repo.as_keeper(&keeper).await.unwrap();
        repo.forget_all_but(&session, 2).await.unwrap();
        repo.prune(&keeper, 0).await.unwrap();
        repo.assert_all_restore("listings out of order").await;
        assert_eq!(check(&repo, &keeper).await.unwrap(), 0);
    }
}

/// The lies of listings, each from the `n`th one on or only in that one.
fn lies(yesterday: &BTreeMap<String, bytes::Bytes>) -> Vec<(&'static str, Fault)> {
    let foreign = "packs/00000000000000000000000000000000/00/forged";
    vec![
        ("nothing", Fault::short_listing(0)),
        ("the first only", Fault::short_listing(1)),
        ("yesterday's", Fault::stale_listing(yesterday)),
        ("what does not exist", Fault::forged_entry(foreign, 1 << 60)),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prune_that_is_lied_to_once_loses_nothing() {
    let mut repo = TestRepository::new().await;
    repo.snapshot(&files(0)).await.unwrap();
    let yesterday = repo.faults.contents();
    for seed in 1..3 {
        repo.snapshot(&files(seed)).await.unwrap();
    }
    let keeper = repo.add_keeper().await;
    let session = repo.as_keeper(&keeper).await.unwrap();
    repo.forget_all_but(&session, 2).await.unwrap();
    // Once while it condemns, once while it sweeps what was correctly condemned.
    for condemned_before in [false, true] {
        let base = repo.fork();
        if condemned_before {
            base.prune(&keeper, GRACE_DAYS).await.unwrap();
        }
        base.faults.advance(past_the_grace());
        let truthful = base.fork();
        truthful.prune(&keeper, GRACE_DAYS).await.unwrap();
        let listings = truthful.faults.count(Operation::List, "");
        assert!(listings > 5, "{listings} listings only");
        for (lie, fault) in lies(&yesterday) {
            for n in 1..=listings as u64 {
                let when = format!("listing {n} shows {lie}, condemned before: {condemned_before}");
                let repo = base.fork();
                repo.faults.script(Rule::new(fault.clone()).on(Operation::List).nth(n));
                // It may refuse, or condemn too much; but it must not delete what is needed.
                let _refused = repo.prune(&keeper, GRACE_DAYS).await.err();
                repo.faults.clear_script();
                repo.assert_all_restore(&when).await;
                repo.faults.advance(past_the_grace());
                repo.prune(&keeper, GRACE_DAYS).await.unwrap_or_else(|error| panic!("{when}: {error}"));
                repo.assert_all_restore(&format!("{when}, and after the next prune")).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_lied_to_commits_what_restores_or_nothing() {
    let mut repo = TestRepository::new().await;
    repo.snapshot(&files(0)).await.unwrap();
    let yesterday = repo.faults.contents();
    repo.snapshot(&files(1)).await.unwrap();
    let mut truthful = repo.fork();
    truthful.snapshot(&files(2)).await.unwrap();
    let listings = truthful.faults.count(Operation::List, "");
    let mut committed = 0;
    for (lie, fault) in lies(&yesterday) {
        for n in 1..=listings as u64 {
            let when = format!("listing {n} of a run shows {lie}");
            let mut repo = repo.fork();
            repo.faults.script(Rule::new(fault.clone()).on(Operation::List).nth(n));
            committed += usize::from(repo.snapshot(&files(2)).await.is_ok());
            repo.faults.clear_script();
            repo.assert_all_restore(&when).await;
            repo.snapshot(&files(3)).await.unwrap_or_else(|error| panic!("after {when}: {error}"));
            repo.assert_all_restore(&format!("after {when}")).await;
        }
    }
    assert!(committed > 0, "every run was refused: nothing was tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_change_in_transit_are_never_accepted() {
    let (repo, keeper) = repo().await;
    let truthful = repo.fork();
    assert_eq!(restore_or_say(&truthful, "truthful").await.unwrap(), 2);
    let reads = |repo: &TestRepository| {
        repo.faults.count(Operation::Get, "") as u64 + repo.faults.count(Operation::GetRange, "") as u64
    };
    let restore_reads = reads(&truthful);
    let told = [("flipped", Fault::flipped_bit(333)), ("cut", Fault::cut_body(17))];
    for (how, fault) in &told {
        for n in 1..=restore_reads {
            let when = format!("read {n} of a restore comes {how}");
            let repo = repo.fork();
            repo.faults.script(Rule::new(fault.clone()).nth(n));
            let _refused = restore_or_say(&repo, &when).await.err();
        }
    }
    let mut truthful = repo.fork();
    truthful.snapshot(&files(5)).await.unwrap();
    let run_reads = reads(&truthful);
    let truthful = repo.fork();
    truthful.prune(&keeper, 0).await.unwrap();
    let prune_reads = reads(&truthful);
    for (how, fault) in &told {
        for n in 1..=run_reads {
            let when = format!("read {n} of a run comes {how}");
            let mut repo = repo.fork();
            repo.faults.script(Rule::new(fault.clone()).nth(n));
            let _refused = repo.snapshot(&files(5)).await.err();
            repo.faults.clear_script();
            repo.assert_all_restore(&when).await;
        }
        for n in 1..=prune_reads {
            let when = format!("read {n} of a prune comes {how}");
            let repo = repo.fork();
            repo.faults.script(Rule::new(fault.clone()).nth(n));
            let _refused = repo.prune(&keeper, 0).await.err();
            repo.faults.clear_script();
            repo.assert_all_restore(&when).await;
        }
    }
}
