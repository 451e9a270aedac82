//! The drill report as one page: verdict and figures first, then what was tested and what was not, then the evidence.
//!
//! Every text goes through the template's escaping; nothing in the page runs or loads anything.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{DrillReport, DrilledCheck, DrilledService, Objective, Verdict, words};

/// The shown length of an identifier; the title and the JSON form have all of it.
const SHORT_ID: usize = 19;

pub(super) fn page(report: &DrillReport) -> String {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Even if some text escaped the template, nothing may be loaded or run.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="referrer" content="no-referrer";
                title {
                    "Restore drill"
                    @if let Some(subject) = report.subject() { " of " (subject) }
                    ": " (report.headline()) " (" (short(&report.snapshot)) ")"
                }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                main {
                    (head(report))
                    (figures(report))
                    div.pair { (tested(report)) (not_tested(report)) }
                    (time(report))
                    (checks(report))
                    (services(report))
                    (volumes(report))
                    (images(report))
                    (isolation(report))
                    (provenance(report))
                    footer { "Written by Lifeboat " (report.versions.lifeboat) " · schema lifeboat.drill/v1" }
                }
            }
        }
    }
    .into_string()
}

fn tone(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Verified => "good",
        Verdict::Failed => "bad",
        Verdict::CouldNotVerify => "open",
    }
}

fn head(report: &DrillReport) -> Markup {
    html! {
        header class={ "verdict " (tone(report.verdict)) } {
            p.kicker { "Restore drill · " (words::moment(report.started_at)) }
            @if let Some(subject) = report.subject() { p.subject { (subject) } }
            h1 { (sign(report.verdict)) (report.headline()) }
            p.reason { (report.reason) }
            p.origin {
                "Snapshot " strong.id title=(report.snapshot) { (short(&report.snapshot)) }
                @if let Some(host) = &report.host { " of " strong { (host) } }
                ", taken " strong { (words::moment(report.taken_at)) }
                ", containers " (words::consistency(&report.consistency)) "."
            }
        }
    }
}

fn sign(verdict: Verdict) -> Markup {
    let path = match verdict {
        Verdict::Verified => "M7 12.5l3.4 3.4L17.2 9",
        Verdict::Failed => "M8 8l8 8M16 8l-8 8",
        Verdict::CouldNotVerify => "M12 7v6.2M12 16.6v.2",
    };
    html! {
        svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="2.2" stroke-linecap="round"
            stroke-linejoin="round" aria-hidden="true" {
            circle cx="12" cy="12" r="10.4" {}
            path d=(path) {}
        }
    }
}

fn figures(report: &DrillReport) -> Markup {
    let passed = report.checks.iter().filter(|check| check.passed).count();
    let bytes: u64 = report.volumes.iter().map(|v| v.restored_bytes).sum();
    let differences: usize = report.volumes.iter().filter_map(|v| v.differences.as_ref()).map(Vec::len).sum();
    let compared = report.volumes.iter().filter(|v| v.differences.is_some()).count();
    let (data_tone, data_note) = match (compared, differences) {
        (0, _) => ("open", "not compared".to_owned()),
        (n, 0) if n == report.volumes.len() => ("good", "same as the snapshot".to_owned()),
        (_, 0) => ("open", "compared in part".to_owned()),
        (_, n) => ("bad", format!("{} found", words::count(n as u64, "difference"))),
    };
    let (check_tone, check_note) = match (report.checks.len(), passed) {
        (0, _) => ("open", "none in the plan"),
        (all, n) if n == all && report.checks.iter().any(|check| check.proves_data) => ("good", "passed"),
        (all, n) if n == all => ("open", "passed, none about data"),
        _ => ("bad", "passed"),
    };
    html! {
        div.figures {
            (objective("Recovery time (RTO)", &report.rto))
            (objective("Recovery point (RPO)", &report.rpo))
            (figure(data_tone, "Restored data", &words::bytes(bytes), &data_note))
            (figure(check_tone, "Checks", &format!("{passed} of {}", report.checks.len()), check_note))
        }
    }
}

fn objective(name: &str, objective: &Objective) -> Markup {
    let value = objective.measured_seconds.map_or_else(|| "–".to_owned(), words::seconds);
    let (tone, note) = match (objective.target_seconds, objective.met) {
        (Some(target), Some(true)) => ("good", format!("target {} met", words::seconds(target))),
        (Some(target), Some(false)) => ("bad", format!("target {} missed", words::seconds(target))),
        (Some(target), None) => ("open", format!("not measured, target {}", words::seconds(target))),
        (None, _) => ("", "no target set".to_owned()),
    };
    figure(tone, name, &value, &note)
}

fn figure(tone: &str, name: &str, value: &str, note: &str) -> Markup {
    html! {
        div class={ "figure " (tone) } {
            p.name { (name) }
            p.value { (value) }
            p.note { (note) }
        }
    }
}

