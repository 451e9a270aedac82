//! A store that is slower than the source: reading continues, up to a limit, and nothing is lost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lifeboat_core::progress::{Progress, Unit};
use lifeboat_testkit::fault_store::{Fault, Gate, Operation, Rule};
use lifeboat_vault::PackSizes;
use tokio::sync::Notify;

use crate::test_repository::{TestRepository, noise};

/// Notified when the user is warned that no more may wait.
#[derive(Default)]
struct Warned(Arc<Notify>);

impl Progress for Warned {
    fn phase(&self, _: &str, _: Unit, _: Option<u64>) {}
    fn advance(&self, _: u64) {}
    fn warn(&self, message: &str) {
        assert!(message.contains("reading waits"), "{message}");
        self.0.notify_one();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn packs_wait_on_disk_for_a_slow_store_up_to_a_limit() {
    let mut repo = TestRepository::new().await;
    let writer = Arc::clone(&repo.writer);
    repo.packs = PackSizes { pack_bytes: 256 << 10, checkpoint_bytes: 256 << 10, spool_bytes: 2 << 20 };
    let cache = repo.home.path().join("cache/spool");
    let held = |gate: &Gate| {
        repo.faults.script(Rule::new(Fault::wait(gate)).on(Operation::Put).below("packs/").times(1000));
    };

    // All of it may wait: everything is read before one pack is stored.
    let gate = Gate::new();
    held(&gate);
    let files = BTreeMap::from([("data".to_owned(), noise(1, 1_800_000))]);
    repo.fill_source(&files);
    let run = repo.begin(&writer).await.unwrap();
    assert_eq!(std::fs::read_dir(&cache).unwrap().count(), 0, "waiting packs have no name");
    gate.open();
    let committed = run.commit().await.unwrap();
    repo.committed.insert(committed.id.unwrap(), files);
    repo.faults.clear_script();

    // If more than the limit would wait, reading waits for the store.
    let gate = Gate::new();
    held(&gate);
    let files = BTreeMap::from([("data".to_owned(), noise(2, 6_000_000))]);
    repo.fill_source(&files);
    let warned = Warned::default();
    let told = Arc::clone(&warned.0);
    let progress: Arc<dyn Progress> = Arc::new(warned);
    let run = async {
        let run = repo.begin_telling(&writer, &progress).await.unwrap();
        run.commit().await.unwrap()
    };
    let opening = async {
        let told = tokio::time::timeout(Duration::from_mins(2), told.notified()).await;
        gate.open();
        told.expect("the user is told that reading waits");
    };
    let (committed, ()) = tokio::join!(run, opening);
    repo.committed.insert(committed.id.unwrap(), files);
    repo.faults.clear_script();
    repo.assert_all_restore("a slow store").await;
}
