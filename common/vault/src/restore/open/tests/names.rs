//! Names of streams and documents, and other texts in parts.

use std::fs;

use super::workshop::{Given, Items, Workshop, given, noise, options, own, root};
use crate::backup::writer::SnapshotWriter;
use crate::error::{ObjectError, VaultError};
use crate::format::item::Item;
use crate::format::manifest::{DocumentRecord, Part, StreamKind, StreamRecord};
use crate::format::name::check_name;
use crate::format::name::tests::bad_names;
use crate::tree::TargetFolder;
use crate::tree::source::BytesSource;
use lifeboat_testkit::context;

fn stdin(name: &str) -> Given {
    given(StreamKind::Stdin, name, BytesSource::new("file", &b"[Service]\nExecStart=/bin/false\n"[..], 0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_whose_names_would_lead_anywhere_is_malformed_and_costs_no_other_one() {
    let workshop = Workshop::new().await;
    workshop.take(vec![stdin("shop.sql")]).await.unwrap();
    let renamed = |name: &str| {
        let name = name.to_owned();
        move |part: &mut Part| part.streams[0].name = name
    };
    let of_document = |name: &str| {
        let name = name.to_owned();
        move |part: &mut Part| part.documents[0].name = name
    };
    let mut forged = 0;
    for (name, reason) in bad_names() {
        workshop.forge(0, renamed(&name)).await;
        workshop.forge(0, of_document(&name)).await;
        forged += 2;
        let listing = workshop.listing().await;
        assert_eq!((listing.snapshots.len(), listing.unreadable.len()), (1, forged), "{name:?}");
        for error in &listing.unreadable[forged - 2..] {
            let VaultError::Object(ObjectError::Damaged { reason: said, .. }) = error else {
                panic!("{name:?}: {error:?}")
            };
            assert!(said.ends_with(&reason.to_string()), "{name:?}: {said}");
            assert!(!said.contains(char::is_control), "{said:?}");
        }
    }
    let home = tempfile::tempdir().unwrap();
    workshop.restore(0, &home.path().join("target")).await.unwrap();
    assert!(home.path().join("target/file").exists());
}

type Row = (&'static str, Box<dyn Fn(&mut Part)>, Option<&'static str>);

#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_part_is_refused_with_the_reason() {
    let workshop = Workshop::new().await;
    workshop.take(vec![stdin("shop.sql")]).await.unwrap();
    let again = |part: &mut Part| {
        let stream = part.streams[0].clone();
        part.streams.push(stream);
    };
    let of_other_kind = |part: &mut Part| {
        let stream = StreamRecord { kind: StreamKind::Volume, ..part.streams[0].clone() };
        part.streams.push(stream);
    };
    let document_again = |part: &mut Part| {
        let content = part.documents[0].content.clone();
        part.documents.push(DocumentRecord { name: "definitions".to_owned(), content });
    };
    let run_again = |part: &mut Part| {
        let run = part.runs[0].clone();
        part.runs.push(run);
    };
    // Two numbers that each fit, but whose sum does not.
    let half = (1_u64 << 63) + 1;
    let with = |change: fn(&mut StreamRecord, u64)| {
        move |part: &mut Part| {
            let mut other = StreamRecord { name: "other".to_owned(), ..part.streams[0].clone() };
            change(&mut other, half);
            change(&mut part.streams[0], half);
            part.streams.push(other);
        }
    };
    let rows: Vec<Row> = vec![
        ("unchanged", Box::new(|_: &mut Part| ()), None),
        ("one name, two kinds", Box::new(of_other_kind), None),
        ("two streams", Box::new(again), Some("have the name `shop.sql`")),
        ("two documents", Box::new(document_again), Some("have the name `definitions`")),
        ("two runs", Box::new(run_again), Some("twice")),
        (
            "more items",
            Box::new(with(|stream, half| stream.item_count = half)),
            Some("more than is possible"),
        ),
        (
            "more bytes",
            Box::new(with(|stream, half| stream.data_bytes = half)),
            Some("more than is possible"),
        ),
        (
            "more faults",
            Box::new(with(|stream, half| stream.unreadable = half)),
            Some("more than is possible"),
        ),
        ("longest host", Box::new(|part: &mut Part| part.host = "h".repeat(1024)), None),
        ("long host", Box::new(|part: &mut Part| part.host = "h".repeat(1025)), Some("host name")),
        ("long tag", Box::new(|part: &mut Part| part.tags = vec!["t".repeat(1025)]), Some("tag")),
        (
            "long application",
            Box::new(|part: &mut Part| part.application = Some("a".repeat(1025))),
            Some("application"),
        ),
    ];
    for (what, change, refused) in rows {
        let before = workshop.listing().await;
        workshop.forge(0, change).await;
        let after = workshop.listing().await;
        let Some(reason) = refused else {
            assert_eq!(after.snapshots.len(), before.snapshots.len() + 1, "{what}: {:?}", after.unreadable);
            continue;
        };
        assert_eq!(after.snapshots.len(), before.snapshots.len(), "{what}");
        let said = after.unreadable.last().unwrap().to_string();
        assert!(said.contains(reason), "{what}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_stores_what_readers_refuse() {
    let workshop = Workshop::new().await;
    for (name, _) in bad_names() {
        let error = workshop.take(vec![stdin(&name)]).await.unwrap_err();
        assert!(matches!(error, VaultError::BadName { .. }), "{name:?}: {error:?}");
        let writer = workshop.begin(options()).await.unwrap();
        let error = writer.document(name.clone(), b"text".to_vec()).await.err().unwrap();
        assert!(matches!(error, VaultError::BadName { .. }), "{name:?}: {error:?}");
    }
    let error = workshop.take(vec![stdin("one"), stdin("one")]).await.unwrap_err();
    assert!(matches!(error, VaultError::NameTaken { .. }), "{error:?}");
    let document = |writer: SnapshotWriter| writer.document("definitions".to_owned(), b"text".to_vec());
    let writer = document(workshop.begin(options()).await.unwrap()).await.unwrap();
    let error = document(writer).await.err().unwrap();
    assert!(matches!(error, VaultError::NameTaken { .. }), "{error:?}");
    let long = "t".repeat(1025);
    for options in [
        crate::backup::writer::SnapshotOptions { host: long.clone(), ..options() },
        crate::backup::writer::SnapshotOptions { tags: vec![long.clone()], ..options() },
        crate::backup::writer::SnapshotOptions { application: Some(long), ..options() },
    ] {
        let error = workshop.begin(options).await.err().unwrap();
        assert!(matches!(error, VaultError::BadText { .. }), "{error:?}");
    }
    assert!(workshop.objects("snapshots/").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_restored_below_the_target_whatever_its_name() {
    let workshop = Workshop::new().await;
    let origins: [&[u8]; 6] =
        [b"/srv/..", b"../../escaped", b"/a/b\0/../c", b"/srv/\x1b[2K\n", b"/srv/files", b"/"];
    let streams = origins.iter().enumerate().map(|(number, origin)| {
        let folder = Item { origin: Some(origin.to_vec().into()), ..root() };
        let items = vec![(folder, None), (own(format!("file-{number}").as_bytes()), None)];
        given(StreamKind::Path, &format!("path-{number}"), Items::of(items))
    });
    workshop.take(streams.collect()).await.unwrap();
    let home = tempfile::tempdir().unwrap();
    let snapshot = workshop.open(0).await;
    let above = TargetFolder::take(&home.path().join("target")).unwrap();
    let streams = snapshot.named_streams().await.unwrap();
    for stream in &streams {
        assert_eq!(check_name(&stream.name), Ok(()));
        let to = above.make_below(&stream.name).unwrap();
        let restored = snapshot.restore(stream.index, to, &context()).await.unwrap();
        assert!(restored.damaged.is_empty() && restored.unfinished.is_empty(), "{restored:?}");
        let file = format!("target/{}/file-{}", stream.name, stream.index);
        assert!(home.path().join(&file).is_file(), "{file:?}");
    }
    assert_eq!(streams.len(), origins.len());
    assert_eq!(fs::read_dir(home.path()).unwrap().count(), 1);
    assert_eq!(fs::read_dir(home.path().join("target")).unwrap().count(), origins.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_readers_would_refuse_costs_its_item_and_not_its_stream() {
    use super::workshop::Text;
    let workshop = Workshop::new().await;
    let long = vec![b'p'; (1 << 20) + 1];
    let items = vec![
        (root(), None),
        (own(b"a"), Some(Text(Some(noise(1, 10_000))))),
        (own(&long), None),
        (own(b"z"), Some(Text(Some(noise(2, 10_000))))),
    ];
    let (committed, outcomes) =
        workshop.take(vec![given(StreamKind::Path, "path", Items::of(items))]).await.unwrap();
    assert!(committed.incomplete);
    assert_eq!(outcomes[0].unreadable.len(), 1);
    let said = outcomes[0].unreadable[0].error.to_string();
    assert!(said.contains("its path is too long"), "{said}");
    let home = tempfile::tempdir().unwrap();
    let restored = workshop.restore(0, &home.path().join("target")).await.unwrap();
    assert_eq!((restored.items, restored.files), (3, 2));
    assert_eq!(fs::read(home.path().join("target/z")).unwrap(), noise(2, 10_000));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_count_of_items_is_reported_and_costs_no_file() {
    let workshop = Workshop::new().await;
    workshop.take(vec![stdin("shop.sql")]).await.unwrap();
    for (count, said) in
        [(1, None), (0, Some("0 items, but it lists 1")), (7, Some("7 items, but it lists 1"))]
    {
        let sequence = workshop.forge(0, |part| part.streams[0].item_count = count).await;
        let home = tempfile::tempdir().unwrap();
        let target = home.path().join("target");
        let restored = workshop.restore(sequence, &target).await.unwrap();
        let told: Vec<_> = restored.damaged.iter().map(|problem| problem.reason.as_str()).collect();
        assert!(told.len() == usize::from(said.is_some()), "{count}: {told:?}");
        assert!(said.is_none_or(|said| told[0].contains(said)), "{count}: {told:?}");
        assert!(target.join("file").exists(), "{count}");
    }
}
