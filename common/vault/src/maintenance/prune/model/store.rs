//! The model's store, and what the real decisions make of it.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::{SignedDuration, Timestamp};
use lifeboat_core::Sha256Digest;

use super::Phase;
use super::memo::{Memo, remembered};
use super::names::{
    Age, Condemned, Decided, Lost, Name, OLDEST, RunNumber, aged, renumbered, renumbered_condemned, without,
};
use crate::format::condemnation::Condemnation;
use crate::format::frame_set::FrameSet;
use crate::format::index::{FrameLocation, Locations, PackLocations};
use crate::format::pack::TrailerFrame;
use crate::ids::{FrameName, KeeperId, RunId, Signer, WriterId};
use crate::maintenance::prune::homes::{Claims, Fate, Known, Rank};
use crate::maintenance::prune::needs::{LeftSnapshot, Needs, UnnamedPart};
use crate::maintenance::prune::runs::{RunFacts, RunState, is_old};
use crate::maintenance::prune::sweep::{Condemning, Unneeded, to_delete, to_lift};
use crate::repository::condemnations::FoundCondemnation;

/// What is in the store of one run.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own about a run")]
pub(super) struct Run {
    /// How long ago it was registered, by what the run noted then, until its part is stored.
    pub(super) began: Option<Age>,
    /// Whether its part was stored more than a lease after that.
    pub(super) outlived_its_lease: bool,
    pub(super) registration: Option<Age>,
    pub(super) pack: Option<Age>,
    pub(super) moved: Option<Age>,
    pub(super) part: Option<Age>,
    pub(super) manifest: Option<Age>,
    pub(super) end: Option<Age>,
    /// Whether a repair registered it.
    pub(super) is_registered_by_keeper: bool,
    /// Whether a repair wrote the locations of its pack.
    pub(super) is_located_by_keeper: bool,
    /// What the storage lost, and no repair has written again.
    pub(super) lost: BTreeSet<Lost>,
    /// Whether locations say where the frames of its pack lie.
    pub(super) is_located: bool,
    pub(super) is_forgotten: bool,
    /// Whether the manifest came long after the part.
    pub(super) was_late: bool,
    /// Whether it needs the frame of run 0 instead of one of its own.
    pub(super) references: bool,
    pub(super) condemned_at_begin: BTreeSet<Name>,
}

/// What a prune works out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    /// The names of objects that nothing needs.
    pub(super) unneeded: BTreeSet<Name>,
    /// The keys of those of them that show that a run is over.
    pub(super) evidence: BTreeSet<String>,
}

thread_local! {
    /// It does not depend on what is condemned.
    static PLANS: RefCell<Memo<Plan>> = RefCell::default();
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Store {
    runs: Vec<Run>,
    /// The grace of every prune.
    grace_days: i64,
    pub(super) condemnations: BTreeSet<Condemned>,
}

const NOW: i64 = 1_000 * 24 * 60 * 60;

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("it is a time")
}

fn days(count: i64) -> SignedDuration {
    SignedDuration::from_hours(24 * count)
}

/// When something of this age was stored.
pub(super) fn stored(age: Age) -> Timestamp {
    now() - days(age.into())
}

fn id(number: RunNumber) -> RunId {
    RunId::from_bytes([number; 16])
}

fn writer(number: RunNumber) -> WriterId {
    WriterId::from_bytes([number; 16])
}

const KEEPER: Signer = Signer::Keeper(KeeperId::from_bytes([99; 16]));

fn registrant(number: RunNumber, run: &Run) -> Signer {
    if run.is_registered_by_keeper { KEEPER } else { Signer::Writer(writer(number)) }
}

/// The frame that only this run's snapshot needs.
fn own(number: RunNumber) -> FrameName {
    id(number).frame(0)
}

/// The frame with the chunk that all snapshots have in common, as this run stored it.
fn common(number: RunNumber) -> FrameName {
    id(number).frame(1)
}

impl Name {
    fn key(self) -> String {
        match self {
            Self::Manifest(number) => format!("snapshots/{number}"),
            Self::Part(number) => format!("parts/{number}"),
            Self::Pack(number) => format!("packs/{number}"),
            Self::Moved(number) => format!("packs/{number}-moved"),
            Self::Registration(number) => format!("runs/{number}"),
            Self::End(number) => format!("runs/{number}.end"),
        }
    }

    fn pack_hash(self) -> Sha256Digest {
        Sha256Digest::of(self.key().as_bytes())
    }
}

