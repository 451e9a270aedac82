//! The pipelines of docs/release: every shell step is extracted from its file and run in order, in the shell that the
//! platform would use.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use libtest_mimic::Failed;
use lifeboat_tests::command::{Output, run};
use yaml_rust2::{Yaml, YamlLoader};

use super::{PASSPHRASE, Release};

const GITHUB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/release/github-actions.yml");
const GITLAB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/release/gitlab-ci.yml");

type Variables = BTreeMap<String, String>;

fn read(path: &str) -> Result<Yaml, Failed> {
    let mut documents = YamlLoader::load_from_str(&fs::read_to_string(path)?)?;
    if documents.len() == 1 { Ok(documents.remove(0)) } else { Err("one document".into()) }
}

fn text(yaml: &Yaml) -> Result<&str, Failed> {
    yaml.as_str().ok_or_else(|| format!("a text in place of {yaml:?}").into())
}

fn list(yaml: &Yaml) -> Result<&Vec<Yaml>, Failed> {
    yaml.as_vec().ok_or_else(|| format!("a list in place of {yaml:?}").into())
}

/// The variables in a mapping, each value passed through `expand`; empty without a mapping.
fn variables(yaml: &Yaml, expand: impl Fn(&str) -> Result<String, Failed>) -> Result<Variables, Failed> {
    let pairs = yaml.as_hash().into_iter().flatten();
    pairs.map(|(name, value)| Ok((text(name)?.to_owned(), expand(text(value)?)?))).collect()
}

/// The registry, and the image in it, that a pipeline releases to.
fn place(release: &Release) -> Result<(String, String), Failed> {
    let name = release.bench.repository.name();
    let (registry, repository) = name.split_once('/').ok_or("a registry")?;
    Ok((registry.to_owned(), repository.to_owned()))
}

fn provenance_holds(release: &Release, pinned: &str, builder: &str, source: &str) {
    release.cosign_accepts(pinned);
    let verify = |git_ref: &str| {
        let expected = ["--builder", builder, "--source", source, "--ref", git_ref, "--key", "release.pub"];
        release.bench.verify(&[&["attestation", pinned, "--type", "slsaprovenance1"], &expected[..]].concat())
    };
    verify("refs/tags/v1.0").expect_code(0);
    verify("refs/tags/v2.0").expect_code(1);
}

pub(super) fn github_actions(release: &Release) -> Result<(), Failed> {
    let (registry, repository) = place(release)?;
    // Repository names there have capitals, but image names must not.
    let project = repository.replace("lifeboat-test", "Lifeboat-Test");
    let workflow = format!("{project}/.github/workflows/release.yml@refs/tags/v1.0");
    let (token, key) = ("a token".to_owned(), fs::read_to_string(release.bench.path("release.key"))?);
    let run_with = |passphrase: &str| -> Result<(Vec<Output>, String), Failed> {
        let known: BTreeMap<&str, &str> = BTreeMap::from([
            ("github.repository", project.as_str()),
            ("github.ref", "refs/tags/v1.0"),
            ("github.sha", release.commit.as_str()),
            ("github.workflow_ref", workflow.as_str()),
            ("secrets.GITHUB_TOKEN", token.as_str()),
            ("secrets.RELEASE_KEY", key.trim_end()),
            ("secrets.RELEASE_KEY_PASSPHRASE", passphrase),
        ]);
        let expand = |text: &str| expressions(text, &known);
        let job = &read(GITHUB)?["jobs"]["release"];
        let mut given = variables(&job["env"], expand)?;
        assert_eq!(given.insert("REGISTRY".to_owned(), registry.clone()).as_deref(), Some("ghcr.io"));
        let output = release.bench.path("output");
        fs::write(&output, "")?;
        given.extend([
            ("GITHUB_ACTOR".to_owned(), "ann".to_owned()),
            ("GITHUB_OUTPUT".to_owned(), output.display().to_string()),
            ("GITHUB_REF_NAME".to_owned(), "v1.0".to_owned()),
            ("GITHUB_REPOSITORY".to_owned(), project.clone()),
        ]);
        let steps = list(&job["steps"])?.iter().filter(|step| !step["run"].is_badvalue());
        let mut said = Vec::new();
        for step in steps {
            let script = expand(text(&step["run"])?)?;
            let own = variables(&step["env"], expand)?;
            said.push(shell(release, &["-e"], &script, &[&given, &own])?);
            if said.last().is_some_and(|said| said.code != Some(0)) {
                break;
            }
        }
        Ok((said, fs::read_to_string(output)?))
    };
    let (said, output) = run_with("wrong")?;
    assert_eq!((said.len(), output.as_str()), (2, ""), "{said:?}");
    assert_ne!(said[1].code, Some(0));
    let (said, output) = run_with(PASSPHRASE)?;
    assert!(said.len() == 2 && said[1].code == Some(0), "{said:?}");
    let pinned = output.trim().strip_prefix("image=").ok_or("an image")?;
    let builder = format!("https://github.com/{workflow}");
    provenance_holds(release, pinned, &builder, &format!("github.com/{project}"));
    Ok(())
}

