//! A model of the protocol of runs, prunes and repairs, which a model checker explores in every order of steps.
//!
//! The model's store has the objects that decisions depend on: registrations, packs, parts, manifests, ends of runs,
//! requests to forget and condemnations, each with its age in days by the storage's clock. Writers, keepers and a
//! repairer take one step at a time. Between two steps days may pass, the storage's clock may leap forward (which has
//! the same effect), and a fault may occur, up to a number of faults per trace: a process dies, the answer to a request
//! is lost, a request arrives after its process has given up, a listing lacks what was stored today, or the storage
//! loses an index object. The decisions are those of the real functions: [`Needs`], [`RunFacts`], [`Claims`],
//! [`Unneeded`], [`to_delete`], [`to_lift`], and [`is_past_lease`] and [`is_late`] of runs.
//!
//! Run 0 is committed at the beginning, and every other run has a chunk in common with it: it references the frame of
//! run 0 with that chunk, or stores the chunk again.
//!
//! [`Needs`]: super::needs::Needs
//! [`RunFacts`]: super::runs::RunFacts
//! [`Claims`]: super::homes::Claims
//! [`Unneeded`]: super::sweep::Unneeded
//! [`to_delete`]: super::sweep::to_delete
//! [`to_lift`]: super::sweep::to_lift

mod memo;
mod names;
mod store;
mod tests;

use std::cell::RefCell;
use std::collections::BTreeSet;

use stateright::{Model, Property};

use self::memo::{Memo, remembered};
use self::names::{Age, Decided, Lost, Name, OLDEST, RunNumber};
use self::store::Store;
use crate::backup::keeping::{is_late, is_past_lease};

/// A prune that began longer ago than this, in days, stops.
const LONGEST_PRUNE: Age = 4;

thread_local! {
    /// Whether what follows from a store, once all processes have ended, is as it must be.
    static SETTLED: RefCell<Memo<bool>> = RefCell::default();
}

/// Who takes part, how many faults may occur, and what is wrong with the protocol.
#[derive(Debug, Clone, Copy)]
struct Protocol {
    writers: u8,
    keepers: u8,
    has_repairer: bool,
    /// How many days may pass at a time.
    passes: &'static [Age],
    /// How many faults a trace may have.
    faults: u8,
    grace_days: i64,
    /// The storage's clock may fall back by this many days; then no other fault occurs.
    clock_falls_back: Option<Age>,
    /// What is wrong with it.
    flaw: Option<Flaw>,
}

/// What can be wrong with a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flaw {
    /// A prune deletes what was condemned even if it is needed by now.
    DeletesWithoutLookingAgain,
    /// A prune deletes condemnations that name something needed, and has no run avoid it.
    LiftsWhatIsNeeded,
    /// A run does not look at condemnations again before its manifest.
    CommitsWithoutLookingAgain,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Phase {
    Waiting,
    Registered,
    /// It knows what is condemned, and whether it references the frame of run 0.
    Read,
    Packed,
    PartStored,
    Looked,
    Committed,
    /// It cannot commit, and is about to store its end.
    Ending,
    /// It reported that its snapshot is whole.
    Done,
    /// It reported that it has no snapshot, or that its snapshot is not whole.
    Failed,
    /// It died, and reported nothing.
    Dead,
}

/// How far a prune is.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Keeper {
    Idle,
    /// It has worked out what to do, from the listing that it had.
    Planned(Decided),
    /// It has condemned what is unneeded, and deletes one object after the other.
    Sweeping(Decided),
    Dead,
}

/// How far a repair is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Repairer {
    Idle,
    /// What was missing when it looked.
    Surveyed(Vec<Lost>),
    Dead,
}

