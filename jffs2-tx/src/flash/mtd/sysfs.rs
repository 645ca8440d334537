//! What the kernel says of MTD devices in `/sys/class/mtd` (Linux Documentation/ABI/testing/sysfs-class-mtd).

use std::borrow::ToOwned;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::string::String;
use std::vec::Vec;
use std::{format, fs};

/// The directory with one entry for each MTD device.
#[derive(Clone, Debug)]
pub(super) struct Class(PathBuf);

impl Class {
    pub(super) fn new(directory: impl Into<PathBuf>) -> Self {
        Self(directory.into())
    }

    /// Numbers and names of all devices, by number. None if sysfs is not mounted.
    pub(super) fn devices(&self) -> Vec<(u32, String)> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        // Beside each mtdN stands an mtdNro.
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.strip_prefix("mtd")?.parse().ok());
        let mut devices: Vec<_> =
            numbers.map(|number| (number, self.text(number, "name").unwrap_or_default())).collect();
        devices.sort_unstable();
        devices
    }

    /// An attribute as text, without the newline behind it. None if the kernel does not have it.
    pub(super) fn text(&self, number: u32, attribute: &str) -> Option<String> {
        let text = fs::read_to_string(self.directory(number).join(attribute)).ok()?;
        Some(text.strip_suffix('\n').unwrap_or(&text).to_owned())
    }

    /// An attribute that is a decimal number.
    pub(super) fn number<N: FromStr>(&self, number: u32, attribute: &str) -> Option<N> {
        self.text(number, attribute)?.trim().parse().ok()
    }

    fn directory(&self, number: u32) -> PathBuf {
        Path::new(&self.0).join(format!("mtd{number}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_attributes() {
        let directory = tempfile::tempdir().unwrap();
        for (entry, name) in [("mtd10", "data\n"), ("mtd2", "root fs\n"), ("mtd2ro", "root fs\n"), ("mtdblock2", "x\n")]
        {
            fs::create_dir(directory.path().join(entry)).unwrap();
            fs::write(directory.path().join(entry).join("name"), name).unwrap();
        }
        fs::write(directory.path().join("mtd2/size"), "8589934592\n").unwrap();
        fs::write(directory.path().join("mtd2/oobavail"), "none\n").unwrap();
        let class = Class::new(directory.path());
        assert_eq!(class.devices(), [(2, "root fs".to_owned()), (10, "data".to_owned())]);
        assert_eq!(class.number(2, "size"), Some(8_589_934_592_u64));
        assert_eq!(class.number::<u32>(2, "size"), None);
        assert_eq!(class.number::<u32>(2, "oobavail"), None);
        assert_eq!(class.number::<u32>(2, "subpagesize"), None);
        assert!(Class::new(directory.path().join("none")).devices().is_empty());
    }
}
