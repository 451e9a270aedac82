//! The story from the first snapshot to the refused image, on a shop in containers or on one in a folder.

use std::fs;
use std::path::{Path, PathBuf};

use super::call::Call;
use super::files::Folder;
use super::image::Image;
use super::layout::Layout;
use super::narrator::Narrator;
use super::sbom;
use super::shop::{ORDERS, Shop};
use super::work::Work;
use crate::problem::Problem;

pub(super) struct Story<'a> {
    narrator: &'a Narrator<'a>,
    work: &'a Work,
    /// Where the drill report goes.
    reports: &'a Path,
}

impl<'a> Story<'a> {
    pub(super) fn new(narrator: &'a Narrator<'a>, work: &'a Work, reports: &'a Path) -> Self {
        Self { narrator, work, reports }
    }

    /// Tells all of it; returns the path of the drill report.
    pub(super) fn tell(&self, no_docker: bool) -> Result<PathBuf, Problem> {
        let Self { narrator, work, .. } = *self;
        narrator.step("Make a folder to work in; all further commands run there", || {
            for line in work.preparations() {
                narrator.show(&Call::script(&line));
            }
            Ok(())
        })?;
        let report = if no_docker { self.back_up_a_folder()? } else { self.back_up_a_shop()? };
        self.make_key()?;
        if no_docker {
            let layout = Layout::new(narrator, work);
            narrator.step("Make an image, as an OCI layout on disk", || layout.build())?;
            self.sign_and_verify(&Layout::reference())?;
            narrator.step("Tamper: put another image under the same tag", || layout.tamper())?;
            self.see_it_refused(&Layout::reference())?;
        } else {
            let image = Image::new(narrator, work);
            narrator.step("Make an image and push it to the registry", || image.build())?;
            self.sign_and_verify(&image.reference())?;
            narrator.step("Tamper: push another image under the same tag", || image.tamper())?;
            self.see_it_refused(&image.reference())?;
        }
        Ok(report)
    }

    fn back_up_a_shop(&self) -> Result<PathBuf, Problem> {
        let Self { narrator, work, .. } = *self;
        let shop = Shop::new(narrator, work);
        let what = format!("--project {}", work.name());
        narrator
            .step("Open a shop: PostgreSQL with 100,000 orders, and a client that uses it", || shop.open())?;
        self.make_repository()?;
        self.snapshot("Take a snapshot of the running shop", &what, "before")?;
        narrator.step("Lose half of the orders, and take others", || shop.change())?;
        self.snapshot("Take a second snapshot", &what, "after")?;
        let first = self.list()?;
        work.write("plan.toml", &plan())?;
        let report = self.rehearse(
            "Rehearse the first one's restore, in scratch containers without a way out",
            &format!("{first} --plan plan.toml"),
            |call| call,
        )?;
        narrator.step("See that the running shop was left alone", || shop.count())?;
        Ok(report)
    }

    fn back_up_a_folder(&self) -> Result<PathBuf, Problem> {
        let Self { narrator, work, .. } = *self;
        let folder = Folder::new(narrator, work);
        narrator.step("Make a folder: 100,000 orders, links, a pipe and a sparse file", || folder.fill())?;
        self.make_repository()?;
        self.snapshot("Take a snapshot of the folder", "--path shop", "before")?;
        narrator.step("Lose half of the orders, and take others", || folder.change())?;
        self.snapshot("Take a second snapshot", "--path shop", "after")?;
        let first = self.list()?;
        self.rehearse("Rehearse the first one's restore", &first, |call| {
            call.expecting(3, "all data came back, but there was no application to start")
        })
    }

    fn make_repository(&self) -> Result<(), Problem> {
        self.narrator.step("Make an encrypted repository and its keys", || {
            self.run(&Call::new(
                "lifeboat-backup init -r repository --recovery-key safe-1.key --recovery-key safe-2.key \
                 --writer-key writer.key",
            ))
        })
    }

    fn snapshot(&self, sentence: &str, what: &str, tag: &str) -> Result<(), Problem> {
        self.narrator.step(sentence, || {
            self.run(&Call::new(&format!(
                "lifeboat-backup run {what} --tag {tag} -r repository --writer-key writer.key"
            )))
        })
    }

