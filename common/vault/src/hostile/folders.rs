//! What a folder repository hides from one user and shows to others: nobody takes it for absent.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use lifeboat_store::{Location, OpenOptions, Settings, Store};
use lifeboat_testkit::context;

use super::crafted::{Crafted, keeper_pen};
use super::{back_up, files};
use crate::error::{ObjectError, VaultError};
use crate::format::condemnation::GRACE_DAYS;
use crate::format::floor::Floor;
use crate::format::layout;
use crate::ids::{GroupId, Signer, WriterId};
use crate::keys::keeper_key::KeeperKey;
use crate::maintenance::check::{CheckOptions, Findings, Maintenance, ReadData, Shard};
use crate::maintenance::repair::RepairOptions;
use crate::repository::access::Session;
use crate::repository::open::Repository;
use crate::repository::pins::PinFile;

/// A repository in a folder.
struct InFolder {
    crafted: Crafted,
    keeper: KeeperKey,
    /// Another host of the group, whose snapshots the first one has seen.
    neighbour: WriterId,
    home: tempfile::TempDir,
}

impl InFolder {
    /// With a snapshot that counts, one that was forgotten and swept, one that is condemned, a loss, and requests.
    async fn new() -> Self {
        let crafted = Crafted::with_floor(Floor { days: 0, snapshots: 1 }).await;
        let (keeper, neighbour) = (crafted.add_keeper().await, crafted.add_neighbour().await);
        crafted.back_up(&neighbour, &files(7)).await.unwrap();
        let first = crafted.back_up(&crafted.writer, &files(0)).await.unwrap();
        crafted.pass(1);
        let second = crafted.back_up(&crafted.writer, &files(1)).await.unwrap();
        crafted.ask(keeper_pen(&keeper), crafted.writer.writer, 0, Some(first));
        // The forgotten snapshot is swept, and another one condemned.
        crafted.prune(&keeper, GRACE_DAYS).await.unwrap();
        crafted.pass(9);
        crafted.back_up(&crafted.writer, &files(2)).await.unwrap();
        crafted.ask(keeper_pen(&keeper), crafted.writer.writer, 1, Some(second));
        crafted.prune(&keeper, GRACE_DAYS).await.unwrap();
        let packs = crafted.faults.open().list("packs").await.unwrap();
        let newest = packs.into_iter().max_by_key(|entry| entry.modified).unwrap();
        crafted.faults.take_away(&newest.key);
        let maintenance = Maintenance::new(crafted.as_keeper(&keeper).await, context());
        let repaired = maintenance.repair(RepairOptions::default()).await.unwrap();
        assert!(repaired.marked_frames > 0);
        let home = tempfile::tempdir().unwrap();
        crafted.write_to(&home.path().join("store"));
        Self { crafted, keeper, neighbour: neighbour.writer, home }
    }

    fn group(&self) -> GroupId {
        self.crafted.writer.group.id
    }

    fn path(&self, place: &str) -> PathBuf {
        self.home.path().join("store").join(place)
    }

    /// The name of the first object below a folder.
    fn first_below(&self, folder: &str) -> String {
        let stored = self.crafted.faults.contents();
        stored.into_keys().find(|key| key.starts_with(&format!("{folder}/"))).unwrap()
    }

    async fn open(&self) -> Result<Repository, VaultError> {
        let location = Location::parse(self.path("").to_str().unwrap()).unwrap();
        let store = Store::open(&location, &Settings::default(), OpenOptions::default()).await?;
        Repository::open(store, &self.crafted.writer.repository, PinFile::none()).await
    }

    async fn as_keeper(&self) -> Session {
        Session::for_keeper(self.open().await.unwrap(), &self.keeper).await.unwrap()
    }

    /// Moves what is at a place elsewhere and puts a link there, which a folder repository does not follow: as if this
    /// user could not open it.
    fn hide(&self, place: &str) {
        let (path, hidden) = (self.path(place), self.home.path().join("hidden"));
        if path.exists() {
            fs::rename(&path, &hidden).unwrap();
        }
        symlink(hidden, path).unwrap();
    }

    fn show(&self, place: &str) {
        let (path, hidden) = (self.path(place), self.home.path().join("hidden"));
        fs::remove_file(&path).unwrap();
        if hidden.exists() {
            fs::rename(hidden, path).unwrap();
        }
    }

    async fn run(&self) -> Result<(), VaultError> {
        back_up(self.open().await?, &self.crafted.writer, &files(3), &context()).await.map(|_| ())
    }

