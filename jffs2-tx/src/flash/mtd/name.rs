//! How users name an MTD device.

use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::string::String;
use std::vec::Vec;
use std::{format, fs};

use nix::sys::stat::{major, minor};

use super::MtdError;
use super::sysfs::Class;

/// Major number of MTD character devices: minor 2N is mtdN, minor 2N+1 is mtdNro.
pub(super) const MAJOR: u64 = 90;
/// Major number of mtdblock devices: minor N is mtdblockN.
const BLOCK_MAJOR: u64 = 31;

/// An MTD device as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// The device of this number; its node under `/dev` is to be opened.
    Number(u32),
    /// The node of this number that can only be read.
    ReadOnly(u32),
    /// A character device with MTD's major number, wherever it is.
    Node(PathBuf),
    /// By what sysfs calls it, often a partition's name.
    Named(String),
}

impl Name {
    /// `None` if the path names no MTD device.
    pub(super) fn parse(path: &Path) -> Option<Self> {
        match fs::metadata(path) {
            Ok(metadata) => Self::of_node(path, &metadata),
            // /dev/mtd0 without its node is still the name of a device, and the error will say so.
            Err(_) => Self::spelled(path),
        }
    }

    /// A file that is there counts for what it is, not for what it is called: dumps are often called mtd0.
    fn of_node(path: &Path, metadata: &fs::Metadata) -> Option<Self> {
        let (device, kind) = (metadata.rdev(), metadata.file_type());
        if kind.is_char_device() && major(device) == MAJOR {
            return Some(Self::Node(path.into()));
        }
        (kind.is_block_device() && major(device) == BLOCK_MAJOR).then(|| Self::Number(minor(device) as u32))
    }

    fn spelled(path: &Path) -> Option<Self> {
        let text = path.to_str()?;
        if let Some(name) = text.strip_prefix("mtd:") {
            return Some(Self::Named(name.into()));
        }
        let file = text.strip_prefix("/dev/").unwrap_or(text);
        let rest = file.strip_prefix("mtdblock").map(|rest| (rest, false));
        let rest = rest.or_else(|| file.strip_suffix("ro")?.strip_prefix("mtd").map(|rest| (rest, true)));
        let (digits, read_only) = rest.or_else(|| Some((file.strip_prefix("mtd")?, false)))?;
        // `parse` would take "+1".
        let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
        Some(if read_only { Self::ReadOnly(number) } else { Self::Number(number) })
    }

    /// The node to open.
    pub(super) fn node(&self, class: &Class) -> Result<PathBuf, MtdError> {
        match self {
            Self::Number(number) => Ok(node_of(*number)),
            Self::ReadOnly(number) => Ok(format!("/dev/mtd{number}ro").into()),
            Self::Node(path) => Ok(path.clone()),
            Self::Named(name) => by_name(class, name),
        }
    }
}

/// The node that is read and written.
pub(super) fn node_of(number: u32) -> PathBuf {
    format!("/dev/mtd{number}").into()
}

fn by_name(class: &Class, name: &str) -> Result<PathBuf, MtdError> {
    let mut devices = class.devices();
    let named: Vec<_> = devices.iter().filter(|(_, other)| other == name).map(|d| d.0).collect();
    match named[..] {
        [number] => Ok(node_of(number)),
        [] => Err(MtdError::NotFound { device: format!("mtd:{name}"), present: list(&devices) }),
        _ => {
            devices.retain(|(_, other)| other == name);
            Err(MtdError::Ambiguous { device: format!("mtd:{name}"), devices: list(&devices) })
        }
    }
}

/// Devices for an error message.
pub(super) fn list(devices: &[(u32, String)]) -> String {
    if devices.is_empty() {
        return "none (is the flash's driver loaded, and /sys mounted?)".into();
    }
    let each: Vec<_> = devices.iter().map(|(number, name)| format!("/dev/mtd{number} ({name:?})")).collect();
    each.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings() {
        let spelled = |text: &str| Name::spelled(Path::new(text));
        for (text, name) in [
            ("/dev/mtd0", Name::Number(0)),
            ("mtd12", Name::Number(12)),
            ("/dev/mtdblock3", Name::Number(3)),
            ("mtdblock3", Name::Number(3)),
            ("/dev/mtd7ro", Name::ReadOnly(7)),
            ("mtd:rootfs", Name::Named("rootfs".into())),
            ("mtd:", Name::Named(String::new())),
            ("mtd:a/b 1", Name::Named("a/b 1".into())),
        ] {
            assert_eq!(spelled(text), Some(name), "{text}");
        }
        for text in [
            "",
            "mtd",
            "/dev/mtd",
            "mtdro",
            "mtd+1",
            "mtd-1",
            "mtd1x",
            "mtdblock",
            "mtdblock1ro",
            "mtd99999999999",
            "/dev/sda1",
            "./mtd0",
            "/tmp/mtd0",
            "mtd0.bin",
            "MTD0",
        ] {
            assert_eq!(spelled(text), None, "{text}");
        }
    }

    #[test]
    fn a_file_is_what_it_is() {
        let directory = tempfile::tempdir().unwrap();
        let dump = directory.path().join("mtd0");
        fs::write(&dump, b"").unwrap();
        assert_eq!(Name::parse(&dump), None);
        assert_eq!(Name::parse(directory.path()), None);
        assert_eq!(Name::parse(Path::new("/dev/null")), None);
        assert_eq!(Name::parse(Path::new("/dev/mtd4294967295")), Some(Name::Number(u32::MAX)));
    }

    #[test]
    fn names_are_looked_up() {
        let directory = tempfile::tempdir().unwrap();
        for (entry, name) in [("mtd0", "boot\n"), ("mtd1", "data\n"), ("mtd2", "data\n")] {
            fs::create_dir(directory.path().join(entry)).unwrap();
            fs::write(directory.path().join(entry).join("name"), name).unwrap();
        }
        let class = Class::new(directory.path());
        let node = |name: &str| Name::Named(name.into()).node(&class);
        assert_eq!(node("boot").unwrap(), Path::new("/dev/mtd0"));
        let missing = node("root").unwrap_err();
        assert!(matches!(missing, MtdError::NotFound { .. }));
        let text = format!("{missing}");
        assert!(text.contains("mtd:root") && text.contains(r#"/dev/mtd1 ("data")"#), "{text}");
        let ambiguous = node("data").unwrap_err();
        assert!(matches!(ambiguous, MtdError::Ambiguous { .. }));
        let text = format!("{ambiguous}");
        assert!(text.contains("/dev/mtd1") && text.contains("/dev/mtd2") && !text.contains("mtd0"), "{text}");
        let none = Name::Named("x".into()).node(&Class::new(directory.path().join("none"))).unwrap_err();
        assert!(format!("{none}").contains("none (is"), "{none}");
    }
}
