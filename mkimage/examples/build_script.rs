//! What a `build.rs` does to have an image of a directory beside its program. By hand:
//! `OUT_DIR=/tmp cargo run --release -p jffs2-mkimage --example build_script`

use std::path::PathBuf;
use std::{env, error::Error, fs::File};

use jffs2_mkimage::{Compress, Options, build};
use jffs2_tx::source::SourceTree;

fn main() -> Result<(), Box<dyn Error>> {
    let image = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("root.jffs2");
    let tree = SourceTree::from_dir("src".as_ref())?;
    let options = Options { eraseblock: 128 << 10, summary: true, compress: Compress::best(), ..Options::default() };
    let report = build(&tree, &options, &mut File::create(image)?)?;
    println!("cargo::rerun-if-changed=src");
    println!("cargo::warning=root.jffs2: {} bytes for {} inodes", report.bytes, report.inodes);
    Ok(())
}
