//! The recovery sheet: a page to print and keep with a recovery key. It holds no secret.

use std::fmt::Write as _;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;

use crate::Report;
use crate::backup::RecipientLine;
use crate::figures::{printable, time};

/// What the sheet says.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecoverySheet {
    /// The repository's location.
    pub location: String,
    /// Variables that lead to the storage, such as its endpoint and region.
    pub settings: Vec<SettingLine>,
    /// The variables that hold the storage's credentials; never their values.
    pub credentials: Vec<String>,
    /// The repository's id, which is the fingerprint of its root key.
    pub repository: String,
    /// Who can recover.
    pub recipients: Vec<RecipientLine>,
    /// What brings back what the newest snapshots hold.
    pub steps: Vec<SheetStep>,
    /// What to know about the page.
    pub notes: Vec<String>,
    /// When the sheet was made.
    #[cfg_attr(test, schemars(with = "crate::schemas::Moment"))]
    pub made_at: Timestamp,
    /// The version of Lifeboat that made it.
    pub version: String,
    /// Where the page was written.
    pub file: String,
}

/// A variable of the environment and its value, which is not secret.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SettingLine {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// What brings one thing back.
#[derive(Debug, Clone, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct SheetStep {
    /// The host that it was captured on.
    pub host: String,
    /// What it is.
    pub what: String,
    /// When the newest snapshot of it was taken.
    #[cfg_attr(test, schemars(with = "crate::schemas::Moment"))]
    pub taken_at: Timestamp,
    /// Whether some of it was missing then.
    pub incomplete: bool,
    /// Commands of a shell, in order: the restore and what checks it.
    pub commands: Vec<String>,
    /// Commands that do the same another way.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub instead: Vec<String>,
}

impl Report for RecoverySheet {
    const SCHEMA: &'static str = "lifeboat.recovery-sheet/v1";

    fn text(&self) -> String {
        let mut text = format!("wrote {}: print it, and keep it with a recovery key\n", self.file);
        for note in &self.notes {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "note: {note}");
        }
        text
    }
}

/// A word quoted for a shell, if necessary. Characters that control a terminal are escaped.
pub fn shell_word(word: &str) -> String {
    let word = printable(word);
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./:@%+=,".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word;
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// The option for a key of this kind on the command line.
fn typed(kind: &str) -> &'static str {
    match kind {
        "ssh" => "the SSH private key: copy its file to the machine as recovery.key; it needs --root",
        "passphrase" => {
            "a passphrase: set LIFEBOAT_IDENTITY=passphrase, and type it when it is asked for; it needs --root"
        }
        "x25519" | "mlkem768x25519" => "a key file: copy it to the machine as recovery.key",
        _ => {
            "a key in hardware: copy its identity file to the machine as recovery.key, and install its age plugin; it needs \
             --root"
        }
    }
}

