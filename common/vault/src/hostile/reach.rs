//! For each kind of object, the behaviour of every verb if the storage does not return it: an unreachable object is
//! never called damaged or missing, and is never treated as such.

use std::collections::BTreeMap;
use std::mem::{Discriminant, discriminant};
use std::sync::Arc;

use lifeboat_core::clock::Clock;
use lifeboat_testkit::fault_store::{Answer, Fault, Rule};
use lifeboat_testkit::{FakeClock, context};

use super::kinds::{Scene, scene};
use super::{back_up, files};
use crate::copy::copier::{Copier, CopyOptions};
use crate::error::VaultError;
use crate::format::FORMAT_VERSION;
use crate::format::condemnation::Loss;
use crate::format::frame_set::{RunFrames, bitmap};
use crate::format::object_name::{KeyFolder, Name, one_of_each_kind};
use crate::format::registration::Registration;
use crate::format::run_end::RunEnd;
use crate::format::signed::Pen;
use crate::hostile::crafted::{Crafted, recovery_key};
use crate::ids::{RunId, Signer};
use crate::keys::GroupView;
use crate::keys::key_file::WriterKey;
use crate::maintenance::check::{CheckOptions, Maintenance, ReadData, Shard};
use crate::maintenance::forget::{Asked, forget};
use crate::maintenance::members::Membership;
use crate::maintenance::prune::{PruneOptions, prune};
use crate::maintenance::repair::RepairOptions;
use crate::repository::access::Session;
use crate::repository::open::Repository;
use crate::repository::pins::PinFile;
use crate::repository::recovery_session::RecoverySession;
use crate::restore::open::OpenSnapshot;
use crate::snapshots::countersign::ManifestChain;
use crate::snapshots::snapshot::Listing;
use crate::snapshots::statistics::Statistics;
use crate::tree::TargetFolder;

/// Every verb that reads.
const VERBS: [&str; 13] = [
    "list as a writer",
    "list as a keeper",
    "count",
    "verify",
    "restore",
    "check",
    "check as a keeper",
    "repair",
    "prune",
    "forget",
    "back up",
    "copy",
    "remove a keeper",
];

/// A kind of object: sealed keys are a separate kind for each folder.
type Kind = (Discriminant<Name>, Option<Discriminant<KeyFolder>>);

fn kind_of(name: &Name) -> Kind {
    let folder = match name {
        Name::Key { folder, .. } => Some(discriminant(folder)),
        _ => None,
    };
    (discriminant(name), folder)
}

/// What a verb reports.
#[derive(Default)]
struct Said {
    /// What it calls damaged, missing or lost, and what it does about that.
    damage: Vec<String>,
    /// Whether it reports that it could not read something.
    is_unread: bool,
}

impl Said {
    fn damage(told: impl IntoIterator<Item = impl ToString>) -> Self {
        Self { damage: told.into_iter().map(|told| told.to_string()).collect(), is_unread: false }
    }
}

impl Scene {
    /// Stores an object of every kind that backups alone do not create.
    async fn complete(&self) {
        let Self { crafted, other, keeper, .. } = self;
        let repository = crafted.open().await;
        let (view, key) = (GroupView::from(&crafted.writer.group), &crafted.writer);
        let run = RunId::from_bytes([7; 16]);
        let registration = Registration {
            format: FORMAT_VERSION,
            repository: repository.id,
            group: view.id,
            writer: key.writer,
            run,
            epoch: 0,
            wrapped_key: key.data_recipient.wrap(&[1; 32]).unwrap().into(),
        };
        repository.store_signed(&view, key.pen(), &registration).await.unwrap();
        repository.store_signed(&view, key.pen(), &RunEnd { run }).await.unwrap();
        let loss = Loss { frames: vec![RunFrames { run, frames: bitmap([0]) }] };
        let pen = Pen { signer: Signer::Keeper(keeper.keeper), key: &keeper.signing_key };
        repository.store_signed(&view, pen, &loss).await.unwrap();
        let chain = ManifestChain::read(&repository).await.unwrap();
        let manifest = chain.manifests().next().unwrap();
        manifest.add_countersignature(&repository, manifest.envelope().to_vec()).await.unwrap();
        let session = crafted.as_writer(other).await;
        let listing = Listing::read(&session).await.unwrap();
        forget(&session, &[&listing.snapshots[0]], false, &crafted.context()).await.unwrap();
        crafted.prune(keeper, 8).await.unwrap();
    }