/// A request that arrives after its process has given up waiting for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Delayed {
    /// What a run stores after this phase.
    Run(RunNumber, Phase),
    /// It arrives within [`LONGEST_PRUNE`] days, or never: this many have passed.
    Delete(Name, Age),
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct State {
    store: Store,
    /// By the number of their run, from 1.
    phases: Vec<Phase>,
    keepers: Vec<Keeper>,
    repairer: Option<Repairer>,
    delayed: Vec<Delayed>,
    faults_left: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// This many days pass.
    Pass(Age),
    /// The storage's clock falls back.
    FallBack(Age),
    Forget(RunNumber),
    Run(RunNumber),
    /// The run's request arrives, its answer is lost, and the process gives up.
    RunUnanswered(RunNumber),
    /// The run's request arrives later, and the process gives up.
    RunDelayed(RunNumber),
    RunDies(RunNumber),
    Prune(usize),
    /// The prune begins with a listing that lacks what was stored today.
    PruneStale(usize),
    /// The prune's next deletion arrives later, and the process gives up.
    PruneDelayed(usize),
    KeeperDies(usize),
    Repair,
    RepairerDies,
    /// The storage loses an object.
    Lose(Lost),
    /// The first delayed request arrives.
    Arrive,
}

impl Protocol {
    /// The protocol as it is, without faults.
    const fn right(writers: u8, keepers: u8) -> Self {
        Self {
            writers,
            keepers,
            has_repairer: false,
            passes: &[1, 7],
            faults: 0,
            grace_days: crate::format::condemnation::GRACE_DAYS,
            clock_falls_back: None,
            flaw: None,
        }
    }

    fn has(&self, flaw: Flaw) -> bool {
        self.flaw == Some(flaw)
    }

    /// Takes the next step of a run.
    fn run(&self, state: &mut State, number: RunNumber) {
        let store = &mut state.store;
        let phase = &mut state.phases[usize::from(number) - 1];
        *phase = match *phase {
            Phase::Waiting => {
                let run = store.run_mut(number);
                (run.began, run.registration) = (Some(0), Some(0));
                Phase::Registered
            }
            Phase::Registered => {
                let condemned = store.condemned();
                let has_key = !condemned.contains(&Name::Registration(0));
                store.run_mut(number).references = has_key && store.may_reference(&condemned);
                store.run_mut(number).condemned_at_begin = condemned;
                Phase::Read
            }
            Phase::Read => {
                store.run_mut(number).pack = Some(0);
                Phase::Packed
            }
            Phase::Packed => {
                let run = store.run_mut(number);
                (run.is_located, run.part) = (true, Some(0));
                let began = run.began.take().map(store::stored);
                run.outlived_its_lease = began.is_none_or(|began| is_past_lease(began, store::stored(0)));
                Phase::PartStored
            }
            Phase::PartStored => {
                let run = store.run(number);
                let is_there = run.registration.is_some() && run.part.is_some();
                if is_there
                    && !run.outlived_its_lease
                    && (self.has(Flaw::CommitsWithoutLookingAgain) || store.keep(number, false))
                {
                    Phase::Looked
                } else {
                    Phase::Ending
                }
            }
            Phase::Looked => {
                let run = store.run_mut(number);
                run.manifest = Some(0);
                run.was_late = run.part.is_none_or(|part| is_late(store::stored(part), store::stored(0)));
                Phase::Committed
            }
            Phase::Committed => {
                let is_late = store.run(number).was_late;
                if is_late && !self.has(Flaw::CommitsWithoutLookingAgain) && !store.keep(number, true) {
                    Phase::Failed
                } else {
                    Phase::Done
                }
            }
            Phase::Ending => {
                store.run_mut(number).end = Some(0);
                Phase::Failed
            }
            ended @ (Phase::Done | Phase::Failed | Phase::Dead) => ended,
        };
    }

    fn prune(&self, state: &mut State, keeper: usize, is_stale: bool) {
        let State { store, keepers, .. } = state;
        let swept = |store: &mut Store, decided: Decided| {
            if !decided.due.is_empty() {
                let (new, avoided, replaced) = Default::default();
                return Keeper::Sweeping(Decided { new, avoided, replaced, ..decided });
            }
            store.condemnations.retain(|found| !decided.served.contains(found));
            Keeper::Idle
        };
        keepers[keeper] = match std::mem::replace(&mut keepers[keeper], Keeper::Idle) {
            Keeper::Idle => {
                let listed = if is_stale { store.without_todays() } else { store.clone() };
                let mut decided = listed.decide(self.has(Flaw::DeletesWithoutLookingAgain));
                if self.has(Flaw::LiftsWhatIsNeeded) {
                    decided.avoided.clear();
                }
                Keeper::Planned(decided)
            }
            Keeper::Planned(decided) | Keeper::Sweeping(decided) if decided.age > LONGEST_PRUNE => {
                Keeper::Idle
            }
            Keeper::Planned(decided) => {
                store.condemn(&decided);
                swept(store, decided)
            }
            Keeper::Sweeping(mut decided) => {
                store.delete(decided.due.remove(0));
                swept(store, decided)
            }
            Keeper::Dead => Keeper::Dead,
        };
    }

