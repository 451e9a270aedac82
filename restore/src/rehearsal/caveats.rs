//! Caveats in a report: what this drill did not test, and what no drill can show.

use lifeboat_docker::Engine;
use lifeboat_docker::definitions::Definitions;
use lifeboat_docker::scratch::sanitise::TAKEN;
use lifeboat_report::drill::DrillReport;

use super::boot::Containers;
use super::plan::Plan;

/// Records what a drill of these containers on this engine leaves untested, and what no drill can show.
pub(super) fn note(
    report: &mut DrillReport,
    plan: &Plan,
    containers: &Containers,
    definitions: &Definitions,
    engine: &Engine,
) {
    let not_tested = &mut report.not_tested;
    not_tested.extend(containers.left_out.iter().cloned());
    let networks = containers.networks();
    if networks.len() > 1 {
        let names: Vec<&str> = networks.into_iter().collect();
        not_tested.push(format!(
            "the separation of the networks {}: one scratch network stood for all",
            names.join(", ")
        ));
    }
    for (service, env) in &plan.env {
        let names: Vec<&str> = env.keys().map(String::as_str).collect();
        not_tested.push(format!("{service} ran with a changed {}", names.join(", ")));
    }
    let limits = &mut report.limits;
    if engine.facts().id == definitions.engine.id {
        let same_host = "The drill ran on the host of the application: it does not show that a separate system could \
                         recover it.";
        limits.push(same_host.to_owned());
    }
    limits.push(
        "Nothing outside the sandbox could be reached: connections to other systems were not tested."
            .to_owned(),
    );
    limits.push(format!(
        "Services ran without set-user-id programs that win rights, and without the capabilities {}.",
        TAKEN.join(", ")
    ));
    let who_answered = "The snapshot's writer also wrote the programs that answered the checks: an answer shows \
                        that the data is what that host had, and not that the host was honest.";
    limits.push(who_answered.to_owned());
    let means = engine.means();
    if plan.runtime.is_none() {
        if !means.maps_users {
            let one_root = "The engine maps no users: root in a scratch container is root for the kernel, behind the \
                            walls alone.";
            limits.push(one_root.to_owned());
        }
        for hole in means.known_holes() {
            let runc = means.runc.as_deref().unwrap_or_default();
            limits.push(format!(
                "runc {runc} is of a release that lets a container out {hole}, unless the distribution has patched it."
            ));
        }
    }
    for service in &plan.may_win_rights {
        limits.push(format!("The plan let the programs of {service} win rights."));
    }
}
