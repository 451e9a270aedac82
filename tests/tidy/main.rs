//! Tests of the workspace itself: that it is laid out, named and worded as it should be.
//!
//! Every check is a function from the files to the faults that it finds, and has tests of its own that it finds them.
//! The tests here run each check on the real tree.

mod english;
mod layout;
mod links;
mod manifests;
mod rooms;
mod tree;
mod words;

use crate::tree::{Fault, Tree};

fn hold(check: fn(&Tree) -> Vec<Fault>) {
    let faults = check(&Tree::of_workspace());
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert!(faults.is_empty(), "\n{}\n", lines.join("\n"));
}

#[test]
fn crates_depend_only_on_what_the_layout_allows() {
    hold(manifests::stray_dependencies);
}

#[test]
fn the_layout_allows_only_what_crates_depend_on() {
    hold(manifests::needless_arrows);
}

#[test]
fn rooms_use_only_those_below_them() {
    hold(rooms::stray_arrows);
}

#[test]
fn the_methods_of_a_type_stand_in_its_own_room() {
    hold(rooms::scattered_methods);
}

#[test]
fn every_crate_describes_itself_and_keeps_the_lints() {
    hold(manifests::bare_manifests);
}

#[test]
fn every_dependency_is_declared_once_in_the_workspace() {
    hold(manifests::private_dependencies);
}

#[test]
fn the_prose_is_plain() {
    hold(english::stumbling_phrases);
}

#[test]
fn every_main_only_initialises() {
    hold(layout::long_mains);
}

#[test]
fn every_file_keeps_to_one_job() {
    hold(layout::long_files);
}

#[test]
fn no_module_is_a_junk_drawer() {
    hold(layout::junk_drawers);
}

#[test]
fn the_top_level_holds_only_what_it_should() {
    hold(layout::strangers_at_the_top);
}

#[test]
fn whatever_is_to_be_done_has_someone_who_does_it() {
    hold(words::ownerless_notes);
}

#[test]
fn the_text_speaks_of_the_project_alone() {
    hold(words::foreign_words);
}

#[test]
fn links_in_the_documents_lead_somewhere() {
    hold(links::dead_links);
}