fn tested(report: &DrillReport) -> Markup {
    let lines = report.tested();
    html! {
        section {
            h2 { "What the drill showed" }
            @if lines.is_empty() {
                p.small { "Nothing: the drill did not come that far." }
            } @else {
                ul.marks.yes { @for line in &lines { li { (line) } } }
            }
            @let wrong = wrong(report);
            @if !wrong.is_empty() {
                ul.marks.cross { @for line in &wrong { li { (line) } } }
            }
        }
    }
}

/// The problems that the drill found, in short lines.
fn wrong(report: &DrillReport) -> Vec<String> {
    let volumes = report.volumes.iter().filter_map(|volume| {
        let first = volume.differences.as_ref()?.first()?;
        Some(format!("{} differs from the snapshot: {}", volume.name, first.sentence()))
    });
    let services = report
        .services
        .iter()
        .filter_map(|service| Some(format!("{} was not up: {}", service.name, service.problem.as_ref()?)));
    let checks =
        report.checks.iter().filter(|check| !check.passed).map(|check| {
            format!("{}: {}", check.name, check.problem.as_deref().unwrap_or("not as expected"))
        });
    let left = report.leftovers.iter().map(|left| format!("Left behind: {left}"));
    volumes.chain(services).chain(checks).chain(left).collect()
}

fn not_tested(report: &DrillReport) -> Markup {
    html! {
        section {
            h2 { "What was not tested" }
            @if report.not_tested.is_empty() && report.limits.is_empty() {
                p.small { "The plan names nothing that was left out." }
            }
            ul.marks.no {
                @for line in &report.not_tested { li { (line) } }
                @for line in &report.limits { li { (line) } }
            }
        }
    }
}

fn time(report: &DrillReport) -> Markup {
    let total: f64 = report.phases.iter().map(|phase| phase.elapsed_seconds).sum();
    if report.phases.is_empty() || total <= 0.0 {
        return html! {};
    }
    let mut shade = 0;
    let shades: Vec<String> = report
        .phases
        .iter()
        .map(|phase| {
            if phase.counts {
                shade += 1;
                format!("k{}", (shade - 1) % 4)
            } else {
                "off".to_owned()
            }
        })
        .collect();
    html! {
        section {
            h2 { "Where the time went" span.aside { (words::seconds(total)) " in all" } }
            div.bar role="img" aria-label="shares of the phases" {
                @for (phase, shade) in report.phases.iter().zip(&shades) {
                    span class=(shade) style={ "flex-grow:" (format!("{:.3}", phase.elapsed_seconds.max(total / 1000.0))) } title=(phase.name) {}
                }
            }
            ul.key {
                @for (phase, shade) in report.phases.iter().zip(&shades) {
                    li { i class=(shade) {} (phase.name) b { (words::seconds(phase.elapsed_seconds)) } }
                }
            }
            p.small { "Coloured phases make up the recovery time. Grey ones belong to the drill and not to a recovery." }
        }
    }
}

fn badge(tone: &str, text: &str) -> Markup {
    html! { span class={ "badge " (tone) } { (text) } }
}

fn checks(report: &DrillReport) -> Markup {
    if report.checks.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "Checks" span.aside { "asked of the running copy" } }
            table {
                thead { tr { th { "Result" } th { "Check" } th { "Expected" } th.right { "Time" } } }
                tbody { @for check in &report.checks { (check_row(check)) } }
            }
        }
    }
}

fn check_row(check: &DrilledCheck) -> Markup {
    let (tone, word) = if check.passed { ("good", "passed") } else { ("bad", "failed") };
    html! {
        tr {
            td { (badge(tone, word)) }
            td {
                strong { (check.name) }
                span.under { (check.kind) " on " (check.service) @if check.proves_data { " · about the data" } }
                code { (check.action) }
                @if let Some(problem) = &check.problem { span.under { (problem) } }
            }
            td data-label="Expected" {
                (check.expected)
                @if let Some(output) = check.output.as_ref().filter(|output| !output.trim().is_empty()) {
                    span.under { "answer: " code { (output.trim()) } }
                }
                @if let Some(hash) = &check.output_sha256 {
                    span.under { "sha256 " span.id title=(hash) { (short(hash)) } }
                }
            }
            td.right data-label="Time" {
                (words::seconds(check.elapsed_seconds))
                @if check.attempts > 1 { span.under { (check.attempts) " attempts" } }
            }
        }
    }
}

fn services(report: &DrillReport) -> Markup {
    if report.services.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "Services" span.aside { "in the order of their start" } }
            table {
                thead { tr { th { "State" } th { "Service" } th { "Image" } th.right { "Up after" } } }
                tbody { @for service in &report.services { (service_row(service)) } }
            }
        }
    }
}

