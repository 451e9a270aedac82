//! Chooses an index's image for a platform: the one that every program pulls.
//!
//! The OCI image specification ("Image Index") says what an entry may state about its platform, and leaves the choice
//! to the programs, which differ:
//!
//! * Docker and containerd normalise names (`containerd/platforms`, `Normalize`) and go down the variants that the
//!   wanted one can run (`Only`), the best one first.
//! * skopeo and podman compare names as they are written, and go down the variants of their own table
//!   (`containers/image`, `WantedPlatforms`); entries without a platform come last.
//! * crane takes the first entry whose system, architecture and, if one is asked for, variant are the wanted ones
//!   (`go-containerregistry`, `matchesPlatform`); an entry without a platform is for `linux/amd64`.
//! * oras does the same (`oras-go`, `platform.Match`), without entries that have no platform.
//!
//! It is not a contradiction if one of them pulls an image and another refuses; two different images are.

use std::collections::BTreeMap;
use std::fmt;

use lifeboat_core::Sha256Digest;
use serde::Deserialize;

use crate::content::Child;

/// A platform in an index (OCI image specification, "Image Index").
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
pub(crate) struct Platform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    variant: Option<String>,
    #[serde(default, rename = "os.version")]
    os_version: Option<String>,
    #[serde(default, rename = "os.features")]
    os_features: Option<Vec<String>>,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        match self.variant() {
            "" => Ok(()),
            variant => write!(f, "/{variant}"),
        }
    }
}

/// Why an index has no image for a platform that all programs agree on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoChild {
    /// No image is for this platform.
    #[error("no image is for it")]
    Absent,
    /// Programs choose different images.
    #[error("{reason}")]
    Ambiguous {
        /// Which program chooses which.
        reason: String,
    },
}

impl Platform {
    /// The platform of a text `OS/ARCH[/VARIANT]`.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (os, architecture) = (parts.next()?.to_owned(), parts.next()?.to_owned());
        let variant = parts.next().map(str::to_owned);
        let is_whole = parts.next().is_none() && !os.is_empty() && !architecture.is_empty();
        is_whole.then_some(Self { os, architecture, variant, ..Self::default() })
    }

    fn variant(&self) -> &str {
        self.variant.as_deref().unwrap_or_default()
    }

    /// The form that `containerd/platforms` normalises it to.
    fn normalised(&self) -> Self {
        let lower = |text: &str| text.to_ascii_lowercase();
        let os = match lower(&self.os).as_str() {
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let variant = lower(self.variant());
        let (architecture, variant) = match (lower(&self.architecture).as_str(), variant.as_str()) {
            ("i386" | "386", _) => ("386".to_owned(), String::new()),
            ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64".to_owned(), String::new()),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64".to_owned(), variant.to_owned()),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0" | "") => ("arm64".to_owned(), String::new()),
            ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64".to_owned(), "v9".to_owned()),
            ("aarch64" | "arm64", variant) => ("arm64".to_owned(), variant.to_owned()),
            ("armel", _) => ("arm".to_owned(), "v6".to_owned()),
            ("armhf", _) | ("arm", "" | "7") => ("arm".to_owned(), "v7".to_owned()),
            ("arm", "5" | "6" | "8") => ("arm".to_owned(), format!("v{variant}")),
            (architecture, variant) => (architecture.to_owned(), variant.to_owned()),
        };
        Self { os, architecture, variant: (!variant.is_empty()).then_some(variant), ..self.clone() }
    }

    /// Whether system, architecture and variant are equal; nothing else is compared.
    fn is_as(&self, other: &Self, variant: &str) -> bool {
        self.os == other.os && self.architecture == other.architecture && self.variant() == variant
    }

    /// The variants that Docker and containerd try for this normalised platform, in order.
    fn variants_of_containerd(&self) -> Vec<String> {
        let down_to = |lowest: u32| {
            let number = self.variant().trim_start_matches('v').parse::<u32>().unwrap_or_default();
            (lowest..=number.min(16)).rev().map(|number| format!("v{number}"))
        };
        match self.architecture.as_str() {
            "arm" => down_to(5).collect(),
            "amd64" => down_to(2).chain([String::new()]).collect(),
            "arm64" if !self.variant().is_empty() => vec![self.variant().to_owned(), String::new()],
            _ => vec![self.variant().to_owned()],
        }
    }

    /// The variants that skopeo and podman try for this platform, in order.
    fn variants_of_containers(&self) -> Vec<String> {
        let known: &[&str] = match self.architecture.as_str() {
            "arm" => &["v8", "v7", "v6", "v5"],
            "arm64" => &["v8"],
            _ => &[],
        };
        let wanted = self.variant();
        let mut variants: Vec<&str> = match known.iter().position(|variant| *variant == wanted) {
            _ if wanted.is_empty() => known.to_vec(),
            Some(place) => known[place..].to_vec(),
            None => vec![wanted],
        };
        variants.insert(if wanted.is_empty() { 0 } else { variants.len() }, "");
        variants.into_iter().map(str::to_owned).collect()
    }
}

