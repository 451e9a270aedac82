//! The story's image in the registry on loopback.

use super::call::Call;
use super::narrator::Narrator;
use super::work::{LABEL, Work};
use crate::problem::Problem;
use crate::setup::{BUSYBOX, REGISTRY};

/// The repository of every demo's image; the tag is the demo's own.
pub(super) const REPOSITORY: &str = "lifeboat-demo/shop";

/// The image's greeting, and the tampered one.
pub(super) const GREETING: &str = "Welcome to the shop!";
pub(super) const FORGED: &str = "Card number, please?";

pub(super) struct Image<'a> {
    narrator: &'a Narrator<'a>,
    work: &'a Work,
}

impl<'a> Image<'a> {
    pub(super) fn new(narrator: &'a Narrator<'a>, work: &'a Work) -> Self {
        Self { narrator, work }
    }

    pub(super) fn reference(&self) -> String {
        format!("{REGISTRY}/{REPOSITORY}:{}", self.work.id())
    }

    pub(super) fn build(&self) -> Result<(), Problem> {
        let base = format!("{}-base", self.work.name());
        let label = format!("--label {LABEL}={}", self.work.id());
        write_greeting(self.work, GREETING)?;
        self.run(&Call::new(&format!("docker create --name {base} {label} {BUSYBOX}")))?;
        self.run(&Call::new(&format!("docker cp --quiet {base}:/bin/busybox image/bin/busybox")))?;
        self.run(&Call::new("ln -s busybox image/bin/sh"))?;
        self.run(&Call::new(&format!("docker rm {base}")))?;
        self.import_and_push()?;
        self.run(&Call::new(&format!("docker run --rm --network none {label} {}", self.reference())))
    }

    pub(super) fn tamper(&self) -> Result<(), Problem> {
        write_greeting(self.work, FORGED)?;
        self.run(&Call::new("cat image/bin/greet"))?;
        self.import_and_push()
    }

    fn import_and_push(&self) -> Result<(), Problem> {
        let reference = self.reference();
        let change = format!("LABEL {LABEL}={}", self.work.id());
        self.run(&Call::script(&format!(
            "tar -C image -c . | docker import --change 'CMD [\"/bin/greet\"]' \\\n--change '{change}' - \\\n{reference}"
        )))?;
        self.run(&Call::new(&format!("docker push --quiet {reference}")))
    }

    fn run(&self, call: &Call) -> Result<(), Problem> {
        self.narrator.run(self.work, call).map(drop)
    }
}

/// Writes the one program of our own in the image.
pub(super) fn write_greeting(work: &Work, greeting: &str) -> Result<(), Problem> {
    work.make_dir("image/bin")?;
    work.write_program("image/bin/greet", &format!("#!/bin/sh\necho '{greeting}'\n"))
}
