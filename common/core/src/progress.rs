//! Progress of long operations. Libraries report here; only the shell draws.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is being counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes, shown with binary prefixes.
    Bytes,
    /// Things without a size of their own: files, objects, checks.
    Items,
}

/// Receives the progress of a long operation. Every method may be called from any thread and must return at once.
pub trait Progress: Send + Sync {
    /// A new phase begins; `total` is given when it is known.
    fn phase(&self, name: &str, unit: Unit, total: Option<u64>);
    /// `amount` more of the phase's unit is done.
    fn advance(&self, amount: u64);
    /// Something that the user should know now, although the operation goes on.
    fn warn(&self, message: &str);
}

/// Ignores everything.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn phase(&self, _name: &str, _unit: Unit, _total: Option<u64>) {}
    fn advance(&self, _amount: u64) {}
    fn warn(&self, _message: &str) {}
}

/// How many warnings of one kind are reported.
const MOST_OF_A_KIND: u64 = 20;

/// Warnings of one kind, such as about damaged objects: reports the first ones, and then that there are more. Anyone
/// who may store objects can cause any number of them, and they must not bury a warning of another kind.
pub struct WarningsOfAKind {
    progress: Arc<dyn Progress>,
    given: AtomicU64,
}

impl WarningsOfAKind {
    /// Warnings for `progress`.
    pub fn new(progress: &Arc<dyn Progress>) -> Self {
        Self { progress: Arc::clone(progress), given: AtomicU64::new(0) }
    }

    /// Reports a warning, if it is one of the first.
    pub fn warn(&self, message: &str) {
        match self.given.fetch_add(1, Ordering::Relaxed) {
            0..MOST_OF_A_KIND => self.progress.warn(message),
            MOST_OF_A_KIND => self.progress.warn("there are more like these"),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[derive(Default)]
    struct Heard(Mutex<Vec<String>>);

    impl Progress for Heard {
        fn phase(&self, _name: &str, _unit: Unit, _total: Option<u64>) {}
        fn advance(&self, _amount: u64) {}
        fn warn(&self, message: &str) {
            self.0.lock().unwrap().push(message.to_owned());
        }
    }

    #[test]
    fn warnings_of_a_kind_are_few_however_many_there_are() {
        let heard = Arc::new(Heard::default());
        let progress: Arc<dyn Progress> = Arc::<Heard>::clone(&heard);
        let of_a_kind = WarningsOfAKind::new(&progress);
        (0..30_000).for_each(|n| of_a_kind.warn(&format!("object {n}")));
        WarningsOfAKind::new(&progress).warn("of another kind");
        let heard = heard.0.lock().unwrap();
        assert_eq!(heard.len(), 22, "{heard:?}");
        assert_eq!(heard[19], "object 19");
        assert!(heard[20].starts_with("there are more"), "{heard:?}");
        assert_eq!(heard[21], "of another kind");
    }
}