fn service_row(service: &DrilledService) -> Markup {
    let tone = match (&service.problem, service.state.as_str()) {
        (Some(_), _) => "bad",
        (None, "healthy" | "completed") => "good",
        (None, _) => "open",
    };
    html! {
        tr {
            td { (badge(tone, &service.state)) }
            td {
                strong { (service.name) }
                @if service.problem.is_none() && service.state == "running" {
                    span.under { "it has no health check" }
                }
                @if let Some(problem) = &service.problem { span.under { (problem) } }
                @if let Some(log) = service.log.as_ref().filter(|log| !log.trim().is_empty()) { pre { (log.trim_end()) } }
            }
            td data-label="Image" { code { (service.image) } }
            td.right data-label="Up after" { (words::seconds(service.elapsed_seconds)) }
        }
    }
}

fn volumes(report: &DrillReport) -> Markup {
    if report.volumes.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "Restored data" span.aside { "compared with the snapshot before anything was started" } }
            table {
                thead { tr { th { "Comparison" } th { "Volume" } th.right { "Files" } th.right { "Size" } } }
                tbody {
                    @for volume in &report.volumes {
                        tr {
                            td {
                                @match volume.differences.as_deref() {
                                    None => (badge("open", "not compared")),
                                    Some([]) => (badge("good", "no difference")),
                                    Some(found) => (badge("bad", &words::count(found.len() as u64, "difference"))),
                                }
                            }
                            td {
                                strong { (volume.name) }
                                @if let Some(found) = volume.differences.as_ref().filter(|found| !found.is_empty()) {
                                    pre { @for line in found.iter().take(50) { (line.sentence()) "\n" } }
                                }
                            }
                            td.right data-label="Files" { (words::grouped(volume.restored_files)) }
                            td.right data-label="Size" { (words::bytes(volume.restored_bytes)) }
                        }
                    }
                }
            }
        }
    }
}

fn images(report: &DrillReport) -> Markup {
    if report.images.is_empty() {
        return html! {};
    }
    html! {
        section {
            h2 { "Images" span.aside { "started by id, never by tag" } }
            table.images {
                thead { tr { th { "Image" } th { "Identity" } th.right { "Signature" } } }
                tbody {
                    @for image in &report.images {
                        tr {
                            td { strong { (image.reference) } }
                            td {
                                span.id title=(image.id) { "id " (short(&image.id)) }
                                @match &image.digest {
                                    Some(digest) => span.under.id { (digest) },
                                    None => span.under { "no registry digest" },
                                }
                            }
                            td.right data-label="Signature" { (image.signature) }
                        }
                    }
                }
            }
        }
    }
}

fn isolation(report: &DrillReport) -> Markup {
    let Some(isolation) = &report.isolation else { return html! {} };
    html! {
        section {
            h2 {
                "Isolation "
                @if isolation.proven { (badge("good", "proven")) } @else { (badge("bad", "not proven")) }
            }
            @if isolation.proven {
                p { "Listeners were opened on the host and tried from inside the scratch network, by connections, datagrams, \
                     broadcasts, ARP and IPv6, with the rights of root. They heard the host, and nobody inside. No gateway \
                     answered, and both walls stood: the bridge's settings and the packet filter." }
                p.small { "Shown " (isolation.shown.join(", ")) "." }
                p.small { "Tried from inside: "
                    @for (place, address) in isolation.unreachable_addresses.iter().enumerate() {
                        @if place > 0 { ", " }
                        span.id { (address) }
                    }
                }
            } @else {
                p { (isolation.problem.as_deref().unwrap_or("It was not tried.")) }
                @if !report.booted { p.small { "No container of the application was started." } }
            }
        }
    }
}

fn provenance(report: &DrillReport) -> Markup {
    html! {
        section {
            h2 { "This drill" }
            dl {
                dt { "Rehearsal" } dd.id { (report.rehearsal) }
                @if let Some(application) = &report.application { dt { "Application" } dd { (application) } }
                @if let Some(host) = &report.host { dt { "Host" } dd { (host) } }
                dt { "Snapshot" } dd.id { (report.snapshot) }
                dt { "Began" } dd { (words::moment(report.started_at)) }
                dt { "Ended" } dd { (words::moment(report.finished_at)) }
                dt { "Plan" }
                dd { @match &report.plan_sha256 {
                    Some(hash) => { "sha256 " span.id { (hash) } },
                    None => "none given: boot and health only",
                } }
                dt { "Programs" }
                dd {
                    "Lifeboat " (report.versions.lifeboat)
                    @if let Some(engine) = &report.versions.engine { " · Docker Engine " (engine) }
                    @if let Some(kernel) = &report.versions.kernel { " · Linux " (kernel) }
                }
                dt { "Left behind" }
                dd {
                    @if report.leftovers.is_empty() { "nothing" }
                    @for left in &report.leftovers { div { (left) } }
                }
            }
        }
    }
}

fn short(id: &str) -> String {
    if id.chars().count() <= SHORT_ID {
        id.to_owned()
    } else {
        format!("{}…", id.chars().take(SHORT_ID).collect::<String>())
    }
}
