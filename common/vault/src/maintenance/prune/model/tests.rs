//! Explores the protocol, and protocols with a planted fault.

use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model as _};

use super::Protocol;
use crate::format::condemnation::LEASE_DAYS;

const RESTORES: &str = "every committed snapshot restores";

/// Explores all states of a protocol, or ends at the first violation of each property; prints how many states it saw.
fn explore(name: &str, protocol: Protocol) -> impl Checker<Protocol> {
    let began = Instant::now();
    let checker = protocol.checker().threads(2).finish_when(HasDiscoveries::AnyFailures).spawn_bfs().join();
    let (states, seconds) = (checker.unique_state_count(), began.elapsed().as_secs_f64());
    eprintln!("{name}: {states} states in {seconds:.1} s");
    checker
}

/// Explores the protocol as it is, with all `faults` where there is time, else with none.
fn hold(name: &str, protocol: Protocol, faults: u8) {
    let faults = if std::env::var_os("LIFEBOAT_LONG").is_some() { faults } else { 0 };
    explore(&format!("{name}, {faults} faults"), Protocol { faults, ..protocol }).assert_properties();
}

#[test]
#[ignore = "an attack: scripts/test runs it"]
fn every_order_of_one_writer_one_keeper_and_one_repairer_loses_nothing() {
    let protocol = Protocol { has_repairer: true, ..Protocol::right(1, 1) };
    hold("one writer, one keeper, one repairer", protocol, 2);
}

#[test]
#[ignore = "an attack: scripts/test runs it"]
fn every_order_of_two_writers_and_two_keepers_loses_nothing() {
    hold("two writers, two keepers", Protocol::right(2, 2), 1);
}

/// Explores a protocol that is wrong, until a snapshot is lost.
fn find(name: &str, wrong: Protocol) {
    let checker = explore(name, wrong);
    let found = checker.discovery(RESTORES);
    let steps = found.unwrap_or_else(|| panic!("{name}: the fault is not found")).into_actions();
    eprintln!("{name}: found after {} steps: {steps:?}", steps.len());
}

#[test]
#[ignore = "an attack: scripts/test runs it"]
fn a_grace_shorter_than_a_lease_is_found() {
    let protocol = Protocol { grace_days: LEASE_DAYS / 2, ..Protocol::right(1, 1) };
    find("grace shorter than lease", protocol);
}

#[test]
#[ignore = "an attack: scripts/test runs it"]
fn a_prune_that_deletes_without_working_it_out_again_is_found() {
    let protocol = Protocol { deletes_without_looking_again: true, ..Protocol::right(1, 1) };
    find("sweep before recompute", protocol);
}

#[test]
#[ignore = "an attack: scripts/test runs it"]
fn a_run_that_commits_without_a_second_look_is_found() {
    let protocol = Protocol { commits_without_looking_again: true, ..Protocol::right(1, 1) };
    find("commit without second look", protocol);
}

/// The protocol trusts the storage's clock not to fall back after a prune went by it: this shows why.
#[test]
#[ignore = "an attack: scripts/test runs it"]
fn a_clock_that_leaps_forward_and_falls_back_is_found() {
    let protocol = Protocol { clock_falls_back: Some(7), faults: 1, ..Protocol::right(1, 1) };
    find("a clock that falls back", protocol);
}
