//! jffs2-tx command line.
fn main() {}