    /// Lists the snapshots; returns the short id of the first.
    fn list(&self) -> Result<String, Problem> {
        let list = "lifeboat-backup list -r repository --writer-key writer.key";
        self.narrator.step("List the snapshots, with the key that cannot read them back", || {
            self.run(&Call::new(list))?;
            let document =
                self.narrator.ask(self.work, &Call::new(&format!("{list} --tag before --json")))?;
            let id = text_member(&document, "id").filter(|id| id.len() >= 12);
            let id = id.ok_or_else(|| Problem::new("the list names no snapshot with the tag `before`"))?;
            Ok(id[..12].to_owned())
        })
    }

    /// Rehearses; returns the path of the report for people.
    fn rehearse(
        &self,
        sentence: &str,
        what: &str,
        expecting: impl FnOnce(Call) -> Call,
    ) -> Result<PathBuf, Problem> {
        self.narrator.step(sentence, || {
            if what.contains("plan.toml") {
                self.run(&Call::new("cat plan.toml"))?;
            }
            let call = Call::new(&format!(
                "lifeboat-restore rehearse {what} --identity safe-1.key -r repository --report"
            ));
            self.run(&expecting(call.arg(&self.reports.to_string_lossy())))?;
            let files = fs::read_dir(self.reports).into_iter().flatten().flatten().map(|entry| entry.path());
            files
                .filter(|path| path.extension().is_some_and(|extension| extension == "html"))
                .max()
                .ok_or_else(|| Problem::new(format!("no HTML report in {}", self.reports.display())))
        })
    }

    fn make_key(&self) -> Result<(), Problem> {
        self.narrator
            .step("Make a key pair to sign with", || self.run(&Call::new("lifeboat-sign keygen release")))
    }

    fn sign_and_verify(&self, reference: &str) -> Result<(), Problem> {
        let Self { narrator, work, .. } = *self;
        narrator.step("Sign the image", || {
            self.run(&Call::new(&format!("lifeboat-sign image {reference} --key release.key")))
        })?;
        narrator.step("Write down what is in the image, and sign that too", || {
            for line in sbom::write(work)? {
                narrator.say(&line);
            }
            self.run(&Call::new(&format!(
                "lifeboat-sign attest {reference} --type cyclonedx --predicate sbom.json --key release.key"
            )))
        })?;
        narrator.step("Verify the image's signature", || {
            self.run(&Call::new(&format!("lifeboat-verify image {reference} --key release.pub")))
        })?;
        narrator.step("Verify the signed SBOM, and get it back byte for byte", || {
            self.run(&Call::new(&format!(
                "lifeboat-verify attestation {reference} --type cyclonedx --key release.pub --output verified.json"
            )))?;
            self.run(&Call::new("cmp sbom.json verified.json"))
        })
    }

    fn see_it_refused(&self, reference: &str) -> Result<(), Problem> {
        self.narrator.step("Verify again: the tampered image is refused", || {
            let call = Call::new(&format!("lifeboat-verify image {reference} --key release.pub"));
            self.run(&call.expecting(1, "this is not the image that was signed"))
        })
    }

    fn run(&self, call: &Call) -> Result<(), Problem> {
        self.narrator.run(self.work, call).map(drop)
    }
}

/// The drill's plan: the restored copy must hold the first snapshot's number of orders.
fn plan() -> String {
    format!(
        "\
version = 1
targets = {{ rto = \"2m\", rpo = \"1h\" }}

[[check]]
name = \"every order is back\"
kind = \"sql\"
service = \"db\"
engine = \"postgres\"
user = \"postgres\"
database = \"postgres\"
query = \"select count(*) from orders\"
expect = {ORDERS}

[[check]]
name = \"the client finds its database\"
kind = \"exec\"
service = \"client\"
command = [\"psql\", \"-Atc\", \"select max(number) from orders\"]
equals = \"{ORDERS}\"

[[check]]
name = \"the database takes connections\"
kind = \"tcp\"
service = \"db\"
port = 5432
"
    )
}

/// The first member of that name in a JSON document, if it is a string without escapes.
fn text_member(document: &str, name: &str) -> Option<String> {
    let (_, rest) = document.split_once(&format!("\"{name}\""))?;
    let value = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    value.split_once('"').map(|(text, _)| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_found() {
        let document = r#"{"schema": "x/v1", "snapshots": [{ "id" : "ab12", "host": "h"}]}"#;
        assert_eq!(text_member(document, "id").as_deref(), Some("ab12"));
        assert_eq!(text_member(document, "snapshots"), None);
        assert_eq!(text_member(document, "sequence"), None);
    }
}
