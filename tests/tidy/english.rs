//! Phrases that readers stumble over: few of them are left, and no more are added.

use std::sync::LazyLock;

use regex::Regex;

use crate::tree::{Fault, Tree};

/// “X is no Y” for “X is not a Y”, and words that only some readers know. docs/style.md says what is written instead.
static STUMBLING: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\b(is|are) no [a-z]+|\b(mends?|mended|hurt|whoever|anew)\b")
        .expect("the expression is valid")
});

/// How many lines may have one. Where it is the natural phrase, as in “there is no such file”, it stays.
const MOST: usize = 60;

/// The lines of code and documents with such a phrase, if there are more than [`MOST`].
pub(crate) fn stumbling_phrases(tree: &Tree) -> Vec<Fault> {
    let is_prose = |path: &str| [".rs", ".md"].iter().any(|end| path.ends_with(end));
    let texts = tree.files().filter(|(path, _)| is_prose(path));
    let lines =
        texts.flat_map(|(path, text)| text.lines().zip(1..).map(move |(line, number)| (path, number, line)));
    let faults: Vec<Fault> = lines
        .filter_map(|(path, number, line)| {
            let found = STUMBLING.find(line)?;
            Some(Fault::at(path, number, format!("`{}`: see docs/style.md", found.as_str())))
        })
        .collect();
    if faults.len() > MOST { faults } else { Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_phrases_than_are_let_through_are_found() {
        let line = format!("// this {} good name, and it is not{} good\n", "is no", " any");
        let text = |count: usize| line.repeat(count);
        assert_eq!(stumbling_phrases(&Tree::of(&[("a.rs", &text(MOST))])), []);
        assert_eq!(
            stumbling_phrases(&Tree::of(&[("a.rs", &text(MOST - 1)), ("b.md", &text(2))])).len(),
            MOST + 1
        );
        assert_eq!(stumbling_phrases(&Tree::of(&[("a.toml", &text(2 * MOST))])), [], "only prose");
        for word in ["mends", "hurt", "whoever", "anew"] {
            assert_eq!(
                stumbling_phrases(&Tree::of(&[("a.rs", &format!("{word}\n").repeat(MOST + 1))])).len(),
                MOST + 1
            );
        }
        assert_eq!(
            stumbling_phrases(&Tree::of(&[("a.rs", &"recommends\n".repeat(2 * MOST))])),
            [],
            "whole words"
        );
    }
}
