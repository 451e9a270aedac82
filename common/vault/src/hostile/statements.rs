//! What a member can claim in manifests and requests to forget, and the storage in rosters: nobody else loses anything,
//! and one group's trouble stops no other group.

use std::collections::BTreeMap;

use bytes::Bytes;
use lifeboat_core::Sha256Digest;

use super::kinds::{Scene, scene};
use super::{files, noise};
use crate::format::condemnation::GRACE_DAYS;
use crate::format::layout::{self, cap};
use crate::hostile::crafted::{Crafted, Taken, pen};
use crate::ids::Signer;
use crate::keys::key_file::WriterKey;
use crate::maintenance::check::ReadData;
use crate::maintenance::repair::RepairOptions;
use crate::snapshots::snapshot::Listing;

/// The same writer with another's signing key.
fn forged(key: &WriterKey, by: &WriterKey) -> WriterKey {
    let mut forged = WriterKey::parse(&key.to_text()).unwrap();
    forged.signing_key = by.signing_key.clone();
    forged
}

type Attack = fn(&Scene);

/// Everything here is claimed by the first writer, or by another in its place.
const MANIFESTS: &[(&str, Attack)] = &[
    ("the highest number", |s| _ = s.crafted.take(&s.crafted.writer, Taken::at(9_999_999_999, None))),
    ("it saw what never was", |s| {
        let seen = Sha256Digest::of(b"nothing");
        s.crafted.take(&s.crafted.writer, Taken::at(1, None).seeing(&s.other, 4_000_000_000, seen));
    }),
    ("it saw another in the place of one that is there", |s| {
        let seen = Sha256Digest::of(b"nothing");
        s.crafted.take(&s.crafted.writer, Taken::at(1, None).seeing(&s.other, 0, seen));
    }),
    ("a gap before it", |s| _ = s.crafted.take(&s.crafted.writer, Taken::at(7, Some(Sha256Digest::of(b""))))),
    ("it follows nothing", |s| _ = s.crafted.take(&s.crafted.writer, Taken::at(1, None))),
    ("no bytes", |s| s.crafted.faults.plant(&layout::snapshot(s.crafted.writer.writer, 1), Bytes::new())),
    ("noise", |s| s.crafted.faults.plant(&layout::snapshot(s.crafted.writer.writer, 1), noise(1, 5000))),
    ("more bytes than a manifest has", |s| {
        let bytes = noise(1, usize::try_from(cap::MANIFEST).unwrap() + 1);
        s.crafted.faults.plant(&layout::snapshot(s.crafted.writer.writer, 1), bytes);
    }),
    ("signed by a neighbour", |s| {
        _ = s.crafted.take(&forged(&s.crafted.writer, &s.neighbour), Taken::at(1, None));
    }),
    ("another's manifest in its place", |s| {
        let anothers = s.crafted.faults.contents()[&layout::snapshot(s.other.writer, 1)].clone();
        s.crafted.faults.plant(&layout::snapshot(s.crafted.writer.writer, 1), anothers);
    }),
];

fn id_of(scene: &Scene, key: &WriterKey, sequence: u64) -> Sha256Digest {
    scene.ids[&(key.writer, sequence)]
}

/// Nobody may make these requests: the other group's snapshots, and one of the neighbour's, stay.
const REQUESTS: &[(&str, Attack)] = &[
    ("a neighbour's snapshot", |s| {
        let id = id_of(s, &s.neighbour, 0);
        s.crafted.ask(pen(&s.crafted.writer), s.neighbour.writer, 0, Some(id));
    }),
    ("another group's snapshot", |s| {
        let id = id_of(s, &s.other, 1);
        s.crafted.ask(pen(&s.crafted.writer), s.other.writer, 1, Some(id));
    }),
    ("in the root's name", |s| {
        let (id, key) = (id_of(s, &s.other, 1), &s.crafted.writer.signing_key);
        s.crafted.ask((Signer::Root, key), s.other.writer, 1, Some(id));
    }),
    ("in its owner's name", |s| {
        let (id, key) = (id_of(s, &s.other, 1), &s.crafted.writer.signing_key);
        s.crafted.ask((Signer::Writer(s.other.writer), key), s.other.writer, 1, Some(id));
    }),
    ("for a snapshot that will be", |s| s.crafted.ask(pen(&s.crafted.writer), s.other.writer, 2, None)),
    ("no bytes", |s| s.crafted.faults.plant(&layout::forget(s.other.writer, 1), Bytes::new())),
    ("noise", |s| s.crafted.faults.plant(&layout::forget(s.other.writer, 1), noise(1, 400))),
];

async fn newest_roster(crafted: &Crafted) -> (u64, Bytes) {
    let number = crafted.open().await.roster.number;
    (number, crafted.faults.contents()[&layout::roster(number)].clone())
}

