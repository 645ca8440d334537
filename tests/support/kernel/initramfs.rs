//! The guest's root: an archive in the "newc" form of cpio, which the kernel unpacks at boot.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::Error;
use super::modules::{DEVICE_MODULES, Modules};

const DIRECTORY: u32 = 0o040_755;
const PROGRAM: u32 = 0o100_755;
const FILE: u32 = 0o100_644;

/// The root with the first process and the modules.
pub(super) fn build(modules: &Modules, init: &[u8]) -> Result<Vec<u8>, Error> {
    let mut archive = Archive::default();
    archive.add("modules", DIRECTORY, &[]);
    let order = modules.order()?;
    for name in order.iter().map(String::as_str).chain(DEVICE_MODULES) {
        archive.add(&format!("modules/{name}.ko"), FILE, &modules.read(name)?);
    }
    archive.add("modules/order", FILE, order.join("\n").as_bytes());
    archive.add("init", PROGRAM, init);
    Ok(archive.finish())
}

/// The root with more programs and libraries: the kernel unpacks one archive behind the other.
pub(super) fn with_programs(mut initramfs: Vec<u8>, files: &[(PathBuf, Vec<u8>)]) -> Vec<u8> {
    let mut archive = Archive::default();
    let mut directories = BTreeSet::new();
    files.iter().for_each(|(path, _)| directories.extend(path.ancestors().skip(1).map(inside)));
    directories.iter().filter(|path| !path.is_empty()).for_each(|path| archive.add(path, DIRECTORY, &[]));
    files.iter().for_each(|(path, content)| archive.add(&inside(path), PROGRAM, content));
    initramfs.extend(archive.finish());
    initramfs
}

/// A path as the archive has it: without the slash in front.
fn inside(path: &Path) -> String {
    path.to_string_lossy().trim_start_matches('/').to_owned()
}

#[derive(Default)]
struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    fn add(&mut self, name: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        let links = 1;
        let (size, name_size) = (content.len() as u32, name.len() as u32 + 1);
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        self.add("TRAILER!!!", 0, &[]);
        self.bytes
    }
}
