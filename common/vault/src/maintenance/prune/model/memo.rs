//! Remembers answers, since very many states of the model have the same store.

use std::cell::RefCell;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::thread::LocalKey;

/// How many answers a thread remembers: some hundred megabytes of them.
const MOST: usize = 500_000;

/// What a thread remembers, by a hash of 64 bits: of billions of questions, none is likely to have the hash of another.
pub(super) struct Memo<T> {
    hasher: RandomState,
    answers: HashMap<u64, T>,
}

impl<T> Default for Memo<T> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), answers: HashMap::new() }
    }
}

/// The answer to a question that this thread may have been asked before.
pub(super) fn remembered<T: Clone>(
    memo: &'static LocalKey<RefCell<Memo<T>>>,
    question: &impl Hash,
    answer: impl FnOnce() -> T,
) -> T {
    let (key, known) = memo.with_borrow(|memo| {
        let key = memo.hasher.hash_one(question);
        (key, memo.answers.get(&key).cloned())
    });
    known.unwrap_or_else(|| {
        let answer = answer();
        memo.with_borrow_mut(|memo| {
            if memo.answers.len() >= MOST {
                memo.answers.clear();
            }
            memo.answers.insert(key, answer.clone());
        });
        answer
    })
}
