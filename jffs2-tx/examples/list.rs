//! Lists an image: `cargo run --example list -- IMAGE ERASEBLOCK`.

use std::path::Path;

use jffs2_tx::flash::{FlashKind, Geometry, ImageFlash};
use jffs2_tx::index::{Index, ROOT};
use jffs2_tx::scan::Rules;
use jffs2_tx::tree::Tree;
use jffs2_tx::wire::Endian;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(image), Some(eraseblock)) = (args.next(), args.next()) else {
        return Err("usage: list IMAGE ERASEBLOCK".into());
    };
    let eraseblock: u32 = eraseblock.parse()?;
    let size = std::fs::metadata(&image)?.len().next_multiple_of(u64::from(eraseblock));
    let geometry = Geometry::new(FlashKind::Nor, size, eraseblock, 1)?;
    let flash = ImageFlash::open(Path::new(&image), geometry, false)?;
    let index = Index::open(&flash, Rules { endian: Endian::Little, summaries: true })?;
    let tree = Tree::new(&flash, &index);
    for entry in tree.walk(ROOT) {
        let stat = tree.stat(entry.ino)?;
        let meta = stat.meta;
        println!(
            "{}{:04o} {:5} {:5} {:9} {:10} {:2} /{}",
            stat.kind.letter(),
            meta.mode,
            meta.uid,
            meta.gid,
            stat.size,
            meta.mtime,
            stat.links,
            entry.path.escape_ascii()
        );
    }
    Ok(())
}
