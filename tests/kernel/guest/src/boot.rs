//! From an empty root to a kernel with its file systems and modules.

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, Result};
use nix::kmod::{DeleteModuleFlags, ModuleInitFlags, delete_module, finit_module};
use nix::mount::{MsFlags, mount};

/// The modules to load first, in this order: one file name a line.
const ORDER: &str = "/modules/order";

/// Mounts what the kernel offers about itself and its devices.
pub(crate) fn mount_kernel_file_systems() -> Result<()> {
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("devtmpfs", "/dev")] {
        fs::create_dir_all(place)?;
        mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mount {kind}"))?;
    }
    Ok(())
}

/// Loads the disk driver, the file system and what they need.
pub(crate) fn load_base_modules() -> Result<()> {
    let order = fs::read_to_string(ORDER).context(ORDER)?;
    order.lines().try_for_each(|name| load_module(name, c""))
}

/// Loads a module of the initramfs.
pub(crate) fn load_module(name: &str, parameters: &CStr) -> Result<()> {
    let path = Path::new("/modules").join(name).with_extension("ko");
    let file = File::open(&path).with_context(|| format!("module {name}"))?;
    finit_module(&file, parameters, ModuleInitFlags::empty()).with_context(|| format!("load module {name}"))
}

/// Removes a module.
pub(crate) fn unload_module(name: &str) -> Result<()> {
    let c_name = CString::new(name)?;
    delete_module(&c_name, DeleteModuleFlags::O_NONBLOCK).with_context(|| format!("unload module {name}"))
}
