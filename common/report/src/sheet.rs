//! The recovery sheet: one page to print and keep with a recovery key. It holds no secret.

use jiff::Timestamp;
use maud::{DOCTYPE, PreEscaped, html};
use serde::Serialize;

use crate::Report;
use crate::backup::RecipientLine;

/// What the sheet says.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RecoverySheet {
    /// The repository's location.
    pub location: String,
    /// The repository's id, which is the fingerprint of its root key.
    pub repository: String,
    /// Who can recover.
    pub recipients: Vec<RecipientLine>,
    /// When the sheet was made.
    #[cfg_attr(test, schemars(with = "crate::schemas::Moment"))]
    pub made_at: Timestamp,
    /// The version of Lifeboat that made it.
    pub version: String,
    /// Where the page was written.
    pub file: String,
}

impl Report for RecoverySheet {
    const SCHEMA: &'static str = "lifeboat.recovery-sheet/v1";

    fn text(&self) -> String {
        format!("wrote {}: print it, and keep it with a recovery key\n", self.file)
    }
}

impl RecoverySheet {
    /// The page: it loads and runs nothing, and prints on one sheet.
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
                        "This page and one recovery key file are all that is needed to bring the backups back. The page holds \
                         no secret; the key file reads everything."
                    }
                    dl {
                        dt { "Where the repository lies" } dd { code { (self.location) } }
                        dt { "Its id (the fingerprint of its root key)" }
                        dd.fingerprint { @for group in &groups { code { (group) } } }
                        dt { "Keys that recover it" }
                        dd {
                            ul {
                                @for recipient in &self.recipients {
                                    li {
                                        code { (recipient.id) } ", " (recipient.kind) ", " (recipient.protection)
                                        span.blank { "kept at:" }
                                    }
                                }
                            }
                        }
                    }
                    h2 { "To bring it back on a bare machine" }
                    ol {
                        li { "Install Lifeboat. Set the storage's usual credentials (such as " code { "AWS_ACCESS_KEY_ID" } ")." }
                        li { "Copy a recovery key file to the machine, and " code { "chmod 600" } " it. Compare the id in its \
                             comment with the one above." }
                        li { pre { "lifeboat-restore list -r " (self.location) " --identity KEYFILE" } }
                        li { pre { "lifeboat-restore path latest --to FOLDER -r " (self.location) " --identity KEYFILE" } }
                        li { "A key that names no repository (SSH, hardware, passphrase) also needs " code { "--root" } " and the id \
                             above, in one piece." }
                    }
                    h2 { "Without Lifeboat" }
                    p {
                        "The format is public: " code { "FORMAT.md" } " in Lifeboat's source says what every byte means, and "
                        code { "tests/reader/reader.py" } " there is a complete reader of a few hundred lines. Every key in the \
                         repository is an ordinary age file: "
                        code { "age -d -i KEYFILE keys/data-0/…age" } " gives the data identity, which opens the rest."
                    }
                    footer {
                        "Made " (self.made_at.strftime("%Y-%m-%d").to_string()) " by Lifeboat " (self.version)
                        ". Make a new one when keys come or go. Try a restore from this page once a year: "
                        span.blank { "last tried:" }
                    }
                }
            }
        };
        page.into_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_says_where_and_what_and_escapes_what_it_is_given() {
        let sheet = RecoverySheet {
            location: "s3://bucket/<b>".to_owned(),
            repository: "0123456789abcdef".repeat(4),
            recipients: vec![RecipientLine {
                id: "9ca4b7afe4bb5950".to_owned(),
                recipient: "age1pq1xyz".to_owned(),
                kind: "mlkem768x25519".to_owned(),
                protection: "post-quantum".to_owned(),
            }],
            made_at: Timestamp::UNIX_EPOCH,
            version: "0.1.0".to_owned(),
            file: "sheet.html".to_owned(),
        };
        let page = sheet.html();
        for part in [
            "s3://bucket/&lt;b&gt;",
            "<code>01234567</code><code>89abcdef</code>",
            "9ca4b7afe4bb5950",
            "1970-01-01",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("<b>") && !page.contains("<script"));
    }
}
