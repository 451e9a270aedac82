//! The story's data without containers: a folder; and the ownership of a folder's files.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;

use super::call::Call;
use super::narrator::Narrator;
use super::shop::ORDERS;
use super::work::Work;
use crate::problem::Problem;

pub(super) struct Folder<'a> {
    narrator: &'a Narrator<'a>,
    work: &'a Work,
}

impl<'a> Folder<'a> {
    pub(super) fn new(narrator: &'a Narrator<'a>, work: &'a Work) -> Self {
        Self { narrator, work }
    }

    pub(super) fn fill(&self) -> Result<(), Problem> {
        self.work.make_dir("shop/invoices")?;
        self.work.write("shop/orders.csv", &orders(1, ORDERS))?;
        for line in [
            "ln shop/orders.csv shop/invoices/orders-by-another-name.csv",
            "ln -s ../orders.csv shop/invoices/all",
            "mkfifo shop/queue && chmod 0620 shop/queue",
            "truncate --size 1G shop/mostly-holes && chmod 0400 shop/mostly-holes",
            "ls -lA shop && wc -l shop/orders.csv",
        ] {
            self.narrator.run(self.work, &Call::script(line))?;
        }
        Ok(())
    }

    pub(super) fn change(&self) -> Result<(), Problem> {
        self.work.write("new.csv", &orders(ORDERS + 1, ORDERS + 20_000))?;
        for line in
            ["sed -i '1~2d' shop/orders.csv", "cat new.csv >> shop/orders.csv", "wc -l shop/orders.csv"]
        {
            self.narrator.run(self.work, &Call::script(line))?;
        }
        Ok(())
    }
}

fn orders(from: u32, to: u32) -> String {
    let mut text = String::new();
    for number in from..=to {
        let cents = u64::from(number) * 7919 % 90_000;
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{number},customer {},{cents}", number % 5000);
    }
    text
}

/// Gives the files in `folder` to the owner of `other`: a user should own what root created for them.
pub(super) fn give_to_owner_of(other: &Path, folder: &Path) -> Result<(), Problem> {
    let give = || -> io::Result<()> {
        let owner = fs::metadata(other)?;
        let give = |path: &Path| chown(path, Some(owner.uid()), Some(owner.gid()));
        if owner.uid() == fs::metadata(folder)?.uid() {
            return Ok(());
        }
        for entry in fs::read_dir(folder)? {
            give(&entry?.path())?;
        }
        give(folder)?;
        folder.parent().map_or(Ok(()), give)
    };
    give().map_err(|error| Problem::io("cannot give to its user", folder, &error))
}