impl RecoverySheet {
    /// The page, which loads and runs nothing. The text of each `pre` with the class `run` can be typed as it is, in
    /// order, in one shell.
    pub fn html(&self) -> String {
        let groups: Vec<&str> =
            self.repository.as_bytes().chunks(8).filter_map(|g| str::from_utf8(g).ok()).collect();
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                    title { "Recovery sheet: " (self.location) }
                    style { (PreEscaped(include_str!("sheet/style.css"))) }
                }
                body {
                    h1 { "Recovery sheet" }
                    p.lead {
                        "This page, one recovery key and the storage's credentials are all that is needed to bring the backups \
                         back. The page holds no secret; a recovery key reads everything."
                    }
                    dl {
                        dt { "Where the repository lies" } dd { code { (self.location) } }
                        @for setting in &self.settings {
                            dt { (setting.name) } dd { code { (setting.value) } }
                        }
                        dt { "Its id (the fingerprint of its root key)" }
                        dd.fingerprint { @for group in &groups { code { (group) } } }
                        dt { "Keys that recover it: any one of them" }
                        dd {
                            ul {
                                @for recipient in &self.recipients {
                                    li {
                                        @if let Some(name) = &recipient.name { strong { (name) } ", " }
                                        code { (recipient.id) } ", " (recipient.kind) ", " (recipient.protection)
                                        span.blank { "kept at:" }
                                        br; (typed(&recipient.kind))
                                    }
                                }
                            }
                        }
                    }
                    h2 { "To bring it back on a bare machine" }
                    ol { (self.preparation()) (self.recovery()) }
                    @for note in &self.notes { p { (note) } }
                    h2 { "Without Lifeboat" }
                    p {
                        "The format is public: " code { "FORMAT.md" } " in Lifeboat's source says what every byte means, and "
                        code { "tests/reader/reader.py" } " there is a complete reader of a few hundred lines. Every key in the \
                         repository is an ordinary age file: "
                        code { "age -d -i KEYFILE keys/data-0/…age" } " gives the data identity, which opens the rest."
                    }
                    footer {
                        "Made " (self.made_at.strftime("%Y-%m-%d").to_string()) " by Lifeboat " (self.version)
                        ". Make a new one when keys come or go, and when other things are backed up. Try a restore from this \
                         page once a year: "
                        span.blank { "last tried:" }
                    }
                }
            }
        };
        page.into_string()
    }

    /// The program, the storage and the key.
    fn preparation(&self) -> Markup {
        let is_folder = !self.location.contains("://");
        let exports = std::iter::once(("LIFEBOAT_REPOSITORY", self.location.as_str()))
            .chain(self.settings.iter().map(|setting| (setting.name.as_str(), setting.value.as_str())))
            .map(|(name, value)| format!("export {name}={}", shell_word(value)));
        let exports: Vec<String> = exports.collect();
        html! {
            li {
                "Get the program " code { "lifeboat-restore" } ", version " (self.version) " or later, on the " code { "PATH" }
                ", and for the check at the end " code { "lifeboat-backup" }
                ": each is one file, which can be copied from any host that has it. Otherwise build them from Lifeboat's source with "
                code { "cargo build --release --locked" } ", which puts them into " code { "target/release" }
                ". Work as root, so that owners come back as well, and in a folder with room for the data."
            }
            li {
                "Say where the repository lies."
                @if is_folder {
                    " It is a folder: mount its disk, or copy it to the machine, and where it comes to lie elsewhere write \
                     that path here."
                }
                pre.run { (exports.join("\n")) }
                @if !self.credentials.is_empty() {
                    "Set the storage's credentials, which have the right to read and list:"
                    pre.fill {
                        @for name in &self.credentials { "export " (name) "=" span.blank { } "\n" }
                    }
                    "Temporary ones of S3 also need " code { "AWS_SESSION_TOKEN" } "."
                }
            }
            li {
                "Copy a recovery key file into the folder as " code { "recovery.key" }
                ". The id in its comment is the one above."
                pre.run { "chmod 600 recovery.key\nexport LIFEBOAT_IDENTITY=\"$PWD/recovery.key\"" }
                "Above stands how a key of another kind is given. One that names no repository is asked about on the terminal; \
                 the id above is the answer, which can also be added to each command as "
                code { "--root " (self.repository) } "."
            }
            li {
                "See what is there. A refusal here says what is wrong with the storage's settings or the key."
                pre.run { "lifeboat-restore list" }
            }
        }
    }

    /// What to restore, and how to check it.
    fn recovery(&self) -> Markup {
        html! {
            @if self.steps.is_empty() {
                li {
                    "No snapshot was there when this page was made: make a new page after the first backup. In general:"
                    pre.instead {
                        "lifeboat-restore path latest --to FOLDER\nlifeboat-restore volume latest VOLUME --to-dir FOLDER"
                    }
                }
            }
            @for step in &self.steps {
                li {
                    b { (printable(&step.what)) } " of " b { (printable(&step.host)) } ", last taken " (time(step.taken_at))
                    @if step.incomplete { ", incomplete" }
                    pre.run { (step.commands.join("\n")) }
                    @if !step.instead.is_empty() {
                        "Into a Docker volume, where an engine runs:"
                        pre.instead { (step.instead.join("\n")) }
                    }
                }
            }
            li {
                "Check. Every restore compares what it writes with the hashes in the snapshot, and ends with an error if \
                 something is damaged; "
                code { "diff" } " above compares once more, and names what differs. To check the whole repository:"
                pre.instead { "lifeboat-backup check --read-data" }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_where_and_what_and_escapes_what_it_is_given() {
        let sheet = RecoverySheet {
            location: "s3://bucket/<b>".to_owned(),
            settings: vec![SettingLine { name: "AWS_REGION".to_owned(), value: "eu west".to_owned() }],
            credentials: vec!["AWS_ACCESS_KEY_ID".to_owned()],
            repository: "0123456789abcdef".repeat(4),
            recipients: vec![RecipientLine {
                id: "9ca4b7afe4bb5950".to_owned(),
                recipient: "age1pq1xyz".to_owned(),
                kind: "mlkem768x25519".to_owned(),
                protection: "post-quantum".to_owned(),
                name: Some("the <safe>".to_owned()),
            }],
            steps: vec![SheetStep {
                host: "web<1>".to_owned(),
                what: "volume db".to_owned(),
                taken_at: Timestamp::UNIX_EPOCH,
                incomplete: true,
                commands: vec!["lifeboat-restore volume latest:db db --to-dir x".to_owned()],
                instead: vec!["lifeboat-restore volume latest:db db --to db".to_owned()],
            }],
            notes: vec!["a note".to_owned()],
            made_at: Timestamp::UNIX_EPOCH,
            version: "0.1.0".to_owned(),
            file: "sheet.html".to_owned(),
        };
        let page = sheet.html();
        for part in [
            "export LIFEBOAT_REPOSITORY='s3://bucket/&lt;b&gt;'",
            "export AWS_REGION='eu west'",
            "export AWS_ACCESS_KEY_ID=",
            "<code>01234567</code><code>89abcdef</code>",
            "9ca4b7afe4bb5950",
            "web&lt;1&gt;",
            ", incomplete",
            "latest:db db --to-dir x",
            "a note",
            "1970-01-01",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("<b>'") && !page.contains("<script"));
    }

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        for (word, quoted) in [
            ("latest:shop_db", "latest:shop_db"),
            ("a b", "'a b'"),
            ("it's $HOME", r"'it'\''s $HOME'"),
            ("", "''"),
            ("~x", "'~x'"),
        ] {
            assert_eq!(shell_word(word), quoted);
        }
    }
}
