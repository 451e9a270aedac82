//! A store that lies: listings out of order, truncated or outdated, bytes changed in transit, objects that do not
//! exist. The result is an error or nothing; never wrong bytes, and never a loss that outlasts the lie.

use std::collections::BTreeMap;
use std::time::Duration;

use lifeboat_testkit::fault_store::{Fault, Operation, Rule};
use lifeboat_vault::check::{CheckOptions, Checker, ReadData, Shard};
use lifeboat_vault::{GRACE_DAYS, KeeperKey, Listing, VaultError};
use tokio_util::sync::CancellationToken;

use crate::yard::{Files, Yard, noise, silent};

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
async fn yard() -> (Yard, KeeperKey) {
    let mut yard = Yard::new().await;
    for seed in 0..3 {
        yard.snapshot(&files(seed)).await.unwrap();
    }
    let keeper = yard.add_keeper().await;
    let viewer = yard.as_keeper(&keeper).await.unwrap();
    yard.forget_all_but(&viewer, 2).await.unwrap();
    (yard, keeper)
}

async fn check(yard: &Yard, keeper: &KeeperKey) -> Result<usize, VaultError> {
    let checker = Checker::new(yard.as_keeper(keeper).await?, silent(), CancellationToken::new());
    let findings = checker.check(CheckOptions { read_data: ReadData::All, shard: Shard::WHOLE }).await?;
    Ok(findings.damage.len() + findings.unread.len())
}

/// Restores everything that is listed. Restored bytes are right or reported as missing; returns how many snapshots are
/// whole.
async fn restore_or_say(yard: &Yard, when: &str) -> Result<usize, VaultError> {
    let restorer = yard.restorer().await?;
    let listing = Listing::read(restorer.viewer()).await?;
    let mut whole = 0;
    for snapshot in listing.snapshots {
        let id = *snapshot.id();
        let (damaged, files) = yard.restore(&restorer, snapshot).await?;
        let Some(committed) = yard.committed.get(&id) else { continue };
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
    let (mut yard, keeper) = yard().await;
    let mixed = |mut entries: Vec<_>| {
        let middle = entries.len() / 2;
        entries.rotate_left(middle);
        entries
    };
    for order in [Fault::reversed_listing(), Fault::change_listing(mixed)] {
        yard.faults.clear_script();
        yard.faults.script(Rule::new(order).always());
        yard.snapshot(&files(3)).await.unwrap();
        assert_eq!(check(&yard, &keeper).await.unwrap(), 0);
        let viewer = yard.as_keeper(&keeper).await.unwrap();
        yard.forget_all_but(&viewer, 2).await.unwrap();
        yard.prune(&keeper, 0).await.unwrap();
        yard.assert_all_restore("listings out of order").await;
        assert_eq!(check(&yard, &keeper).await.unwrap(), 0);
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
    let mut yard = Yard::new().await;
    yard.snapshot(&files(0)).await.unwrap();
    let yesterday = yard.faults.contents();
    for seed in 1..3 {
        yard.snapshot(&files(seed)).await.unwrap();
    }
    let keeper = yard.add_keeper().await;
    let viewer = yard.as_keeper(&keeper).await.unwrap();
    yard.forget_all_but(&viewer, 2).await.unwrap();
    // Once while it condemns, once while it sweeps what was correctly condemned.
    for condemned_before in [false, true] {
        let base = yard.fork();
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
                let yard = base.fork();
                yard.faults.script(Rule::new(fault.clone()).on(Operation::List).nth(n));
                // It may refuse, or condemn too much; but it must not delete what is needed.
                let _refused = yard.prune(&keeper, GRACE_DAYS).await.err();
                yard.faults.clear_script();
                yard.assert_all_restore(&when).await;
                yard.faults.advance(past_the_grace());
                yard.prune(&keeper, GRACE_DAYS).await.unwrap_or_else(|error| panic!("{when}: {error}"));
                yard.assert_all_restore(&format!("{when}, and after the next prune")).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_lied_to_commits_what_restores_or_nothing() {
    let mut yard = Yard::new().await;
    yard.snapshot(&files(0)).await.unwrap();
    let yesterday = yard.faults.contents();
    yard.snapshot(&files(1)).await.unwrap();
    let mut truthful = yard.fork();
    truthful.snapshot(&files(2)).await.unwrap();
    let listings = truthful.faults.count(Operation::List, "");
    let mut committed = 0;
    for (lie, fault) in lies(&yesterday) {
        for n in 1..=listings as u64 {
            let when = format!("listing {n} of a run shows {lie}");
            let mut yard = yard.fork();
            yard.faults.script(Rule::new(fault.clone()).on(Operation::List).nth(n));
            committed += usize::from(yard.snapshot(&files(2)).await.is_ok());
            yard.faults.clear_script();
            yard.assert_all_restore(&when).await;
            yard.snapshot(&files(3)).await.unwrap_or_else(|error| panic!("after {when}: {error}"));
            yard.assert_all_restore(&format!("after {when}")).await;
        }
    }
    assert!(committed > 0, "every run was refused: nothing was tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_change_in_transit_are_never_accepted() {
    let (yard, keeper) = yard().await;
    let truthful = yard.fork();
    assert_eq!(restore_or_say(&truthful, "truthful").await.unwrap(), 2);
    let reads = |yard: &Yard| {
        yard.faults.count(Operation::Get, "") as u64 + yard.faults.count(Operation::GetRange, "") as u64
    };
    let restore_reads = reads(&truthful);
    let told = [("flipped", Fault::flipped_bit(333)), ("cut", Fault::cut_body(17))];
    for (how, fault) in &told {
        for n in 1..=restore_reads {
            let when = format!("read {n} of a restore comes {how}");
            let yard = yard.fork();
            yard.faults.script(Rule::new(fault.clone()).nth(n));
            let _refused = restore_or_say(&yard, &when).await.err();
        }
    }
    let mut truthful = yard.fork();
    truthful.snapshot(&files(5)).await.unwrap();
    let run_reads = reads(&truthful);
    let truthful = yard.fork();
    truthful.prune(&keeper, 0).await.unwrap();
    let prune_reads = reads(&truthful);
    for (how, fault) in &told {
        for n in 1..=run_reads {
            let when = format!("read {n} of a run comes {how}");
            let mut yard = yard.fork();
            yard.faults.script(Rule::new(fault.clone()).nth(n));
            let _refused = yard.snapshot(&files(5)).await.err();
            yard.faults.clear_script();
            yard.assert_all_restore(&when).await;
        }
        for n in 1..=prune_reads {
            let when = format!("read {n} of a prune comes {how}");
            let yard = yard.fork();
            yard.faults.script(Rule::new(fault.clone()).nth(n));
            let _refused = yard.prune(&keeper, 0).await.err();
            yard.faults.clear_script();
            yard.assert_all_restore(&when).await;
        }
    }
}