/// The size of a pack of the model, in bytes: two frames of the same length.
const PACK_SIZE: u64 = 2 << 20;

impl Store {
    pub(super) fn with_one_snapshot(writers: u8, grace_days: i64) -> Self {
        let first = Run {
            registration: Some(OLDEST),
            pack: Some(OLDEST),
            part: Some(OLDEST),
            manifest: Some(OLDEST),
            is_located: true,
            ..Run::default()
        };
        let runs = std::iter::once(first).chain((0..writers).map(|_| Run::default())).collect();
        Self { runs, grace_days, condemnations: BTreeSet::new() }
    }

    pub(super) fn run(&self, number: RunNumber) -> &Run {
        &self.runs[usize::from(number)]
    }

    pub(super) fn run_mut(&mut self, number: RunNumber) -> &mut Run {
        &mut self.runs[usize::from(number)]
    }

    fn numbered(&self) -> impl Iterator<Item = (RunNumber, &Run)> {
        (0..).zip(&self.runs)
    }

    pub(super) fn pass(&mut self, days: Age) {
        for run in &mut self.runs {
            for age in [
                &mut run.began,
                &mut run.registration,
                &mut run.pack,
                &mut run.moved,
                &mut run.part,
                &mut run.manifest,
                &mut run.end,
            ] {
                *age = age.map(|age| (age + days).min(OLDEST));
            }
        }
        self.condemnations = aged(&self.condemnations, days);
    }

    /// Drops what no later step asks of a run that is in this phase.
    pub(super) fn forget_what_no_step_asks(&mut self, number: RunNumber, phase: Phase) {
        let run = self.run_mut(number);
        if phase > Phase::PartStored {
            run.condemned_at_begin.clear();
            run.outlived_its_lease = false;
        }
        // A request of a dead run may still arrive, which asks when the run began.
        if matches!(phase, Phase::Done | Phase::Failed) {
            run.began = None;
            run.was_late = false;
        }
        // Of these only a stale listing asks the age: whether they were stored today.
        for age in [&mut run.manifest, &mut run.end] {
            *age = age.map(|age| age.min(1));
        }
    }

    /// Drops these names from what is, or was, condemned.
    pub(super) fn forget_names(&mut self, gone: &BTreeSet<Name>) {
        self.condemnations = without(&self.condemnations, gone);
        for run in &mut self.runs {
            run.condemned_at_begin.retain(|name| !gone.contains(name));
        }
    }

    /// Gives every run the number of its place in `order`, counted from 1, which `new` tells.
    pub(super) fn renumber(&mut self, order: &[RunNumber], new: impl Fn(RunNumber) -> RunNumber + Copy) {
        let runs = std::iter::once(&0).chain(order).map(|number| self.run(*number).clone());
        self.runs = runs.collect();
        for run in &mut self.runs {
            run.condemned_at_begin = renumbered(&run.condemned_at_begin, new);
            run.lost = run.lost.iter().map(|lost| lost.renumbered(new)).collect();
        }
        self.condemnations = renumbered_condemned(&self.condemnations, new);
    }

    fn age(&self, name: Name) -> Option<Age> {
        match name {
            Name::Manifest(number) => self.run(number).manifest,
            Name::Part(number) => self.run(number).part,
            Name::Pack(number) => self.run(number).pack,
            Name::Moved(number) => self.run(number).moved,
            Name::Registration(number) => self.run(number).registration,
            Name::End(number) => self.run(number).end,
        }
    }

    pub(super) fn has(&self, name: Name) -> bool {
        self.age(name).is_some()
    }

    pub(super) fn delete(&mut self, name: Name) {
        match name {
            Name::Manifest(number) => self.run_mut(number).manifest = None,
            Name::Part(number) => self.run_mut(number).part = None,
            Name::Pack(number) => self.run_mut(number).pack = None,
            Name::Moved(number) => self.run_mut(number).moved = None,
            Name::Registration(number) => self.run_mut(number).registration = None,
            Name::End(number) => self.run_mut(number).end = None,
        }
    }

    /// The store as a listing shows it that lacks everything stored today.
    pub(super) fn without_todays(&self) -> Self {
        let mut stale = self.clone();
        for name in self.names().filter(|name| self.age(*name) == Some(0)) {
            stale.delete(name);
        }
        stale.condemnations.retain(|found| found.age > 0);
        stale
    }

