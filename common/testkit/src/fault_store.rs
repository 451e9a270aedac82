//! An object store that fails on demand.
//!
//! A [`FaultStore`] wraps any store, by default a new one in memory. It can die at a chosen operation, answer by a
//! script of [`Rule`]s, log every call, and date objects by a clock that the test moves. Clones are the same store.
//! Tests can add and remove objects behind the callers' back, and fork the whole content.

mod fault;
mod log;
mod operations;
mod script;

pub use fault::{Answer, Fault, Gate};
pub use log::{Call, Operation};
pub use script::{Landing, Rule};

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::TryStreamExt;
use futures::executor::block_on;
use jiff::Timestamp;
use lifeboat_core::clock::Clock;
use lifeboat_store::Store;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::FakeClock;
use script::Script;

/// A store that fails on demand. Clones are the same store.
#[derive(Clone)]
pub struct FaultStore(Arc<Shared>);

struct Shared {
    inner: Arc<dyn ObjectStore>,
    clock: FakeClock,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    script: Script,
    log: Vec<Call>,
    /// When each object was written, by the fake clock.
    times: HashMap<Path, Timestamp>,
    ignores_conditions: bool,
}

impl FaultStore {
    /// An empty store in memory, with a clock of its own at [`FakeClock::START`].
    pub fn new() -> Self {
        Self::over(Arc::new(InMemory::new()))
    }

    /// A wrapper of `inner`. Objects that exist already keep their time.
    pub fn over(inner: Arc<dyn ObjectStore>) -> Self {
        Self::over_with(inner, FakeClock::new())
    }

    /// An empty store in memory that dates objects by `clock`.
    pub fn with_clock(clock: FakeClock) -> Self {
        Self::over_with(Arc::new(InMemory::new()), clock)
    }

    /// A wrapper of `inner` that uses `clock` to date what is written from now on.
    pub fn over_with(inner: Arc<dyn ObjectStore>, clock: FakeClock) -> Self {
        Self(Arc::new(Shared { inner, clock, state: Mutex::default() }))
    }

    /// A store in memory that holds `contents`, all written now by its clock.
    pub fn from_contents(contents: BTreeMap<String, Bytes>) -> Self {
        let store = Self::new();
        for (key, bytes) in contents {
            store.plant(&key, bytes);
        }
        store
    }

    /// A store in memory with the same objects and times, and a clock of its own set to the same time, but without
    /// script and log.
    #[must_use]
    pub fn fork(&self) -> Self {
        let fork = Self::with_clock(FakeClock::at(self.0.clock.now()));
        for (key, bytes) in self.contents() {
            fork.plant(&key, bytes);
        }
        let times = self.state().times.clone();
        fork.state().times.extend(times);
        fork
    }

    /// Everything in the store now, bypassing script and log.
    ///
    /// # Panics
    ///
    /// If the wrapped store cannot be read.
    pub fn contents(&self) -> BTreeMap<String, Bytes> {
        let inner = Arc::clone(&self.0.inner);
        block_on(async move {
            let mut contents = BTreeMap::new();
            let mut listing = inner.list(None);
            while let Some(meta) = listing.try_next().await.expect("the wrapped store can be listed") {
                let found = inner.get(&meta.location).await.expect("what is listed can be read");
                let bytes = found.bytes().await.expect("what is listed can be read");
                contents.insert(meta.location.to_string(), bytes);
            }
            contents
        })
    }

    /// Writes an object, replacing any existing one, bypassing script and log.
    ///
    /// # Panics
    ///
    /// If the wrapped store cannot be written.
    pub fn plant(&self, key: &str, bytes: impl Into<Bytes>) {
        let path = path(key);
        let bytes: Bytes = bytes.into();
        block_on(self.0.inner.put(&path, bytes.into())).expect("the wrapped store can be written");
        let now = self.0.clock.now();
        self.state().times.insert(path, now);
    }

    /// Removes an object, bypassing script and log.
    ///
    /// # Panics
    ///
    /// If the wrapped store cannot be written.
    pub fn take_away(&self, key: &str) {
        let path = path(key);
        block_on(self.0.inner.delete(&path)).expect("the wrapped store can be written");
        self.state().times.remove(&path);
    }

    /// Sets an object's time.
    pub fn set_modified(&self, key: &str, time: Timestamp) {
        self.state().times.insert(path(key), time);
    }

    /// The storage's clock.
    pub fn clock(&self) -> &FakeClock {
        &self.0.clock
    }

    /// Advances the storage's clock.
    pub fn advance(&self, by: Duration) {
        self.0.clock.advance(by);
    }

    /// From the `n`-th operation on, counted from this call and from 1, everything fails as if the process were gone.
    /// `landing` says whether that operation itself still takes effect.
    pub fn die_at(&self, n: u64, landing: Landing) {
        self.state().script.die_at(n, landing);
    }

    /// Whether the store died.
    pub fn is_dead(&self) -> bool {
        self.state().script.is_dead()
    }

    /// Revives the store: what was written is there, and no further death is planned.
    pub fn revive(&self) {
        self.state().script.revive();
    }

    /// Adds a rule to the script. If several rules match an operation, the one added first applies.
    pub fn script(&self, rule: Rule) {
        self.state().script.add(rule);
    }

    /// Removes all rules.
    pub fn clear_script(&self) {
        self.state().script.clear();
    }

    /// From now on every write overwrites, as on stores that silently ignore conditional writes.
    pub fn ignore_conditions(&self) {
        self.state().ignores_conditions = true;
    }

    /// How many operations were requested since the store was made, including those after its death.
    pub fn operations(&self) -> u64 {
        self.state().script.count()
    }

    /// The calls since the log was cleared, in order.
    pub fn log(&self) -> Vec<Call> {
        self.state().log.clone()
    }

    /// How many logged calls are of this operation and below `prefix`.
    pub fn count(&self, operation: Operation, prefix: &str) -> usize {
        let state = self.state();
        state.log.iter().filter(|call| call.operation == operation && call.key.starts_with(prefix)).count()
    }

    /// Empties the log.
    pub fn clear_log(&self) {
        self.state().log.clear();
    }

    /// The store as product code sees it.
    pub fn open(&self) -> Store {
        Store::over(Arc::new(self.clone()), "faulty".to_owned())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for FaultStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.0.inner)
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.0.inner)
    }
}

fn path(key: &str) -> Path {
    Path::parse(key).unwrap_or_else(|error| panic!("`{key}` is not an object's name: {error}"))
}

#[cfg(test)]
mod tests;
