//! The rules of FORMAT.md section 3, on images made by hand: where a rule is in doubt, the stock kernel decides.

mod image;

use anyhow::{Result, ensure};
use jffs2_tx::crc::crc32;
use jffs2_tx::flash::MemFlash;
use jffs2_tx::wire::{Cleanmarker, Compression, Dirent, Endian, INODE_SIZE, Inode, MAGIC, SUMMARY_MAGIC, SummaryEntry};
use jffs2_tx_tests::kernel::{Case, Device, Job, Kernel, Outcome, State};
use jffs2_tx_tests::ours::Seen;

use image::{BLOCK_SIZE, BLOCKS, Block, CHR, DEVICE, DIR, DIRECTORY, FILE, Image, LNK, REG, SYMLINK};

const NOR: Device = Device::Nor { block_size: BLOCK_SIZE as u32, blocks: BLOCKS as u32 };

type Row = (&'static str, fn(&mut Image));

const FREE_OR_NOT: &[Row] = &[
    ("cleanmarker, blank to 32", |i| seen_after(i, |b| b.cleanmarker().at(32))),
    ("cleanmarker, blank to 28", |i| seen_after(i, |b| b.cleanmarker().at(28))),
    ("cleanmarker, blank to 24", |i| seen_after(i, |b| b.cleanmarker().at(24))),
    ("cleanmarker, blank to 16", |i| seen_after(i, |b| b.cleanmarker().at(16))),
    ("cleanmarker, then a node", |i| seen_after(i, |b| b.cleanmarker())),
    ("cleanmarker, zeros, blank to 64", |i| seen_after(i, |b| b.cleanmarker().raw(&[0; 4]).at(64))),
    ("cleanmarker, blank to 31, garbage", |i| seen_after(i, |b| b.cleanmarker().at(31).raw(&[0]))),
    ("cleanmarker, blank to 32, garbage", |i| seen_after(i, |b| b.cleanmarker().at(32).raw(&[0; 4]))),
    ("cleanmarker too long, blank to 64", |i| {
        seen_after(i, |b| {
            Cleanmarker::emit(Endian::Little, &mut b.0, 16);
            b.at(64)
        })
    }),
    ("cleanmarker behind four blank bytes", |i| seen_after(i, |b| b.at(4).cleanmarker().at(64))),
    ("blank to 252", |i| seen_after(i, |b| b.at(252))),
    ("blank to 256", |i| seen_after(i, |b| b.at(256))),
    ("blank to 255, then a zero", |i| seen_after(i, |b| b.at(255).raw(&[0]).at(4096))),
    ("a cleared bit, blank to 4096", |i| seen_after(i, |b| b.raw(&[0xfe]).at(4096))),
];

const GARBAGE: &[Row] = &[
    ("garbage before a node", |i| seen_after(i, |b| b.raw(&[0x5a; 64]))),
    ("bad header CRC", |i| seen_after(i, |b| b.name(1, 50, "torn", 2, REG).spoil(35))),
    ("bad name CRC", |i| seen_after(i, |b| b.name(1, 50, "torn", 2, REG).spoil(0))),
    ("bad node CRC", |i| seen_after(i, |b| b.name(1, 50, "torn", 2, REG).spoil(31))),
    ("a good node inside one with a bad CRC", |i| {
        let mut inner = Block::default();
        inner.witness("inner", 8);
        seen_after(i, |b| b.inode(Inode { ino: 7, ..FILE }, &inner.0).spoil(inner.0.len() + INODE_SIZE - 21));
    }),
    ("a node over the end of its eraseblock", |i| {
        i.block(1).cleanmarker().at(BLOCK_SIZE - 44);
        let mut cut = Block::default();
        cut.name(1, 50, "a name that is too long", 2, REG);
        i.block(1).raw(&cut.0[..44]);
        i.block(2).witness("next", 9);
    }),
    ("an obsolete node", |i| {
        seen_after(i, |b| {
            let start = b.0.len();
            b.name(1, 50, "obsolete", 2, REG);
            b.0[start + 3] &= !0x20;
            b
        })
    }),
    ("nodes of unknown types to skip", |i| seen_after(i, |b| unknown(b, 0x2abc))),
    ("nodes of unknown types to read only", |i| seen_after(i, |b| unknown(b, 0xaabc))),
    ("nodes of unknown types to refuse", |i| seen_after(i, |b| unknown(b, 0xeabc))),
];

const DIRECTORIES: &[Row] = &[
    ("time of the newest dirent", |i| {
        i.block(1).timed(5, "a", 2, 500).timed(7, "b", 2, 700).timed(6, "c", 2, 600);
    }),
    ("time of a newer inode node", |i| {
        i.block(1).timed(5, "a", 2, 500).inode(Inode { ino: 1, version: 6, mtime: 66, ..DIRECTORY }, b"");
    }),
    ("newest dirent without a time", |i| {
        i.block(1).timed(5, "a", 2, 500).timed(6, "b", 2, 0);
    }),
    ("time of a deletion", |i| {
        i.block(1).timed(5, "a", 2, 500).timed(6, "a", 0, 600);
    }),
    ("time of a dirent that leads nowhere", |i| {
        i.block(1).timed(5, "a", 2, 500).timed(6, "b", 99, 600);
    }),
    ("time of a replaced dirent", |i| {
        i.block(1).timed(5, "a", 2, 500).timed(6, "a", 2, 0);
    }),
    ("time of a dirent with the inode's version", |i| {
        i.block(1).timed(6, "a", 2, 500).inode(Inode { ino: 1, version: 6, mtime: 66, ..DIRECTORY }, b"");
    }),
    ("equal versions of a name", |i| {
        i.block(1).file(3, b"three").timed(5, "a", 3, 0).timed(5, "a", 2, 0);
    }),
    ("equal versions of a name, and a deletion", |i| {
        i.block(1).timed(5, "a", 2, 0).timed(5, "a", 0, 0);
    }),
    ("equal versions in two eraseblocks", |i| {
        i.block(2).timed(5, "a", 2, 0);
        i.block(1).file(3, b"three").timed(5, "a", 3, 0);
    }),
    ("a name deleted and made again", |i| {
        i.block(1).timed(7, "a", 2, 0).timed(6, "a", 0, 0).timed(5, "a", 2, 0);
    }),
    ("named by a live directory and a dead one", |i| {
        i.block(1).name(1, 5, "live", 20, DIR).inode(Inode { ino: 20, ..DIRECTORY }, b"");
        i.block(1).name(20, 2, "sub", 30, DIR).inode(Inode { ino: 30, ..DIRECTORY }, b"").name(30, 2, "f", 2, REG);
        i.block(1).inode(Inode { ino: 10, ..DIRECTORY }, b"").name(10, 2, "sub", 30, DIR).name(10, 3, "f", 2, REG);
    }),
    ("the dead one comes later", |i| {
        i.block(1).name(1, 5, "live", 10, DIR).inode(Inode { ino: 10, ..DIRECTORY }, b"").name(10, 2, "sub", 30, DIR);
        i.block(1).inode(Inode { ino: 30, ..DIRECTORY }, b"").name(30, 2, "f", 2, REG);
        i.block(2).inode(Inode { ino: 40, ..DIRECTORY }, b"").name(40, 2, "sub", 30, DIR).name(40, 3, "f", 2, REG);
        i.block(2).name(40, 4, "lost", 50, DIR).inode(Inode { ino: 50, ..DIRECTORY }, b"").name(50, 2, "sub", 30, DIR);
    }),
    ("a directory without an inode node", |i| {
        i.block(1).name(1, 5, "d", 20, DIR).name(20, 2, "f", 2, REG);
    }),
    ("a root without an inode node", |i| {
        i.blocks[0] = Block::default();
        i.block(0).cleanmarker().timed(5, "a", 2, 500).file(2, b"two");
    }),
    ("a name for an inode that is nowhere", |i| {
        i.block(1).name(1, 5, "nowhere", 77, REG);
    }),
    ("names", |i| {
        let long = "n".repeat(254);
        i.block(1).name(1, 5, &long, 2, REG).name(1, 6, "\u{e9} \n|\\", 2, REG).name(1, 7, " ", 2, REG);
        i.block(1).dirent(&Dirent { pino: 1, version: 8, ino: 2, mctime: 0, kind: REG, name: b"\xff\xfe\x01" });
        i.block(1).name(1, 9, "Base", 2, REG).name(1, 10, "bas", 2, REG).name(1, 11, "base2", 2, REG);
    }),
    ("versions beyond 2^31", |i| {
        i.block(1).timed(0x8000_0001, "a", 2, 5).timed(0x7fff_ffff, "a", 0, 6);
    }),
];

const FILES: &[Row] = &[
    ("metadata of equal versions", |i| {
        let node = Inode { ino: 3, version: 4, ..FILE };
        named(i, REG).inode(Inode { uid: 7, ..node }, b"").inode(Inode { uid: 8, ..node }, b"");
    }),
    ("data of equal versions", |i| {
        named(i, REG).data(3, 4, 0, 3, b"one").data(3, 4, 0, 3, b"two");
    }),
    ("data of equal versions, the second bad", |i| {
        named(i, REG).data(3, 4, 0, 4, b"good").data(3, 4, 0, 4, b"bad!").spoil(0);
    }),
    ("newest data with a bad CRC", |i| {
        named(i, REG).file(3, b"good").data(3, 2, 0, 8, b"bad data").spoil(0);
    }),
    ("newest data with a bad CRC covers a part", |i| {
        named(i, REG).file(3, &[b'x'; 32]).data(3, 2, 8, 32, b"bad data").spoil(0).data(3, 3, 24, 32, b"good");
    }),
    ("only data with a bad CRC", |i| {
        named(i, REG).file(3, b"bad!").spoil(0);
    }),
    ("pieces over one another", |i| {
        named(i, REG).data(3, 5, 4, 12, b"FIVE").data(3, 2, 0, 12, b"twotwotwotwo").data(3, 3, 2, 12, b"three");
    }),
    ("cut by isize", |i| {
        named(i, REG).file(3, b"long content").inode(Inode { ino: 3, version: 2, isize: 4, ..FILE }, b"");
    }),
    ("cut, then longer again", |i| {
        named(i, REG).file(3, b"long content").inode(Inode { ino: 3, version: 2, isize: 4, ..FILE }, b"");
        i.block(1).inode(Inode { ino: 3, version: 3, isize: 8, ..FILE }, b"");
    }),
    ("a size that no node reaches", |i| {
        named(i, REG).file(3, b"short").inode(Inode { ino: 3, version: 2, isize: 5000, ..FILE }, b"");
    }),
    ("a size and no data", |i| {
        named(i, REG).inode(Inode { ino: 3, isize: 5000, ..FILE }, b"");
    }),
    ("a gap", |i| {
        named(i, REG).data(3, 1, 0, 4, b"head").data(3, 2, 9000, 9004, b"tail");
    }),
    ("a gap that isize ends in", |i| {
        named(i, REG).data(3, 2, 9000, 9004, b"tail").inode(Inode { ino: 3, version: 3, isize: 50, ..FILE }, b"");
    }),
    ("a hole", |i| {
        let hole = Inode { ino: 3, isize: 8196, dsize: 8192, compression: Compression::Zero, ..FILE };
        named(i, REG).inode(hole, b"").data(3, 2, 8192, 8196, b"tail");
    }),
    ("an offset beyond the size", |i| {
        named(i, REG).file(3, b"good").data(3, 2, 100, 50, b"bad");
    }),
    ("late times, large owners, all mode bits", |i| {
        let late = Inode { ino: 3, mtime: u32::MAX, uid: u16::MAX, gid: u16::MAX, mode: 0o107_777, ..FILE };
        named(i, REG).inode(late, b"");
    }),
    ("hard links", |i| {
        named(i, REG).file(3, b"three").name(1, 20, "second", 3, REG).name(1, 21, "d", 5, DIR);
        i.block(1).inode(Inode { ino: 5, ..DIRECTORY }, b"").name(5, 2, "third", 3, REG);
        i.block(1).name(1, 22, "gone", 3, REG).name(1, 23, "gone", 0, 0);
        i.block(1).inode(Inode { ino: 6, ..DIRECTORY }, b"").name(6, 2, "in a dead directory", 3, REG);
    }),
    ("a symlink", |i| {
        named(i, LNK).inode(Inode { ino: 3, isize: 4, dsize: 4, ..SYMLINK }, b"goal");
    }),
    ("a symlink of size 0", |i| {
        named(i, LNK).inode(Inode { ino: 3, dsize: 4, ..SYMLINK }, b"goal");
    }),
    ("a symlink with newer metadata", |i| {
        let link = Inode { ino: 3, isize: 4, dsize: 4, ..SYMLINK };
        named(i, LNK).inode(link, b"goal").inode(Inode { version: 2, uid: 9, ..link }, b"home");
    }),
    ("a symlink with metadata of its own", |i| {
        let link = Inode { ino: 3, isize: 4, dsize: 4, ..SYMLINK };
        named(i, LNK).inode(link, b"goal").inode(Inode { version: 2, dsize: 0, ..link }, b"");
    }),
    ("a device", |i| {
        named(i, CHR).inode(Inode { ino: 3, dsize: 2, ..DEVICE }, &[1, 5]);
    }),
    ("a device with a large number", |i| {
        named(i, CHR).inode(Inode { ino: 3, dsize: 4, ..DEVICE }, &[0x34, 0x2c, 0x11, 0x12]);
    }),
    ("a device number of three bytes", |i| {
        named(i, CHR).inode(Inode { ino: 3, dsize: 3, ..DEVICE }, &[1, 5, 0]);
    }),
];

const SUMMARIES: &[Row] = &[
    ("lists one name of two", |i| {
        i.block(1).name(1, 50, "listed", 2, REG);
        let entry =
            SummaryEntry::Dirent { totlen: 46, offset: 0, pino: 1, version: 50, ino: 2, kind: REG, name: b"listed" };
        i.block(1).name(1, 51, "unlisted", 2, REG).summary(0, vec![entry]);
    }),
    ("lists nothing", |i| {
        i.block(1).name(1, 50, "unlisted", 2, REG).summary(0, vec![]);
    }),
    ("behind a blank head", |i| {
        i.block(1).at(4096).name(1, 50, "listed", 2, REG);
        let entry =
            SummaryEntry::Dirent { totlen: 46, offset: 4096, pino: 1, version: 50, ino: 2, kind: REG, name: b"listed" };
        i.block(1).summary(0, vec![entry]);
    }),
    ("with a bad CRC, behind a blank head", |i| {
        i.block(1).at(4096).name(1, 50, "listed", 2, REG).summary(0, vec![]).spoil(200);
    }),
    ("with a bad CRC", |i| {
        i.block(1).name(1, 50, "unlisted", 2, REG).summary(0, vec![]).spoil(200);
    }),
    ("magic without a summary", |i| {
        seen_after(i, |b| b.cleanmarker());
        i.block(1).at(BLOCK_SIZE - 8).raw(&[0xfd, 0xff, 0, 0]).raw(&SUMMARY_MAGIC.to_le_bytes());
    }),
    ("with a cleanmarker", |i| {
        let entry =
            SummaryEntry::Dirent { totlen: 46, offset: 12, pino: 1, version: 50, ino: 2, kind: REG, name: b"listed" };
        i.block(1).cleanmarker().name(1, 50, "listed", 2, REG).summary(12, vec![entry]);
    }),
];

/// A file behind what an eraseblock begins with: it shows whether what stands there is read.
fn seen_after(image: &mut Image, begin: impl FnOnce(&mut Block) -> &mut Block) {
    begin(image.block(1)).witness("seen", 9);
}

/// Nodes of a type that nobody knows.
fn unknown(block: &mut Block, nodetype: u16) -> &mut Block {
    let mut header = [&MAGIC.to_le_bytes()[..], &nodetype.to_le_bytes(), &20_u32.to_le_bytes()].concat();
    header.extend(crc32(&header).to_le_bytes());
    block.raw(&header).raw(&[0x85; 8])
}

/// The start of a regular file, special file or symlink of inode 3: its name.
fn named(image: &mut Image, kind: u8) -> &mut Block {
    image.block(1).name(1, 10, "it", 3, kind)
}

#[test]
fn the_kernel_sees_what_we_see() -> Result<()> {
    let mut job = Job::new(NOR);
    let rows = [FREE_OR_NOT, GARBAGE, DIRECTORIES, FILES, SUMMARIES].concat();
    let mut ours = Vec::new();
    for (name, make) in &rows {
        let mut image = Image::new();
        make(&mut image);
        let bytes = image.bytes();
        ours.push(Seen::on(&MemFlash::with_data(NOR.geometry()?, bytes.clone())));
        job.cases.push(Case::read_only(name.replace(' ', "_"), State::from_image(NOR, &bytes)?).listed());
    }
    let report = Kernel::debian(None)?.run(&job)?;
    ensure!(report.log.is_empty(), "the kernel complains about itself: {:#?}", report.log);
    let mut wrong = String::new();
    for (result, ours) in report.results.iter().zip(&ours) {
        match (&result.outcome, ours) {
            (Outcome::Digest(digest, _), Ok(seen)) if *digest == seen.digest => {}
            (Outcome::Error(_), Err(_)) => {}
            (outcome, Ok(seen)) => {
                wrong += &format!("{}: {outcome:?}\n{}", result.name, seen.difference(&result.listing))
            }
            (outcome, Err(error)) => wrong += &format!("{}: {outcome:?}, but ours: {error}\n", result.name),
        }
    }
    ensure!(wrong.is_empty(), "(-: ours, +: the kernel's)\n{wrong}");
    println!("{} images", rows.len());
    Ok(())
}