pub(super) fn gitlab_ci(release: &Release) -> Result<(), Failed> {
    let (registry, repository) = place(release)?;
    let job = &read(GITLAB)?["release"];
    let run_with = |passphrase: &str| -> Result<Output, Failed> {
        // A variable of the type File, as the platform writes it, readable by anyone.
        let key = release.bench.path("key-variable");
        fs::copy(release.bench.path("release.key"), &key)?;
        fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o666))?;
        let mut given = Variables::new();
        for (name, value) in [
            ("CI_COMMIT_SHA", release.commit.as_str()),
            ("CI_COMMIT_TAG", "v1.0"),
            ("CI_PROJECT_PATH", "acme/app"),
            ("CI_PROJECT_URL", "https://gitlab.example/acme/app"),
            ("CI_REGISTRY", &registry),
            ("CI_REGISTRY_IMAGE", &format!("{registry}/{repository}")),
            ("CI_REGISTRY_PASSWORD", "a token"),
            ("CI_REGISTRY_USER", "ann"),
            ("CI_SERVER_HOST", "gitlab.example"),
            ("COSIGN_PASSWORD", passphrase),
            ("RELEASE_KEY", &key.display().to_string()),
            ("RELEASE_PUB", "release.pub"),
        ] {
            given.insert(name.to_owned(), value.to_owned());
        }
        let own = variables(&job["variables"], |text| references(text, &given))?;
        let lines = list(&job["script"])?.iter().map(text).collect::<Result<Vec<_>, _>>()?;
        shell(release, &["-e", "-o", "pipefail"], &lines.join("\n"), &[&given, &own])
    };
    let result = release.bench.path("tree/release.env");
    assert_ne!(run_with("wrong")?.code, Some(0));
    assert!(!result.exists());
    run_with(PASSPHRASE)?.expect_code(0);
    assert_eq!(text(&job["artifacts"]["reports"]["dotenv"])?, "release.env");
    let result = fs::read_to_string(result)?;
    let pinned = result.trim().strip_prefix("RELEASED_IMAGE=").ok_or("an image")?;
    let builder = "https://gitlab.example/acme/app//.gitlab-ci.yml@refs/tags/v1.0";
    provenance_holds(release, pinned, builder, "gitlab.example/acme/app");
    Ok(())
}

/// Runs a script as the platforms do: from a file, in the checked-out tree. It must leave nothing in the folder for
/// temporary files, because keys pass through there.
fn shell(
    release: &Release,
    flags: &[&str],
    script: &str,
    variables: &[&Variables],
) -> Result<Output, Failed> {
    let file: PathBuf = release.bench.path("step.sh");
    fs::write(&file, script)?;
    let temporary = release.bench.path("tmp");
    fs::create_dir_all(&temporary)?;
    let mut command = release.command("bash");
    command.args(flags).arg(&file).env("TMPDIR", &temporary);
    for variables in variables {
        command.envs(*variables);
    }
    let said = run(&mut command);
    assert!(is_empty(&temporary)?, "{script}");
    Ok(said)
}

fn is_empty(folder: &Path) -> Result<bool, Failed> {
    Ok(fs::read_dir(folder)?.next().is_none())
}

/// Replaces `${{ NAME }}` by GitHub's value.
fn expressions(text: &str, known: &BTreeMap<&str, &str>) -> Result<String, Failed> {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once("${{") {
        let (name, after) = after.split_once("}}").ok_or("the end of an expression")?;
        let value = known.get(name.trim()).ok_or_else(|| format!("a value for {name}"))?;
        expanded += before;
        expanded += value;
        rest = after;
    }
    Ok(expanded + rest)
}

/// Replaces `$NAME` by GitLab's value.
fn references(text: &str, known: &Variables) -> Result<String, Failed> {
    let (mut expanded, mut rest) = (String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let (name, after) = after.split_at(after.find(|c| !is_part(c)).unwrap_or(after.len()));
        expanded += before;
        expanded += known.get(name).ok_or_else(|| format!("a value for {name}"))?;
        rest = after;
    }
    Ok(expanded + rest)
}
