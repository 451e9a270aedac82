//! Removes an application's secrets from the texts of a report, in whatever form a program writes them.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use crate::definitions::{SHORTEST_SECRET, secrets_within};

/// The replacement for a secret.
const STRUCK: &str = "[redacted]";

/// The fewest characters of a secret's base64 that are removed: fewer would be found in other words, too.
const SHORTEST_ENCODED: usize = 6;

/// A form with at least this many characters is found even if line breaks interrupt it.
const SHORTEST_BROKEN: usize = 12;

/// A form with at most this many characters is removed only if it is a word of its own.
const LONGEST_WORD: usize = 8;

/// `text` without `secrets`. It finds a secret as it is and without surrounding white space; each line of one with
/// several (a log can start anywhere, and a terminal has its own line ends); in base64 at any offset of the encoded
/// data; interrupted by line breaks; escaped for URLs, JSON, shells or HTML; and the content of a secret that is itself
/// base64 or escaped.
pub fn redacted(text: &str, secrets: &[String]) -> String {
    let mut forms: BTreeSet<String> = BTreeSet::new();
    for secret in secrets.iter().filter(|secret| !secret.trim().is_empty()) {
        add_forms(secret, &mut forms);
        for held in held_in_base64(secret).into_iter().chain(unescaped(secret)) {
            secrets_within(&held).for_each(|within| add_forms(within, &mut forms));
            add_forms(&held, &mut forms);
        }
    }
    let unbroken = Unbroken::of(text);
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for form in &forms {
        ranges.extend(found(text, form));
        let compact: String = form.chars().filter(|c| !c.is_whitespace()).collect();
        if compact.len() >= SHORTEST_BROKEN {
            ranges.extend(unbroken.found(&compact));
        }
    }
    struck(text, ranges)
}

/// Replaces these parts of `text`, merging those that touch or overlap.
fn struck(text: &str, mut ranges: Vec<Range<usize>>) -> String {
    ranges.sort_by_key(|range| (range.start, range.end));
    let (mut shown, mut at) = (String::with_capacity(text.len()), 0);
    let mut ranges = ranges.into_iter().peekable();
    while let Some(mut range) = ranges.next() {
        while let Some(next) = ranges.next_if(|next| next.start <= range.end) {
            range.end = range.end.max(next.end);
        }
        shown.push_str(&text[at..range.start]);
        shown.push_str(STRUCK);
        at = range.end;
    }
    shown.push_str(&text[at..]);
    shown
}

/// The places of `form` in `text`; a short one only as a word of its own.
fn found<'t>(text: &'t str, form: &'t str) -> impl Iterator<Item = Range<usize>> + 't {
    let is_short = form.len() <= LONGEST_WORD;
    let joins = |c: Option<char>, edge: Option<char>| {
        c.is_some_and(char::is_alphanumeric) && edge.is_some_and(char::is_alphanumeric)
    };
    text.match_indices(form).map(|(at, form)| at..at + form.len()).filter(move |range| {
        let (before, after) = (text[..range.start].chars().next_back(), text[range.end..].chars().next());
        let inside = joins(before, form.chars().next()) || joins(after, form.chars().next_back());
        !(is_short && inside)
    })
}

/// A text without white space, and the original position of each byte.
struct Unbroken {
    text: String,
    places: Vec<usize>,
}

impl Unbroken {
    fn of(text: &str) -> Self {
        let mut unbroken = Self { text: String::new(), places: Vec::new() };
        for (at, c) in text.char_indices().filter(|(_, c)| !c.is_whitespace()) {
            unbroken.text.push(c);
            unbroken.places.extend(at..at + c.len_utf8());
        }
        unbroken
    }

    fn found<'t>(&'t self, form: &'t str) -> impl Iterator<Item = Range<usize>> + 't {
        let range = |(at, form): (usize, &str)| self.places[at]..self.places[at + form.len() - 1] + 1;
        self.text.match_indices(form).map(range)
    }
}

fn add_forms(secret: &str, forms: &mut BTreeSet<String>) {
    for secret in [secret, secret.trim()] {
        forms.insert(secret.to_owned());
        forms.extend(encodings(secret));
        forms.extend(written(secret));
    }
    if secret.trim().contains('\n') {
        for line in secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_SECRET) {
            forms.insert(line.to_owned());
            forms.extend(encodings(line));
        }
    }
}

/// The secret's forms in base64, whatever precedes it, and in hexadecimal digits.
fn encodings(secret: &str) -> impl Iterator<Item = String> + '_ {
    let base64 = (0..3).flat_map(|before| {
        [encoded(secret, before, &STANDARD_NO_PAD), encoded(secret, before, &URL_SAFE_NO_PAD)]
    });
    let hexadecimal = [hex::encode(secret), hex::encode_upper(secret)];
    base64.flatten().chain(hexadecimal.into_iter().filter(|text| text.len() >= SHORTEST_ENCODED))
}