/// The images that the programs pull for a platform, by program.
fn pulled<'c>(children: &'c [Child], asked: &Platform) -> Vec<(&'static str, &'c Child)> {
    let wanted = asked.normalised();
    let of = |child: &'c Child| child.target.as_ref().map(|own| (child, own));
    let known = || children.iter().filter_map(of);
    let without = || children.iter().filter(|child| child.target.is_none());
    let first = |variants: Vec<String>, is_it: &dyn Fn(&Platform, &str) -> bool| {
        variants
            .iter()
            .find_map(|variant| known().find(|(_, own)| is_it(own, variant)).map(|(child, _)| child))
    };
    let mut answers = Vec::new();
    let containerd =
        first(wanted.variants_of_containerd(), &|own, variant| own.normalised().is_as(&wanted, variant));
    answers.extend(containerd.map(|child| ("docker and containerd", child)));
    // containerd looks into the configuration of an image whose entry has no platform.
    answers.extend(without().map(|child| ("containerd", child)));
    let containers = first(asked.variants_of_containers(), &|own, variant| own.is_as(asked, variant));
    answers.extend(containers.or(without().next()).map(|child| ("skopeo and podman", child)));
    let is_it = |own: &Platform| {
        let variant = asked.variant();
        own.is_as(asked, own.variant()) && (variant.is_empty() || own.variant() == variant)
    };
    let amd64 = Platform { os: "linux".to_owned(), architecture: "amd64".to_owned(), ..Platform::default() };
    let crane = children.iter().find(|child| is_it(child.target.as_ref().unwrap_or(&amd64)));
    answers.extend(crane.map(|child| ("crane", child)));
    let oras = known().find(|(_, own)| is_it(own));
    answers.extend(oras.map(|(child, _)| ("oras", child)));
    answers
}

