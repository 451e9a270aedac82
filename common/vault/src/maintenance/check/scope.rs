//! The part of a repository that a check covers: a shard of its objects, and all packs or a sample of them.

use std::str::FromStr;

use lifeboat_core::{Fault, Kind, Sha256Digest};

/// One of several equal parts of a repository. Every object is in exactly one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    number: u32,
    of: u32,
}

/// A share of all packs, drawn with a seed, so that the same seed draws the same packs again.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    /// The percentage of packs that are drawn.
    pub percent: f64,
    /// The seed.
    pub seed: u64,
}

/// How much of the packs is read.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum ReadData {
    /// Nothing: only that they exist and have the size that the index states.
    #[default]
    Sizes,
    /// A sample, whole.
    Sample(Sample),
    /// Every byte.
    All,
}

/// Not a valid shard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a shard")]
pub struct NotAShard(String);

impl Fault for NotAShard {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn advice(&self) -> Option<String> {
        Some("give its number and the number of shards, such as 1/4".to_owned())
    }
}

impl Shard {
    /// The whole repository.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// Whether the shard covers the object `key`.
    pub(crate) fn owns(self, key: &str) -> bool {
        draw(&[key.as_bytes()]) % u64::from(self.of) == u64::from(self.number - 1)
    }

    /// Whether this is the whole repository.
    pub fn is_whole(self) -> bool {
        self.of == 1
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

impl FromStr for Shard {
    type Err = NotAShard;

    fn from_str(text: &str) -> Result<Self, NotAShard> {
        let parts = text.split_once('/').and_then(|(n, of)| Some((n.parse().ok()?, of.parse().ok()?)));
        match parts {
            Some((number, of)) if (1..=of).contains(&number) => Ok(Self { number, of }),
            _ => Err(NotAShard(text.chars().take(40).flat_map(char::escape_default).collect())),
        }
    }
}

impl ReadData {
    /// Whether the pack `key` is read.
    pub(crate) fn covers(self, key: &str) -> bool {
        match self {
            Self::Sizes => false,
            Self::All => true,
            Self::Sample(sample) => {
                let drawn = draw(&[&sample.seed.to_le_bytes(), key.as_bytes()]) % 1_000_000;
                #[expect(clippy::cast_precision_loss, reason = "a number below a million is exact")]
                let drawn = drawn as f64;
                drawn < sample.percent * 10_000.0
            }
        }
    }
}

/// A number that depends equally on all bytes of `parts`.
fn draw(parts: &[&[u8]]) -> u64 {
    let digest = Sha256Digest::of(&parts.concat());
    let (first, _) = digest.as_bytes().split_first_chunk::<8>().expect("a digest has 32 bytes");
    u64::from_le_bytes(*first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_in_exactly_one_shard() {
        for of in [1, 2, 3, 7] {
            let shards: Vec<Shard> = (1..=of).map(|n| format!("{n}/{of}").parse().unwrap()).collect();
            for n in 0..500 {
                let key = format!("packs/{n}");
                assert_eq!(shards.iter().filter(|shard| shard.owns(&key)).count(), 1);
            }
        }
        for bad in ["", "0/3", "4/3", "1", "1/0", "a/b", "-1/2", "1/2/3"] {
            assert!(bad.parse::<Shard>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sample_has_about_its_size_and_the_same_seed_draws_the_same() {
        let keys: Vec<String> = (0..10_000).map(|n| format!("packs/{n}")).collect();
        let drawn = |percent, seed| -> Vec<&String> {
            let read = ReadData::Sample(Sample { percent, seed });
            keys.iter().filter(|key| read.covers(key)).collect()
        };
        assert!((400..600).contains(&drawn(5.0, 1).len()));
        assert_eq!(drawn(5.0, 1), drawn(5.0, 1));
        assert_ne!(drawn(5.0, 1), drawn(5.0, 2));
        assert_eq!(drawn(100.0, 1).len(), keys.len());
        assert!(drawn(0.0, 1).is_empty());
    }
}
