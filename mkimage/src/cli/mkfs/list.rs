//! What `--verbose` says.

use std::io::{self, Write};

use jffs2_mkimage::{Report, Stored};
use jffs2_tx::source::{NodeId, ROOT, SourceKind, SourceTree};
use jffs2_tx::tree::show_path;

/// A line for each path: type, mode, owner, then size or device number.
pub(super) fn tree(tree: &SourceTree, out: &mut dyn Write) -> io::Result<()> {
    let mut todo = vec![(Vec::new(), ROOT)];
    while let Some((path, id)) = todo.pop() {
        let shown = if id == ROOT { "/".into() } else { show_path(&path) };
        writeln!(out, "{} {shown}", line(tree, id))?;
        let first_child = todo.len();
        todo.extend(tree.children(id).map(|(name, child)| ([&path, &b"/"[..], name].concat(), child)));
        todo[first_child..].reverse();
    }
    Ok(())
}

fn line(tree: &SourceTree, id: NodeId) -> String {
    let node = tree.node(id);
    let (letter, last) = match &node.kind {
        SourceKind::Directory(_) => ('d', "-".into()),
        SourceKind::File { size, .. } => ('f', size.to_string()),
        SourceKind::Symlink(target) => ('l', target.len().to_string()),
        SourceKind::CharDevice(device) => ('c', format!("{},{}", device.major, device.minor)),
        SourceKind::BlockDevice(device) => ('b', format!("{},{}", device.major, device.minor)),
        SourceKind::Fifo => ('p', "-".into()),
        SourceKind::Socket => ('s', "-".into()),
    };
    format!("{letter} {:04o} {}:{} {last}", node.meta.mode, node.meta.uid, node.meta.gid)
}

/// The image's measures, then those of each compressor that was of use.
pub(super) fn report(report: &Report) -> String {
    let Report { bytes, eraseblocks, inodes, compressors, .. } = report;
    let mut text = format!("image: {bytes} bytes, {eraseblocks} eraseblocks, {inodes} inodes");
    let all = [
        ("none", compressors.none),
        ("zlib", compressors.zlib),
        ("lzo", compressors.lzo),
        ("lzma", compressors.lzma),
        ("rtime", compressors.rtime),
    ];
    for (name, Stored { nodes, bytes, stored }) in all.into_iter().filter(|(_, stored)| stored.nodes > 0) {
        text += &format!("\n{name:>5}: {nodes} nodes, {bytes} bytes stored in {stored}");
    }
    text
}
