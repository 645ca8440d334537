//! Whether the kernel of this machine knows summaries, as far as its configuration can be found.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use jffs2_tx::tx::KernelSummaries;

/// Most bytes of a configuration that are looked at: they have some 300,000.
const MAX_CONFIG: u64 = 16 << 20;

/// What is known of the kernel: from its own configuration, or the one that is installed for it. If there is none the
/// flash has to tell.
pub(crate) fn of_this_kernel() -> KernelSummaries {
    let root = Path::new("/");
    match text_of(&root.join("proc/config.gz")).or_else(|| installed(root)) {
        Some(config) if has_summaries(&config) => KernelSummaries::Known,
        Some(_) => KernelSummaries::Unknown,
        None => KernelSummaries::IfSeen,
    }
}

/// `/boot/config-VERSION`, as distributions install it.
fn installed(root: &Path) -> Option<String> {
    let version = fs::read_to_string(root.join("proc/sys/kernel/osrelease")).ok()?;
    fs::read_to_string(root.join("boot").join(format!("config-{}", version.trim()))).ok()
}

fn text_of(compressed: &Path) -> Option<String> {
    let mut text = String::new();
    GzDecoder::new(File::open(compressed).ok()?).take(MAX_CONFIG).read_to_string(&mut text).ok()?;
    Some(text)
}

fn has_summaries(config: &str) -> bool {
    config.lines().any(|line| line == "CONFIG_JFFS2_SUMMARY=y")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    #[test]
    fn a_configuration_says_yes_or_no() {
        assert!(has_summaries("CONFIG_JFFS2_FS=m\nCONFIG_JFFS2_SUMMARY=y\n"));
        assert!(!has_summaries("CONFIG_JFFS2_FS=m\n# CONFIG_JFFS2_SUMMARY is not set\n"));
        assert!(!has_summaries("CONFIG_JFFS2_SUMMARY=yes\n"));
    }

    #[test]
    fn configurations_are_found() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(installed(root.path()), None);
        fs::create_dir_all(root.path().join("proc/sys/kernel")).unwrap();
        fs::create_dir_all(root.path().join("boot")).unwrap();
        fs::write(root.path().join("proc/sys/kernel/osrelease"), "6.1.0-1\n").unwrap();
        fs::write(root.path().join("boot/config-6.1.0-2"), "other").unwrap();
        assert_eq!(installed(root.path()), None);
        fs::write(root.path().join("boot/config-6.1.0-1"), "this").unwrap();
        assert_eq!(installed(root.path()).as_deref(), Some("this"));
        let path = root.path().join("config.gz");
        let mut file = GzEncoder::new(File::create(&path).unwrap(), Compression::default());
        file.write_all(b"text").unwrap();
        file.finish().unwrap();
        assert_eq!(text_of(&path).as_deref(), Some("text"));
        fs::write(&path, "no gzip").unwrap();
        assert_eq!(text_of(&path), None);
    }
}
