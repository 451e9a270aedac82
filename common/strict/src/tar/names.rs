//! Names of members.

/// The name without empty parts and `.`; `None` if it is absolute or contains `..`.
pub fn normalise(name: &str) -> Option<String> {
    if name.starts_with('/') {
        return None;
    }
    let parts = name.split('/').filter(|part| !matches!(*part, "" | "."));
    let parts = parts.map(|part| (part != "..").then_some(part));
    parts.collect::<Option<Vec<_>>>().map(|parts| parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_alike_or_refused() {
        for (name, normal) in [
            ("a/b", Some("a/b")),
            ("./a//b/./c/", Some("a/b/c")),
            (".//a", Some("a")),
            ("./", Some("")),
            ("...", Some("...")),
            ("/a", None),
            ("//a", None),
            ("a/../b", None),
            ("..", None),
        ] {
            assert_eq!(normalise(name).as_deref(), normal, "{name}");
        }
    }
}
