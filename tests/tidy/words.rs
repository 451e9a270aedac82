//! What the text must not contain: tasks without an owner, and anything about the place where it was written.

use crate::tree::{Fault, Tree};

/// Words that mark a task. Like all forbidden words below, they are assembled here so that this file does not contain
/// them.
const NOTES: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];

/// Paths of one machine. Only a path from the root is meant, not a folder with that name somewhere below.
const MACHINE_PATHS: &[&str] = &[concat!("/ro", "ot/"), concat!("/wo", "rk/"), concat!("../sha", "red")];

/// How a text was made is not its subject.
const MAKING: &[&str] = &[
    concat!("sub", "agent"),
    concat!("language ", "model"),
    concat!("ai assis", "tant"),
    concat!("coding assis", "tant"),
    concat!("clau", "de"),
    concat!("anthro", "pic"),
    concat!("chat", "gpt"),
];

/// Where a path of the machine is permitted: (file, path, reason).
const ALLOWED: &[(&str, &str, &str)] =
    &[(".ci/run", concat!("../sha", "red"), "the conformance suite may lie beside the workspace")];

/// Files that other programs write.
const GENERATED: &[&str] = &["Cargo.lock", "scripts/gcs-server/go.sum", "scripts/referrers-registry/go.sum"];

/// A note names its owner in parentheses.
pub(crate) fn ownerless_notes(tree: &Tree) -> Vec<Fault> {
    lines(tree)
        .filter_map(|(path, number, line)| {
            let note = NOTES.iter().find(|note| {
                line.match_indices(*note).any(|(at, _)| {
                    let (before, after) = (&line[..at], &line[at + note.len()..]);
                    let is_word = !before.ends_with(is_word_char) && !after.starts_with(is_word_char);
                    let is_owned = after.strip_prefix('(').is_some_and(|owner| !owner.starts_with(')'));
                    is_word && !is_owned
                })
            })?;
            Some(Fault::at(path, number, format!("`{note}` without an owner: `{note}(name)`")))
        })
        .collect()
}

pub(crate) fn foreign_words(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, number, line) in lines(tree) {
        for machine_path in MACHINE_PATHS {
            let is_allowed =
                ALLOWED.iter().any(|(file, allowed, _)| *file == path && allowed == machine_path);
            let is_there = line
                .match_indices(machine_path)
                .any(|(at, _)| !line[..at].ends_with(|c| is_word_char(c) || "-.}$*\\)>]".contains(c)));
            if is_there && !is_allowed {
                faults.push(Fault::at(path, number, format!("names a path of one machine: {machine_path}")));
            }
        }
        let lower = line.to_lowercase();
        for word in MAKING.iter().filter(|word| lower.contains(*word)) {
            faults.push(Fault::at(
                path,
                number,
                format!("speaks of something else than the project: {word}"),
            ));
        }
    }
    faults
}

fn lines(tree: &Tree) -> impl Iterator<Item = (&str, usize, &str)> {
    tree.files()
        .filter(|(path, _)| !GENERATED.contains(path))
        .flat_map(|(path, text)| text.lines().enumerate().map(move |(place, line)| (path, place + 1, line)))
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(faults: &[Fault]) -> Vec<Option<usize>> {
        faults.iter().map(|fault| fault.line).collect()
    }

    #[test]
    fn a_note_needs_an_owner() {
        let [note, other, _] = NOTES else { panic!("three kinds of notes") };
        let text = format!(
            "// {note}: later\n// {note}(ada): later\n// {other} this\n// a{note}b\nlet {note}S = 1;\n// {note}(): who?\n"
        );
        assert_eq!(numbers(&ownerless_notes(&Tree::of(&[("a.rs", &text)]))), [Some(1), Some(3), Some(6)]);
    }

    #[test]
    fn paths_of_a_machine_are_found_at_their_root_only() {
        let [home, place, beside] = MACHINE_PATHS else { panic!("three kinds of paths") };
        let text = format!("see {home}x\n\"{place}main\"\nthe{place}y\n{{dir}}{place}z\n{beside}/facts\n");
        assert_eq!(numbers(&foreign_words(&Tree::of(&[("README.md", &text)]))), [Some(1), Some(2), Some(5)]);
        let allowed = Tree::of(&[(".ci/run", beside), ("Cargo.lock", home)]);
        assert_eq!(foreign_words(&allowed), []);
    }

    #[test]
    fn words_about_the_making_are_found_in_any_case() {
        for word in MAKING {
            let text = format!("made by a {}\n", word.to_uppercase());
            assert_eq!(numbers(&foreign_words(&Tree::of(&[("docs/a.md", &text)]))), [Some(1)], "{word}");
        }
    }
}
