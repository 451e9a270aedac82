//! A small and honest SBOM of the story's image: every file in it, and the package that one came from.

use std::path::Path;

use super::work::Work;
use crate::problem::Problem;
use crate::process::ask;

/// Writes `sbom.json` (`CycloneDX`) about the folder `image`; returns a summary for people.
pub(super) fn write(work: &Work) -> Result<Vec<String>, Problem> {
    let folder = work.path("image");
    let mut files = Vec::new();
    for path in ask("find", &[&folder.to_string_lossy(), "-type", "f"]).unwrap_or_default().lines() {
        let name = path.strip_prefix(&*folder.to_string_lossy()).unwrap_or(path).to_owned();
        files.push(File { name, sha256: sha256(Path::new(path))? });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let package = busybox_version(&folder.join("bin/busybox"));
    work.write("sbom.json", &render(&files, package.as_deref()))?;

    let mut lines = vec!["sbom.json, in CycloneDX, names every file in the image:".to_owned()];
    lines.extend(files.iter().map(|file| format!("  {:<14} SHA-256 {}…", file.name, &file.sha256[..16])));
    lines.extend(package.map(|version| format!("  {:<14} Debian's package, {version}", "busybox-static")));
    Ok(lines)
}

#[derive(Debug)]
struct File {
    name: String,
    sha256: String,
}

fn render(files: &[File], busybox: Option<&str>) -> String {
    let file = |file: &File| {
        format!(
            r#"    {{
      "type": "file",
      "name": "{}",
      "hashes": [{{ "alg": "SHA-256", "content": "{}" }}]
    }}"#,
            file.name, file.sha256
        )
    };
    let package = |version: &str| {
        format!(
            r#"    {{
      "type": "application",
      "name": "busybox-static",
      "version": "{version}",
      "purl": "pkg:deb/debian/busybox-static@{}"
    }}"#,
            version.replace('+', "%2B")
        )
    };
    let components: Vec<String> = busybox.map(package).into_iter().chain(files.iter().map(file)).collect();
    format!(
        r#"{{
  "bomFormat": "CycloneDX",
  "specVersion": "1.6",
  "version": 1,
  "metadata": {{ "component": {{ "type": "container", "name": "shop" }} }},
  "components": [
{}
  ]
}}"#,
        components.join(",\n")
    )
}

pub(super) fn sha256(path: &Path) -> Result<String, Problem> {
    ask("sha256sum", &["--", &path.to_string_lossy()])
        .and_then(|answer| answer.split_whitespace().next().map(str::to_owned))
        .filter(|hash| hash.len() == 64)
        .ok_or_else(|| Problem::new(format!("sha256sum gives no hash of {}", path.display())))
}

/// The version of Debian's package, as the program itself prints it.
fn busybox_version(program: &Path) -> Option<String> {
    let help = ask(&program.to_string_lossy(), &["--help"])?;
    let (_, rest) = help.lines().next()?.split_once("(Debian ")?;
    rest.split_once(')').map(|(version, _)| version.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sbom_names_files_and_package() {
        let files = [File { name: "/bin/greet".to_owned(), sha256: "ab".repeat(32) }];
        let text = render(&files, Some("1:1.35.0-4+deb12u1"));
        assert!(text.contains(r#""name": "/bin/greet""#));
        assert!(text.contains(r#""purl": "pkg:deb/debian/busybox-static@1:1.35.0-4%2Bdeb12u1""#));
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        assert_eq!(render(&files, None).matches(r#""type""#).count(), 2);
    }
}
