//! The manifests: which crate may depend on which, and what each one must contain.

use toml::{Table, Value};

use crate::tree::{Fault, Tree};

/// Which of our crates each one may depend on. Dependencies point downwards: the first crate in the list is the
/// highest.
const ALLOWED: &[(&str, &[&str])] = &[
    ("lifeboat-backup", &["core", "docker", "report", "shell", "vault"]),
    ("lifeboat-restore", &["core", "docker", "report", "shell", "vault"]),
    ("lifeboat-sign", &["core", "plugin", "registry", "report", "shell", "trust", "vault"]),
    ("lifeboat-verify", &["core", "registry", "report", "shell", "trust", "vault"]),
    // The shell opens repositories with the keys that the user names, the same way in all four binaries.
    ("lifeboat-shell", &["core", "report", "store", "vault"]),
    ("lifeboat-report", &["core"]),
    ("lifeboat-docker", &["core"]),
    ("lifeboat-vault", &["core", "store", "trust"]),
    ("lifeboat-store", &["core"]),
    ("lifeboat-registry", &["core", "plugin", "strict"]),
    ("lifeboat-trust", &["core", "strict"]),
    ("lifeboat-strict", &["core"]),
    ("lifeboat-plugin", &[]),
    ("lifeboat-core", &[]),
    ("lifeboat-scripts", &[]),
];

/// Crates that may use any other: they are for tests only, and nothing that users run depends on them.
const FOR_TESTS: &[&str] = &["lifeboat-testkit", "lifeboat-tests"];

const KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

struct Manifest<'t> {
    path: &'t str,
    table: Table,
}

impl Manifest<'_> {
    fn name(&self) -> &str {
        self.table
            .get("package")
            .and_then(|package| package.get("name"))
            .and_then(Value::as_str)
            .unwrap_or("")
    }

    /// Every dependency, with its kind; those for one target have the same kinds.
    fn dependencies(&self) -> impl Iterator<Item = (&'static str, &str, &Value)> {
        let targets = self.table.get("target").and_then(Value::as_table);
        let tables = std::iter::once(&self.table)
            .chain(targets.into_iter().flat_map(Table::values).filter_map(Value::as_table));
        tables.flat_map(|table| {
            KINDS.into_iter().flat_map(move |kind| {
                let entries = table.get(kind).and_then(Value::as_table).into_iter().flat_map(Table::iter);
                entries.map(move |(name, value)| (kind, name.as_str(), value))
            })
        })
    }
}

/// Every crate's manifest; invalid TOML is a fault.
fn manifests(tree: &Tree) -> (Vec<Manifest<'_>>, Vec<Fault>) {
    let (mut manifests, mut faults) = (Vec::new(), Vec::new());
    // Fuzz targets are outside of the workspace, and inherit nothing from it.
    let is_ours = |path: &str| path.ends_with("/Cargo.toml") && !path.contains("/fuzz/");
    for (path, text) in tree.files().filter(|(path, _)| is_ours(path)) {
        match text.parse::<Table>() {
            Ok(table) => manifests.push(Manifest { path, table }),
            Err(error) => faults.push(Fault::of_file(path, format!("is not TOML: {error}"))),
        }
    }
    (manifests, faults)
}

pub(crate) fn stray_dependencies(tree: &Tree) -> Vec<Fault> {
    let (manifests, mut faults) = manifests(tree);
    for manifest in &manifests {
        let name = manifest.name();
        if FOR_TESTS.contains(&name) {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(crate_name, _)| *crate_name == name) else {
            faults.push(Fault::of_file(manifest.path, format!("`{name}` has no place in the layout")));
            continue;
        };
        for (kind, dependency, _) in manifest.dependencies() {
            let Some(ours) = dependency.strip_prefix("lifeboat-") else { continue };
            let is_testkit = kind == "dev-dependencies" && ours == "testkit";
            if !allowed.contains(&ours) && !is_testkit {
                faults
                    .push(Fault::of_file(manifest.path, format!("`{name}` may not stand on `{dependency}`")));
            }
        }
    }
    faults
}

/// Rows of the table that no manifest needs: an unused permission would hide the next dependency.
pub(crate) fn needless_arrows(tree: &Tree) -> Vec<Fault> {
    let (manifests, mut faults) = manifests(tree);
    for (name, allowed) in ALLOWED {
        let Some(manifest) = manifests.iter().find(|manifest| manifest.name() == *name) else {
            faults.push(Fault::of_file(
                "Cargo.toml",
                format!("`{name}` has a place in the layout, and is not there"),
            ));
            continue;
        };
        for lower in *allowed {
            let full = format!("lifeboat-{lower}");
            if manifest.dependencies().all(|(_, dependency, _)| dependency != full) {
                let what = format!("`{name}` does not stand on `{full}`, which the layout allows");
                faults.push(Fault::of_file(manifest.path, what));
            }
        }
    }
    faults
}

