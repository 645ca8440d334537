//! Extended attributes: extracted, listed, left out.

use std::path::Path;

use jffs2_mkimage::Options;
use serde_json::json;

use crate::common::{Bench, is_root, run};
use crate::manifest::{ACL, image_of, tree};

fn value(path: &Path, name: &str) -> Option<Vec<u8>> {
    xattr::get(path, name).unwrap()
}

#[test]
fn are_extracted_with_their_namespaces() {
    let bench = Bench::new();
    let image = bench.file("image", &image_of(&tree(), &Options::default()));
    let root = bench.path("root");
    let done = run("extract", &image, &[&root]);
    assert_eq!(done.code, 0, "{}", done.err);
    // Linux has them wherever temporary files may be; trusted.* and security.* are root's.
    let passwd = root.join("etc/passwd");
    assert_eq!(value(&passwd, "user.mime").as_deref(), Some(&b"text/plain"[..]));
    assert_eq!(value(&passwd, "user.none").as_deref(), Some(&b""[..]));
    assert_eq!(value(&root.join("etc/acl"), "system.posix_acl_access").as_deref(), Some(ACL));
    assert_eq!(value(&root.join("etc"), "system.posix_acl_default").as_deref(), Some(ACL));
    assert_eq!(value(&root.join("etc/acl"), "system.posix_acl_default"), None);
    if is_root() && !done.err.contains("attributes trusted") {
        assert_eq!(value(&passwd, "trusted.t").as_deref(), Some(&[0, 255, 7][..]));
        assert_eq!(value(&passwd, "security.label").as_deref(), Some(&b"system_u:object_r\0"[..]));
    } else {
        assert!(done.err.contains("1 attributes trusted.*"), "{}", done.err);
    }

    let bare = bench.path("bare");
    let done = run("extract", &image, &[&bare, &"--no-xattrs"]);
    assert!(done.code == 0 && !done.err.contains("attributes"), "{}", done.err);
    for name in ["etc", "etc/acl", "etc/passwd"] {
        assert_eq!(xattr::list(bare.join(name)).unwrap().filter(|name| name != "security.selinux").count(), 0);
    }
}

#[test]
fn are_listed() {
    let bench = Bench::new();
    let image = bench.file("image", &image_of(&tree(), &Options::default()));
    let rows = run("ls", &image, &[&"/etc", &"--json"]).json();
    let label = "73797374656d5f753a6f626a6563745f7200";
    let passwd =
        json!({"security.label": label, "trusted.t": "00ff07", "user.mime": "746578742f706c61696e", "user.none": ""});
    assert_eq!(rows[1]["xattrs"], passwd);
    assert!(rows[2].get("xattrs").is_none());
    let bare = run("ls", &image, &[&"/etc", &"--json", &"--no-xattrs"]);
    assert!(!bare.text().contains("xattrs"));
    let plain = run("ls", &image, &[&"/etc"]);
    assert_eq!(plain.text(), "acl\npasswd\nsocket\n");
    let text = run("ls", &image, &[&"/etc", &"--xattrs"]);
    let hex: String = ACL.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = format!(
        "acl\n    security.label=\"system_u:object_r\\0\"\n    system.posix_acl_access=0x{hex}\npasswd\n    \
         security.label=\"system_u:object_r\\0\"\n    trusted.t=0x00ff07\n    user.mime=\"text/plain\"\n    user.none=\"\"\n\
         socket\n"
    );
    assert_eq!(text.text(), expected);
}
