//! The kernel modules that the guest needs, and the order in which to load them.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::Error;
use super::debian::output;

/// Modules that are loaded at the start, with what they need.
const BASE_MODULES: [&str; 3] = ["virtio_pci", "virtio_blk", "jffs2"];
/// Modules that are loaded when a job asks for their device; what they need is loaded at the start.
pub(super) const DEVICE_MODULES: [&str; 5] = ["mtdram", "nandsim", "block2mtd", "phram", "ubi"];

/// A folder of uncompressed modules.
#[derive(Debug, Clone)]
pub(super) struct Modules {
    folder: PathBuf,
}

impl Modules {
    pub(super) fn in_folder(folder: PathBuf) -> Self {
        Self { folder }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Copies the needed modules out of a package's `lib/modules`, uncompressed; but for those that are built in.
    pub(super) fn collect(tree: &Path, folder: PathBuf) -> Result<Self, Error> {
        fs::create_dir_all(&folder).map_err(Error::file(&folder))?;
        let shipped = shipped(tree)?;
        let builtin = builtin(tree)?;
        let modules = Self { folder };
        let mut missing: Vec<String> = roots().map(str::to_owned).collect();
        let mut seen = HashSet::new();
        while let Some(name) = missing.pop() {
            if !seen.insert(name.clone()) {
                continue;
            }
            let Some(file) = shipped.get(&name) else {
                if builtin.contains(&name) {
                    continue;
                }
                return Err(Error::NoModule(name));
            };
            let content = uncompressed(file)?;
            missing.extend(needs(&content));
            let path = modules.path(&name);
            fs::write(&path, content).map_err(Error::file(&path))?;
        }
        Ok(modules)
    }

    /// Whether there are all that a job can ask for: an older version of this rig may have collected fewer.
    pub(super) fn are_complete(&self) -> bool {
        DEVICE_MODULES.iter().all(|name| self.path(name).exists())
    }

    /// What to load at the start, each module after those that it needs.
    pub(super) fn order(&self) -> Result<Vec<String>, Error> {
        let mut order = Vec::new();
        for root in roots() {
            self.append(root, &mut order)?;
        }
        order.retain(|name| !DEVICE_MODULES.contains(&name.as_str()));
        Ok(order)
    }

    fn append(&self, name: &str, order: &mut Vec<String>) -> Result<(), Error> {
        let built_in = !self.path(name).exists();
        if built_in || order.iter().any(|known| known == name) {
            return Ok(());
        }
        for needed in needs(&self.read(name)?) {
            self.append(&needed, order)?;
        }
        order.push(name.to_owned());
        Ok(())
    }

    /// A module's content.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>, Error> {
        let path = self.path(name);
        fs::read(&path).map_err(Error::file(&path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name).with_extension("ko")
    }
}

fn roots() -> impl Iterator<Item = &'static str> {
    BASE_MODULES.into_iter().chain(DEVICE_MODULES)
}

/// The modules that are part of the kernel itself, as the list in the version's folder has them.
fn builtin(tree: &Path) -> Result<HashSet<String>, Error> {
    let mut names = HashSet::new();
    for item in fs::read_dir(tree).map_err(Error::file(tree))?.flatten() {
        let list = fs::read_to_string(item.path().join("modules.builtin")).unwrap_or_default();
        names.extend(list.lines().filter_map(|line| module_name(Path::new(line))));
    }
    Ok(names)
}

/// All modules under a folder by name.
fn shipped(tree: &Path) -> Result<HashMap<String, PathBuf>, Error> {
    let mut found = HashMap::new();
    let mut folders = vec![tree.to_owned()];
    while let Some(folder) = folders.pop() {
        for item in fs::read_dir(&folder).map_err(Error::file(&folder))? {
            let item = item.map_err(Error::file(&folder))?;
            let path = item.path();
            if item.file_type().map_err(Error::file(&path))?.is_dir() {
                folders.push(path);
            } else if let Some(name) = module_name(&path) {
                found.insert(name, path);
            }
        }
    }
    Ok(found)
}

/// The kernel's name for a module file: `nand-core.ko.xz` has `nand_core`.
fn module_name(path: &Path) -> Option<String> {
    let (name, rest) = path.file_name()?.to_str()?.split_once('.')?;
    matches!(rest, "ko" | "ko.xz").then(|| name.replace('-', "_"))
}

fn uncompressed(path: &Path) -> Result<Vec<u8>, Error> {
    if path.extension() == Some(OsStr::new("xz")) {
        output(Command::new("xz").arg("-dc").arg(path), "xz", "xz-utils")
    } else {
        fs::read(path).map_err(Error::file(path))
    }
}

/// The modules that a module says it needs, in the order of its `depends=` string.
fn needs(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else {
        return Vec::new();
    };
    let value = module[start + KEY.len()..].split(|&byte| byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_as_the_kernel_spells_them() {
        assert_eq!(module_name(Path::new("a/virtio-pci.ko.xz")).as_deref(), Some("virtio_pci"));
        assert_eq!(module_name(Path::new("a/mtd.ko")).as_deref(), Some("mtd"));
        assert_eq!(module_name(Path::new("a/modules.order")), None);
    }

    #[test]
    fn needs_are_read_from_the_module() {
        assert_eq!(needs(b"ELF license=GPL\0depends=mtd,nand-core\0name=x\0"), ["mtd", "nand_core"]);
        assert_eq!(needs(b"ELF license=GPL\0depends=\0name=x\0"), [""; 0]);
    }
}
