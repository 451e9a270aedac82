//! The names of objects, restricted to what is the same everywhere: file systems and providers differ in case,
//! normalisation and escapes of anything but plain ASCII.

use object_store::path::Path;

use crate::StoreError;

/// The longest name that every storage supports.
const LONGEST: usize = 1024;

/// The most parts of a name, more than twice as many as any object has; folders are searched to this depth.
const MOST_PARTS: usize = 16;

/// The name in the form that backends take.
pub(crate) fn path(key: &str) -> Result<Path, StoreError> {
    let bad = |reason: &str| StoreError::BadName { key: key.to_owned(), reason: reason.to_owned() };
    check(key).map_err(bad)?;
    Path::parse(key).map_err(|error| bad(&error.to_string()))
}

/// The rule for names that are created, read, deleted and listed.
pub(crate) fn check(key: &str) -> Result<(), &'static str> {
    if key.len() > LONGEST {
        return Err("it is longer than 1024 bytes");
    }
    if !key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte)) {
        return Err("it has other characters than ASCII letters, digits, `-`, `_`, `.` and `/`");
    }
    if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err("a part of it is empty, `.` or `..`");
    }
    if key.split('/').count() > MOST_PARTS {
        return Err("it has more than 16 parts");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deep(parts: usize) -> String {
        vec!["a"; parts].join("/")
    }

    #[test]
    fn plain_names_are_taken_as_they_are() {
        for good in [
            "lifeboat.json",
            "keys/data-0/x25519_a-00ff.age",
            "a/b/c",
            "..a",
            "n".repeat(1024).as_str(),
            &deep(16),
        ] {
            assert_eq!(path(good).unwrap().as_ref(), good);
        }
    }

    #[test]
    fn other_names_are_refused() {
        for bad in [
            "",
            "/a",
            "a/",
            "a//b",
            "a/../b",
            ".",
            "a#1",
            "a b",
            "a%20b",
            "\u{e9}",
            "a\0",
            &"n".repeat(1025),
            &deep(17),
        ] {
            assert!(matches!(path(bad), Err(StoreError::BadName { .. })), "{bad}");
        }
    }
}
