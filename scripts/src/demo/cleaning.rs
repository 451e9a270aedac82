//! Removes everything that a demo created: containers, volumes, networks and images by its label, manifests in the
//! registry, its folder.

use super::call::Call;
use super::image::REPOSITORY;
use super::narrator::Narrator;
use super::work::{LABEL, Leftover};
use crate::problem::Problem;
use crate::process::ask;
use crate::setup::REGISTRY;

/// Removes everything of one demo, and makes sure that it is gone.
pub(super) fn clean(narrator: &Narrator<'_>, demo: &Leftover) -> Result<(), Problem> {
    if demo.had_containers() {
        clean_engine(narrator, demo)?;
    }
    narrator.run_to_the_end(&Call::new(&format!("rm --recursive --force {}", demo.dir.display())))
}

fn clean_engine(narrator: &Narrator<'_>, demo: &Leftover) -> Result<(), Problem> {
    let label = format!("label={LABEL}={}", demo.id);
    let containers = format!("docker ps -aq -f {label}");
    let volumes = format!("docker volume ls -q -f {label}");
    let networks = format!("docker network ls -q -f {label}");
    let images = format!("docker image ls -aq -f {label}");
    let lists = [&containers, &volumes, &networks, &images];
    let found = |list: &str| answer(list).is_some_and(|found| !found.is_empty());

    if answer(&containers).is_none() {
        return Err(Problem::new("the engine does not answer")
            .advise("start it, then run `scripts/demo --clean`: the demo's containers are still there"));
    }
    clean_registry(narrator, &images);
    for (list, remove) in [
        (&containers, "docker rm --force --volumes"),
        (&volumes, "docker volume rm"),
        (&networks, "docker network rm"),
        (&images, "docker image rm --force"),
    ] {
        if found(list) {
            narrator.run_to_the_end(&Call::script(&format!("{remove} \\\n$({list})")))?;
        }
    }
    let left: Vec<&str> = lists.into_iter().filter(|list| found(list)).map(String::as_str).collect();
    if left.is_empty() {
        narrator.say("left behind: no container, no volume, no network, no image");
        return Ok(());
    }
    Err(Problem::new("something is left behind")
        .advise(format!("look at what these list: {}", left.join("; "))))
}

/// Deletes the demo's images and what was signed about them.
fn clean_registry(narrator: &Narrator<'_>, images: &str) {
    let inspect = "docker image inspect --format";
    let mut deleted = 0;
    for image in answer(images).unwrap_or_default().lines() {
        let mut words: Vec<&str> = inspect.split(' ').skip(1).collect();
        words.extend(["{{.RepoDigests}}", image]);
        let names = ask("docker", &words).unwrap_or_default();
        let prefix = format!("{REGISTRY}/{REPOSITORY}@");
        let digests = names.split(['[', ']', ' ']).filter_map(|name| name.strip_prefix(&prefix));
        for digest in digests {
            // Referrers of an image are listed under a tag made from its digest.
            let tag = digest.replace(':', "-");
            let listed = fetch(&tag, &["--request", "GET"]);
            let index = fetch(&tag, &["--head"]);
            for manifest in digests_in(&format!("{listed} {index} {digest}")) {
                let url = manifest_url(&manifest);
                let arguments = ["--silent", "--fail", "--max-time", "10", "--request", "DELETE", &url];
                deleted += u32::from(ask("curl", &arguments).is_some());
            }
        }
    }
    if deleted > 0 {
        narrator.say(&format!("deleted from the registry: {deleted} manifests of ours"));
    }
}

fn fetch(tag: &str, how: &[&str]) -> String {
    let url = manifest_url(tag);
    let mut arguments = vec!["--silent", "--fail", "--max-time", "10"];
    arguments.extend(["--header", "Accept: application/vnd.oci.image.index.v1+json", &url]);
    arguments.extend(how);
    ask("curl", &arguments).unwrap_or_default()
}

fn manifest_url(name: &str) -> String {
    format!("http://{REGISTRY}/v2/{REPOSITORY}/manifests/{name}")
}

/// Every SHA-256 digest in a text, once.
fn digests_in(text: &str) -> Vec<String> {
    let mut digests: Vec<String> = text
        .split("sha256:")
        .skip(1)
        .filter_map(|rest| rest.get(..64))
        .filter(|hash| hash.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .map(|hash| format!("sha256:{hash}"))
        .collect();
    digests.sort();
    digests.dedup();
    digests
}

fn answer(line: &str) -> Option<String> {
    let words: Vec<&str> = line.split(' ').collect();
    ask(words[0], &words[1..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_found_once() {
        let hash = "0f".repeat(32);
        let text = format!("{{\"digest\":\"sha256:{hash}\"}} sha256:{hash} sha256:short");
        assert_eq!(digests_in(&text), [format!("sha256:{hash}")]);
    }
}
