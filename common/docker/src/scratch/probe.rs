//! The probe: the smallest possible container, which only occupies a place in the sandbox's network, so that the
//! network can be tested from inside before anything of the application runs, and again afterwards.
//!
//! Its image is built here, from one program of a few machine instructions that waits for ever. It has the rehearsal's
//! labels and is removed with the rest.

use std::collections::BTreeMap;

use bollard::models::{ContainerCreateBody, HostConfig, HostConfigLogConfig};
use bollard::query_parameters::ImportImageOptions;
use futures::StreamExt;
use lifeboat_core::Sha256Digest;
use serde_json::json;

use super::NO_RESOLVER;
use crate::EngineError;
use crate::engine::Engine;
use crate::ownership::{MARK_LABEL, Ownership, ScratchKind};

/// The probe's name; no service of an application has a name with this dot.
pub(super) const NAME: &str = "probe.lifeboat";

/// The program's load address (ELF, `p_vaddr`).
const LOAD_ADDRESS: u64 = 0x40_0000;

/// Instructions that wait for ever: `pause()` in a loop.
const WAIT_X86_64: &[u8] = &[
    0x6a, 0x22, // push 34 (pause)
    0x58, // pop rax
    0x0f, 0x05, // syscall
    0xeb, 0xf9, // jump to the start
];

/// The same for a platform without `pause`: `ppoll(NULL, 0, NULL, NULL)` in a loop.
const WAIT_AARCH64: &[u8] = &[
    0x00, 0x00, 0x80, 0xd2, // mov x0, 0
    0x01, 0x00, 0x80, 0xd2, // mov x1, 0
    0x02, 0x00, 0x80, 0xd2, // mov x2, 0
    0x03, 0x00, 0x80, 0xd2, // mov x3, 0
    0x28, 0x09, 0x80, 0xd2, // mov x8, 73 (ppoll)
    0x01, 0x00, 0x00, 0xd4, // svc 0
    0xfa, 0xff, 0xff, 0x17, // branch to the start
];

struct Platform {
    name: &'static str,
    machine: u16,
    code: &'static [u8],
}

/// The platform of an engine that reports `platform`, such as `linux/x86_64`.
fn platform(platform: &str) -> Option<Platform> {
    match platform.rsplit('/').next() {
        Some("x86_64" | "amd64") => Some(Platform { name: "amd64", machine: 62, code: WAIT_X86_64 }),
        Some("aarch64" | "arm64") => Some(Platform { name: "arm64", machine: 183, code: WAIT_AARCH64 }),
        _ => None,
    }
}

