//! Decides which evidence fills which slot of a policy: a maximum matching.
//!
//! Every signer of a policy is a slot. One piece of evidence fills at most one slot, and a slot is filled at most once.
//! Two pieces of evidence never count together if they share a key, the bytes of a signature, or an identity, because
//! one party could have made both.
//!
//! With these conditions the problem is three-dimensional matching, which has no known fast solution. The search is
//! exact up to a limit of steps that no honest evidence comes near; beyond it, it finds fewer, never more.

use std::collections::{BTreeMap, BTreeSet};

use lifeboat_core::Sha256Digest;

/// The most steps of the search.
const MAX_STEPS: usize = 1 << 16;

/// One piece of evidence, as far as it matters for a policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Vote {
    /// The slots that it can fill, as indices into the policy's list of signers.
    pub slots: Vec<usize>,
    /// The key that signed, or the key in the certificate: SHA-256 of its `SubjectPublicKeyInfo`.
    pub key: Sha256Digest,
    /// SHA-256 of the signature's bytes.
    pub signature: Sha256Digest,
    /// The identity in the certificate and who vouches for it, if there is a certificate.
    pub identity: Option<(String, String)>,
}

impl Vote {
    /// Whether one party could have made both.
    fn clashes_with(&self, other: &Self) -> bool {
        self.key == other.key
            || self.signature == other.signature
            || (self.identity.is_some() && self.identity == other.identity)
    }
}

/// Fills as many of `slots` slots as possible. Returns for each slot the index of the vote that fills it.
pub fn fill(slots: usize, votes: &[Vote]) -> Vec<Option<usize>> {
    let kept = distinct(votes);
    let mut search = Search { votes, candidates: Vec::new(), best: Vec::new(), steps: 0 };
    for slot in 0..slots {
        let able: Vec<usize> =
            kept.iter().copied().filter(|&vote| votes[vote].slots.contains(&slot)).collect();
        if !able.is_empty() {
            search.candidates.push((slot, able));
        }
    }
    // Start with the slots that have the fewest candidates.
    search.candidates.sort_by_key(|(slot, able)| (able.len(), *slot));
    search.go(0, &mut Vec::new());
    let mut filled = vec![None; slots];
    for (slot, vote) in search.best {
        filled[slot] = Some(vote);
    }
    filled
}

/// The votes without redundant ones: a second vote of the same party for the same slots.
fn distinct(votes: &[Vote]) -> Vec<usize> {
    let mut parties: BTreeMap<&Sha256Digest, BTreeSet<_>> = BTreeMap::new();
    let mut signatures: BTreeMap<&Sha256Digest, BTreeSet<_>> = BTreeMap::new();
    let party = |vote: &Vote| (vote.slots.clone(), vote.identity.clone());
    for vote in votes {
        parties.entry(&vote.key).or_default().insert(party(vote));
        signatures.entry(&vote.signature).or_default().insert(party(vote));
    }
    let is_alone = |vote: &Vote| parties[&vote.key].len() == 1 && signatures[&vote.signature].len() == 1;
    let mut seen = BTreeSet::new();
    let mut kept = Vec::new();
    for (place, vote) in votes.iter().enumerate() {
        // An identity has a new key for each signature. Only keys that others use as well make a difference.
        let own = match &vote.identity {
            Some(_) if is_alone(vote) => None,
            _ => Some((vote.key, vote.signature)),
        };
        if seen.insert((party(vote), own)) {
            kept.push(place);
        }
    }
    kept
}

struct Search<'v> {
    votes: &'v [Vote],
    /// The slots that can be filled, each with the votes that can fill it.
    candidates: Vec<(usize, Vec<usize>)>,
    best: Vec<(usize, usize)>,
    steps: usize,
}

