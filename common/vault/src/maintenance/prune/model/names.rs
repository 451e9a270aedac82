//! What objects are called in the model, and what a prune decides about them.

use std::collections::BTreeSet;

/// How long ago something was stored, in days, up to [`OLDEST`].
pub(super) type Age = i8;
/// Anything of this age has outlived every lease and grace.
pub(super) const OLDEST: Age = 8;

/// Each writer of the model has one run; run 0 was before them.
pub(super) type RunNumber = u8;

/// What the name of an object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Name {
    Manifest(RunNumber),
    Part(RunNumber),
    /// The pack with the frames that the run stored.
    Pack(RunNumber),
    /// The pack to which the run moved the frame of run 0.
    Moved(RunNumber),
    Registration(RunNumber),
    End(RunNumber),
}

impl Name {
    /// The name of the same object of the run with the new number.
    pub(super) fn renumbered(self, new: impl Fn(RunNumber) -> RunNumber) -> Self {
        match self {
            Self::Manifest(number) => Self::Manifest(new(number)),
            Self::Part(number) => Self::Part(new(number)),
            Self::Pack(number) => Self::Pack(new(number)),
            Self::Moved(number) => Self::Moved(new(number)),
            Self::Registration(number) => Self::Registration(new(number)),
            Self::End(number) => Self::End(new(number)),
        }
    }
}

impl Lost {
    /// The same object of the run with the new number.
    pub(super) fn renumbered(self, new: impl Fn(RunNumber) -> RunNumber) -> Self {
        match self {
            Self::Registration(number) => Self::Registration(new(number)),
            Self::Locations(number) => Self::Locations(new(number)),
        }
    }
}

/// An object of a run that a repair can write again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Lost {
    Registration(RunNumber),
    Locations(RunNumber),
}

/// A condemnation in the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Condemned {
    pub(super) names: BTreeSet<Name>,
    pub(super) age: Age,
    /// Whether runs only avoid what it names.
    pub(super) is_avoidance: bool,
}

/// What a prune is about to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Decided {
    /// How long ago it began.
    pub(super) age: Age,
    /// What it condemns.
    pub(super) new: BTreeSet<Name>,
    /// What it has runs avoid.
    pub(super) avoided: BTreeSet<Name>,
    /// The condemnations that it deletes after that, since they name something needed.
    pub(super) replaced: BTreeSet<Condemned>,
    /// What it deletes, in order.
    pub(super) due: Vec<Name>,
    /// The condemnations that are of no use after that.
    pub(super) served: BTreeSet<Condemned>,
}

impl Decided {
    /// Gives every run its new number.
    pub(super) fn renumber(&mut self, new: impl Fn(RunNumber) -> RunNumber + Copy) {
        self.new = renumbered(&self.new, new);
        self.avoided = renumbered(&self.avoided, new);
        for name in &mut self.due {
            *name = name.renumbered(new);
        }
        for condemned in [&mut self.replaced, &mut self.served] {
            *condemned = renumbered_condemned(condemned, new);
        }
    }

    /// Drops these names from the condemnations that it is about to lift.
    pub(super) fn forget_names(&mut self, gone: &BTreeSet<Name>) {
        for condemned in [&mut self.replaced, &mut self.served] {
            *condemned = without(condemned, gone);
        }
    }

    /// Has days pass.
    pub(super) fn pass(&mut self, days: Age) {
        self.age = (self.age + days).min(OLDEST);
        for condemned in [&mut self.replaced, &mut self.served] {
            *condemned = aged(condemned, days);
        }
    }
}

/// The same names of runs with new numbers.
pub(super) fn renumbered(
    names: &BTreeSet<Name>,
    new: impl Fn(RunNumber) -> RunNumber + Copy,
) -> BTreeSet<Name> {
    names.iter().map(|name| name.renumbered(new)).collect()
}

/// The same condemnations of runs with new numbers.
pub(super) fn renumbered_condemned(
    condemned: &BTreeSet<Condemned>,
    new: impl Fn(RunNumber) -> RunNumber + Copy,
) -> BTreeSet<Condemned> {
    let of = |found: &Condemned| Condemned { names: renumbered(&found.names, new), ..found.clone() };
    condemned.iter().map(of).collect()
}

/// The same condemnations, days later.
pub(super) fn aged(condemned: &BTreeSet<Condemned>, days: Age) -> BTreeSet<Condemned> {
    let of = |found: &Condemned| Condemned { age: (found.age + days).min(OLDEST), ..found.clone() };
    condemned.iter().map(of).collect()
}

/// The same condemnations without some names; those that named nothing else are no more.
pub(super) fn without(condemned: &BTreeSet<Condemned>, gone: &BTreeSet<Name>) -> BTreeSet<Condemned> {
    let condemned = condemned.iter().map(|found| Condemned { names: &found.names - gone, ..found.clone() });
    condemned.filter(|found| !found.names.is_empty()).collect()
}