/// A static ELF executable (System V ABI, ELF-64) of one segment: header, program header, code.
fn executable(platform: &Platform) -> Vec<u8> {
    const HEADER: u16 = 64;
    const PROGRAM_HEADER: u16 = 56;
    let start = u64::from(HEADER + PROGRAM_HEADER);
    let size = start + platform.code.len() as u64;
    let mut elf = Vec::new();
    // e_ident: magic, 64 bits, little endian, version 1, System V.
    elf.extend_from_slice(b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00");
    elf.extend_from_slice(&2u16.to_le_bytes()); // e_type: executable
    elf.extend_from_slice(&platform.machine.to_le_bytes());
    elf.extend_from_slice(&1u32.to_le_bytes()); // e_version
    elf.extend_from_slice(&(LOAD_ADDRESS + start).to_le_bytes()); // e_entry
    elf.extend_from_slice(&u64::from(HEADER).to_le_bytes()); // e_phoff
    elf.extend_from_slice(&0u64.to_le_bytes()); // e_shoff
    elf.extend_from_slice(&0u32.to_le_bytes()); // e_flags
    for half in [HEADER, PROGRAM_HEADER, 1, 64, 0, 0] {
        elf.extend_from_slice(&half.to_le_bytes()); // e_ehsize, e_phentsize, e_phnum, e_shentsize, e_shnum, e_shstrndx
    }
    elf.extend_from_slice(&1u32.to_le_bytes()); // p_type: load
    elf.extend_from_slice(&5u32.to_le_bytes()); // p_flags: read and execute
    for word in [0, LOAD_ADDRESS, LOAD_ADDRESS, size, size, 0x1000] {
        elf.extend_from_slice(&word.to_le_bytes()); // p_offset, p_vaddr, p_paddr, p_filesz, p_memsz, p_align
    }
    elf.extend_from_slice(platform.code);
    elf
}

fn entry(archive: &mut tar::Builder<Vec<u8>>, path: &str, mode: u32, bytes: &[u8]) -> std::io::Result<()> {
    let mut header = tar::Header::new_ustar();
    header.set_size(bytes.len() as u64);
    header.set_mode(mode);
    header.set_mtime(0);
    archive.append_data(&mut header, path, bytes)
}

/// The image as an archive for `docker load`.
fn archive(platform: &Platform, tag: &str, labels: &BTreeMap<String, String>) -> std::io::Result<Vec<u8>> {
    let mut layer = tar::Builder::new(Vec::new());
    entry(&mut layer, "probe", 0o755, &executable(platform))?;
    let layer = layer.into_inner()?;
    let config = json!({
        "architecture": platform.name, "os": "linux", "created": "1970-01-01T00:00:00Z",
        "config": {"Entrypoint": ["/probe"], "Labels": labels},
        "rootfs": {"type": "layers", "diff_ids": [Sha256Digest::of(&layer).to_oci()]},
        "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "lifeboat"}],
    })
    .to_string();
    let config_path = format!("{}.json", Sha256Digest::of(config.as_bytes()));
    let manifest = json!([{"Config": config_path, "RepoTags": [tag], "Layers": ["layer.tar"]}]).to_string();
    let mut image = tar::Builder::new(Vec::new());
    entry(&mut image, &config_path, 0o644, config.as_bytes())?;
    entry(&mut image, "layer.tar", 0o644, &layer)?;
    entry(&mut image, "manifest.json", 0o644, manifest.as_bytes())?;
    image.into_inner()
}

/// Loads the probe's image and returns its id.
pub(super) async fn load(engine: &Engine, owner: &Ownership) -> Result<String, EngineError> {
    let unproven = |reason: String| EngineError::IsolationUnproven { reason };
    let platform = platform(&engine.facts().platform)
        .ok_or_else(|| unproven(format!("no probe exists for {}", engine.facts().platform)))?;
    let tag = owner.image_tag();
    let archive = archive(&platform, &tag, &owner.labels(ScratchKind::Image, &tag, NAME))
        .map_err(|error| unproven(format!("the probe's image cannot be made: {error}")))?;
    let options = ImportImageOptions { quiet: true, ..Default::default() };
    let mut answers = engine.client().import_image(options, bollard::body_full(archive.into()), None);
    while let Some(answer) = answers.next().await {
        answer.map_err(EngineError::call("load the probe's image"))?;
    }
    // The tag is random and ours; the mark proves that nobody else has taken it.
    let document = engine.image_document(&tag).await?;
    if document["Config"]["Labels"][MARK_LABEL] != owner.mark(ScratchKind::Image, &tag) {
        return Err(unproven("another image bears the probe's name".to_owned()));
    }
    Ok(crate::document::text(&document["Id"]))
}

/// The probe's container: no rights, nothing writable, almost no memory.
pub(super) fn container(image: &str, owner: &Ownership, network: &str) -> ContainerCreateBody {
    let name = owner.container_name(NAME);
    ContainerCreateBody {
        image: Some(image.to_owned()),
        user: Some("65534:65534".to_owned()),
        labels: Some(owner.labels(ScratchKind::Container, &name, NAME).into_iter().collect()),
        host_config: Some(HostConfig {
            network_mode: Some(network.to_owned()),
            readonly_rootfs: Some(true),
            cap_drop: Some(vec!["ALL".to_owned()]),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            memory: Some(16 << 20),
            pids_limit: Some(8),
            dns: Some(vec![NO_RESOLVER.to_owned()]),
            log_config: Some(HostConfigLogConfig { typ: Some("none".to_owned()), config: None }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_executable_is_whole_and_starts_at_its_code() {
        for name in ["linux/x86_64", "linux/aarch64"] {
            let platform = platform(name).unwrap();
            let elf = executable(&platform);
            assert_eq!(elf.len(), 120 + platform.code.len());
            let entry = u64::from_le_bytes(elf[24..32].try_into().unwrap());
            assert_eq!(entry - LOAD_ADDRESS, 120);
            assert_eq!(&elf[120..], platform.code);
        }
        assert!(platform("linux/riscv64").is_none());
    }

    #[test]
    fn the_image_names_its_parts() {
        let bytes = archive(&platform("linux/x86_64").unwrap(), "t:1", &BTreeMap::new()).unwrap();
        let mut archive = tar::Archive::new(&bytes[..]);
        let names: Vec<String> =
            archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().display().to_string()).collect();
        assert_eq!(names.len(), 3);
        assert!(names.contains(&"manifest.json".to_owned()) && names.contains(&"layer.tar".to_owned()));
    }
}
