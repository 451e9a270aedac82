//! Links in the documents.

use crate::tree::{Fault, Tree, has_extension};

/// Links to files that do not exist. Links to other sites are not followed.
pub(crate) fn dead_links(tree: &Tree) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (path, text) in tree.files().filter(|(path, _)| has_extension(path, "md")) {
        let mut is_code = false;
        for (place, line) in text.lines().enumerate() {
            is_code ^= line.trim_start().starts_with("```");
            if is_code {
                continue;
            }
            for target in targets(line).filter(|target| !leads_somewhere(tree, path, target)) {
                faults.push(Fault::at(path, place + 1, format!("links to `{target}`, which is not there")));
            }
        }
    }
    faults
}

/// The targets in the parentheses of `[text](target)`.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next())
}

fn leads_somewhere(tree: &Tree, document: &str, target: &str) -> bool {
    let (file, _) = target.split_once('#').unwrap_or((target, ""));
    let is_elsewhere = file.contains("://") || file.starts_with("mailto:");
    is_elsewhere || file.is_empty() || resolved(document, file).is_some_and(|path| tree.holds(&path))
}

/// The path of a link in `document`, from the top; `None` if it leads out of the workspace.
fn resolved(document: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = document.split('/').collect();
    parts.pop();
    for part in target.trim_end_matches('/').split('/') {
        match part {
            "." => {}
            ".." => drop(parts.pop()?),
            _ => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_links_are_found() {
        let readme = "\
[here](LICENSE) and [a folder](common/vault/) and [a part](docs/keys.md#lost) and [above](#top)
[elsewhere](https://example.com/nothing) but [gone](docs/gone.md) and [out](../other.md)
```
not a [link](nowhere.md)
```
";
        let tree = Tree::of(&[
            ("README.md", readme),
            ("LICENSE", ""),
            (
                "common/vault/FORMAT.md",
                "[up](../../README.md) [beside](src/lib.rs \"the code\") [no](lib.rs)",
            ),
            ("common/vault/src/lib.rs", ""),
            ("docs/keys.md", ""),
        ]);
        let faults: Vec<String> = dead_links(&tree).iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "README.md:2: links to `docs/gone.md`, which is not there",
                "README.md:2: links to `../other.md`, which is not there",
                "common/vault/FORMAT.md:1: links to `lib.rs`, which is not there",
            ]
        );
    }
}