    fn names(&self) -> impl Iterator<Item = Name> + '_ {
        let of_run = |(number, _): (RunNumber, &Run)| {
            [
                Name::Manifest(number),
                Name::Part(number),
                Name::Pack(number),
                Name::Moved(number),
                Name::Registration(number),
                Name::End(number),
            ]
        };
        self.numbered().flat_map(of_run).filter(|name| self.age(*name).is_some())
    }

    /// The existing packs that hold the frame of run 0 that others reference.
    fn homes_of_common(&self) -> impl Iterator<Item = Name> + '_ {
        self.names().filter(|name| matches!(name, Name::Pack(0) | Name::Moved(_)))
    }

    /// Everything that is condemned.
    pub(super) fn condemned(&self) -> BTreeSet<Name> {
        self.condemnations.iter().flat_map(|found| &found.names).copied().collect()
    }

    /// Whether a run may reference the frame of run 0: it is in an existing pack that is not condemned.
    pub(super) fn may_reference(&self, condemned: &BTreeSet<Name>) -> bool {
        self.homes_of_common().any(|pack| !condemned.contains(&pack))
    }

    /// Has a run check again whether what it references stays, and move it if it does not. If the run `is_late`, it
    /// moves nothing, and also looks for its own objects and all registrations. Returns whether everything exists and
    /// stays.
    pub(super) fn keep(&mut self, number: RunNumber, is_late: bool) -> bool {
        let run = self.run(number);
        let condemned = self.condemned();
        if is_late {
            let mut needed = vec![Name::Registration(number), Name::Part(number), Name::Pack(number)];
            needed.extend(run.references.then_some(Name::Registration(0)));
            let stays = |name: &Name| self.has(*name) && !condemned.contains(name);
            return needed.iter().all(stays) && (!run.references || self.may_reference(&condemned));
        }
        let is_news = !condemned.is_subset(&run.condemned_at_begin);
        if !run.references || !is_news || self.may_reference(&condemned) {
            return true;
        }
        let is_somewhere = self.homes_of_common().next().is_some();
        if is_somewhere {
            self.run_mut(number).moved = Some(0);
        }
        is_somewhere
    }

    fn needed_by(&self, number: RunNumber) -> [FrameName; 2] {
        [own(number), if self.run(number).references { common(0) } else { common(number) }]
    }

    fn frames_in(pack: Name) -> Vec<FrameName> {
        match pack {
            Name::Pack(number) => vec![own(number), common(number)],
            Name::Moved(_) => vec![common(0)],
            Name::Manifest(_) | Name::Part(_) | Name::Registration(_) | Name::End(_) => Vec::new(),
        }
    }

    /// Whether everything that a restore of the run's snapshot reads is there.
    pub(super) fn restores(&self, number: RunNumber) -> bool {
        let is_there = |frame: &FrameName| self.names().any(|name| Self::frames_in(name).contains(frame));
        let has_key = |frame: &FrameName| {
            self.numbered().any(|(number, run)| {
                let is_lost = run.lost.contains(&Lost::Registration(number));
                id(number) == frame.run && (run.registration.is_some() || is_lost)
            })
        };
        let needed = self.needed_by(number);
        self.run(number).part.is_some() && needed.iter().all(is_there) && needed.iter().all(has_key)
    }

    /// What the storage can lose and a repair write again.
    pub(super) fn losable(&self) -> impl Iterator<Item = Lost> + '_ {
        self.numbered().flat_map(|(number, run)| {
            let registration = run.registration.map(|_| Lost::Registration(number));
            let locations = (run.is_located && run.pack.is_some()).then_some(Lost::Locations(number));
            [registration, locations].into_iter().flatten()
        })
    }

    pub(super) fn lose(&mut self, lost: Lost) {
        match lost {
            Lost::Registration(number) => self.run_mut(number).registration = None,
            Lost::Locations(number) => self.run_mut(number).is_located = false,
        }
        let (Lost::Registration(number) | Lost::Locations(number)) = lost;
        self.run_mut(number).lost.insert(lost);
    }

    /// What snapshots need and the storage has lost.
    pub(super) fn missing(&self) -> Vec<Lost> {
        let (needs, _) = self.needs();
        let lost = self.numbered().flat_map(|(_, run)| &run.lost);
        let is_needed = |lost: &&Lost| match lost {
            Lost::Registration(number) => needs.live.has_run(id(*number)),
            Lost::Locations(number) => {
                let frames = Self::frames_in(Name::Pack(*number));
                self.run(*number).pack.is_some() && frames.iter().any(|frame| needs.live.contains(*frame))
            }
        };
        lost.filter(is_needed).copied().collect()
    }

    /// Has a keeper write again what the storage lost.
    pub(super) fn restore_index(&mut self, lost: Lost) {
        let (Lost::Registration(number) | Lost::Locations(number)) = lost;
        let run = self.run_mut(number);
        run.lost.remove(&lost);
        match lost {
            Lost::Registration(_) => {
                run.registration = Some(0);
                run.is_registered_by_keeper = true;
            }
            Lost::Locations(_) => {
                run.is_located = true;
                run.is_located_by_keeper = true;
            }
        }
    }

    /// What snapshots and parts need, and which runs are under way.
    fn needs(&self) -> (Needs, HashSet<RunId>) {
        let mut needs = Needs::default();
        let set = |number| self.needed_by(number).into_iter().collect::<FrameSet>();
        for (number, run) in self.numbered().filter(|(_, run)| run.manifest.is_some()) {
            let part = Name::Part(number).key();
            if run.is_forgotten {
                needs.leave(LeftSnapshot {
                    writer: writer(number),
                    objects: vec![Name::Manifest(number).key()],
                    part: run.part.map(|_| (part, id(number))),
                });
            } else {
                needs.keep(writer(number), part, id(number), &set(number));
            }
        }
        for (number, run) in self.numbered() {
            let key = Name::Part(number).key();
            if let Some(age) = run.part.filter(|_| !needs.names_part(&key)) {
                let has_end = run.end.is_some() && run.registration.is_some();
                let part = UnnamedPart { key: &key, stored: stored(age), has_end };
                needs.add_unnamed(part, &set(number), now());
            }
        }
        let registered = |of: RunId| {
            let found = self.numbered().find(|(number, _)| id(*number) == of);
            found.and_then(|(_, run)| run.registration).map(stored)
        };
        needs.settle(registered, now(), days(self.grace_days));
        let under_way = self.numbered().filter(|(number, run)| {
            let facts = RunFacts {
                registered: run.registration.map(stored),
                registrant: run.registration.map(|_| registrant(*number, run)),
                may_run: true,
                has_end: run.end.is_some() && run.registration.is_some() && !run.is_registered_by_keeper,
            };
            let state = facts.state(needs.made_snapshots.get(&id(*number)), now());
            matches!(state, RunState::UnderWay(_))
        });
        let under_way = under_way.map(|(number, _)| id(number)).collect();
        (needs, under_way)
    }

    /// What a prune works out from the store.
    pub(super) fn plan(&self) -> Plan {
        remembered(&PLANS, &(&self.runs, self.grace_days), || self.work_out())
    }

    fn work_out(&self) -> Plan {
        let (needs, under_way) = self.needs();
        let packs: Vec<(Name, Age)> = self
            .names()
            .filter(|name| matches!(name, Name::Pack(_) | Name::Moved(_)))
            .filter_map(|name| Some((name, self.age(name)?)))
            .collect();
        let sizes: HashMap<Sha256Digest, u64> =
            packs.iter().map(|(pack, _)| (pack.pack_hash(), PACK_SIZE)).collect();
        let known = Known { packs: &sizes, live: &needs.live, under_way: &under_way };
        let mut claims = Claims::default();
        for (pack, age) in &packs {
            let (number, is_located, is_by_keeper) = match pack {
                Name::Pack(number) => {
                    let run = self.run(*number);
                    (*number, run.is_located, run.is_located_by_keeper)
                }
                Name::Moved(number) => (*number, true, false),
                Name::Manifest(_) | Name::Part(_) | Name::Registration(_) | Name::End(_) => continue,
            };
            if is_located {
                let signed = if is_by_keeper {
                    (KEEPER, Rank::Pruner)
                } else {
                    (Signer::Writer(writer(number)), Rank::Stated(stored(*age)))
                };
                for frame in Self::frames_in(*pack) {
                    claims.add(&located(*pack, frame), signed, true, &known);
                }
            }
        }
        let registrants = self
            .numbered()
            .filter(|(_, run)| run.registration.is_some())
            .map(|(number, run)| (id(number), registrant(number, run)))
            .collect();
        for (pack, age) in &packs {
            let is_over = |number: RunNumber| !under_way.contains(&id(number));
            let is_read = claims.names(&pack.pack_hash())
                || is_old(stored(*age), now())
                || matches!(pack, Name::Pack(number) if is_over(*number) && needs.made_snapshots.contains_key(&id(*number)));
            if is_read {
                claims.hear((&pack.pack_hash(), PACK_SIZE), &trailer(*pack), &known);
            }
        }
        claims.name_registrants(&registrants);
        let homes = claims.settle(|_| false);
        let fates = claims.fates(&homes);
        let goes = |pack: Name| fates.get(&pack.pack_hash()) == Some(&Fate::Goes);
        let is_unneeded = |name: &Name| match name {
            Name::Pack(_) | Name::Moved(_) => goes(*name),
            Name::Registration(number) | Name::End(number) => {
                !under_way.contains(&id(*number)) && !needs.live.has_run(id(*number))
            }
            Name::Manifest(_) | Name::Part(_) => needs.dead.contains(&name.key()),
        };
        let unneeded = self.names().filter(is_unneeded).collect();
        Plan { unneeded, evidence: needs.evidence }
    }

    /// What a prune does that found this store. A wrong one deletes whatever was condemned.
    pub(super) fn decide(&self, deletes_what_is_needed: bool) -> Decided {
        let Plan { unneeded, evidence } = self.plan();
        let names: HashMap<String, Name> = self.names().map(|name| (name.key(), name)).collect();
        let numbered: Vec<&Condemned> = self.condemnations.iter().collect();
        let mut found: Vec<FoundCondemnation> = Vec::new();
        for (number, condemned) in numbered.iter().enumerate() {
            let objects = condemned.names.iter().map(|name| name.key());
            let objects = objects.filter(|key| names.contains_key(key)).collect();
            let avoid_only = condemned.is_avoidance.then_some(true);
            let body = Condemnation { frames: Vec::new(), objects, avoid_only };
            found.push(FoundCondemnation { key: number.to_string(), stored: stored(condemned.age), body });
        }
        let objects: BTreeSet<String> = unneeded.iter().map(|name| name.key()).collect();
        let none = FrameSet::default();
        let all: BTreeSet<String> = names.keys().cloned().collect();
        // A wrong prune takes everything for unneeded once it is condemned.
        let is_unneeded = if deletes_what_is_needed { &all } else { &objects };
        let plan = Unneeded { objects: is_unneeded, frames: &none, needed: &none };
        let Condemning { standing, replaced, new } = plan.condemn(found);
        let deletable = is_unneeded.iter().filter(|key| !evidence.contains(*key));
        let (now, grace) = (now(), days(self.grace_days));
        let due = to_delete(&standing, deletable, now, grace);
        let is_left = |key: &String| names.contains_key(key) && !due.contains(&key);
        let original =
            |found: &FoundCondemnation| numbered[found.key.parse::<usize>().expect("it is a number")].clone();
        let of = |deletes: bool| -> BTreeSet<Name> {
            let bodies = new.iter().filter(|body| body.deletes() == deletes);
            bodies
                .flat_map(|body| &body.objects)
                .filter(|key| !deletes || objects.contains(*key))
                .map(|key| names[key])
                .collect()
        };
        Decided {
            age: 0,
            new: of(true),
            avoided: of(false),
            replaced: replaced.iter().map(original).collect(),
            served: to_lift(&standing, is_left, now, grace).map(original).collect(),
            due: due.into_iter().map(|key| names[key]).collect(),
        }
    }

    /// Has a prune condemn, as it decided.
    pub(super) fn condemn(&mut self, decided: &Decided) {
        for (names, is_avoidance) in [(&decided.new, false), (&decided.avoided, true)] {
            if !names.is_empty() {
                self.condemnations.insert(Condemned { names: names.clone(), age: 0, is_avoidance });
            }
        }
        self.condemnations.retain(|found| !decided.replaced.contains(found));
    }
}

/// What a locations object says of one frame.
fn located(pack: Name, frame: FrameName) -> Locations {
    let place = place(frame);
    Locations {
        run: frame.run,
        packs: vec![PackLocations { pack: pack.pack_hash(), frames: vec![place], size: PACK_SIZE }],
    }
}

fn place(frame: FrameName) -> FrameLocation {
    FrameLocation {
        ordinal: frame.ordinal,
        offset: u64::from(frame.ordinal) << 20,
        length: 1 << 20,
        hash: Sha256Digest::of(&frame.ordinal.to_le_bytes()),
        chunk_bytes: 1 << 20,
    }
}

fn trailer(pack: Name) -> Vec<TrailerFrame> {
    let entry = |frame: FrameName| {
        let place = place(frame);
        TrailerFrame {
            run: frame.run,
            ordinal: place.ordinal,
            offset: place.offset,
            length: place.length,
            hash: place.hash,
            chunks: Vec::new(),
            chunk_bytes: place.chunk_bytes,
        }
    };
    Store::frames_in(pack).into_iter().map(entry).collect()
}