pub(crate) fn bare_manifests(tree: &Tree) -> Vec<Fault> {
    let (manifests, mut faults) = manifests(tree);
    for Manifest { path, table } in &manifests {
        let package = table.get("package");
        let description = package.and_then(|package| package.get("description")).and_then(Value::as_str);
        if description.is_none_or(|text| text.trim().is_empty()) {
            faults.push(Fault::of_file(path, "has no `description`"));
        }
        let lints = table.get("lints").and_then(|lints| lints.get("workspace")).and_then(Value::as_bool);
        if lints != Some(true) {
            faults.push(Fault::of_file(
                path,
                "does not keep the workspace's lints: `[lints] workspace = true`",
            ));
        }
    }
    faults
}

/// Versions are in one place, grouped by purpose.
pub(crate) fn private_dependencies(tree: &Tree) -> Vec<Fault> {
    let (manifests, mut faults) = manifests(tree);
    for manifest in &manifests {
        for (_, name, value) in manifest.dependencies() {
            if value.get("workspace").and_then(Value::as_bool) != Some(true) {
                let what = format!("declares `{name}` by itself: `{name}.workspace = true`");
                faults.push(Fault::of_file(manifest.path, what));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(faults: &[Fault]) -> Vec<String> {
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_arrow_upwards_is_found() {
        let store = "[package]\nname = \"lifeboat-store\"\n[dependencies]\nlifeboat-core.workspace = true\n\
                     lifeboat-vault.workspace = true\n[dev-dependencies]\nlifeboat-testkit.workspace = true\n";
        let trust = "[package]\nname = \"lifeboat-trust\"\n[dependencies]\nlifeboat-testkit.workspace = true\n\
                     [target.'cfg(unix)'.dependencies]\nlifeboat-store.workspace = true\n";
        let tests = "[package]\nname = \"lifeboat-tests\"\n[dependencies]\nlifeboat-vault.workspace = true\n";
        let tree = Tree::of(&[
            ("Cargo.toml", "[workspace]\n"),
            ("common/store/Cargo.toml", store),
            ("common/trust/Cargo.toml", trust),
            ("tests/Cargo.toml", tests),
        ]);
        assert_eq!(
            texts(&stray_dependencies(&tree)),
            [
                "common/store/Cargo.toml: `lifeboat-store` may not stand on `lifeboat-vault`",
                "common/trust/Cargo.toml: `lifeboat-trust` may not stand on `lifeboat-testkit`",
                "common/trust/Cargo.toml: `lifeboat-trust` may not stand on `lifeboat-store`",
            ]
        );
    }

    #[test]
    fn a_crate_without_a_place_is_found() {
        let tree = Tree::of(&[("common/new/Cargo.toml", "[package]\nname = \"lifeboat-new\"\n")]);
        assert_eq!(
            texts(&stray_dependencies(&tree)),
            ["common/new/Cargo.toml: `lifeboat-new` has no place in the layout"]
        );
    }

    #[test]
    fn an_arrow_that_nobody_needs_is_found() {
        let docker =
            "[package]\nname = \"lifeboat-docker\"\n[dependencies]\nlifeboat-core.workspace = true\n";
        let store = "[package]\nname = \"lifeboat-store\"\n";
        let tree = Tree::of(&[("common/docker/Cargo.toml", docker), ("common/store/Cargo.toml", store)]);
        let faults = texts(&needless_arrows(&tree));
        assert!(faults.contains(
            &"common/store/Cargo.toml: `lifeboat-store` does not stand on `lifeboat-core`, which the layout allows"
                .to_owned()
        ));
        assert!(!faults.iter().any(|fault| fault.starts_with("common/docker/")));
        assert!(faults.contains(
            &"Cargo.toml: `lifeboat-vault` has a place in the layout, and is not there".to_owned()
        ));
    }

    #[test]
    fn the_table_has_no_circle() {
        // A crate comes before all its dependencies, so the order of the table proves it.
        for (place, (name, allowed)) in ALLOWED.iter().enumerate() {
            for lower in *allowed {
                let full = format!("lifeboat-{lower}");
                let is_below = ALLOWED[place + 1..].iter().any(|(other, _)| *other == full);
                assert!(is_below, "{name} stands on {full}, which is not below it");
            }
        }
    }

    #[test]
    fn a_manifest_that_says_too_little_is_found() {
        let good = "[package]\nname = \"a\"\ndescription = \"Does it\"\n[lints]\nworkspace = true\n";
        let tree = Tree::of(&[
            ("a/Cargo.toml", good),
            ("b/Cargo.toml", "[package]\nname = \"b\"\ndescription = \" \"\n[lints]\nworkspace = true\n"),
            (
                "c/Cargo.toml",
                "[package]\nname = \"c\"\ndescription = \"Does it\"\n[lints.rust]\nunused = \"warn\"\n",
            ),
            ("d/Cargo.toml", "[package\n"),
        ]);
        let faults = bare_manifests(&tree);
        let paths: Vec<&str> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(paths, ["d/Cargo.toml", "b/Cargo.toml", "c/Cargo.toml"]);
    }

    #[test]
    fn a_version_outside_the_workspace_is_found() {
        let text = "[package]\nname = \"a\"\n[dependencies]\nserde.workspace = true\nhex = \"0.4\"\n\
                    url = { workspace = true, features = [\"serde\"] }\n";
        let tree = Tree::of(&[("a/Cargo.toml", text)]);
        assert_eq!(
            texts(&private_dependencies(&tree)),
            ["a/Cargo.toml: declares `hex` by itself: `hex.workspace = true`"]
        );
    }
}
