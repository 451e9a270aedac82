//! The rooms of the vault: which may use which, and that a type's methods are in its own room.

use std::collections::{BTreeMap, BTreeSet};

use crate::tree::{Fault, Tree, has_extension};

const SOURCE: &str = "common/vault/src/";

/// Each room with the rooms that it uses. Dependencies point downwards: the first room in the list is the highest.
const ROOMS: &[(&str, &[&str])] = &[
    ("maintenance", &["restore", "snapshots", "repository", "keys", "error", "format", "ids"]),
    ("copy", &["backup", "restore", "snapshots", "repository", "keys", "tree", "error", "format", "ids"]),
    ("backup", &["snapshots", "repository", "keys", "tree", "error", "format", "ids"]),
    ("restore", &["snapshots", "repository", "keys", "tree", "error", "format", "ids"]),
    ("snapshots", &["repository", "keys", "error", "format", "ids"]),
    ("repository", &["keys", "error", "format", "ids"]),
    ("keys", &["error", "format", "ids"]),
    ("tree", &["error", "format"]),
    ("error", &["format", "ids"]),
    ("format", &["ids"]),
    ("ids", &[]),
];

/// For tests and fuzzing: these may use every room, and no room may use them.
const FOR_TESTS: &[&str] = &["fuzz", "hostile", "maintenance/prune/model"];

/// A line of code that users run, with its number from 1.
type CodeLine<'t> = (usize, &'t str);

/// The lines of a formatted file without comments and without items that are for tests only.
fn code(text: &str) -> Vec<CodeLine<'_>> {
    let mut kept = Vec::new();
    let mut lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    while let Some((number, line)) = lines.next() {
        let trimmed = line.trim_start();
        if trimmed.starts_with("#[cfg(test)]") || trimmed.starts_with("#[cfg(any(test") {
            let indent = &line[..line.len() - trimmed.len()];
            let end = format!("{indent}}}");
            let Some((_, item)) = lines.find(|(_, line)| !line.trim_start().starts_with("#[")) else { break };
            if item.ends_with('{') {
                lines.find(|(_, line)| *line == end);
            }
        } else if !trimmed.starts_with("//") {
            kept.push((number, line));
        }
    }
    kept
}

/// The files of the vault that users run, by room: `lib.rs` belongs to no room.
fn files(tree: &Tree) -> impl Iterator<Item = (&str, &str, &str)> {
    tree.files().filter_map(|(path, text)| {
        let inside = path.strip_prefix(SOURCE).filter(|_| has_extension(path, "rs"))?;
        let room = inside.split(['/', '.']).next()?;
        let is_below =
            |place: &&str| inside.strip_prefix(*place).is_some_and(|rest| rest.starts_with(['/', '.']));
        let is_test = inside.contains("/tests/") || inside.ends_with("/tests.rs");
        let is_for_users = room != "lib" && !is_test && !FOR_TESTS.iter().any(is_below);
        is_for_users.then_some((room, path, text))
    })
}

/// The first name after each `crate::` of a line.
fn used_rooms(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        rest.split(|character: char| !character.is_alphanumeric() && character != '_').next().unwrap_or("")
    })
}

/// Dependencies between rooms that are not in the table, and rows of the table that no file needs.
pub(crate) fn stray_arrows(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut used: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (room, path, text) in files(tree) {
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            faults.push(Fault::of_file(path, format!("`{room}` is not a room of the vault")));
            continue;
        };
        let of_room = used.entry(room).or_default();
        for (number, line) in code(text) {
            for other in used_rooms(line).filter(|other| *other != room) {
                match allowed.iter().find(|name| **name == other) {
                    Some(name) => drop(of_room.insert(name)),
                    None if other.is_empty() => {
                        faults.push(Fault::at(
                            path,
                            number,
                            "a room is named in each line: `use crate::ROOM::…`",
                        ));
                    }
                    None => faults.push(Fault::at(path, number, format!("`{room}` may not use `{other}`"))),
                }
            }
        }
    }
    for (room, allowed) in ROOMS {
        let Some(used) = used.get(room) else {
            faults.push(Fault::of_file(SOURCE, format!("the room `{room}` is listed and is not there")));
            continue;
        };
        for other in allowed.iter().filter(|other| !used.contains(*other)) {
            faults.push(Fault::of_file(
                SOURCE,
                format!("`{room}` does not use `{other}`: the table allows too much"),
            ));
        }
    }
    faults
}

/// The name that a line gives to a type.
fn defined_type(line: &str) -> Option<&str> {
    let mut words = line.split_whitespace().skip_while(|word| word.starts_with("pub"));
    let is_definition = matches!(words.next(), Some("struct" | "enum" | "trait" | "union"));
    let name = words.next().filter(|_| is_definition)?;
    name.split(|character: char| !character.is_alphanumeric() && character != '_').next()
}

