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

#[cfg(test)]
mod tests {
    use super::*;

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