/// What remains true for all honest members, whatever the first writer claims. `is_held_back` means that nothing may be
/// pruned.
async fn others_go_on(scene: &Scene, is_held_back: bool, when: &str) {
    let Scene { crafted, other, neighbour, keeper, committed, .. } = scene;
    let check = crafted.check(crafted.as_keeper(keeper).await, ReadData::All).await;
    check.unwrap_or_else(|error| panic!("{when}: {error}"));
    crafted.assert_all_come_back(committed, when).await;
    for prune in crafted.prune_to_the_end(keeper).await {
        match prune {
            Ok(_) => assert!(!is_held_back, "{when}: what may be withheld is missing, but a prune continued"),
            Err(error) => assert!(is_held_back, "{when}: {error}"),
        }
    }
    crafted.assert_all_come_back(committed, when).await;
    for key in [neighbour, other] {
        let id = crafted.back_up(key, &files(9)).await.unwrap_or_else(|error| panic!("{when}: {error}"));
        crafted.assert_all_come_back(&BTreeMap::from([(id, files(9))]), when).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn no_manifest_of_one_host_stops_another() {
    for (what, attack) in MANIFESTS {
        let scene = scene().await;
        attack(&scene);
        // Such a claim may be true: until it is disproved or the claimant is removed, nothing of either is deleted.
        let is_claim = what.starts_with("it saw");
        others_go_on(&scene, is_claim, &format!("manifest: {what}")).await;
        let restorer = scene.crafted.restorer().await;
        scene.crafted.remove_after(&restorer, &scene.crafted.writer.writer.to_string(), 0).await;
        others_go_on(&scene, false, &format!("the claimant of {what} was removed")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn no_request_of_an_unauthorised_signer_makes_anything_forgotten() {
    for (what, attack) in REQUESTS {
        let scene = scene().await;
        attack(&scene);
        others_go_on(&scene, false, &format!("request: {what}")).await;
    }
}

/// The storage shows rosters that the root never signed: the newest one of the root's counts, or all operations stop
/// with the reason; nobody uses another one.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn no_roster_that_the_root_did_not_sign_counts() {
    type Forge = fn(&Bytes) -> Vec<u8>;
    let forgeries: [(&str, Forge); 5] = [
        ("no bytes", |_| Vec::new()),
        ("noise", |_| noise(1, 5000)),
        ("an older one under a higher number", |old| old.to_vec()),
        ("a bit is flipped", |old| {
            let mut bytes = old.to_vec();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            bytes
        }),
        ("more bytes than a roster has", |_| noise(1, usize::try_from(cap::ROSTER).unwrap() + 1)),
    ];
    for (what, forge) in forgeries {
        for ahead in [1, 2] {
            let scene = scene().await;
            let crafted = &scene.crafted;
            let (number, bytes) = newest_roster(crafted).await;
            crafted.faults.plant(&layout::roster(number + ahead), forge(&bytes));
            let when = format!("roster {ahead} ahead: {what}");
            match crafted.open_with(crate::repository::pins::PinFile::none()).await {
                Ok(opened) => {
                    assert_eq!(opened.roster.number, number, "{when}");
                    // It may be damaged and list members that were removed since.
                    others_go_on(&scene, true, &when).await;
                }
                Err(error) => assert!(error.to_string().contains("roster/"), "{when}: {error}"),
            }
            crafted.faults.take_away(&layout::roster(number + ahead));
            others_go_on(&scene, false, &when).await;
        }
    }
}

/// A host's manifest names the part of another's snapshot: the manifest is wrong, but the part is not. Giving up what
/// cannot be repaired gives up only that manifest.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn a_manifest_that_names_anothers_part_costs_nobody_else() {
    for is_of_other_group in [false, true] {
        let scene = scene().await;
        let Scene { crafted, other, neighbour, keeper, committed, ids, .. } = &scene;
        let (attacker, last) = if is_of_other_group { (other, 1) } else { (neighbour, 0) };
        let listing = Listing::read(&crafted.as_keeper(keeper).await).await.unwrap();
        let victim = ids[&(crafted.writer.writer, 0)];
        let part = listing.snapshots.iter().find(|snapshot| *snapshot.id() == victim).unwrap().manifest.part;
        let previous = Some(ids[&(attacker.writer, last)]);
        crafted.take(attacker, Taken::at(last + 1, previous).with_part(part));
        let when = format!("of another group: {is_of_other_group}");
        let findings = crafted.check(crafted.as_keeper(keeper).await, ReadData::Sizes).await.unwrap();
        assert!(
            findings.damage.iter().all(|damage| damage.key != layout::part(crafted.writer.group.id, &part))
        );
        assert!(!findings.damage.is_empty(), "{when}: the manifest is named");
        crafted.prune(keeper, GRACE_DAYS).await.unwrap_or_else(|error| panic!("{when}: {error}"));
        let maintenance = crafted.maintenance().await;
        let options = RepairOptions { forget_damaged: true, ..RepairOptions::default() };
        maintenance.repair(options).await.unwrap();
        for prune in crafted.prune_to_the_end(keeper).await {
            prune.unwrap_or_else(|error| panic!("{when}: {error}"));
        }
        crafted.assert_all_come_back(committed, &when).await;
    }
}