/// The secret's forms where some characters have a special meaning.
fn written(secret: &str) -> Vec<String> {
    let escaped = escaped(secret, "-._~");
    let small = |escaped: &str| {
        let mut parts = escaped.split('%');
        let first = parts.next().unwrap_or_default().to_owned();
        parts.fold(first, |text, part| {
            let (code, rest) = part.split_at(part.len().min(2));
            text + "%" + &code.to_ascii_lowercase() + rest
        })
    };
    let json = serde_json::to_string(secret).unwrap_or_default();
    let json = json.trim_matches('"');
    let html = secret.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let quoted = |apostrophe: &str| html.replace('"', "&quot;").replace('\'', apostrophe);
    let every_byte = |separator: &str| {
        let pairs: Vec<String> = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        pairs.join(separator)
    };
    vec![
        small(&escaped),
        escaped.replace("%20", "+"),
        self::escaped(secret, "-._~/"),
        escaped,
        json.to_owned(),
        json.chars().flat_map(unicode).collect(),
        // Go and PHP escape more than they must.
        json.replace('&', r"\u0026").replace('<', r"\u003c").replace('>', r"\u003e"),
        json.replace('/', r"\/"),
        self::escaped(&self::escaped(secret, "-._~"), "-._~"),
        "%".to_owned() + &every_byte("%"),
        every_byte(":"),
        every_byte(":").to_ascii_uppercase(),
        secret.replace('\'', r"'\''"),
        secret.replace('\'', r#"'"'"'"#),
        // SQL, Compose, and the shell's own way to quote a word.
        secret.replace('\'', "''"),
        secret.replace('$', "$$"),
        secret.chars().flat_map(shell_escaped).collect(),
        quoted("&#39;"),
        quoted("&apos;"),
        quoted("&#x27;"),
        quoted("&#x27;").replace('/', "&#x2F;"),
        html,
    ]
}

/// A character as `printf %q` of a shell writes it.
fn shell_escaped(c: char) -> Vec<char> {
    let is_plain = c.is_alphanumeric() || "_-./:=@%+,".contains(c);
    if is_plain { vec![c] } else { vec!['\\', c] }
}

/// A character as JSON may write it in ASCII.
fn unicode(c: char) -> Vec<char> {
    if c.is_ascii() {
        return vec![c];
    }
    let mut units = [0; 2];
    let mut written = String::new();
    for unit in c.encode_utf16(&mut units) {
        // Writing to a String cannot fail, here and below.
        let _ = write!(written, "\\u{unit:04x}");
    }
    written.chars().collect()
}

/// The characters of base64 (RFC 4648) that represent only `secret` if `before` bytes precede it, modulo three.
fn encoded(secret: &str, before: usize, alphabet: &impl base64::Engine) -> Option<String> {
    let text = alphabet.encode([&vec![0; before], secret.as_bytes()].concat());
    // A character holds six bits; those at the ends also hold bits of the secret's neighbours.
    let (first, last) = ((before * 8).div_ceil(6), (before + secret.len()) * 8 / 6);
    let own = text.get(first..last)?;
    (own.len() >= SHORTEST_ENCODED).then(|| own.to_owned())
}

/// The form in a URL (RFC 3986, section 2.1), where `plain` characters are not escaped, with capitals.
fn escaped(secret: &str, plain: &str) -> String {
    let mut escaped = String::new();
    for byte in secret.bytes() {
        let _ = if byte.is_ascii_alphanumeric() || plain.as_bytes().contains(&byte) {
            write!(escaped, "{}", char::from(byte))
        } else {
            write!(escaped, "%{byte:02X}")
        };
    }
    escaped
}

/// The unescaped `secret`, if it is escaped as in a URL.
fn unescaped(secret: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = secret.as_bytes();
    while let [first, after @ ..] = rest {
        let code = after.get(..2).filter(|_| *first == b'%').and_then(|code| hex::decode(code).ok());
        if let Some(code) = code {
            bytes.extend(code);
            rest = &after[2..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    let plain = String::from_utf8(bytes).ok()?;
    (plain != secret).then_some(plain)
}

/// The text in `secret`, if it is base64 of one.
fn held_in_base64(secret: &str) -> Option<String> {
    let compact: String = secret.split_whitespace().collect();
    let held = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD]
        .into_iter()
        .find_map(|alphabet| alphabet.decode(&compact).ok())?;
    let held = String::from_utf8(held).ok()?;
    let held = held.trim();
    let is_text = held.chars().all(|c| !c.is_control() || c.is_whitespace());
    (is_text && held.len() >= SHORTEST_SECRET.max(SHORTEST_ENCODED)).then(|| held.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_struck_longest_first() {
        let secrets = ["pass".to_owned(), "password1".to_owned(), String::new()];
        assert_eq!(redacted("x password1 pass", &secrets), "x [redacted] [redacted]");
        let key = ["-----BEGIN KEY-----\nfirstline\nsecondline\n}\n".to_owned()];
        assert_eq!(redacted("firstline\r\nsecondline\r\n}", &key), "[redacted]\r\n[redacted]\r\n}");
        assert_eq!(redacted("condline\nsecondline", &key), "condline\n[redacted]");
    }

    #[test]
    fn secrets_are_struck_in_every_form() {
        let secret = "s3cr3t/Wört?";
        let secrets = [secret.to_owned()];
        for before in ["", "u", "us", "user:", "user1:", "user12:"] {
            for after in ["", "!", "!!", "; and more"] {
                let whole = format!("{before}{secret}{after}");
                for text in [STANDARD.encode(&whole), URL_SAFE_NO_PAD.encode(&whole)] {
                    let shown = redacted(&format!("Authorization: Basic {text}"), &secrets);
                    assert!(shown.contains(STRUCK), "{whole}: {shown}");
                    // What remains of the encoding reveals at most the edges.
                    let left = shown.replace("Authorization: Basic ", "").replace(STRUCK, "").len();
                    assert!(left <= (before.len() + after.len()) * 4 / 3 + 8, "{whole}: {shown}");
                }
            }
        }
        assert_eq!(redacted("https://app:s3cr3t%2FW%C3%B6rt%3F@db", &secrets), "https://app:[redacted]@db");
        let encoded = [STANDARD.encode("correct horse battery\n")];
        assert_eq!(redacted("it says correct horse battery", &encoded), "it says [redacted]");
    }

    #[test]
    fn secrets_are_struck_however_they_are_written() {
        let long = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
        let wrapped = |text: &str| {
            let lines = text.as_bytes().chunks(20).map(|line| String::from_utf8_lossy(line).into_owned());
            lines.collect::<Vec<_>>().join("\n  ")
        };
        for (secret, text) in [
            (long, wrapped(long)),
            (long, wrapped(&STANDARD.encode(long))),
            ("  padded-Q1w2e3\n", "it is padded-Q1w2e3!".to_owned()),
            (r#"pw"quote\back-Zq81"#, r#"{"password": "pw\"quote\\back-Zq81"}"#.to_owned()),
            ("it's-Q1w2e3r4", r"export X='it'\''s-Q1w2e3r4'".to_owned()),
            ("it's-Q1w2e3r4", r#"export X='it'"'"'s-Q1w2e3r4'"#.to_owned()),
            ("<b>&Html-3321", "<p>&lt;b&gt;&amp;Html-3321</p>".to_owned()),
            ("Wört-3321x", r"W\u00f6rt-3321x".to_owned()),
            ("p@ss word/Xy1", "x://u:p%40ss+word%2FXy1@h".to_owned()),
            ("p@ss word/Xy1", "x://u:p%40ss%20word%2fXy1@h".to_owned()),
            ("p@ss word/Xy1", "x://u:p%40ss%20word/Xy1@h".to_owned()),
            ("p%40ssw0rd%2FXy", "the password is p@ssw0rd/Xy".to_owned()),
            ("Tr0ub4dor&3321-x<9", r#"{"p":"Tr0ub4dor\u00263321-x\u003c9"}"#.to_owned()),
            ("pa/th+K3y/3321", r#"{"p":"pa\/th+K3y\/3321"}"#.to_owned()),
            ("it's-Qw12'3321", "PASSWORD 'it''s-Qw12''3321'".to_owned()),
            ("it's-Qw12 3321", r"it\'s-Qw12\ 3321".to_owned()),
            ("it's-Qw12/3321", "<a>it&apos;s-Qw12/3321</a> it&#x27;s-Qw12&#x2F;3321".to_owned()),
            ("cash$3321$$", "cash$$3321$$$$".to_owned()),
            ("p@ss 3321", "p%2540ss%25203321 %70%40%73%73%20%33%33%32%31".to_owned()),
            ("Q1w2e3r4t5", "51:31:77:32:65:33:72:34:74:35".to_owned()),
            ("Q1w2e3r4t5", "0x51317732653372347435".to_owned()),
            ("Zq81-é", "5A7138312DC3A9".to_owned()),
            ("first-line-abc\nsecond-3321-line", format!("Basic {}", STANDARD.encode("second-3321-line"))),
        ] {
            let shown = redacted(&text, &[secret.to_owned()]);
            assert!(shown.contains(STRUCK), "{secret}: {shown}");
            for left in
                ["Q1w2", "Zq81", "3321", "Xy", "defghi", "ZGVmZ2", "5131", "5A71", "c2Vjb25k", "51:31", "%33"]
            {
                assert!(!shown.contains(left), "{secret}: {shown}");
            }
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for (secret, text) in [
            ("abcd", "YWJj is base64 of something shorter"),
            ("true", "what is true is struck out, and nothing more"),
            ("data", "data, and no database or metadata"),
            ("aGVsbG8", "hello is too short to be held"),
        ] {
            let shown = redacted(text, &[secret.to_owned()]);
            assert_eq!(shown, text.replacen(secret, STRUCK, 1), "{secret}");
        }
    }
}
