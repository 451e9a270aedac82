//! For each kind of object, what a member can make of it: after each, nothing that a snapshot needs is deleted, no
//! wrong bytes are restored, honest members can continue, and one group's trouble stops no other group.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use lifeboat_core::Sha256Digest;
use lifeboat_testkit::fault_store::{Fault, Gate, Operation, Rule};
use minicbor::bytes::ByteVec;

use super::crafted::{Taken, pen};
use super::{Files, Member, back_up, files, located, noise};
use crate::format::condemnation::{Condemnation, Loss};
use crate::format::floor::Floor;
use crate::format::frame_set::RunFrames;
use crate::format::index::{Contents, FrameContents, FrameLocation, RunContents};
use crate::format::registration::Registration;
use crate::format::seal::Purpose;
use crate::format::{FORMAT_VERSION, layout};
use crate::hostile::crafted::Crafted;
use crate::ids::{ChunkId, RunId, Signer, WriterId};
use crate::keys::GroupView;
use crate::keys::keeper_key::KeeperKey;
use crate::keys::key_file::WriterKey;
use crate::maintenance::check::ReadData;
use crate::maintenance::forget::forget;
use crate::snapshots::snapshot::Listing;

/// Three hosts of two groups, each with its backups.
pub(super) struct Scene {
    pub(super) crafted: Crafted,
    /// A host of another group than the first writer's.
    pub(super) other: WriterKey,
    pub(super) neighbour: WriterKey,
    pub(super) keeper: KeeperKey,
    pub(super) committed: BTreeMap<Sha256Digest, Files>,
    /// The snapshots' ids, by writer and number.
    pub(super) ids: BTreeMap<(WriterId, u64), Sha256Digest>,
}

pub(super) async fn scene() -> Scene {
    let crafted = Crafted::with_floor(Floor { days: 0, snapshots: 1 }).await;
    let (neighbour, other) = (crafted.add_neighbour().await, crafted.add_writer().await);
    let keeper = crafted.add_keeper().await;
    let (mut committed, mut ids) = (BTreeMap::new(), BTreeMap::new());
    let snapshots = [(&crafted.writer, 0, 0), (&neighbour, 0, 1), (&other, 0, 2), (&other, 1, 3)];
    for (key, sequence, seed) in snapshots {
        let id = crafted.back_up(key, &files(seed)).await.unwrap();
        committed.insert(id, files(seed));
        ids.insert((key.writer, sequence), id);
    }
    Scene { crafted, other, neighbour, keeper, committed, ids }
}

/// A run of the group, the place of its first frame, and one of its packs.
struct Target {
    run: RunId,
    frame: FrameLocation,
    pack: (Sha256Digest, u64),
}

async fn target(scene: &Scene, member: &Member) -> Target {
    let frames = member.frames(&scene.crafted).await;
    let (run, frames) = frames.into_iter().next().unwrap();
    let folder = layout::packs(member.view.id);
    let stored = scene.crafted.faults.contents();
    let (key, bytes) = stored.iter().find(|(key, _)| key.starts_with(&folder)).unwrap();
    let hash = key.rsplit('/').next().unwrap().parse().unwrap();
    Target { run, frame: frames[0], pack: (hash, bytes.len() as u64) }
}

fn contents(run: RunId, ordinal: u32, chunks: Vec<ChunkId>, commitment: u8) -> Contents {
    let frames = vec![FrameContents { ordinal, chunks }];
    Contents { runs: vec![RunContents { run, frames, commitment: [commitment; 32] }] }
}

/// The locations objects to try: each field at its limits, overlapping, in place of others.
fn locations(
    target: &Target,
    noise_pack: (Sha256Digest, u64),
) -> Vec<(&'static str, crate::format::index::Locations)> {
    let Target { run, frame, pack } = target;
    let at = |offset, length| FrameLocation { offset, length, ..*frame };
    let of = |pack, frames| located(*run, pack, frames);
    let elsewhere = RunId::from_bytes([9; 16]);
    vec![
        ("nothing", of(*pack, Vec::new())),
        ("a place past the end", of(*pack, vec![at(u64::MAX, frame.length)])),
        ("a frame of no bytes", of(*pack, vec![at(0, 0)])),
        ("a frame of all bytes", of(*pack, vec![at(0, u32::MAX)])),
        ("the highest ordinal", of(*pack, vec![FrameLocation { ordinal: (1 << 27) - 1, ..*frame }])),
        ("one past the highest ordinal", of(*pack, vec![FrameLocation { ordinal: 1 << 27, ..*frame }])),
        ("overlapping frames", of(*pack, vec![at(0, 100), FrameLocation { ordinal: 7, ..at(50, 100) }])),
        ("another place in the same pack", of(*pack, vec![at(60, frame.length.min(100))])),
        ("a place in noise", of(noise_pack, vec![at(0, frame.length)])),
        ("another size of the pack", of((pack.0, pack.1 + 1), vec![at(0, frame.length)])),
        ("a pack that does not exist", of((Sha256Digest::of(b"gone"), 1 << 20), vec![*frame])),
        ("a run that does not exist", located(elsewhere, *pack, vec![*frame])),
    ]
}

