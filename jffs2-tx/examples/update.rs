//! Makes the tree of an image equal to a directory, in one transaction:
//! `cargo run --release --example update -- IMAGE ERASEBLOCK DIRECTORY` (NOR, little endian).

use std::path::Path;

use jffs2_tx::flash::{FlashKind, Geometry, ImageFlash};
use jffs2_tx::source::SourceTree;
use jffs2_tx::tx::{Transaction, TxOptions};
use jffs2_tx::wire::Endian;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [image, eraseblock, directory] = &args[..] else {
        return Err("usage: update IMAGE ERASEBLOCK DIRECTORY".into());
    };
    let geometry = Geometry::new(FlashKind::Nor, std::fs::metadata(image)?.len(), eraseblock.parse()?, 1)?;
    let mut flash = ImageFlash::open(Path::new(image), geometry, true)?;
    let tree = SourceTree::from_dir(Path::new(directory))?;
    let options = TxOptions { label: "example".into(), txid: [7; 16], ..TxOptions::default() };
    let mut tx = Transaction::begin(&mut flash, Endian::Little, options)?;
    println!("{:#?}", tx.replace_tree(&tree, &mut |_, _| {})?);
    println!("{:#?}", tx.commit()?);
    Ok(())
}
