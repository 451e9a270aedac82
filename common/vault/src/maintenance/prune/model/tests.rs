//! Explores the protocol, and protocols with a planted fault.

use std::time::Instant;

use stateright::{Checker, Expectation, HasDiscoveries, Model as _};

use super::names::Age;
use super::{Flaw, Protocol};
use crate::format::condemnation::LEASE_DAYS;

const RESTORES: &str = "every committed snapshot restores";

/// How many states are explored where there is little time.
const SAMPLE: usize = 100_000;

/// Explores the states of a protocol, from the nearest ones on, until all or `most` of them were seen, or one violates
/// a property; prints how many states it saw.
fn explore(name: &str, protocol: Protocol, most: Option<usize>) -> impl Checker<Protocol> + use<> {
    let mut builder = protocol.checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
    if let Some(most) = most {
        builder = builder.target_state_count(most);
    }
    counted(name, builder.spawn_bfs())
}

/// Waits for an exploration, and prints what it came to.
fn counted<C: Checker<Protocol>>(name: &str, exploration: C) -> C {
    let began = Instant::now();
    let checker = exploration.join();
    let (states, seconds) = (checker.unique_state_count(), began.elapsed().as_secs_f64());
    eprintln!("{name}: {states} states, {} steps deep, in {seconds:.1} s", checker.max_depth());
    checker
}

/// One writer and one keeper, alone, and with a repairer and two faults; two writers and two keepers with one fault.
const RIGHT: [Protocol; 3] = [
    Protocol::right(1, 1),
    Protocol { has_repairer: true, faults: 2, ..Protocol::right(1, 1) },
    Protocol { faults: 1, ..Protocol::right(2, 2) },
];

#[test]
#[ignore = "an attack: scripts/test runs it"]
fn the_first_steps_in_every_order_lose_nothing() {
    for protocol in RIGHT {
        let checker = explore(&format!("{protocol:?}, a sample"), protocol, Some(SAMPLE));
        let properties = protocol.properties();
        for property in properties.iter().filter(|property| property.expectation == Expectation::Always) {
            checker.assert_no_discovery(property.name);
        }
    }
}

/// Explores a protocol that is wrong, until a snapshot is lost.
fn find(name: &str, wrong: Protocol) {
    let checker = explore(name, wrong, None);
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
    let protocol = Protocol { flaw: Some(Flaw::DeletesWithoutLookingAgain), ..Protocol::right(1, 1) };
    find("sweep before recompute", protocol);
}

#[test]
#[ignore = "an attack: scripts/test runs it"]
fn a_run_that_commits_without_a_second_look_is_found() {
    let protocol = Protocol { flaw: Some(Flaw::CommitsWithoutLookingAgain), ..Protocol::right(1, 1) };
    find("commit without second look", protocol);
}

#[test]
#[ignore = "an attack: scripts/test runs it"]
fn a_prune_that_lets_off_what_another_may_be_deleting_is_found() {
    let protocol = Protocol { flaw: Some(Flaw::LiftsWhatIsNeeded), passes: &[4], ..Protocol::right(1, 2) };
    find("lift of what is needed", protocol);
}

/// What takes minutes, and gigabytes.
mod long {
    use std::time::Duration;

    use stateright::UniformChooser;

    use super::*;

    /// One pass of four days fits in a lease or a grace, and two do not.
    const COARSE: &[Age] = &[4];

    /// What has few enough states: some tens of millions.
    const FEW: [Protocol; 3] = [
        Protocol::right(1, 1),
        Protocol { has_repairer: true, faults: 2, ..Protocol::right(1, 1) },
        Protocol::right(1, 2),
    ];

    #[test]
    #[ignore = "takes long: scripts/test --long runs it"]
    fn all_steps_in_every_order_lose_nothing() {
        for protocol in FEW {
            let protocol = Protocol { passes: COARSE, ..protocol };
            let builder = protocol.checker().threads(2).finish_when(HasDiscoveries::AnyFailures);
            // Depth first, it remembers hashes of states, and few of the states themselves.
            counted(&format!("{protocol:?}"), builder.spawn_dfs()).assert_properties();
        }
    }

    /// Walks of random steps, to the day, with more of everything than can be explored in every order.
    #[test]
    #[ignore = "takes long: scripts/test --long runs it"]
    fn random_steps_lose_nothing() {
        let many = [
            Protocol { faults: 1, ..Protocol::right(2, 2) },
            Protocol { has_repairer: true, faults: 4, ..Protocol::right(3, 2) },
        ];
        let (seed, time) = (std::process::id().into(), Duration::from_mins(5));
        for protocol in many {
            let builder =
                protocol.checker().threads(2).timeout(time).finish_when(HasDiscoveries::AnyFailures);
            let checker = builder.target_max_depth(200).spawn_simulation(seed, UniformChooser).join();
            eprintln!("{protocol:?}, from seed {seed}: {} steps in {time:?}", checker.state_count());
            for property in protocol.properties() {
                if property.expectation == Expectation::Always {
                    checker.assert_no_discovery(property.name);
                }
            }
        }
    }

    /// The protocol trusts the storage's clock not to fall back after a prune went by it: this shows why.
    #[test]
    #[ignore = "takes long: scripts/test --long runs it"]
    fn a_clock_that_leaps_forward_and_falls_back_is_found() {
        let protocol = Protocol { clock_falls_back: Some(7), faults: 1, ..Protocol::right(1, 1) };
        find("a clock that falls back", protocol);
    }
}
