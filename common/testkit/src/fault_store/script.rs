//! When a store fails: at its death, and by rules.

use super::fault::Fault;
use super::log::Operation;

/// Whether an operation that returns an error took effect anyway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Landing {
    /// Nothing happened.
    NotLanded,
    /// It took effect, and its answer was lost.
    Landed,
}

/// Which operations have a fault: by default only the first that can.
#[derive(Debug, Clone)]
pub struct Rule {
    operation: Option<Operation>,
    is_conditional: bool,
    prefix: String,
    fault: Fault,
    /// How many matching operations pass before the fault starts.
    skip: u64,
    /// How many have the fault from then on; `None` is all of them.
    times: Option<u64>,
}

impl Rule {
    /// A rule for every operation that `fault` can happen to.
    pub fn new(fault: Fault) -> Self {
        Self { operation: None, is_conditional: false, prefix: String::new(), fault, skip: 0, times: Some(1) }
    }

    /// Only for operations of this kind.
    #[must_use]
    pub fn on(mut self, operation: Operation) -> Self {
        self.operation = Some(operation);
        self
    }

    /// Only for writes on the condition that the object does not exist.
    #[must_use]
    pub fn conditional(mut self) -> Self {
        self.is_conditional = true;
        self
    }

    /// Only for objects whose names, or listings whose prefixes, start with `prefix`.
    #[must_use]
    pub fn below(mut self, prefix: &str) -> Self {
        prefix.clone_into(&mut self.prefix);
        self
    }

    /// The `n`-th matching operation, counted from 1, is the first with the fault.
    #[must_use]
    pub fn nth(mut self, n: u64) -> Self {
        self.skip = n.saturating_sub(1);
        self
    }

    /// How many operations in a row have the fault.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// All operations have the fault from then on.
    #[must_use]
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// Whether the operation has the fault; counts it.
    fn strikes(&mut self, operation: Operation, key: &str, is_conditional: bool) -> bool {
        let is_meant = self.operation.is_none_or(|wanted| wanted == operation)
            && (is_conditional || !self.is_conditional)
            && key.starts_with(&self.prefix)
            && self.fault.suits(operation);
        if !is_meant {
            return false;
        }
        if self.skip > 0 {
            self.skip -= 1;
            return false;
        }
        match &mut self.times {
            Some(0) => false,
            Some(times) => {
                *times -= 1;
                true
            }
            None => true,
        }
    }
}

/// The script's decision about one operation.
#[derive(Debug)]
pub(super) enum Verdict {
    Pass,
    Meet(Fault),
    Die(Landing),
}

#[derive(Debug, Default)]
pub(super) struct Script {
    rules: Vec<Rule>,
    count: u64,
    death: Option<(u64, Landing)>,
    is_dead: bool,
}

impl Script {
    pub(super) fn add(&mut self, rule: Rule) {
        self.rules.push(rule);
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    pub(super) fn die_at(&mut self, n: u64, landing: Landing) {
        self.death = Some((self.count + n, landing));
        self.is_dead = false;
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is_dead
    }

    pub(super) fn revive(&mut self) {
        (self.death, self.is_dead) = (None, false);
    }

    /// Counts the operation and decides what happens to it.
    pub(super) fn judge(&mut self, operation: Operation, key: &str, is_conditional: bool) -> Verdict {
        self.count += 1;
        if self.is_dead {
            return Verdict::Die(Landing::NotLanded);
        }
        if let Some((_, landing)) = self.death.filter(|(at, _)| *at == self.count) {
            self.is_dead = true;
            return Verdict::Die(landing);
        }
        match self
            .rules
            .iter_mut()
            .find_map(|rule| rule.strikes(operation, key, is_conditional).then(|| rule.fault.clone()))
        {
            Some(fault) => Verdict::Meet(fault),
            None => Verdict::Pass,
        }
    }
}
