//! ACLs for access in the lines of a manifest.

const NAME: &str = "system.posix_acl_access=";
/// Tags of entries that stand for the three digits of a mode (acl(5)); the mask stands for the group's if it is there.
const OWNER: u16 = 1;
const GROUP: u16 = 4;
const MASK: u16 = 16;
const OTHERS: u16 = 32;

/// Whether a line has an ACL that says something else than its mode.
pub(super) fn contradicts_mode(line: &str) -> bool {
    let fields: Vec<&str> = line.split('|').collect();
    let mode = fields.get(1).and_then(|meta| u16::from_str_radix(meta.split(' ').next()?, 16).ok());
    let acl = fields.get(4).and_then(|xattrs| xattrs.split(',').find_map(|xattr| xattr.strip_prefix(NAME)));
    let (Some(mode), Some(acl)) = (mode, acl) else { return false };
    let says = |tag| entries(acl).find(|entry| entry.0 == tag).map(|entry| entry.1);
    says(OWNER) != Some(mode >> 6 & 7)
        || says(MASK).or(says(GROUP)) != Some(mode >> 3 & 7)
        || says(OTHERS) != Some(mode & 7)
}

/// Tag and permissions of each entry, from the hex digits of {tag, permissions, id} behind a version.
fn entries(acl: &str) -> impl Iterator<Item = (u16, u16)> {
    let number = |digits: &str| u16::from_str_radix(digits, 16).map_or(0, u16::swap_bytes);
    (8..acl.len())
        .step_by(16)
        .filter_map(move |at| Some((number(acl.get(at..at + 4)?), number(acl.get(at + 4..at + 8)?))))
}

/// The line without its ACL.
pub(super) fn without_acl(line: &str) -> String {
    let (front, xattrs) = line.rsplit_once('|').unwrap_or((line, ""));
    let others: Vec<&str> = xattrs.split(',').filter(|xattr| !xattr.starts_with(NAME)).collect();
    format!("{front}|{}", others.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACL: &str = "0200000001000500ffffffff04000100ffffffff080005000900000010000200ffffffff20000200ffffffff";

    #[test]
    fn an_acl_that_says_what_the_mode_says() {
        let line = |mode: &str| format!("./a|{mode} 0 0|-||{NAME}{ACL},user.a=00");
        assert!(!contradicts_mode(&line("8152")));
        for mode in ["8192", "815a", "8153"] {
            assert!(contradicts_mode(&line(mode)), "{mode}");
        }
        assert_eq!(without_acl(&line("8152")), "./a|8152 0 0|-||user.a=00");
        assert!(!contradicts_mode("./a|8152 0 0|-||user.a=00"));
    }
}
