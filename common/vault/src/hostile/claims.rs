//! Claims about where frames lie: a prune deletes nothing on them, and a check names who made those that do not hold.

use std::collections::BTreeMap;

use lifeboat_core::Sha256Digest;

use super::{Member, files, located, noise};
use crate::check::{DamageKind, ReadData};
use crate::crafted::Crafted;
use crate::ids::{RunId, Signer};
use crate::index::FrameLocation;
use crate::keeper_key::KeeperKey;
use crate::key_file::WriterKey;
use crate::keys::GroupView;
use crate::pack::TrailerFrame;
use crate::roster::Floor;

/// Who makes the claims.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Who {
    /// The host whose frames they are.
    Itself,
    /// Another host of the group.
    Neighbour,
    /// A host of the group that was removed.
    Removed,
    /// A host of another group, which knows this group's index key.
    Stranger,
    /// A keeper other than the one that prunes.
    Keeper,
    /// A keeper that was removed.
    RemovedKeeper,
}

/// What is claimed of a pack of the attacker's own.
#[derive(Debug, Clone, Copy, PartialEq)]
enum What {
    /// All frames of a run begin at its first byte, one object a run.
    AllAtTheStart,
    /// The same, one object a frame, so that no object overlaps itself.
    OneObjectAFrame,
    /// One frame after the other. The pack is noise.
    OneAfterTheOther,
    /// One after the other, and the pack's own trailer says the same.
    TrailerAgrees,
    /// The same with the hashes of the noise.
    TrailerAgreesOnOtherHashes,
}

struct Scene {
    crafted: Crafted,
    committed: BTreeMap<Sha256Digest, super::Files>,
    keeper: KeeperKey,
    member: Member,
}

async fn scene(who: Who) -> Scene {
    let crafted = Crafted::with_floor(Floor { days: 30, snapshots: 1 }).await;
    let host = &crafted.writer;
    let neighbour = crafted.add_neighbour().await;
    let stranger = crafted.add_writer().await;
    let (keeper, other_keeper) = (crafted.add_keeper().await, crafted.add_keeper().await);
    let mut committed = BTreeMap::new();
    for seed in 0..2 {
        committed.insert(crafted.back_up(host, &files(seed)).await.unwrap(), files(seed));
    }
    let of_neighbour = crafted.back_up(&neighbour, &files(7)).await.unwrap();
    committed.insert(of_neighbour, files(7));
    let view = GroupView::from(&host.group);
    let of = |key: &WriterKey| Member::writer(key).for_group(&view);
    let member = match who {
        Who::Itself => of(host),
        Who::Neighbour | Who::Removed => of(&neighbour),
        Who::Stranger => of(&stranger),
        Who::Keeper | Who::RemovedKeeper => Member::keeper(&other_keeper, &view),
    };
    Scene { crafted, committed, keeper, member }
}

/// Stores a pack and the claims about it.
async fn attack(scene: &Scene, what: What) -> Vec<String> {
    let Scene { crafted, member, .. } = scene;
    let frames = member.frames(crafted).await;
    let total: usize = frames.values().flatten().map(|frame| frame.length as usize).sum();
    let bytes = noise(99, total + 1000);
    let mut at = 0_usize;
    let mut next = |length: u32| {
        at += length as usize;
        at - length as usize
    };
    let mut said: Vec<(RunId, FrameLocation)> = Vec::new();
    for (run, frames) in &frames {
        for frame in frames {
            let offset = match what {
                What::AllAtTheStart | What::OneObjectAFrame => 0,
                _ => next(frame.length),
            };
            let hash = match what {
                What::TrailerAgreesOnOtherHashes => {
                    Sha256Digest::of(&bytes[offset..offset + frame.length as usize])
                }
                _ => frame.hash,
            };
            said.push((*run, FrameLocation { offset: offset as u64, hash, ..*frame }));
        }
    }
    let listed = said.iter().map(|(run, frame)| TrailerFrame {
        run: *run,
        ordinal: frame.ordinal,
        offset: frame.offset,
        length: frame.length,
        hash: frame.hash,
        chunks: Vec::new(),
        chunk_bytes: frame.chunk_bytes,
    });
    let pack = match what {
        What::TrailerAgrees | What::TrailerAgreesOnOtherHashes => {
            member.store_with_trailer(crafted, bytes, listed.collect())
        }
        _ => member.store_pack(crafted, bytes),
    };
    let mut objects = Vec::new();
    if what == What::OneObjectAFrame {
        for (run, frame) in said {
            objects.push(member.say_where(crafted, &located(run, pack, vec![frame])));
        }
    } else {
        for run in frames.keys() {
            let of_run = said.iter().filter(|(of, _)| of == run).map(|(_, frame)| *frame).collect();
            objects.push(member.say_where(crafted, &located(*run, pack, of_run)));
        }
    }
    objects
}

async fn remove(scene: &Scene, who: Who) {
    let restorer = scene.crafted.restorer().await;
    let id = match scene.member.signer {
        Signer::Writer(id) => id.to_string(),
        Signer::Keeper(id) => id.to_string(),
        Signer::Root => return,
    };
    if matches!(who, Who::Removed | Who::RemovedKeeper) {
        scene.crafted.remove(&restorer, &id).await;
    }
}

/// Whoever says what about a pack of its own: three prunes with the grace between them delete nothing that a snapshot
/// needs, and all comes back.
#[tokio::test(flavor = "multi_thread")]
async fn no_claim_makes_a_prune_delete_what_a_snapshot_needs() {
    let everyone =
        [Who::Itself, Who::Neighbour, Who::Removed, Who::Stranger, Who::Keeper, Who::RemovedKeeper];
    let everything = [
        What::AllAtTheStart,
        What::OneObjectAFrame,
        What::OneAfterTheOther,
        What::TrailerAgrees,
        What::TrailerAgreesOnOtherHashes,
    ];
    for who in everyone {
        for what in everything {
            let scene = scene(who).await;
            let objects = attack(&scene, what).await;
            remove(&scene, who).await;
            let when = format!("{who:?} {what:?}");
            let view = scene.crafted.as_keeper(&scene.keeper).await;
            let findings = scene.crafted.check(view, ReadData::Sizes).await.unwrap();
            let named = findings.damage.iter().find(|damage| objects.contains(&damage.key));
            if what == What::TrailerAgrees {
                // Nothing contradicts it but the bytes.
            } else {
                let named = named.unwrap_or_else(|| {
                    let packs = findings.damage.iter().filter(|damage| damage.key.starts_with("packs/"));
                    packs.into_iter().next().unwrap_or_else(|| panic!("{when}: {:?}", findings.damage))
                });
                let is_of_signer = named.reason.contains(&scene.member.signer.to_string());
                let is_of_pack = named.key.starts_with("packs/") && named.kind == DamageKind::Altered;
                assert!(is_of_signer || is_of_pack, "{when}: {}", named.reason);
            }
            let prunes = scene.crafted.prune_to_the_end(&scene.keeper).await;
            for prune in &prunes {
                assert!(prune.is_ok(), "{when}: {prune:?}");
            }
            scene.crafted.assert_all_come_back(&scene.committed, &when).await;
            // Whoever backs up now gets all of it back as well.
            let again = scene.crafted.back_up(&scene.crafted.writer, &files(0)).await.unwrap();
            let committed = BTreeMap::from([(again, files(0))]);
            scene.crafted.assert_all_come_back(&committed, &when).await;
        }
    }
}