/// The type whose inherent methods start at a line.
fn type_with_methods(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("impl")?;
    let rest = match rest.strip_prefix('<') {
        Some(generics) => {
            let end = generics.match_indices("> ").find(|(at, _)| !generics[..*at].ends_with('-'))?.0;
            &generics[end + 2..]
        }
        None => rest.strip_prefix(' ')?,
    };
    let subject = rest.trim_end_matches(['{', ' ', '}']);
    let path = subject.split(['<', ' ']).next()?;
    (!subject.contains(" for ")).then(|| path.rsplit("::").next().unwrap_or(path))
}

/// Methods outside the room that defines their type.
pub(crate) fn scattered_methods(tree: &Tree) -> Vec<Fault> {
    let mut types: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (room, _, text) in files(tree) {
        types.extend(code(text).into_iter().filter_map(|(_, line)| Some((room, defined_type(line)?))));
    }
    let mut faults = Vec::new();
    for (room, path, text) in files(tree) {
        for (number, line) in code(text) {
            if let Some(name) = type_with_methods(line).filter(|name| !types.contains(&(room, *name))) {
                faults.push(Fault::at(
                    path,
                    number,
                    format!("`{name}` has methods here, and is not of `{room}`"),
                ));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(faults: &[Fault]) -> Vec<String> {
        faults.iter().map(ToString::to_string).collect()
    }

    /// A tree that uses every dependency of the table, with some more files.
    fn with<'t>(more: &[(&'t str, &'t str)]) -> Tree {
        let rooms = ROOMS.iter().map(|(room, allowed)| {
            let uses: Vec<String> = allowed.iter().map(|other| format!("use crate::{other}::x;\n")).collect();
            (format!("{SOURCE}{room}.rs"), uses.concat())
        });
        let rooms: Vec<(String, String)> = rooms.collect();
        let mut files: Vec<(&str, &str)> = rooms.iter().map(|(path, text)| (&**path, &**text)).collect();
        files.extend(more);
        Tree::of(&files)
    }

    #[test]
    fn the_table_points_downwards() {
        for (place, (room, allowed)) in ROOMS.iter().enumerate() {
            let is_below = |other: &str| ROOMS[place + 1..].iter().any(|(lower, _)| *lower == other);
            assert!(allowed.iter().all(|other| is_below(other)), "{room}");
        }
    }

    #[test]
    fn a_lower_room_that_uses_a_higher_one_is_found() {
        let text = "//! Of crate::backup.\nuse crate::{a, b};\nuse crate::maintenance::check::Maintenance;\n\
                    fn of(x: crate::format::x::X) {}\n#[error(\"{}\", crate::snapshots::most())]\n\
                    #[cfg(test)]\nmod tests {\n    use crate::copy::copier::Copier;\n}\nuse crate::copy::x;\n";
        let tree = with(&[
            ("common/vault/src/repository/open.rs", text),
            ("common/vault/src/repository/open/tests.rs", "use crate::copy::x;\n"),
            ("common/vault/src/hostile/kinds.rs", "use crate::copy::x;\n"),
            ("common/vault/src/attic/old.rs", "\n"),
            ("common/store/src/open.rs", "use crate::copy::x;\n"),
        ]);
        assert_eq!(
            texts(&stray_arrows(&tree)),
            [
                "common/vault/src/attic/old.rs: `attic` is not a room of the vault",
                "common/vault/src/repository/open.rs:2: a room is named in each line: `use crate::ROOM::…`",
                "common/vault/src/repository/open.rs:3: `repository` may not use `maintenance`",
                "common/vault/src/repository/open.rs:5: `repository` may not use `snapshots`",
                "common/vault/src/repository/open.rs:10: `repository` may not use `copy`",
            ]
        );
    }

    #[test]
    fn a_table_that_allows_too_much_is_found() {
        let tree = Tree::of(&[("common/vault/src/ids.rs", ""), ("common/vault/src/format.rs", "")]);
        let faults = texts(&stray_arrows(&tree));
        assert!(
            faults.contains(&format!("{SOURCE}: `format` does not use `ids`: the table allows too much"))
        );
        assert!(faults.contains(&format!("{SOURCE}: the room `backup` is listed and is not there")));
    }

    #[test]
    fn methods_in_another_room_are_found() {
        let tree = Tree::of(&[
            ("common/vault/src/repository/open.rs", "pub struct Repository {\n}\n\nimpl Repository {\n"),
            ("common/vault/src/repository/read.rs", "impl Repository {\n"),
            (
                "common/vault/src/snapshots/history.rs",
                "pub(crate) struct Chain<'a> {}\n\nimpl Chain<'_> {\n}\n\nimpl<T> Iterator for Chain<'_> {\n}\n\n\
                 impl From<Chain<'_>> for Repository {\n}\n\nimpl crate::repository::open::Repository {\n",
            ),
            (
                "common/vault/src/maintenance/prune.rs",
                "impl<F: Fn(u32) -> bool> Repository<F> {\n    impl Inner {\n",
            ),
        ]);
        assert_eq!(
            texts(&scattered_methods(&tree)),
            [
                "common/vault/src/maintenance/prune.rs:1: `Repository` has methods here, and is not of `maintenance`",
                "common/vault/src/snapshots/history.rs:12: `Repository` has methods here, and is not of `snapshots`",
            ]
        );
    }
}