impl Search<'_> {
    fn go(&mut self, next: usize, chosen: &mut Vec<(usize, usize)>) {
        if chosen.len() > self.best.len() {
            self.best.clone_from(chosen);
        }
        let left = self.candidates.len() - next;
        self.steps += 1;
        if left == 0 || chosen.len() + left <= self.best.len() || self.steps > MAX_STEPS {
            return;
        }
        let (slot, able) = self.candidates[next].clone();
        for vote in able {
            let is_free = |(_, other): &(usize, usize)| !self.votes[vote].clashes_with(&self.votes[*other]);
            if chosen.iter().all(is_free) {
                chosen.push((slot, vote));
                self.go(next + 1, chosen);
                chosen.pop();
                if self.best.len() == self.candidates.len() {
                    return;
                }
            }
        }
        self.go(next + 1, chosen);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> Sha256Digest {
        Sha256Digest::of(text.as_bytes())
    }

    /// `slots key signature identity`, with `-` for a key's signature without an identity.
    fn vote(text: &str) -> Vote {
        let words: Vec<&str> = text.split(' ').collect();
        let [slots, key, signature, identity] = words.as_slice() else { panic!("four words: {text}") };
        Vote {
            slots: slots.split(',').map(|slot| slot.parse().unwrap()).collect(),
            key: digest(key),
            signature: digest(signature),
            identity: (*identity != "-").then(|| ((*identity).to_owned(), "issuer".to_owned())),
        }
    }

    fn count(slots: usize, votes: &[&str]) -> usize {
        let votes: Vec<Vote> = votes.iter().map(|text| vote(text)).collect();
        let filled = fill(slots, &votes);
        for (slot, vote) in filled.iter().enumerate() {
            assert!(vote.is_none_or(|vote| votes[vote].slots.contains(&slot)));
        }
        let mut reversed = votes.clone();
        reversed.reverse();
        let found = filled.iter().flatten().count();
        assert_eq!(fill(slots, &reversed).iter().flatten().count(), found, "the order decides nothing");
        found
    }

    #[test]
    fn a_slot_is_filled_once_and_nobody_fills_two() {
        let table: &[(usize, &[&str], usize, &str)] = &[
            (1, &[], 0, "nothing fills nothing"),
            (2, &["0 k1 s1 -", "1 k2 s2 -"], 2, "two keys"),
            (2, &["0 k1 s1 -", "0 k1 s2 -"], 1, "one key that signed twice"),
            (2, &["0,1 k1 s1 -", "0,1 k1 s2 -"], 1, "one key that is named twice"),
            (2, &["1 e1 s1 main", "1 e2 s2 branch"], 1, "two identities that one pattern matches"),
            (2, &["0,1 e1 s1 ann", "0,1 e2 s2 ann"], 1, "one identity that two patterns match"),
            (2, &["0,1 e1 s1 ann", "0 e2 s2 bob"], 2, "two identities, one of which fits only one slot"),
            (2, &["0 e1 s1 ann", "0,1 e2 s2 bob"], 2, "the same, the other way round"),
            (2, &["0 k1 s1 -", "1 k1 s2 ann"], 1, "a certificate for a key that is named"),
            (2, &["0 k1 s1 -", "1 k2 s1 ann"], 1, "one signature, as a key's and as a certificate's"),
            (2, &["0 k1 s1 ann", "1 k1 s2 bob"], 1, "two identities of one key"),
            (2, &["0 k1 s1 ann", "0,1 k1 s2 bob", "1 e3 s3 bob"], 2, "a clash that can be avoided"),
            (3, &["0 k1 s1 ann", "1 k2 s2 ann", "2 k1 s3 bob"], 2, "a chain of clashes has two ends"),
            (3, &["0 k1 s1 -", "1 k2 s2 -", "2 e1 s3 ann"], 3, "keys and an identity"),
            (3, &["0,1,2 e1 s1 a", "0 e2 s2 b", "1 e3 s3 c"], 3, "the one that fits anywhere goes last"),
        ];
        for (slots, votes, expected, why) in table {
            assert_eq!(count(*slots, votes), *expected, "{why}");
        }
    }

    #[test]
    fn more_evidence_never_fills_less() {
        let all = ["0 k1 s1 ann", "1 k2 s2 ann", "2 k1 s3 bob", "0,2 k3 s4 eve", "1 k3 s5 -", "2 k4 s4 -"];
        for mask in 0_u32..1 << all.len() {
            let some: Vec<&str> = all
                .iter()
                .enumerate()
                .filter(|(place, _)| mask & (1 << place) != 0)
                .map(|(_, v)| *v)
                .collect();
            let before = count(3, &some);
            for more in all {
                assert!(count(3, &[&some[..], &[more]].concat()) >= before, "{some:?} and {more}");
            }
        }
    }

    #[test]
    fn a_crowd_is_counted_in_no_time() {
        let votes: Vec<Vote> = (0..5000).map(|n| vote(&format!("0,1,2,3 k{n} s{n} ann{}", n % 2))).collect();
        assert_eq!(fill(4, &votes).iter().flatten().count(), 2);
        let clashing: Vec<Vote> =
            (0..400).map(|n| vote(&format!("0,1,2,3,4,5 k{} s{n} ann{}", n % 3, n % 20))).collect();
        assert_eq!(fill(6, &clashing).iter().flatten().count(), 3);
    }
}
