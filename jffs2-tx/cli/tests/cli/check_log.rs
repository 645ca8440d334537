//! check and log: every kind of finding, every state of a transaction.

use crate::common::{Bench, Builder, NOR, TIME, layouts, run, sample};
use jffs2_tx::inode_kind::FileKind::{Directory, File, Symlink};
use jffs2_tx::wire::{CommitPoint, Compression, Marker, MarkerKind};

#[test]
fn nothing_to_find() {
    let bench = Bench::new();
    for layout in layouts() {
        let checked = run("check", &bench.file("image", &sample(layout)), &[&"--json"]);
        assert_eq!((checked.code, checked.err.as_str()), (0, ""), "{layout:?}");
        let texts: Vec<_> = checked.json().iter().map(|line| line["text"].to_string()).collect();
        assert_eq!(texts, [r#""1 inodes, no name leads to them: Linux drops them when it mounts""#]);
    }
}

/// What check finds in the image that `build` makes: severity and the whole line, notes on space left out.
fn found(build: impl FnOnce(&mut Builder)) -> Vec<String> {
    let bench = Bench::new();
    let mut builder = Builder::new(NOR);
    build(&mut builder);
    let image = bench.file("image", &builder.finish(20));
    let checked = run("check", &image, &[]);
    let lines: Vec<String> = checked.text().lines().map(String::from).collect();
    assert_eq!(checked.code, i32::from(lines.iter().any(|line| !line.starts_with("note: "))), "{lines:?}");
    lines
}

#[test]
fn names_and_inodes() {
    assert_eq!(
        found(|image| image.dirent(1, "a", 9, File)),
        ["warning: /a: at 0xc: name leads to nothing: Linux drops it"]
    );
    assert_eq!(
        found(|image| {
            image.put(1, "a", 2, Directory, 0o755, &[]);
            image.dirent(2, "b", 2, Directory);
            image.dirent(1, "c", 2, Directory);
        }),
        ["error: /a/b: at 0x7c: directory is inside itself", "error: /c: at 0xa8: directory with two names"]
    );
    assert_eq!(
        found(|image| image.put(1, "..", 2, File, 0o644, &[])),
        ["error: /..: at 0x50: name cannot be: no path leads to it"]
    );
    assert_eq!(
        found(|image| {
            image.inode(2, 0o100_644, b"x", |_| {});
            image.dirent(1, "a", 2, Symlink);
        }),
        ["warning: /a: at 0x54: type in the name differs from the inode's"]
    );
    assert_eq!(
        found(|image| image.put(1, "a", 2, File, 0o644, &[]))
            .into_iter()
            .chain(found(|image| image.inode(7, 0o100_644, &[], |_| {})))
            .collect::<Vec<_>>(),
        ["note: 1 inodes, no name leads to them: Linux drops them when it mounts"]
    );
}

#[test]
fn data_and_special_inodes() {
    assert_eq!(
        found(|image| {
            image.inode(2, 0o100_644, &[1; 50], |node| (node.compression, node.dsize) = (Compression::Zlib, 100));
            image.dirent(1, "a", 2, File);
            image.inode(3, 0o100_644, &[1; 52], |node| node.compression = Compression::Other(9));
            image.dirent(1, "b", 3, File);
        }),
        [
            "error: /a: at 0xc: bytes 0 to 50: compressed data is damaged",
            "warning: /b: at 0xb0: not checked: compressor 9 is not supported here",
        ]
    );
    assert_eq!(
        found(|image| image.put(1, "a", 2, Symlink, 0o777, &[])),
        ["error: /a: at 0xc: inode 2 is damaged at 0xc: data is not in one node"]
    );
}

#[test]
fn damaged_places_and_unreadable_inodes() {
    let bench = Bench::new();
    let mut builder = Builder::new(NOR);
    builder.put(1, "a", 2, File, 0o644, b"data");
    builder.put(1, "b", 3, File, 0o644, b"data");
    let mut bytes = builder.finish(20);
    bytes[12 + 68] ^= 1;
    let checked = run("check", &bench.file("image", &bytes), &[]);
    assert_eq!(checked.code, 1);
    let wanted = "error: /a: at 0xc: inode 2 has no readable node\n";
    assert_eq!(checked.text(), wanted);
}

/// A begin marker has no commit point yet.
fn marker(commit_point: Option<CommitPoint>) -> Marker {
    let (kind, commit_block) =
        if commit_point.is_some() { (MarkerKind::Commit, 2) } else { (MarkerKind::Begin, u32::MAX) };
    Marker {
        kind,
        commit_point,
        sequence: 7,
        txid: [0xab; 16],
        commit_block,
        nodes: 0,
        bytes: 0,
        time: TIME.into(),
        digest: [0; 32],
        label: "v2\n".into(),
    }
}

fn emitted(marker: &Marker) -> Vec<u8> {
    let mut node = Vec::new();
    marker.emit(NOR.endian, &mut node);
    node
}

/// An image with the begin marker of a transaction in eraseblock 1 and its commit block, made by `commit`, as 2.
fn transaction(commit: impl FnOnce(&mut [u8])) -> Vec<u8> {
    let mut builder = Builder::new(NOR);
    builder.put(1, "a", 2, File, 0o644, b"data");
    let mut bytes = builder.finish(20);
    let (start, end) = (NOR.eraseblock, 2 * NOR.eraseblock);
    bytes[start..end + NOR.eraseblock].fill(0xff);
    let begin = emitted(&marker(None));
    bytes[start..start + begin.len()].copy_from_slice(&begin);
    commit(&mut bytes[end..end + NOR.eraseblock]);
    bytes
}

#[test]
fn states_of_transactions() {
    let bench = Bench::new();
    let body = emitted(&marker(Some(CommitPoint::Head)));
    let head = marker(Some(CommitPoint::Head)).head(NOR.endian);
    for (copied, state, warnings) in [(0, "leftover", 1), (128, "committed-not-sealed", 0), (256, "committed", 0)] {
        let image = bench.file(
            "image",
            &transaction(|block| {
                block[4096..4096 + body.len()].copy_from_slice(&body);
                block[..copied].copy_from_slice(&head[..copied]);
            }),
        );
        let log = run("log", &image, &[&"--json"]).json();
        let wanted = serde_json::json!({
            "txid": "ab".repeat(16), "sequence": 7, "label": "v2\\x0a", "time": TIME, "commit_point": "head",
            "state": state, "payload_blocks": [1], "commit_block": 2, "digest": "gone",
        });
        assert_eq!(log, [wanted]);
        let checked = run("check", &image, &[]);
        assert_eq!(checked.text().matches("hidden but not blank").count(), warnings, "{}", checked.text());
    }
}

#[test]
fn a_transaction_without_a_commit_is_a_leftover() {
    let bench = Bench::new();
    let image = bench.file("image", &transaction(|_| {}));
    let line = format!(
        "7 {} 2009-02-13T23:31:30Z undecided \"v2\\x0a\": leftover, payload blocks 1, digest none\n",
        "ab".repeat(16)
    );
    assert_eq!(run("log", &image, &[]).text(), line);
    assert_eq!(run("info", &image, &[&"--json"]).json()[0]["markers"], 1);
}
