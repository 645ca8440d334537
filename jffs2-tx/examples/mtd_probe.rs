//! What an MTD device is: `mtd_probe /dev/mtdN`. Reads all of it and changes nothing.

use std::path::Path;

use jffs2_tx::flash::{Ecc, Flash, MtdError, MtdFlash};

fn main() {
    let Some(device) = std::env::args_os().nth(1) else {
        eprintln!("usage: mtd_probe DEVICE");
        std::process::exit(2);
    };
    if let Err(error) = probe(Path::new(&device)) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}

fn probe(device: &Path) -> Result<(), MtdError> {
    let flash = MtdFlash::open(device, false)?;
    println!("{:#?}\n{:?}", flash.info(), flash.geometry());
    let mut buf = vec![0; flash.geometry().eraseblock() as usize];
    for block in 0..flash.geometry().blocks() {
        if flash.is_bad(block)? {
            println!("eraseblock {block}: marked bad");
            continue;
        }
        let ecc = flash.read(flash.geometry().offset_of(block), &mut buf)?;
        let blank = buf.iter().all(|byte| *byte == 0xff);
        let clean = flash.has_oob_cleanmarker(block)?;
        if ecc != Ecc::Clean || !blank || clean {
            println!("eraseblock {block}: {ecc:?}, blank: {blank}, cleanmarker in OOB: {clean}");
        }
    }
    println!("{:?}", flash.corrections());
    Ok(())
}
