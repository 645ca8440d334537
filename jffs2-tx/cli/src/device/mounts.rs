//! Who has mounted an MTD device, as far as the kernel tells.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use jffs2_tx::flash::MtdInfo;

use crate::failure::{Exit, Failure};

/// Block devices of MTD: minor N is mtdN. File systems mounted from an MTD device without one have this number, too.
const MTD_BLOCK_MAJOR: u32 = 31;

/// What is mounted from a device, or from one that shares flash with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mounted {
    No,
    /// Mount ids, by which a mount is known for as long as it stays.
    ReadOnly {
        ids: BTreeSet<u32>,
    },
    Writable {
        ids: BTreeSet<u32>,
        place: String,
    },
    /// UBI has it.
    Ubi {
        number: u32,
    },
}

/// A line of mountinfo (Linux Documentation/filesystems/proc.rst).
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    id: u32,
    device: (u32, u32),
    place: String,
    kind: String,
    source: String,
    /// Of the file system: a bind mount may be read-only on its own.
    writable: bool,
}

/// Looks at the mounts of this process, and at those of the first one where it may.
pub(crate) fn mounted(info: &MtdInfo) -> Result<Mounted, Failure> {
    const OWN: &str = "/proc/self/mountinfo";
    let failed = |error| Failure::new(Exit::Io, format!("{OWN}: {error}: who has mounted it cannot be told"));
    // Mount points are any bytes. What the first process has mounted only root may see.
    let own = fs::read(OWN).map_err(failed)?;
    let first = fs::read("/proc/1/mountinfo").unwrap_or_default();
    let (own, first) = (String::from_utf8_lossy(&own), String::from_utf8_lossy(&first));
    let lines: Vec<Line> = own.lines().chain(first.lines()).filter_map(Line::parse).collect();
    let sharing = sharing(Path::new("/sys/class/mtd"), info.number);
    Ok(match judge(&lines, &info.name, &sharing) {
        Mounted::No if is_collected(Path::new("/proc"), &sharing) => {
            Mounted::Writable { ids: BTreeSet::new(), place: "a place that cannot be seen from here".into() }
        }
        Mounted::No => ubi(Path::new("/sys/class/ubi"), &sharing),
        found => found,
    })
}

/// Whether a garbage collector of JFFS2 runs for a device: a kernel thread, one for each file system that is mounted
/// read-write, also where no mount table has it: below another root, in another namespace, or unmounted lazily.
fn is_collected(proc: &Path, sharing: &BTreeSet<u32>) -> bool {
    let processes = fs::read_dir(proc).into_iter().flatten().flatten();
    let names = processes.filter_map(|entry| fs::read_to_string(entry.path().join("comm")).ok());
    let numbers = names.filter_map(|name| name.trim_end().strip_prefix("jffs2_gcd_mtd")?.parse().ok());
    numbers.into_iter().any(|number: u32| sharing.contains(&number))
}

fn judge(lines: &[Line], name: &str, sharing: &BTreeSet<u32>) -> Mounted {
    let ours: Vec<&Line> = lines.iter().filter(|line| line.is_of(name, sharing)).collect();
    let ids: BTreeSet<u32> = ours.iter().map(|line| line.id).collect();
    match ours.iter().find(|line| line.writable) {
        Some(line) => Mounted::Writable { ids, place: line.place.clone() },
        None if ids.is_empty() => Mounted::No,
        None => Mounted::ReadOnly { ids },
    }
}

impl Line {
    fn parse(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mount: Vec<&str> = mount.split(' ').collect();
        let [id, _, device, _, place, ..] = mount[..] else { return None };
        let mut file_system = file_system.split(' ');
        let (kind, source, options) = (file_system.next()?, file_system.next()?, file_system.next()?);
        let (major, minor) = device.split_once(':')?;
        Some(Self {
            id: id.parse().ok()?,
            device: (major.parse().ok()?, minor.parse().ok()?),
            place: place.into(),
            kind: kind.into(),
            source: source.into(),
            writable: options.split(',').any(|option| option == "rw"),
        })
    }

    /// Whether it is a mount of the device: by number, or, of jffs2, by how it was named.
    fn is_of(&self, name: &str, sharing: &BTreeSet<u32>) -> bool {
        let by_number = self.device.0 == MTD_BLOCK_MAJOR && sharing.contains(&self.device.1);
        let file = self.source.strip_prefix("/dev/").unwrap_or(&self.source);
        let number = file.strip_prefix("mtdblock").or_else(|| file.strip_prefix("mtd"));
        let named = number.and_then(|number| number.parse().ok()).is_some_and(|number| sharing.contains(&number))
            || self.source.strip_prefix("mtd:") == Some(name);
        by_number || self.kind == "jffs2" && named
    }
}

/// The device's number, and those of its partitions and of what it is a partition of: sysfs nests them, where the kernel
/// makes a device of the whole flash as well (CONFIG_MTD_PARTITIONED_MASTER).
fn sharing(class: &Path, number: u32) -> BTreeSet<u32> {
    let own = class.join(format!("mtd{number}")).canonicalize().ok();
    let numbers = fs::read_dir(class).into_iter().flatten().flatten();
    let nested = numbers.filter_map(|entry| {
        let other: u32 = entry.file_name().to_str()?.strip_prefix("mtd")?.parse().ok()?;
        let path: PathBuf = entry.path().canonicalize().ok()?;
        let own = own.as_ref()?;
        (path.starts_with(own) || own.starts_with(&path)).then_some(other)
    });
    nested.chain([number]).collect()
}