    fn repair(state: &mut State) {
        let State { store, repairer: Some(repairer), .. } = state else { return };
        match repairer {
            Repairer::Idle => {
                let missing = store.missing();
                if !missing.is_empty() {
                    *repairer = Repairer::Surveyed(missing);
                }
            }
            Repairer::Surveyed(missing) => {
                store.restore_index(missing.remove(0));
                if missing.is_empty() {
                    *repairer = Repairer::Idle;
                }
            }
            Repairer::Dead => {}
        }
    }

    /// The store when every process has ended, a repair has run, and a keeper prunes now and after a lease and a grace.
    fn in_the_end(&self, state: &State) -> Store {
        let mut state =
            State { keepers: vec![Keeper::Idle], repairer: Some(Repairer::Idle), ..state.clone() };
        for _ in 0..4 {
            Self::repair(&mut state);
            while state.repairer != Some(Repairer::Idle) {
                Self::repair(&mut state);
            }
            self.prune(&mut state, 0, false);
            while state.keepers[0] != Keeper::Idle {
                self.prune(&mut state, 0, false);
            }
            state.store.pass(OLDEST);
        }
        state.store
    }
}

impl Protocol {
    /// Whether everything unneeded is gone in the end, and what the storage lost is back.
    fn ends_settled(&self, state: &State) -> bool {
        remembered(&SETTLED, &state.store, || {
            let end = self.in_the_end(state);
            end.plan().unneeded.is_empty() && end.missing().is_empty()
        })
    }
}

impl State {
    /// Whether a snapshot was committed and must restore: its run says so, or has nothing more to look at.
    fn must_restore(&self, number: RunNumber) -> bool {
        let run = self.store.run(number);
        if run.manifest.is_none() || run.is_forgotten {
            return false;
        }
        match number.checked_sub(1).map(|at| self.phases[usize::from(at)]) {
            None | Some(Phase::Done) => true,
            // It looks again before it says anything, or says that the snapshot is not whole.
            Some(Phase::Failed) => false,
            _ => !run.was_late,
        }
    }

    fn pass(&mut self, days: Age) {
        self.store.pass(days);
        for delayed in &mut self.delayed {
            if let Delayed::Delete(_, age) = delayed {
                *age += days;
            }
        }
        self.delayed.retain(|delayed| !matches!(delayed, Delayed::Delete(_, age) if *age > LONGEST_PRUNE));
        for keeper in &mut self.keepers {
            match keeper {
                Keeper::Planned(decided) | Keeper::Sweeping(decided) => decided.pass(days),
                Keeper::Idle | Keeper::Dead => {}
            }
        }
    }

    /// Makes states equal that differ only in what no later step depends on, so that there are fewer of them.
    fn forget_what_no_step_asks(&mut self) {
        for (number, phase) in (1..).zip(&self.phases) {
            self.store.forget_what_no_step_asks(number, *phase);
        }
        self.forget_names_that_are_gone();
        // One keeper is as good as the other, and one writer as well: numbers follow how far the runs are.
        self.keepers.sort_unstable();
        let mut order: Vec<RunNumber> = (0..).zip(&self.phases).map(|(number, _)| number + 1).collect();
        order.sort_by_key(|number| (self.phases[usize::from(*number) - 1], self.store.run(*number).clone()));
        if !order.is_sorted() {
            self.renumber(&order);
        }
    }

