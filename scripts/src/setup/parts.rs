//! All parts: what each one needs, what it provides for the tests, and what is not tested without it.

use super::part::{Lane, Part};
use super::state::State;
use super::{docker, images, minio, python, registry, stores, tools};

pub(super) fn find(name: &str) -> Option<&'static Part> {
    ALL.iter().find(|part| part.name == name)
}

fn text(name: &'static str, value: &str) -> (&'static str, String) {
    (name, value.to_owned())
}

fn program(state: &State, name: &'static str, program: &str) -> (&'static str, String) {
    (name, state.program(program).to_string_lossy().into_owned())
}

/// In the order of setup within each lane: a part comes after those of its lane that it needs.
pub(super) const ALL: &[Part] = &[
    Part {
        name: "file-tools",
        title: "rsync, attr, acl, curl and strace",
        without: "restored trees are not compared by another program",
        lane: Lane::System,
        needs: &[],
        ensure: tools::ensure_file_tools,
        variables: |_| vec![],
    },
    Part {
        name: "python-reader",
        title: "Python with the packages of the independent reader and oracle",
        without: "repositories are not read by a program of other code",
        lane: Lane::System,
        needs: &[],
        ensure: python::ensure,
        variables: |state| {
            vec![("LIFEBOAT_TEST_PYTHON", python::interpreter(state).to_string_lossy().into_owned())]
        },
    },
    Part {
        name: "docker",
        title: "Docker Engine",
        without: "volumes, containers and rehearsals that boot are not tested",
        lane: Lane::System,
        needs: &[],
        ensure: docker::ensure,
        variables: |_| {
            let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| format!("unix://{}", docker::SOCKET));
            vec![("LIFEBOAT_TEST_DOCKER", host)]
        },
    },
    Part {
        name: "registry",
        title: "OCI registry without the referrers API",
        without: "signatures under fallback tags in a real registry are not tested",
        lane: Lane::System,
        needs: &[],
        ensure: registry::ensure_plain,
        variables: |_| vec![text("LIFEBOAT_TEST_REGISTRY", registry::PLAIN)],
    },
    Part {
        name: "busybox-image",
        title: "a tiny image for containers of tests",
        without: "captures and restores through containers are not tested",
        lane: Lane::System,
        needs: &["file-tools", "docker", "registry"],
        ensure: images::ensure_busybox,
        variables: |_| vec![text("LIFEBOAT_TEST_BUSYBOX_IMAGE", images::BUSYBOX)],
    },
    Part {
        name: "postgres-image",
        title: "PostgreSQL 15 image",
        without: "backup and rehearsal of a real database are not tested",
        lane: Lane::System,
        needs: &["file-tools", "docker", "registry"],
        ensure: images::ensure_postgres,
        variables: |_| vec![text("LIFEBOAT_TEST_POSTGRES_IMAGE", images::POSTGRES)],
    },
    Part {
        name: "referrers-registry",
        title: "OCI registry with the referrers API",
        without: "signatures as referrers in a real registry are not tested",
        lane: Lane::Go,
        needs: &[],
        ensure: registry::ensure_with_referrers,
        variables: |_| vec![text("LIFEBOAT_TEST_REFERRERS_REGISTRY", registry::REFERRERS)],
    },
    Part {
        name: "age",
        title: "age, the reference program, and two of its plugins",
        without: "key files are not opened by another program",
        lane: Lane::Go,
        needs: &[],
        ensure: tools::ensure_age,
        variables: |state| {
            vec![
                program(state, "LIFEBOAT_TEST_AGE", "age"),
                program(state, "LIFEBOAT_TEST_AGE_KEYGEN", "age-keygen"),
                program(state, "LIFEBOAT_TEST_AGE_PLUGIN_PQ", "age-plugin-pq"),
                program(state, "LIFEBOAT_TEST_AGE_PLUGIN_BATCHPASS", "age-plugin-batchpass"),
            ]
        },
    },
    Part {
        name: "minio",
        title: "MinIO, an S3 server",
        without: "repositories on a real S3 server are not tested",
        lane: Lane::Go,
        needs: &["file-tools"],
        ensure: minio::ensure,
        variables: |_| {
            vec![
                ("LIFEBOAT_TEST_S3_ENDPOINT", format!("http://{}", minio::ADDRESS)),
                text("LIFEBOAT_TEST_S3_BUCKET", minio::BUCKET),
                text("LIFEBOAT_TEST_S3_REGION", minio::REGION),
                text("LIFEBOAT_TEST_S3_ACCESS_KEY_ID", minio::ACCESS_KEY),
                text("LIFEBOAT_TEST_S3_SECRET_ACCESS_KEY", minio::SECRET_KEY),
            ]
        },
    },
    Part {
        name: "versitygw",
        title: "versitygw, a second S3 server",
        without: "stores are not tested on a second S3 server",
        lane: Lane::Go,
        needs: &["file-tools"],
        ensure: stores::ensure_versitygw,
        variables: |_| {
            vec![
                ("LIFEBOAT_TEST_S3_2_ENDPOINT", format!("http://{}", stores::VERSITYGW)),
                text("LIFEBOAT_TEST_S3_2_BUCKET", stores::BUCKET),
                text("LIFEBOAT_TEST_S3_2_REGION", minio::REGION),
                text("LIFEBOAT_TEST_S3_2_ACCESS_KEY_ID", stores::VERSITYGW_KEY),
                text("LIFEBOAT_TEST_S3_2_SECRET_ACCESS_KEY", stores::VERSITYGW_SECRET),
            ]
        },
    },
    Part {
        name: "gcs-server",
        title: "a server that speaks Google Cloud Storage's protocol",
        without: "stores are not tested on Google's protocol",
        lane: Lane::Go,
        needs: &[],
        ensure: stores::ensure_gcs,
        variables: |_| {
            vec![
                ("LIFEBOAT_TEST_GCS_ENDPOINT", format!("http://{}", stores::GCS)),
                text("LIFEBOAT_TEST_GCS_BUCKET", stores::BUCKET),
            ]
        },
    },
    Part {
        name: "azurite",
        title: "Azurite, which speaks Azure Blob Storage's protocol",
        without: "stores are not tested on Azure's protocol",
        lane: Lane::System,
        needs: &[],
        ensure: stores::ensure_azurite,
        variables: |_| {
            vec![
                ("LIFEBOAT_TEST_AZURE_ENDPOINT", stores::azurite_endpoint()),
                text("LIFEBOAT_TEST_AZURE_CONTAINER", stores::BUCKET),
                text("LIFEBOAT_TEST_AZURE_ACCOUNT", stores::AZURITE_ACCOUNT),
                text("LIFEBOAT_TEST_AZURE_KEY", stores::AZURITE_KEY),
            ]
        },
    },
    Part {
        name: "cosign",
        title: "cosign 3",
        without: "signatures are not exchanged with cosign 3",
        lane: Lane::Go,
        needs: &[],
        ensure: tools::ensure_cosign,
        variables: |state| vec![program(state, "LIFEBOAT_TEST_COSIGN", "cosign")],
    },
    Part {
        name: "cosign2",
        title: "cosign 2, for its older signature tags",
        without: "signatures are not exchanged with cosign 2",
        lane: Lane::Go,
        needs: &[],
        ensure: tools::ensure_cosign_2,
        variables: |state| vec![program(state, "LIFEBOAT_TEST_COSIGN2", "cosign2")],
    },
    Part {
        name: "fulcio",
        title: "Fulcio, a certificate authority",
        without: "signatures by an identity are not made and verified on this machine",
        lane: Lane::Go,
        needs: &[],
        ensure: tools::ensure_fulcio,
        variables: |state| vec![program(state, "LIFEBOAT_TEST_FULCIO", "fulcio")],
    },
    Part {
        name: "rekor",
        title: "Rekor 2, a transparency log",
        without: "log entries of this machine are not verified",
        lane: Lane::Go,
        needs: &[],
        ensure: tools::ensure_rekor,
        variables: |state| vec![program(state, "LIFEBOAT_TEST_REKOR", "rekor-server")],
    },
    Part {
        name: "timestamp-server",
        title: "a timestamp authority",
        without: "timestamps of this machine are not verified",
        lane: Lane::Go,
        needs: &[],
        ensure: tools::ensure_timestamp_server,
        variables: |state| vec![program(state, "LIFEBOAT_TEST_TIMESTAMP_SERVER", "timestamp-server")],
    },
    Part {
        name: "syft",
        title: "Syft, which makes SBOMs",
        without: "the release step is not tried",
        lane: Lane::Go,
        needs: &[],
        ensure: tools::ensure_syft,
        variables: |state| vec![program(state, "LIFEBOAT_TEST_SYFT", "syft")],
    },
    Part {
        name: "crane",
        title: "crane, which reads archives and pulls images",
        without: "what is verified is not compared with what crane takes",
        lane: Lane::Go,
        needs: &[],
        ensure: tools::ensure_crane,
        variables: |state| vec![program(state, "LIFEBOAT_TEST_CRANE", "crane")],
    },
    Part {
        name: "oras",
        title: "oras, which reads layouts and pulls images",
        without: "what is verified is not compared with what oras takes",
        lane: Lane::Go,
        needs: &[],
        ensure: tools::ensure_oras,
        variables: |state| vec![program(state, "LIFEBOAT_TEST_ORAS", "oras")],
    },
    Part {
        name: "containers",
        title: "skopeo and podman, which read archives and layouts",
        without: "what is verified is not compared with what skopeo and podman take",
        lane: Lane::System,
        needs: &[],
        ensure: tools::ensure_containers,
        variables: |_| {
            let path =
                |name: &str| crate::process::which(name).unwrap_or_default().to_string_lossy().into_owned();
            vec![("LIFEBOAT_TEST_SKOPEO", path("skopeo")), ("LIFEBOAT_TEST_PODMAN", path("podman"))]
        },
    },
    Part {
        name: "cargo-deny",
        title: "cargo-deny",
        without: "licences and sources of dependencies are not checked",
        lane: Lane::Cargo,
        needs: &[],
        ensure: tools::ensure_cargo_deny,
        variables: |_| vec![],
    },
    Part {
        name: "cargo-mutants",
        title: "cargo-mutants",
        without: "no test is shown to notice a changed decision",
        lane: Lane::Cargo,
        needs: &[],
        ensure: tools::ensure_cargo_mutants,
        variables: |_| vec![],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_stands_after_those_that_it_needs() {
        for (place, part) in ALL.iter().enumerate() {
            for need in part.needs {
                assert!(ALL[..place].iter().any(|other| other.name == *need), "{} needs {need}", part.name);
            }
        }
    }
}