    async fn check(&self, session: Session) -> Result<Findings, VaultError> {
        let maintenance = Maintenance::new(session, context());
        maintenance.check(CheckOptions { read_data: ReadData::Sizes, shard: Shard::WHOLE }).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_cannot_see_what_it_must_not_refer_to_ends() {
    let it = InFolder::new().await;
    let (group, keeper) = (it.group(), Signer::Keeper(it.keeper.keeper));
    let (condemned, losses) = (layout::condemned(keeper, group), layout::losses(group));
    let of_keeper = condemned.rsplit_once('/').unwrap().0.to_owned();
    for place in [
        layout::CONDEMNED.to_owned(),
        of_keeper.clone(),
        condemned.clone(),
        it.first_below(&condemned),
        "condemned/anybody".to_owned(),
        "lost".to_owned(),
        losses.clone(),
        it.first_below(&losses),
        // Its own numbers.
        layout::snapshots_of(it.crafted.writer.writer),
        layout::forget_of(it.crafted.writer.writer),
    ] {
        it.hide(&place);
        let error = it.run().await.expect_err(&place);
        let VaultError::Object(ObjectError::OutOfReach { place: told, .. }) = &error else {
            panic!("{place}: {error}");
        };
        assert_eq!(*told, place);
        it.show(&place);
    }
    // What concerns another group, or a verifier, stops nobody.
    let other = format!("{of_keeper}/{}", GroupId::from_bytes([9; 16]));
    let countersignatures = format!("{}.sig", layout::snapshot(it.crafted.writer.writer, 2));
    for place in [other, countersignatures] {
        it.hide(&place);
        it.run().await.unwrap_or_else(|error| panic!("{place}: {error}"));
        it.show(&place);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_folder_hides_is_called_unread_and_not_missing() {
    let it = InFolder::new().await;
    let (group, writer, neighbour) = (it.group(), it.crafted.writer.writer, it.neighbour);
    let damage = |findings: &Findings| -> Vec<(String, String)> {
        findings.damage.iter().map(|damage| (damage.key.clone(), damage.reason.clone())).collect()
    };
    let stored = it.crafted.faults.contents().into_keys();
    let packs: Vec<String> = stored.filter(|key| key.starts_with("packs/")).collect();
    let folders_of_packs = packs.iter().map(|pack| pack.rsplit_once('/').unwrap().0.to_owned());
    let known = damage(&it.check(it.as_keeper().await).await.unwrap());
    for place in [
        layout::MARKER.to_owned(),
        layout::roster(0),
        "keys".to_owned(),
        it.first_below("keys"),
        layout::packs(group),
        "packs".to_owned(),
        layout::parts(group),
        it.first_below(&layout::parts(group)),
        layout::locations_of(group),
        it.first_below(&layout::locations_of(group)),
        layout::contents(group),
        it.first_below(&layout::contents(group)),
        layout::runs(group),
        it.first_below(&layout::runs(group)),
        "runs".to_owned(),
        layout::losses(group),
        layout::snapshots_of(writer),
        layout::snapshot(writer, 2),
        layout::forget_of(writer),
        layout::snapshots_of(neighbour),
    ]
    .into_iter()
    .chain(folders_of_packs)
    .chain(packs.clone())
    {
        let session = it.as_keeper().await;
        it.hide(&place);
        let findings = it.check(session).await.unwrap_or_else(|error| panic!("{place}: {error}"));
        it.show(&place);
        assert!(findings.unread.iter().any(|unread| unread.key == place), "{place}: {:?}", findings.unread);
        let more: Vec<_> = damage(&findings).into_iter().filter(|told| !known.contains(told)).collect();
        assert!(more.is_empty(), "{place}: {more:?}");
    }
}

#[tokio::test]
async fn a_newest_roster_that_cannot_be_read_is_told() {
    let it = InFolder::new().await;
    let newest = it.open().await.unwrap().roster.number;
    assert!(newest > 0);
    it.hide(&layout::roster(newest));
    let opened = it.open().await.unwrap();
    let above: Vec<_> = opened.holes.above.iter().map(|hole| hole.number).collect();
    assert_eq!((opened.roster.number, above), (newest - 1, vec![newest]));
    it.show(&layout::roster(newest));
    it.hide(layout::ROSTERS);
    let error = it.open().await.unwrap_err();
    assert!(matches!(error, VaultError::Object(ObjectError::OutOfReach { .. })), "{error}");
}