    /// Drops from what is condemned the names that no object can have any more.
    fn forget_names_that_are_gone(&mut self) {
        let is_over = |number: RunNumber| {
            let phase = number.checked_sub(1).map(|at| self.phases[usize::from(at)]);
            phase.is_none_or(|phase| matches!(phase, Phase::Done | Phase::Failed | Phase::Dead))
                && !self
                    .delayed
                    .iter()
                    .any(|delayed| matches!(delayed, Delayed::Run(run, _) if *run == number))
        };
        // A run that is about to look again compares what is condemned with what was.
        let is_any_looking =
            self.phases.iter().any(|phase| (Phase::Read..=Phase::PartStored).contains(phase));
        let counts = |store: &Store, name: &Name| {
            store.has(*name)
                || match name {
                    Name::Registration(number) => self.repairer.is_some() || !is_over(*number),
                    Name::Pack(0) => is_any_looking,
                    Name::Moved(number) => is_any_looking || !is_over(*number),
                    Name::Manifest(number) | Name::Part(number) | Name::Pack(number) | Name::End(number) => {
                        !is_over(*number)
                    }
                }
        };
        let store = &self.store;
        let mut gone: BTreeSet<Name> = store.condemned();
        for number in 0..=u8::try_from(self.phases.len()).expect("there are few") {
            gone.extend(&store.run(number).condemned_at_begin);
        }
        gone.retain(|name| !counts(store, name));
        let is_useless =
            |delayed: &&Delayed| matches!(delayed, Delayed::Delete(name, _) if !counts(store, name));
        let delayed: Vec<Delayed> =
            self.delayed.iter().filter(|delayed| !is_useless(delayed)).copied().collect();
        self.delayed = delayed;
        self.store.forget_names(&gone);
        for keeper in &mut self.keepers {
            if let Keeper::Planned(decided) | Keeper::Sweeping(decided) = keeper {
                decided.forget_names(&gone);
            }
        }
    }

    /// Gives every run the number of its place in `order`, counted from 1. Run 0 stays.
    fn renumber(&mut self, order: &[RunNumber]) {
        let place = |number: &RunNumber| order.iter().position(|other| other == number);
        let new = |number: RunNumber| place(&number).map_or(number, |at| (1..).nth(at).unwrap_or(number));
        self.phases = order.iter().map(|number| self.phases[usize::from(*number) - 1]).collect();
        self.store.renumber(order, new);
        for keeper in &mut self.keepers {
            match keeper {
                Keeper::Planned(decided) | Keeper::Sweeping(decided) => decided.renumber(new),
                Keeper::Idle | Keeper::Dead => {}
            }
        }
        self.keepers.sort_unstable();
        if let Some(Repairer::Surveyed(missing)) = &mut self.repairer {
            for lost in missing {
                *lost = lost.renumbered(new);
            }
        }
        for delayed in &mut self.delayed {
            match delayed {
                Delayed::Run(number, _) => *number = new(*number),
                Delayed::Delete(name, _) => *name = name.renumbered(new),
            }
        }
    }

    fn is_quiet(&self) -> bool {
        let has_ended =
            |phase: &Phase| matches!(phase, Phase::Waiting | Phase::Done | Phase::Failed | Phase::Dead);
        self.phases.iter().all(has_ended)
            && self.keepers.iter().all(|keeper| matches!(keeper, Keeper::Idle | Keeper::Dead))
            && !matches!(self.repairer, Some(Repairer::Surveyed(_)))
            && self.delayed.is_empty()
    }
}