    /// The same repository in a separate store, in which the objects of a kind are unreachable.
    fn without(&self, kind: Option<Kind>, answer: Answer) -> Crafted {
        let faults = self.crafted.faults.fork();
        let is_of_kind = |key: &str| Name::parse(key).is_some_and(|name| Some(kind_of(&name)) == kind);
        for key in faults.contents().keys().filter(|key| is_of_kind(key)) {
            faults.script(Rule::new(Fault::answer(answer)).below(key).always());
        }
        Crafted {
            faults,
            clock: FakeClock::at(self.crafted.clock.now()),
            writer: WriterKey::parse(&self.crafted.writer.to_text()).unwrap(),
            recovery: self.crafted.recovery.clone(),
        }
    }

    async fn run(&self, verb: &str, on: &Crafted) -> Result<Said, VaultError> {
        let open = || Repository::open(on.faults.open(), &on.writer.repository, PinFile::none());
        let key = recovery_key(&on.recovery);
        let restorer = || RecoverySession::open(on.faults.open(), &key, None, |_| PinFile::none());
        let as_keeper = async || Session::for_keeper(open().await?, &self.keeper).await;
        let as_writer = async || Session::for_writer(open().await?, &on.writer);
        let everything = CheckOptions { read_data: ReadData::All, shard: Shard::WHOLE };
        Ok(match verb {
            "list as a writer" => Said::damage(Listing::read(&as_writer().await?).await?.unreadable),
            "list as a keeper" => Said::damage(Listing::read(&as_keeper().await?).await?.unreadable),
            "count" => Said::damage(Statistics::read(&as_keeper().await?, &context()).await?.unreadable),
            "verify" => {
                let repository = open().await?;
                let chain = ManifestChain::read(&repository).await?;
                for manifest in chain.manifests() {
                    manifest.countersignatures(&repository).await?;
                }
                Said::damage(chain.unreadable)
            }
            "restore" => restore_all(&restorer().await?).await?,
            "check" | "check as a keeper" => {
                let maintenance = match verb {
                    "check" => {
                        let restorer = restorer().await?;
                        Maintenance::with_recovery_key(restorer, recovery_key(&on.recovery), context())
                    }
                    _ => Maintenance::new(as_keeper().await?, context()),
                };
                let findings = maintenance.check(everything).await?;
                let is_unread = !findings.unread.is_empty();
                let damage =
                    findings.damage.iter().map(|damage| format!("{}: {}", damage.key, damage.reason));
                Said { is_unread, ..Said::damage(damage) }
            }
            "repair" => {
                let restorer = restorer().await?;
                let maintenance =
                    Maintenance::with_recovery_key(restorer, recovery_key(&on.recovery), context());
                let options = RepairOptions { dry_run: false, forget_damaged: true };
                let repaired = maintenance.repair(options).await?;
                let told = repaired.remaining.into_iter().map(|damage| damage.reason);
                let done =
                    repaired.actions.into_iter().map(|action| format!("{}: {}", action.key, action.what));
                let is_unread = !repaired.unread.is_empty();
                Said { is_unread, ..Said::damage(told.chain(done)) }
            }
            "prune" => {
                let pruned = prune(&as_keeper().await?, &PruneOptions::default(), &context()).await?;
                Said::damage(pruned.held_back.into_iter().chain(pruned.warnings))
            }
            "forget" => {
                // The root may go below the floor.
                let restorer = restorer().await?;
                let listing = Listing::read(restorer.session()).await?;
                let asked =
                    forget(restorer.session(), &[&listing.snapshots[0]], false, &on.context()).await?;
                let occupied = asked.iter().filter(|asked| matches!(asked, Asked::Occupied(_)));
                Said::damage(
                    occupied
                        .map(|asked| format!("{asked:?}"))
                        .chain(listing.unreadable.iter().map(ToString::to_string)),
                )
            }
            "back up" => {
                back_up(open().await?, &on.writer, &files(9), &on.context()).await?;
                Said::default()
            }
            "copy" => copy_all(&restorer().await?).await?,
            "remove a keeper" => {
                let (restorer, id) = (restorer().await?, self.keeper.keeper.to_string());
                Membership::of(&restorer, &on.context()).remove(&id, None, false, None).await?;
                Said::default()
            }
            _ => unreachable!("{verb} is a verb"),
        })
    }
}