/// The image of an index that every program pulls for the platform `OS/ARCH[/VARIANT]`, unless it refuses.
pub fn choose<'c>(children: &'c [Child], platform: &str) -> Result<&'c Child, NoChild> {
    let asked = Platform::parse(platform).ok_or(NoChild::Absent)?;
    let wanted = asked.normalised();
    let shown = |child: &Child| {
        let platform = child.platform.as_deref().unwrap_or("no platform");
        format!("{} ({})", child.descriptor.digest.to_oci(), lifeboat_strict::printable(platform))
    };
    // Windows images of one architecture differ in the system's version, by which programs choose the one for the
    // machine that they run on.
    let mut alike: BTreeMap<Platform, &Child> = BTreeMap::new();
    for child in children {
        let Some(own) = child.target.as_ref().map(Platform::normalised) else { continue };
        if own.os != wanted.os || own.architecture != wanted.architecture {
            continue;
        }
        let key = Platform { os_version: None, os_features: None, ..own };
        if let Some(other) = alike.insert(key, child)
            && other.descriptor.digest != child.descriptor.digest
        {
            let reason = format!("two images are for one platform, {} and {}", shown(other), shown(child));
            return Err(NoChild::Ambiguous { reason });
        }
    }
    let answers = pulled(children, &asked);
    let (_, first) = answers.first().ok_or(NoChild::Absent)?;
    if answers.iter().all(|(_, child)| child.descriptor.digest == first.descriptor.digest) {
        return Ok(first);
    }
    let mut by_digest: BTreeMap<Sha256Digest, (Vec<&str>, &Child)> = BTreeMap::new();
    for (program, child) in answers {
        by_digest.entry(child.descriptor.digest).or_insert((Vec::new(), child)).0.push(program);
    }
    let said =
        by_digest.values().map(|(programs, child)| format!("{} pull {}", programs.join(", "), shown(child)));
    Err(NoChild::Ambiguous { reason: said.collect::<Vec<_>>().join("; ") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::Descriptor;

    fn child(text: &str) -> Child {
        // The text after a blank distinguishes children for one platform.
        let platform = text.split(' ').next().filter(|platform| *platform != "-").map(str::to_owned);
        let target = platform.as_deref().map(|platform| Platform::parse(platform).unwrap());
        let descriptor = Descriptor::of("application/vnd.oci.image.manifest.v1+json", text.as_bytes());
        Child { descriptor, platform, target }
    }

    fn chosen(children: &[&str], platform: &str) -> Result<String, NoChild> {
        let children: Vec<Child> = children.iter().map(|text| child(text)).collect();
        let digest = choose(&children, platform)?.descriptor.digest;
        let place = children.iter().position(|child| child.descriptor.digest == digest);
        Ok(children[place.unwrap()].platform.clone().unwrap_or("-".to_owned()))
    }

    #[test]
    fn the_image_that_every_program_pulls_is_chosen() {
        for (children, platform, expected) in [
            (&["linux/amd64", "linux/arm64"][..], "linux/arm64", "linux/arm64"),
            (&["linux/amd64", "linux/arm64/v8"], "linux/arm64", "linux/arm64/v8"),
            (&["linux/amd64", "linux/arm64/v8"], "linux/arm64/v8", "linux/arm64/v8"),
            (&["linux/arm64"], "linux/arm64/v8", "linux/arm64"),
            (&["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"], "linux/arm", "linux/arm/v7"),
            (&["linux/arm/v5", "linux/arm/v7"], "linux/arm/v7", "linux/arm/v7"),
            (&["linux/arm/v5", "linux/arm/v6"], "linux/arm/v7", "linux/arm/v6"),
            (&["linux/amd64", "linux/amd64/v3"], "linux/amd64", "linux/amd64"),
            (&["linux/amd64", "linux/amd64/v3"], "linux/amd64/v3", "linux/amd64/v3"),
            (&["linux/amd64"], "linux/amd64/v2", "linux/amd64"),
            (&["windows/amd64", "linux/amd64"], "windows/amd64", "windows/amd64"),
            (&["linux/x86_64"], "linux/amd64", "linux/x86_64"),
            (&["-"], "linux/amd64", "-"),
            (&["linux/amd64 a", "linux/amd64 a"], "linux/amd64", "linux/amd64"),
        ] {
            assert_eq!(chosen(children, platform).as_deref(), Ok(expected), "{children:?} {platform}");
        }
    }

    #[test]
    fn what_programs_choose_in_different_ways_is_refused_with_the_digests() {
        for (children, platform) in [
            (&["linux/amd64 a", "linux/amd64 b"][..], "linux/amd64"),
            (&["linux/amd64 a", "linux/amd64/v1 b"], "linux/amd64"),
            (&["linux/amd64 a", "linux/x86_64 b"], "linux/amd64"),
            (&["linux/arm64/v8 a", "linux/arm64 b"], "linux/arm64"),
            (&["linux/arm64/v8 a", "linux/arm64 b"], "linux/arm64/v8"),
            (&["linux/arm a", "linux/arm/v7 b"], "linux/arm"),
            (&["windows/amd64 a", "windows/amd64 b"], "windows/amd64"),
            // Docker takes the best variant, crane the first.
            (&["linux/arm/v5", "linux/arm/v7"], "linux/arm"),
            (&["linux/amd64/v3", "linux/amd64"], "linux/amd64"),
            // Docker goes down the variants of amd64, skopeo knows none.
            (&["linux/amd64", "linux/amd64/v3"], "linux/amd64/v4"),
            // An entry without a platform is for every platform, or for linux/amd64.
            (&["-", "linux/amd64"], "linux/amd64"),
            (&["linux/arm64", "-"], "linux/arm64"),
        ] {
            let Err(NoChild::Ambiguous { reason }) = chosen(children, platform) else {
                panic!("{children:?} {platform}: {:?}", chosen(children, platform))
            };
            for text in children {
                let digest = child(text).descriptor.digest.to_oci();
                assert!(reason.contains(&digest), "{children:?} {platform}: {reason}");
            }
        }
    }

    #[test]
    fn what_is_not_there_is_absent() {
        for (children, platform) in [
            (&["linux/amd64"][..], "linux/riscv64"),
            (&["linux/amd64"], "linux"),
            (&["linux/amd64"], "linux/amd64/v2/x"),
            (&["linux/amd64"], ""),
            (&["linux/386"], "linux/amd64"),
            (&["linux/arm/v7"], "linux/arm/v6"),
            (&[], "linux/amd64"),
        ] {
            assert_eq!(chosen(children, platform), Err(NoChild::Absent), "{children:?} {platform}");
        }
    }
}
