//! Finds passwords in text that people write: after the name of an option or a variable, and in URLs.

use std::sync::LazyLock;

use regex::Regex;

use super::SHORTEST_SECRET;

/// The words that indicate a secret in the names of options, variables and members.
const WORDS: &str = "(?:pass|pwd|secret|token|api-?_?key|credential|(?:private|encryption|signing|access|master|secret)[-_]?key)";

/// A value: quoted, or up to the next space.
const VALUE: &str = r#"(?:"([^"]+)"|'([^']+)'|([^\s"']+))"#;

fn expression(text: &str) -> Regex {
    Regex::new(text).expect("a fixed expression is one")
}

/// `--password=…`, `PGPASSWORD=…`, `api_key: …`, `"password": …`: a name that indicates a secret, and its value.
static NAMED: LazyLock<Regex> =
    LazyLock::new(|| expression(&format!(r#"(?i)[\w-]*{WORDS}[\w-]*["']?\s*[=:]\s*{VALUE}"#)));

/// `password=…&…`, `password=…;…`: the same if it ends at the next pair.
static IN_A_LIST: LazyLock<Regex> =
    LazyLock::new(|| expression(&format!(r#"(?i)[\w-]*{WORDS}[\w-]*["']?\s*[=:]\s*["']?([^\s"'&;,}}]+)"#)));

/// `--requirepass …`: an option whose name indicates a secret, and its value.
static BEHIND_AN_OPTION: LazyLock<Regex> =
    LazyLock::new(|| expression(&format!(r"(?i)(?:^|\s)--?[\w-]*{WORDS}[\w-]*\s+{VALUE}")));

/// `Bearer …`, `Basic …`, as in headers.
static IN_A_HEADER: LazyLock<Regex> =
    LazyLock::new(|| expression(r#"(?i)\b(?:bearer|basic)\s+([^\s"']{6,})"#));

/// The user information of a URL (RFC 3986, section 3.2.1) or of a data source's name, without the user's name; and the
/// value in `--user NAME:…`.
static OF_A_USER: LazyLock<Regex> = LazyLock::new(|| {
    expression(r#"(?:://|[\s"'=]|^)[^\s/:@"'=]*:([^\s/@"']+)@|(?:--user|-u)[\s=]["']?[^\s:"']+:([^\s"']+)"#)
});

/// Passwords in options of one letter: `mysql -pX`, `redis-cli -a X`, `sshpass -p X`.
static OF_A_PROGRAM: LazyLock<Regex> = LazyLock::new(|| {
    let programs = [
        r"(?:mysql|mariadb)[\w-]*\s(?:[^|;&]*?\s)?-p",
        r"(?:redis|valkey|keydb)-cli\s(?:[^|;&]*?\s)?-a\s+",
        r"mongo\w*\s(?:[^|;&]*?\s)?-p\s+",
        r"mosquitto_\w+\s(?:[^|;&]*?\s)?-P\s+",
        r"ldap\w+\s(?:[^|;&]*?\s)?-w\s+",
        r"smbclient\s(?:[^|;&]*?\s)?-U\s+[^\s%]+%",
        r"sshpass\s+-p\s*",
    ];
    expression(&format!(r"\b(?:{}){VALUE}", programs.join("|")))
});

/// The parts of `text` that are in the place of a secret.
pub fn secrets_within(text: &str) -> impl Iterator<Item = &str> {
    [&*NAMED, &*IN_A_LIST, &*BEHIND_AN_OPTION, &*IN_A_HEADER, &*OF_A_USER, &*OF_A_PROGRAM]
        .into_iter()
        .flat_map(move |expression| expression.captures_iter(text))
        .flat_map(|found| found.iter().skip(1).flatten().map(|group| group.as_str()).collect::<Vec<_>>())
}

/// A name that indicates a secret.
static A_NAME: LazyLock<Regex> = LazyLock::new(|| {
    expression("(?i)pass|pwd|(?:^|_)pw(?:_|$)|secret|token|key|cred|auth|pin$|salt|private|dsn|ur[il]")
});

/// A name about a property of a secret: how long it is valid, where to get it.
static BESIDE_A_SECRET: LazyLock<Regex> = LazyLock::new(|| {
    expression(
        "(?i)_(?:ttl|port|timeout|expiry|expires(?:_in)?|length|size|lifetime|max_age|interval|retries)$",
    )
});

/// A typical path: absolute, with at least two parts, of small letters and digits.
static A_PATH: LazyLock<Regex> = LazyLock::new(|| expression("^(?:/[a-z0-9][a-z0-9._-]{0,30}){2,}/?$"));

/// A switch, a number such as a port's, or a short word of small letters.
static A_PLAIN_VALUE: LazyLock<Regex> =
    LazyLock::new(|| expression(r"^(?:(?i:true|false|yes|no|on|off)|[0-9]{1,5}|[a-z]{1,12}|\s*)$"));

/// Whether the value of a variable is not secret: it is a plain path, a switch, a number or a word, and the variable's
/// name does not indicate a secret.
fn is_plain(name: &str, value: &str) -> bool {
    let is_number = value.bytes().all(|digit| digit.is_ascii_digit());
    let speaks_of_a_secret = A_NAME.is_match(name) && !(is_number && BESIDE_A_SECRET.is_match(name));
    (A_PATH.is_match(value) || A_PLAIN_VALUE.is_match(value)) && !speaks_of_a_secret
}

/// The words of a command as one would type them: those with a space in quotes, unless they are scripts themselves.
pub fn as_typed(words: &[String]) -> String {
    let typed = |word: &String| {
        let is_value = word.contains(' ') && !word.contains(['"', '\'', '=', ';', '|', '&', '\n']);
        if is_value { format!("'{word}'") } else { word.clone() }
    };
    words.iter().map(typed).collect::<Vec<_>>().join(" ")
}

/// The parts of a variable that may be secret: its value, and the items of a list if its name indicates secrets; empty
/// if it is plain.
pub(super) fn of_a_variable<'v>(name: &str, value: &'v str) -> Vec<&'v str> {
    if is_plain(name, value) {
        return Vec::new();
    }
    let parts = value.split([',', ';', ' ', '|']).map(str::trim);
    let parts = parts.filter(|part| A_NAME.is_match(name) && part.len() >= SHORTEST_SECRET && *part != value);
    std::iter::once(value).chain(parts).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_values_are_no_secrets_unless_their_names_say_so() {
        for (name, value, plain) in [
            ("PGDATA", "/var/lib/postgresql/data", true),
            ("HOME", "/home/app-1/", true),
            ("DATA", "/data", false),
            ("MODE", "production", true),
            ("PORT", "8080", true),
            ("INDENT", "    ", true),
            ("DEBUG", "True", true),
            ("ADMIN", "letMeIn", false),
            ("DB_PW", "hunter", false),
            ("DB_PW_MAIN", "hunter", false),
            ("TOKEN_TTL", "3600", true),
            ("KEYCLOAK_HTTP_PORT", "8080", true),
            ("TOKEN_TTL", "hunter", false),
            ("REDIS_AUTH", "foobared", false),
            ("PIN", "1234", false),
            ("ID", "123456", false),
            ("TOKEN", "/var/lib/token", false),
            ("API_KEY", "/run/secrets/key", false),
            ("SALT", "/Qx3/9vZk2mF0aa==", false),
            ("DATA", "../var/lib", false),
        ] {
            assert_eq!(is_plain(name, value), plain, "{name}={value}");
        }
    }

    #[test]
    fn the_words_of_a_command_are_told_apart() {
        let typed =
            |words: &[&str]| as_typed(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let found = |words: &[&str]| secrets_within(&typed(words)).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(found(&["redis-cli", "-a", "my two-Words-91"]), ["my two-Words-91"]);
        assert_eq!(found(&["sh", "-c", "mysql -phunter22"]), ["hunter22"]);
        assert_eq!(found(&["sh", "-c", "PGPASSWORD=hunter22 psql; true"]).first().unwrap(), "hunter22");
    }

    #[test]
    fn a_list_of_secrets_is_several() {
        for (name, value, expected) in [
            ("API_KEYS", "Qx3vZk2m, 77aaBBcc,x", vec!["Qx3vZk2m, 77aaBBcc,x", "Qx3vZk2m", "77aaBBcc"]),
            ("PASSWORD", "Qx3vZk2m", vec!["Qx3vZk2m"]),
            ("FLAGS", "A1,B2-longer", vec!["A1,B2-longer"]),
            ("MODE", "production", vec![]),
        ] {
            assert_eq!(of_a_variable(name, value), expected, "{name}");
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
            (r#"CFG={"db":{"password":"Jsonpw-8812"}}"#, vec!["Jsonpw-8812"]),
            ("app:Gopass-4471@tcp(db:3306)/shop", vec!["Gopass-4471"]),
            ("password=ab&c", vec!["ab&c", "ab"]),
            (r#"--password "two words""#, vec!["two words"]),
            ("--encryption-key=K1x", vec!["K1x"]),
            ("curl -H 'Authorization: Bearer abcdef123'", vec!["abcdef123"]),
            ("curl --user app:hunter22 http://db", vec!["hunter22"]),
            ("mysqldump -u root -phunter22 shop", vec!["hunter22"]),
            ("mariadb-admin -p'two words' ping", vec!["two words"]),
            ("redis-cli -h db -a hunter22 ping", vec!["hunter22"]),
            ("sshpass -p hunter22 ssh db", vec!["hunter22"]),
            ("valkey-cli -a hunter22 ping", vec!["hunter22"]),
            ("mongosh -u root -p hunter22 shop", vec!["hunter22"]),
            ("mosquitto_sub -u x -P hunter22", vec!["hunter22"]),
            ("ldapsearch -D cn=x -w hunter22", vec!["hunter22"]),
            ("smbclient //db/x -U root%hunter22", vec!["hunter22"]),
            ("mysql -P 3306; ls -p dir", vec![]),
        ] {
            let mut found: Vec<&str> = secrets_within(text).collect();
            found.dedup();
            let found: Vec<&str> = expected.iter().copied().filter(|one| found.contains(one)).collect();
            assert_eq!(found, expected, "{text}: {:?}", secrets_within(text).collect::<Vec<_>>());
            assert_eq!(expected.is_empty(), secrets_within(text).next().is_none(), "{text}");
        }
    }
}