async fn restore_all(restorer: &RecoverySession) -> Result<Said, VaultError> {
    let listing = Listing::read(restorer.session()).await?;
    let mut said = Said::damage(listing.unreadable);
    for snapshot in listing.snapshots {
        let open = OpenSnapshot::open(restorer, snapshot).await?;
        let target = tempfile::tempdir().unwrap();
        let to = TargetFolder::take(target.path())?;
        let restored = open.restore(0, to, &context()).await?;
        said.damage.extend(restored.damaged.into_iter().map(|problem| problem.reason));
    }
    Ok(said)
}

/// Copies everything into a new repository, without damaged files.
async fn copy_all(restorer: &RecoverySession) -> Result<Said, VaultError> {
    let listing = Listing::read(restorer.session()).await?;
    let elsewhere = Crafted::new().await;
    let target = elsewhere.open().await;
    let options = CopyOptions { compression_level: 1, threads: 1, cache: None, keeps_damaged: true };
    let mut copier = Copier::new(target, Arc::new(elsewhere.writer), options).await?;
    let mut said = Said::damage(listing.unreadable);
    for snapshot in listing.snapshots {
        let open = OpenSnapshot::open(restorer, snapshot).await?;
        let copied = copier.copy(&open, &context()).await?;
        said.damage.extend(copied.lost.into_iter().map(|(_, lost)| lost.error.to_string()));
    }
    Ok(said)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "an attack: scripts/test runs it"]
async fn what_is_unreachable_is_called_neither_damaged_nor_missing() {
    let scene = scene().await;
    scene.complete().await;
    for verb in VERBS {
        let said = Box::pin(scene.run(verb, &scene.without(None, Answer::Gone))).await;
        let Said { damage, is_unread } = said.unwrap_or_else(|error| panic!("{verb}: {error}"));
        assert!(damage.is_empty() && !is_unread, "{verb}, of a whole repository: {damage:?}");
    }
    let stored = scene.crafted.faults.contents();
    let mut there: BTreeMap<String, Kind> = BTreeMap::new();
    there.extend(stored.keys().filter_map(|key| Some((key.clone(), kind_of(&Name::parse(key)?)))));
    for name in one_of_each_kind() {
        let kind = kind_of(&name);
        assert!(there.values().any(|other| *other == kind), "there is no object like {name:?}");
        for answer in [Answer::Gone, Answer::Denied] {
            let mut met = Vec::new();
            for verb in VERBS {
                let when = format!("{verb}, without any object like {name:?} ({answer:?})");
                match Box::pin(scene.run(verb, &scene.without(Some(kind), answer))).await {
                    Ok(Said { damage, is_unread }) => {
                        assert!(damage.is_empty(), "{when}: {damage:?}");
                        met.extend(is_unread.then_some(verb));
                    }
                    Err(VaultError::Store(_)) => met.push(verb),
                    Err(error) => panic!("{when}: {error:?}"),
                }
            }
            assert!(!met.is_empty(), "no verb reads objects like {name:?}");
        }
    }
}
