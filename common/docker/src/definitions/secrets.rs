//! Where passwords stand in what people write: behind the name of an option or a variable, and in a URL.

use std::sync::LazyLock;

use regex::Regex;

/// `--password=…`, `PGPASSWORD=…`, `api_key: …`: a name that speaks of a secret, and what follows it.
static NAMED: LazyLock<Regex> = LazyLock::new(|| {
    let named = r#"(?i)[\w-]*(?:pass|pwd|secret|token|api-?_?key|private-?_?key|credential)[\w-]*\s*[=:]\s*["']?([^\s"'&;,]+)"#;
    Regex::new(named).expect("a fixed expression is one")
});

/// `--requirepass …`: the name of an option that speaks of a secret, and the word after it.
static BEHIND_AN_OPTION: LazyLock<Regex> = LazyLock::new(|| {
    let option = r#"(?i)(?:^|\s)--?[\w-]*(?:pass|pwd|secret|token|api-?_?key|credential)[\w-]*\s+["']?([^\s"'-][^\s"']*)"#;
    Regex::new(option).expect("a fixed expression is one")
});

/// The user information of a URL (RFC 3986, section 3.2.1), without the user's name.
static IN_A_URL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"://[^\s/:@]*:([^\s/@]+)@").expect("a fixed expression is one"));

/// What stands in `text` where a secret would.
pub(super) fn within(text: &str) -> impl Iterator<Item = &str> {
    [&NAMED, &BEHIND_AN_OPTION, &IN_A_URL]
        .into_iter()
        .flat_map(move |expression| expression.captures_iter(text))
        .filter_map(|found| Some(found.get(1)?.as_str()))
}

/// A name that speaks of a secret.
static A_NAME: LazyLock<Regex> = LazyLock::new(|| {
    let name = "(?i)pass|pwd|secret|token|key|credential|auth";
    Regex::new(name).expect("a fixed expression is one")
});

/// A path as programs are told one: absolute, of two parts or more, of small letters and digits.
static A_PATH: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new("^(?:/[a-z0-9][a-z0-9._-]{0,30}){2,}/?$").expect("a fixed expression is one")
});

/// Whether the value of a variable tells no secret, since it is a plain path and its name speaks of none.
pub(super) fn is_plain_path(name: &str, value: &str) -> bool {
    A_PATH.is_match(value) && !A_NAME.is_match(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_no_secret_unless_its_name_says_so() {
        for (name, value, plain) in [
            ("PGDATA", "/var/lib/postgresql/data", true),
            ("HOME", "/home/app-1/", true),
            ("DATA", "/data", false),
            ("TOKEN", "/var/lib/token", false),
            ("API_KEY", "/run/secrets/key", false),
            ("SALT", "/Qx3/9vZk2mF0aa==", false),
            ("DATA", "../var/lib", false),
        ] {
            assert_eq!(is_plain_path(name, value), plain, "{name}={value}");
        }
    }

    #[test]
    fn passwords_are_found_by_what_stands_before_them() {
        for (text, expected) in [
            ("redis-server --requirepass=hunter22", vec!["hunter22"]),
            ("redis-server --requirepass hunter22 --port 1", vec!["hunter22"]),
            ("PGPASSWORD='hunter22' psql", vec!["hunter22"]),
            ("curl -H token:abcdef123", vec!["abcdef123"]),
            ("postgres://app:s3cr3t@db:5432/shop", vec!["s3cr3t"]),
            ("https://example.org/a:b", vec![]),
            ("--api-key=k1 --API_KEY=k2", vec!["k1", "k2"]),
            ("sh -c 'sleep 600'", vec![]),
        ] {
            assert_eq!(within(text).collect::<Vec<_>>(), expected, "{text}");
        }
    }
}