fn ubi(class: &Path, sharing: &BTreeSet<u32>) -> Mounted {
    let entries = fs::read_dir(class).into_iter().flatten().flatten();
    let attached = entries.filter_map(|entry| {
        let number: u32 = entry.file_name().to_str()?.strip_prefix("ubi")?.parse().ok()?;
        let mtd: u32 = fs::read_to_string(entry.path().join("mtd_num")).ok()?.trim().parse().ok()?;
        sharing.contains(&mtd).then_some(number)
    });
    attached.min().map_or(Mounted::No, |number| Mounted::Ubi { number })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn line(text: &str) -> Line {
        Line::parse(text).unwrap()
    }

    #[test]
    fn mountinfo_is_understood() {
        let root = line("21 1 31:2 / / rw,relatime shared:1 - jffs2 mtd:rootfs ro");
        let device = (31, 2);
        assert_eq!((root.id, root.device, root.place.as_str(), root.writable), (21, device, "/", false));
        assert_eq!((root.kind.as_str(), root.source.as_str()), ("jffs2", "mtd:rootfs"));
        assert!(line("30 21 0:23 / /a\\040b ro - tmpfs tmpfs rw,size=64k").writable, "the file system's option counts");
        for text in ["", "21 1 31:2 / / rw", "x 1 31:2 / / rw - jffs2 mtd0 ro", "21 1 31 / / rw - jffs2 mtd0 ro"] {
            assert_eq!(Line::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_mount_is_found_by_number_and_by_name() {
        let is_of = |text: &str| line(text).is_of("rootfs", &BTreeSet::from([2]));
        for text in [
            "1 1 31:2 / / rw - jffs2 anything rw",
            "1 1 31:2 / / rw - squashfs /dev/mtdblock2 ro",
            "1 1 0:19 / / rw - jffs2 mtd2 rw",
            "1 1 0:19 / / rw - jffs2 mtd:rootfs rw",
            "1 1 0:19 / / rw - jffs2 /dev/mtdblock2 rw",
        ] {
            assert!(is_of(text), "{text}");
        }
        for text in [
            "1 1 31:3 / / rw - jffs2 mtd3 rw",
            "1 1 0:19 / / rw - tmpfs mtd2 rw",
            "1 1 0:19 / / rw - jffs2 mtd22 rw",
            "1 1 8:2 / / rw - ext4 /dev/sda2 rw",
        ] {
            assert!(!is_of(text), "{text}");
        }
    }

    #[test]
    fn one_writable_mount_is_enough() {
        let two = BTreeSet::from([2]);
        let ro = line("5 1 31:2 / /a ro - jffs2 mtd2 ro");
        let rw = line("6 1 31:2 / /b ro - jffs2 mtd2 rw");
        assert_eq!(judge(std::slice::from_ref(&ro), "x", &two), Mounted::ReadOnly { ids: BTreeSet::from([5]) });
        assert_eq!(judge(&[ro, rw], "x", &two), Mounted::Writable { ids: BTreeSet::from([5, 6]), place: "/b".into() });
        assert_eq!(judge(&[], "x", &two), Mounted::No);
    }

    #[test]
    fn partitions_share_flash_with_the_whole() {
        let dir = tempfile::tempdir().unwrap();
        let (class, whole) = (dir.path().join("class"), dir.path().join("devices/mtd0"));
        fs::create_dir_all(whole.join("mtd1")).unwrap();
        fs::create_dir_all(whole.join("mtd2")).unwrap();
        fs::create_dir_all(&class).unwrap();
        for (name, target) in [("mtd0", whole.clone()), ("mtd1", whole.join("mtd1")), ("mtd2", whole.join("mtd2"))] {
            symlink(target, class.join(name)).unwrap();
        }
        assert_eq!(sharing(&class, 0), BTreeSet::from([0, 1, 2]));
        assert_eq!(sharing(&class, 1), BTreeSet::from([0, 1]));
        assert_eq!(sharing(&dir.path().join("none"), 7), BTreeSet::from([7]));
    }

    #[test]
    fn a_collector_betrays_a_mount() {
        let dir = tempfile::tempdir().unwrap();
        for (process, name) in [("1", "init\n"), ("77", "jffs2_gcd_mtd4\n"), ("78", "jffs2_gcd_mtd41\n")] {
            fs::create_dir(dir.path().join(process)).unwrap();
            fs::write(dir.path().join(process).join("comm"), name).unwrap();
        }
        assert!(is_collected(dir.path(), &BTreeSet::from([4])));
        assert!(!is_collected(dir.path(), &BTreeSet::from([1, 7])));
    }

    #[test]
    fn ubi_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        for (name, mtd) in [("ubi0", "4\n"), ("ubi1", "2\n")] {
            fs::create_dir(dir.path().join(name)).unwrap();
            fs::write(dir.path().join(name).join("mtd_num"), mtd).unwrap();
        }
        fs::create_dir(dir.path().join("ubi0_0")).unwrap();
        assert_eq!(ubi(dir.path(), &BTreeSet::from([2])), Mounted::Ubi { number: 1 });
        assert_eq!(ubi(dir.path(), &BTreeSet::from([3])), Mounted::No);
    }
}
