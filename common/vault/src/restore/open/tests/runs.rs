//! Runs whose key is lost.

use std::fs;

use super::workshop::{Items, Text, Workshop, given, noise, own, root};
use crate::format::layout;
use crate::format::manifest::StreamKind;

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_run_key_costs_the_files_in_that_runs_frames_and_no_others() {
    let workshop = Workshop::new().await;
    let stream = |names: &[(&str, u64)]| {
        let file =
            |(name, seed): &(&str, u64)| (own(name.as_bytes()), Some(Text(Some(noise(*seed, 200_000)))));
        let items = std::iter::once((root(), None)).chain(names.iter().map(file)).collect();
        vec![given(StreamKind::Path, "path", Items::of(items))]
    };
    workshop.take(stream(&[("old", 1)])).await.unwrap();
    let (first_run, first_packs) = (workshop.objects("runs/"), workshop.objects("packs/"));
    workshop.take(stream(&[("new", 2), ("old", 1)])).await.unwrap();
    assert_eq!(workshop.objects("packs/").len(), first_packs.len() + 2);
    // The first run's key is gone everywhere: from its registration, and from the headers of its packs.
    for key in first_run.keys() {
        workshop.faults.take_away(key);
    }
    for key in first_packs.keys() {
        workshop.change(key, |bytes| bytes[9..200].fill(0));
    }
    let home = tempfile::tempdir().unwrap();
    let target = home.path().join("target");
    let restored = workshop.restore(1, &target).await.unwrap();
    assert_eq!(restored.damaged.len(), 1, "{restored:?}");
    let problem = &restored.damaged[0];
    assert!(problem.path.ends_with("old"), "{problem:?}");
    assert!(problem.reason.contains("runs/"), "{problem:?}");
    assert_eq!((restored.items, restored.files), (2, 1));
    assert_eq!(fs::read(target.join("new")).unwrap(), noise(2, 200_000));
    assert!(!target.join("old").exists());
    // The snapshot of the first run itself has lost its list of files, and reports that.
    let error = workshop.restore(0, &home.path().join("first")).await.unwrap_err();
    assert!(error.to_string().contains("runs/"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_keys_that_are_needed_are_read() {
    let workshop = Workshop::new().await;
    let stream = |names: &[(&str, u64)]| {
        let file =
            |(name, seed): &(&str, u64)| (own(name.as_bytes()), Some(Text(Some(noise(*seed, 200_000)))));
        let items = std::iter::once((root(), None)).chain(names.iter().map(file)).collect();
        vec![given(StreamKind::Path, "path", Items::of(items))]
    };
    workshop.take(stream(&[("old", 1)])).await.unwrap();
    workshop.take(stream(&[("new", 2), ("old", 1)])).await.unwrap();
    let snapshot = workshop.open(1).await;
    workshop.faults.clear_log();
    let mut items = snapshot.items(0).unwrap();
    while items.next().await.unwrap().is_some() {}
    let runs = layout::runs(workshop.writer.group.id);
    let read = workshop.faults.log().into_iter().filter(|call| call.key.starts_with(&runs)).count();
    assert_eq!(read, 1, "the list of files is in one run");
}