/// Stores every possible claim of a member about the first writer's group, one by one in separate scenes; returns the
/// description of each.
async fn attacks(scene: &Scene, member: &Member, number: usize) -> Option<String> {
    let Scene { crafted, .. } = scene;
    let group = member.view.id;
    let plant = |purpose, bytes: Vec<u8>, folder: String| {
        crafted.faults.plant(&format!("{folder}/{}", Sha256Digest::of(&bytes)), bytes);
        let _: Purpose = purpose;
    };
    let target = target(scene, member).await;
    let noise_pack = member.store_pack(crafted, noise(5, 2_000_000));
    let mut attacks: Vec<(String, Box<dyn FnOnce() + '_>)> = Vec::new();
    for (what, object) in locations(&target, noise_pack) {
        let say = move || {
            member.say_where(crafted, &object);
        };
        attacks.push((format!("locations: {what}"), Box::new(say)));
    }
    let bitmap = |bytes: Vec<u8>| RunFrames { run: target.run, frames: ByteVec::from(bytes) };
    let losses = [
        ("all frames of a run", Loss { frames: vec![bitmap(vec![0xFF; 64])] }),
        ("the highest ordinals", Loss { frames: vec![bitmap(vec![0xFF; 1 << 24])] }),
        ("beyond the highest ordinals", Loss { frames: vec![bitmap(vec![0xFF; (1 << 24) + 9])] }),
        ("nothing", Loss { frames: Vec::new() }),
    ];
    for (what, loss) in losses {
        let say = move || plant(Purpose::Loss, member.sign(Purpose::Loss, &loss), format!("lost/{group}"));
        attacks.push((format!("loss: {what}"), Box::new(say)));
    }
    let everything: Vec<String> = crafted.faults.contents().keys().cloned().collect();
    let condemnations = [
        (
            "everything that exists",
            Condemnation { frames: vec![bitmap(vec![0xFF; 64])], objects: everything, avoid_only: None },
        ),
        (
            "names of nothing",
            Condemnation { frames: Vec::new(), objects: vec![String::new(); 1000], avoid_only: None },
        ),
    ];
    for (what, condemnation) in condemnations {
        let say = move || {
            let bytes = member.sign(Purpose::Condemnation, &condemnation);
            plant(Purpose::Condemnation, bytes, layout::condemned(member.signer, group));
        };
        attacks.push((format!("condemnation: {what}"), Box::new(say)));
    }
    let chunk = ChunkId([7; 32]);
    let listed = [
        ("a frame of no chunks", contents(target.run, 0, Vec::new(), 0)),
        ("another commitment", contents(target.run, target.frame.ordinal, vec![chunk], 9)),
        ("more chunks than a frame has", contents(target.run, 0, vec![chunk; 5000], 0)),
        ("one past the highest ordinal", contents(target.run, 1 << 27, vec![chunk], 0)),
        ("a run that does not exist", contents(RunId::from_bytes([9; 16]), 0, vec![chunk], 0)),
    ];
    for (what, contents) in listed {
        let say = move || {
            let bytes = member.sign(Purpose::Contents, &contents);
            plant(Purpose::Contents, bytes, layout::contents(group));
        };
        attacks.push((format!("contents: {what}"), Box::new(say)));
    }
    let registrations =
        [("another run's name", target.run), ("a name of its own", RunId::from_bytes([8; 16]))];
    for (what, run) in registrations {
        let say = move || {
            let registration = Registration {
                format: FORMAT_VERSION,
                repository: member.repository,
                group,
                writer: crafted.writer.writer,
                run,
                epoch: 7,
                wrapped_key: vec![1, 2, 3].into(),
            };
            let bytes = member.sign(Purpose::Registration, &registration);
            crafted.faults.plant(&layout::run(group, RunId::from_bytes([8; 16])), bytes);
        };
        attacks.push((format!("registration: {what}"), Box::new(say)));
    }
    let say = move || plant(Purpose::Part, noise(3, 5000), layout::parts(group));
    attacks.push(("part: noise".to_owned(), Box::new(say)));
    if number >= attacks.len() {
        return None;
    }
    let (what, attack) = attacks.swap_remove(number);
    attack();
    Some(what)
}

/// The members that store it.
const EVERYONE: [&str; 5] =
    ["itself", "neighbour", "removed neighbour", "other group's host", "removed keeper"];

async fn member(scene: &Scene, who: &str) -> Member {
    let view = GroupView::from(&scene.crafted.writer.group);
    match who {
        "itself" => Member::writer(&scene.crafted.writer),
        "neighbour" | "removed neighbour" => Member::writer(&scene.neighbour),
        "other group's host" => Member::writer(&scene.other).for_group(&view),
        _ => Member::keeper(&scene.crafted.add_keeper().await, &view),
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn no_object_of_any_kind_costs_anybody_else_anything() {
    let mut rows = 0;
    for who in EVERYONE {
        for number in 0.. {
            let scene = scene().await;
            let member = member(&scene, who).await;
            let Some(what) = attacks(&scene, &member, number).await else { break };
            if who.starts_with("removed") {
                let restorer = scene.crafted.restorer().await;
                let id = match member.signer {
                    Signer::Writer(id) => id.to_string(),
                    Signer::Keeper(id) => id.to_string(),
                    Signer::Root => unreachable!("nobody removes the root"),
                };
                scene.crafted.remove(&restorer, &id).await;
            }
            survives(&scene, &format!("{who}: {what}")).await;
            rows += 1;
        }
    }
    assert!(rows >= 5 * 25, "{rows} rows");
}

/// What every verb of every role must still do.
async fn survives(scene: &Scene, when: &str) {
    let Scene { crafted, other, keeper, committed, .. } = scene;
    let began = Instant::now();
    let check = async |session| crafted.check(session, ReadData::All).await;
    check(crafted.as_keeper(keeper).await).await.unwrap_or_else(|error| panic!("{when}: {error}"));
    check(crafted.as_writer(&crafted.writer).await).await.unwrap_or_else(|e| panic!("{when}: {e}"));
    let listing = Listing::read(&crafted.as_keeper(keeper).await).await.unwrap();
    for id in committed.keys() {
        assert!(listing.snapshots.iter().any(|snapshot| snapshot.id() == id), "{when}: {id} is not listed");
    }
    crafted.assert_all_come_back(committed, when).await;
    // The other group loses its oldest snapshot, as its host requests.
    let writer = crafted.as_writer(other).await;
    let own = Listing::read(&writer).await.unwrap();
    let oldest = &own.snapshots[0];
    forget(&writer, &[oldest], false, &crafted.context()).await.unwrap();
    let left: BTreeMap<_, _> = committed
        .iter()
        .filter(|(id, _)| *id != oldest.id())
        .map(|(id, files)| (*id, files.clone()))
        .collect();
    let prunes = crafted.prune_to_the_end(keeper).await;
    let deleted: u64 = prunes
        .into_iter()
        .map(|prune| prune.unwrap_or_else(|error| panic!("{when}: {error}")).deleted_objects)
        .sum();
    assert!(deleted > 0, "{when}: the other group's garbage stays");
    crafted.assert_all_come_back(&left, when).await;
    for key in [&crafted.writer, other] {
        let id = crafted.back_up(key, &files(0)).await.unwrap_or_else(|error| panic!("{when}: {error}"));
        crafted.assert_all_come_back(&BTreeMap::from([(id, files(0))]), when).await;
    }
    assert!(began.elapsed() < Duration::from_mins(1), "{when}: it took {:?}", began.elapsed());
}

/// A neighbour names the part of another host's run under way in a manifest of its own, and asks to forget that.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn a_forgotten_manifest_of_a_neighbour_does_not_condemn_the_part_of_a_run_under_way() {
    let scene = scene().await;
    let Scene { crafted, neighbour, keeper, ids, .. } = &scene;
    let folder = layout::parts(crafted.writer.group.id);
    let parts = || -> Vec<String> {
        crafted.faults.contents().into_keys().filter(|key| key.starts_with(&folder)).collect()
    };
    let before = parts();
    let gate = Gate::new();
    let mine = layout::snapshots_of(crafted.writer.writer);
    crafted.faults.script(Rule::new(Fault::wait(&gate)).on(Operation::Put).below(&mine));
    let meanwhile = async {
        gate.arrivals(1).await;
        let part = parts().into_iter().find(|key| !before.contains(key)).unwrap();
        let hash: Sha256Digest = part.rsplit('/').next().unwrap().parse().unwrap();
        let first = ids[&(neighbour.writer, 0)];
        let second = crafted.take(neighbour, Taken::at(1, Some(first)).with_part(hash));
        crafted.take(neighbour, Taken::at(2, Some(second)));
        crafted.ask(pen(neighbour), neighbour.writer, 1, Some(second));
        crafted.prune(keeper, 0).await.unwrap();
        assert!(parts().contains(&part), "the part of a run under way was deleted");
        gate.open();
    };
    let captured = files(9);
    let context = crafted.context();
    let running = back_up(crafted.open().await, &crafted.writer, &captured, &context);
    let (committed, ()) = tokio::join!(running, meanwhile);
    let committed = BTreeMap::from([(committed.unwrap().id.unwrap(), captured.clone())]);
    crafted.assert_all_come_back(&committed, "a run under way").await;
}
