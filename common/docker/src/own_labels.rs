//! Decides which labels of a container count: those that somebody gave to it. An engine also gives a container the
//! labels of its image, whose author can write any label.

use std::collections::BTreeMap;

/// The labels that Compose writes only on containers. `docker compose build` also writes project and service on images,
/// so only these show that a container is Compose's.
const OF_COMPOSE: [&str; 3] =
    ["com.docker.compose.config-hash", "com.docker.compose.container-number", "com.docker.compose.oneoff"];

/// The prefix of all Compose labels.
const COMPOSE: &str = "com.docker.compose.";

/// The prefixes of labels that affect how a container is treated.
const READ: [&str; 2] = ["com.docker.", "io.kubernetes."];

/// The labels of a container, or of its image.
pub(crate) type Labels = BTreeMap<String, String>;

/// Whether any of these labels affects how their container is treated.
pub(crate) fn any_is_read(labels: &Labels) -> bool {
    labels.keys().any(|name| READ.iter().any(|read| name.starts_with(read)))
}

/// Those of a container's labels that do not come from its image. If Compose created the container, all of Compose's
/// count. Without the image, which may have been removed, all do.
pub(crate) fn own(container: Labels, image: Option<&Labels>) -> Labels {
    let Some(image) = image else { return container };
    let is_own = |name: &str, value: &str| image.get(name).is_none_or(|brought| brought != value);
    let is_composed =
        OF_COMPOSE.iter().any(|name| container.get(*name).is_some_and(|value| is_own(name, value)));
    let counts = |name: &str, value: &str| is_own(name, value) || (is_composed && name.starts_with(COMPOSE));
    container.into_iter().filter(|(name, value)| counts(name, value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_an_image_brings_counts_for_nothing_unless_compose_says_it_as_well() {
        let project = ("com.docker.compose.project", "shop");
        let service = ("com.docker.compose.service", "db");
        let hash = ("com.docker.compose.config-hash", "abc");
        let pod = ("io.kubernetes.pod.uid", "x");
        for (what, container, image, expected) in [
            ("by hand", vec![project, service], vec![], vec![project, service]),
            ("a hostile image", vec![project, service, hash, pod], vec![project, service, hash, pod], vec![]),
            (
                "built by Compose, and run by it",
                vec![project, service, hash],
                vec![project, service],
                vec![project, service, hash],
            ),
            ("built by Compose, and run by hand", vec![project, service], vec![project, service], vec![]),
            (
                "another hash than the image's",
                vec![project, service, ("com.docker.compose.config-hash", "def"), pod],
                vec![project, service, hash, pod],
                vec![project, service, ("com.docker.compose.config-hash", "def")],
            ),
        ] {
            assert_eq!(own(labels(&container), Some(&labels(&image))), labels(&expected), "{what}");
        }
        assert_eq!(own(labels(&[project]), None), labels(&[project]), "its image is gone");
        assert!(any_is_read(&labels(&[pod])) && !any_is_read(&labels(&[("maintainer", "x")])));
    }
}