impl Model for Protocol {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            store: Store::with_one_snapshot(self.writers, self.grace_days),
            phases: vec![Phase::Waiting; usize::from(self.writers)],
            keepers: vec![Keeper::Idle; usize::from(self.keepers)],
            repairer: self.has_repairer.then_some(Repairer::Idle),
            delayed: Vec::new(),
            faults_left: self.faults,
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        steps.extend(self.passes.iter().map(|days| Step::Pass(*days)));
        for number in 0..=self.writers {
            let run = state.store.run(number);
            if run.manifest.is_some() && !run.is_forgotten {
                steps.push(Step::Forget(number));
            }
        }
        if state.faults_left > 0 {
            steps.extend(self.clock_falls_back.map(Step::FallBack));
        }
        let may_fail = state.faults_left > 0 && self.clock_falls_back.is_none();
        for (number, phase) in (1..).zip(&state.phases) {
            if matches!(phase, Phase::Done | Phase::Failed | Phase::Dead) {
                continue;
            }
            steps.push(Step::Run(number));
            if may_fail && *phase != Phase::Waiting {
                steps.push(Step::RunDies(number));
            }
            if may_fail && matches!(phase, Phase::Waiting | Phase::Read | Phase::Packed | Phase::Looked) {
                steps.extend([Step::RunUnanswered(number), Step::RunDelayed(number)]);
            }
        }
        for (keeper, phase) in state.keepers.iter().enumerate() {
            if *phase == Keeper::Dead {
                continue;
            }
            steps.push(Step::Prune(keeper));
            match phase {
                _ if !may_fail => {}
                Keeper::Idle => steps.push(Step::PruneStale(keeper)),
                Keeper::Sweeping(_) => {
                    steps.extend([Step::KeeperDies(keeper), Step::PruneDelayed(keeper)]);
                }
                Keeper::Planned(_) | Keeper::Dead => steps.push(Step::KeeperDies(keeper)),
            }
        }
        match &state.repairer {
            Some(Repairer::Idle) => steps.push(Step::Repair),
            Some(Repairer::Surveyed(_)) => {
                steps.push(Step::Repair);
                steps.extend(may_fail.then_some(Step::RepairerDies));
            }
            Some(Repairer::Dead) | None => {}
        }
        if may_fail && state.repairer.is_some() {
            steps.extend(state.store.losable().map(Step::Lose));
        }
        steps.extend((!state.delayed.is_empty()).then_some(Step::Arrive));
    }

    fn next_state(&self, last: &State, step: Step) -> Option<State> {
        let mut state = last.clone();
        let is_fault = !matches!(
            step,
            Step::Pass(_) | Step::Forget(_) | Step::Run(_) | Step::Prune(_) | Step::Repair | Step::Arrive
        );
        match step {
            Step::Pass(days) => state.pass(days),
            Step::FallBack(days) => state.pass(-days),
            Step::Forget(number) => state.store.run_mut(number).is_forgotten = true,
            Step::Run(number) => self.run(&mut state, number),
            Step::RunUnanswered(number) => {
                self.run(&mut state, number);
                // It does not know whether its request arrived.
                state.phases[usize::from(number) - 1] = Phase::Dead;
            }
            Step::RunDelayed(number) => {
                let phase = &mut state.phases[usize::from(number) - 1];
                state.delayed.push(Delayed::Run(number, *phase));
                *phase = Phase::Dead;
            }
            Step::RunDies(number) => state.phases[usize::from(number) - 1] = Phase::Dead,
            Step::Prune(keeper) => self.prune(&mut state, keeper, false),
            Step::PruneStale(keeper) => self.prune(&mut state, keeper, true),
            Step::PruneDelayed(keeper) => {
                if let Keeper::Sweeping(decided) = &state.keepers[keeper] {
                    state.delayed.push(Delayed::Delete(decided.due[0], 0));
                }
                state.keepers[keeper] = Keeper::Dead;
            }
            Step::KeeperDies(keeper) => state.keepers[keeper] = Keeper::Dead,
            Step::Repair => Self::repair(&mut state),
            Step::RepairerDies => state.repairer = Some(Repairer::Dead),
            Step::Lose(lost) => state.store.lose(lost),
            Step::Arrive => match state.delayed.remove(0) {
                Delayed::Run(number, phase) => {
                    state.phases[usize::from(number) - 1] = phase;
                    self.run(&mut state, number);
                    state.phases[usize::from(number) - 1] = Phase::Dead;
                }
                Delayed::Delete(name, _) => state.store.delete(name),
            },
        }
        state.faults_left -= u8::from(is_fault);
        state.forget_what_no_step_asks();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("every committed snapshot restores", |protocol: &Self, state: &State| {
                (0..=protocol.writers)
                    .all(|number| !state.must_restore(number) || state.store.restores(number))
            }),
            Property::always(
                "in the end everything unneeded is deleted, and what the storage lost is written again",
                |protocol: &Self, state: &State| !state.is_quiet() || protocol.ends_settled(state),
            ),
            Property::sometimes("a run references another's frame", |_, state: &State| {
                (1..)
                    .zip(&state.phases)
                    .any(|(number, phase)| *phase == Phase::Done && state.store.run(number).references)
            }),
            Property::sometimes(
                "a pack that a run references is deleted after a second look",
                |_, state: &State| {
                    state.store.run(0).pack.is_none()
                        && (1..).zip(&state.phases).any(|(number, phase)| {
                            *phase == Phase::Done && state.store.run(number).moved.is_some()
                        })
                },
            ),
        ]
    }
}
