//! Finds names that are similar to a mistyped one.

/// Up to three of `names` that are similar to `name`, best first.
pub(crate) fn near<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut ranked: Vec<(usize, &str)> = names
        .filter_map(|candidate| {
            let distance = distance(name, candidate);
            let contains = name.len() > 2 && (candidate.contains(name) || name.contains(candidate));
            (contains || distance <= name.len().max(3) / 3).then_some((distance, candidate))
        })
        .collect();
    ranked.sort_unstable();
    ranked.into_iter().take(3).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// The Levenshtein distance of two names, in bytes.
fn distance(a: &str, b: &str) -> usize {
    let b = b.as_bytes();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_alike_are_offered_best_first() {
        let there = ["app_pgdata", "app_redis", "pgdata", "media"];
        assert_eq!(near("pgdta", there.into_iter()), ["pgdata"]);
        assert_eq!(near("pgdata2", there.into_iter()), ["pgdata"]);
        assert!(near("zzzzzz", there.into_iter()).is_empty());
        assert_eq!(distance("kitten", "sitting"), 3);
    }
}
