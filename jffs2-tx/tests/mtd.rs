//! The MTD device on a real kernel. These tests DESTROY what is on the device that `MTD_SCRATCH` names, so they run only
//! when asked: `MTD_SCRATCH=/dev/mtdN cargo test -p jffs2-tx --features mtd --test mtd -- --ignored --nocapture
//! --test-threads 1`. Any kind will do: mtdram, block2mtd, nandsim with bad or weak blocks and flipping bits (`bitflips=2`
//! at most: its Hamming code corrects one bit in 256 bytes, detects two, and may take three for one).

use std::path::{Path, PathBuf};

use jffs2_tx::Endian;
use jffs2_tx::flash::{Ecc, Flash, FlashKind, FlashMut, MtdError, MtdFlash};
use jffs2_tx::log::free_block;

fn scratch() -> PathBuf {
    std::env::var_os("MTD_SCRATCH").expect("MTD_SCRATCH: the device to destroy").into()
}

fn open() -> MtdFlash {
    MtdFlash::open(&scratch(), true).unwrap()
}

fn good_blocks(flash: &MtdFlash) -> Vec<u32> {
    (0..flash.geometry().blocks()).filter(|block| !flash.is_bad(*block).unwrap()).collect()
}

/// Bytes that differ from page to page and from block to block.
fn pattern(block: u32, len: usize) -> Vec<u8> {
    (0..len as u32).map(|at| (at ^ (at >> 8) ^ block).wrapping_mul(37) as u8).collect()
}

fn flips(read: &[u8], wanted: &[u8]) -> u32 {
    read.iter().zip(wanted).map(|(a, b)| (a ^ b).count_ones()).sum()
}

/// Whether it was done. An eraseblock that fails is marked bad, as the transaction does it.
fn done_or_bad(flash: &mut MtdFlash, block: u32, result: Result<(), MtdError>) -> bool {
    match result {
        Ok(()) => true,
        Err(error @ MtdError::Io { .. }) => {
            println!("{error}");
            flash.mark_bad(block).unwrap();
            assert_eq!(flash.is_bad(block).unwrap(), flash.geometry().kind() == FlashKind::Nand);
            false
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
#[ignore = "destroys a device"]
fn what_is_programmed_is_read_back() {
    let mut flash = open();
    println!("{:?}", flash.info());
    let geometry = *flash.geometry();
    let (mut good, len) = (good_blocks(&flash), geometry.eraseblock() as usize);
    println!("{} of {} eraseblocks are bad", geometry.blocks() as usize - good.len(), geometry.blocks());
    good.retain(|&block| {
        let written = flash.erase(block).and_then(|()| flash.program(geometry.offset_of(block), &pattern(block, len)));
        done_or_bad(&mut flash, block, written)
    });
    flash.sync().unwrap();
    let (mut whole, mut part, mut lost) = (vec![0; len], vec![0; len / 2], 0);
    for &block in &good {
        let (offset, wanted) = (geometry.offset_of(block), pattern(block, len));
        match flash.read(offset, &mut whole).unwrap() {
            Ecc::Uncorrectable => lost += 1,
            Ecc::Clean | Ecc::Corrected => assert_eq!(flips(&whole, &wanted), 0, "wrong bits in eraseblock {block}"),
        }
        // Neither the start nor the end on a page's.
        if flash.read(offset + 1001, &mut part).unwrap() != Ecc::Uncorrectable {
            assert_eq!(flips(&part, &wanted[1001..1001 + part.len()]), 0, "wrong bits in eraseblock {block}");
        }
    }
    let corrections = flash.corrections();
    println!("{} eraseblocks written, {lost} of them unreadable; {corrections:?}", good.len());
    assert!(lost <= corrections.uncorrectable_pages);
}

#[test]
#[ignore = "destroys a device"]
fn cleanmarkers_of_either_order_come_and_go() {
    let mut flash = open();
    let nand = flash.geometry().kind() == FlashKind::Nand;
    for (block, endian) in good_blocks(&flash).into_iter().zip([Endian::Big, Endian::Little].into_iter().cycle()) {
        flash.set_endian(endian);
        let marked = flash.erase(block).and_then(|()| flash.write_oob_cleanmarker(block));
        if done_or_bad(&mut flash, block, marked) {
            assert_eq!(flash.has_oob_cleanmarker(block).unwrap(), nand, "eraseblock {block}");
            let erased = flash.erase(block);
            if done_or_bad(&mut flash, block, erased) {
                assert!(!flash.has_oob_cleanmarker(block).unwrap(), "eraseblock {block}");
            }
        }
    }
}

/// Leaves a device that this machine's kernel takes for clean: it has nothing to erase at its first mount.
#[test]
#[ignore = "destroys a device"]
fn free_blocks_for_the_kernel() {
    let mut flash = open();
    let endian = if cfg!(target_endian = "big") { Endian::Big } else { Endian::Little };
    flash.set_endian(endian);
    let good = good_blocks(&flash);
    let mut freed = 0;
    for &block in &good {
        match free_block(&mut flash, endian, block) {
            Ok(()) => freed += 1,
            Err(error) => println!("{error}"),
        }
    }
    assert!(freed * 2 > good.len(), "{freed} of {} freed", good.len());
}

#[test]
#[ignore = "destroys an eraseblock for good"]
fn a_bad_mark_stays() {
    let mut flash = open();
    let last = *good_blocks(&flash).last().unwrap();
    flash.mark_bad(last).unwrap();
    let nand = flash.geometry().kind() == FlashKind::Nand;
    assert_eq!((flash.is_bad(last).unwrap(), open().is_bad(last).unwrap()), (nand, nand));
    assert_eq!(flash.erase(last).is_err(), nand);
}

#[test]
#[ignore = "needs a device"]
fn its_names_and_what_is_refused() {
    let mut flash = open();
    let number = flash.info().number;
    for name in [format!("/dev/mtd{number}ro"), format!("mtd{number}"), format!("/dev/mtdblock{number}")] {
        let other = MtdFlash::open(Path::new(&name), false).unwrap();
        assert_eq!((other.info(), other.path()), (flash.info(), flash.path()), "{name}");
    }
    for missing in ["/dev/mtd4000", "mtd:no such name"] {
        let error = MtdFlash::open(Path::new(missing), true).unwrap_err();
        println!("{error}");
        assert!(matches!(error, MtdError::NotFound { .. }));
    }
    let protected = MtdFlash::open(Path::new(&format!("/dev/mtd{number}ro")), true).unwrap_err();
    println!("{protected}");
    assert!(matches!(protected, MtdError::WriteProtected { .. }));

    let mut reading = MtdFlash::open(&scratch(), false).unwrap();
    let unit = vec![0; flash.geometry().write_size() as usize];
    for refused in [reading.erase(0), reading.program(0, &unit)] {
        let error = refused.unwrap_err();
        println!("{error}");
        assert!(matches!(error, MtdError::WriteProtected { .. }));
    }
    let beyond = flash.read(flash.geometry().size() - 1, &mut [0; 2]).unwrap_err();
    assert!(matches!(beyond, MtdError::Range { .. }));

    // Sync opens and closes the device: a lock outlives that.
    flash.file().lock().unwrap();
    flash.sync().unwrap();
    assert!(matches!(open().file().try_lock(), Err(std::fs::TryLockError::WouldBlock)));
    // MTD devices refuse fsync: were that to change, `sync` could be simpler.
    assert!(flash.file().sync_all().is_err());
}
