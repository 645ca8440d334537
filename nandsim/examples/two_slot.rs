//! An A/B updater under test, as it is found in the field, half mended, and mended. Nothing in it is JFFS2: this is how your
//! own updater comes under test.
//!
//! Two slots, each with a header and an image. The boot loader takes the slot with the highest sequence number among those
//! that it trusts; the updater writes the other one. What the harness finds:
//!
//! - **As found**: the boot loader trusts a `valid` flag, because a CRC over the image takes its time. But the bytes of the
//!   header arrive in any order: with the flag there and the number still all ones, the slot is taken for the newest for
//!   ever. And an erase that is cut leaves any bits set: the flag stays and the number of the older slot grows.
//! - **Checked**: the boot loader checks a CRC over header and image. Now nothing wrong boots; but the updater skips the
//!   erase of a slot that reads blank, to save time, and after an erase that was cut such a slot may not hold what is
//!   programmed. The next update is lost, and the updater says that it is done.
//! - **Mended**: it erases always, and reads back before it says so. Every cut leaves the old image or the new one, and so
//!   does every second cut in the update done again.
//!
//! `cargo run --release -p nandsim --example two_slot`

use nandsim::flash::{Flash, FlashKind, FlashMut, Geometry};
use nandsim::{Chip, Done, Harness, Oracle, Recorder, SecondCuts, Verdict, Workload, cuts_all};

/// A slot is one eraseblock, bytes.
const SLOT: u32 = 4096;
const VALID: u8 = 0x5a;

/// Little endian on the flash: sequence number, length of the image, CRC over these and the image; then the flag.
const HEADER: usize = 13;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Care {
    AsFound,
    Checked,
    Mended,
}

/// The updater, and the image that it is to install.
struct Updater {
    image: Vec<u8>,
    care: Care,
}

impl Workload for Updater {
    fn run(&self, flash: &mut Recorder, _attempt: u8) -> Done {
        let (slot, sequence) = newest(flash, self.care)?.map_or((0, 0), |boots| (1 - boots.slot, boots.sequence));
        if self.care == Care::Mended || !is_blank(flash, slot)? {
            flash.erase(slot)?;
        }
        flash.program(slot * SLOT + HEADER as u32, &self.image)?;
        flash.sync()?;
        flash.program(slot * SLOT, &header(sequence.wrapping_add(1), &self.image))?;
        flash.sync()?;
        match newest(flash, self.care)? {
            Some(boots) if boots.image == self.image => Ok(()),
            _ if self.care != Care::Mended => Ok(()),
            _ => Err("the image does not read back".into()),
        }
    }
}

/// What the boot loader starts.
struct Boots {
    slot: u32,
    sequence: u32,
    image: Vec<u8>,
}

fn newest<F: Flash>(flash: &F, care: Care) -> Result<Option<Boots>, F::Error> {
    let [a, b] = [trusted(flash, 0, care)?, trusted(flash, 1, care)?];
    Ok([a, b].into_iter().flatten().max_by_key(|slot| slot.sequence))
}

/// The image in a slot, if the boot loader would start it.
fn trusted<F: Flash>(flash: &F, slot: u32, care: Care) -> Result<Option<Boots>, F::Error> {
    let mut found = [0; HEADER];
    flash.read(slot * SLOT, &mut found)?;
    let [s0, s1, s2, s3, l0, l1, l2, l3, .., valid] = found;
    let (sequence, len) = (u32::from_le_bytes([s0, s1, s2, s3]), u32::from_le_bytes([l0, l1, l2, l3]));
    let mut image = vec![0; len.min(SLOT - HEADER as u32) as usize];
    flash.read(slot * SLOT + HEADER as u32, &mut image)?;
    let trusted = match care {
        Care::AsFound => valid == VALID,
        Care::Checked | Care::Mended => found == header(sequence, &image),
    };
    Ok(trusted.then_some(Boots { slot, sequence, image }))
}

fn header(sequence: u32, image: &[u8]) -> [u8; HEADER] {
    let mut header = [VALID; HEADER];
    header[..4].copy_from_slice(&sequence.to_le_bytes());
    header[4..8].copy_from_slice(&(image.len() as u32).to_le_bytes());
    let mut crc = crc32fast::Hasher::new();
    crc.update(&header[..8]);
    crc.update(image);
    header[8..12].copy_from_slice(&crc.finalize().to_le_bytes());
    header
}

fn is_blank<F: Flash>(flash: &F, slot: u32) -> Result<bool, F::Error> {
    let mut cells = vec![0; SLOT as usize];
    flash.read(slot * SLOT, &mut cells)?;
    Ok(cells.iter().all(|cell| *cell == 0xff))
}

/// Two updates, so that both slots are in use; the third is put under test.
fn under_test(care: Care) -> Done<Harness<Updater, impl Oracle>> {
    let updater = |version: u8| Updater { image: vec![version; 200], care };
    let mut flash = Recorder::new(Chip::new(Geometry::new(FlashKind::Nor, u64::from(2 * SLOT), SLOT, 1)?, 0));
    updater(1).run(&mut flash, 0)?;
    updater(2).run(&mut flash, 0)?;
    let (old, new) = (updater(2).image, updater(3).image);
    let oracle = move |chip: &Chip| match newest(chip, care) {
        Ok(Some(boots)) if boots.image == old => Verdict::Old,
        Ok(Some(boots)) if boots.image == new => Verdict::New,
        Ok(Some(boots)) => Verdict::Mixed(format!("slot {} boots, number {:#x}", boots.slot, boots.sequence)),
        Ok(None) => Verdict::Unreadable("nothing boots".into()),
        Err(error) => Verdict::Unreadable(error.to_string()),
    };
    let mut harness = Harness::new(flash.into_parts().0, updater(3), oracle, 0)?;
    harness.plan.second = if care == Care::Mended { SecondCuts::All } else { SecondCuts::None };
    Ok(harness)
}

fn main() -> Done {
    for care in [Care::AsFound, Care::Checked, Care::Mended] {
        let harness = under_test(care)?;
        let report = harness.run_all();
        println!("{care:?}: {}, second cuts: {}", report.counts, report.second_cuts);
        // One for each operation: the erase, the image, the header.
        for op in 0..harness.trace.ops.len() {
            let cuts = cuts_all(&harness.trace).filter(|cut| cut.op == op);
            if let Some(failure) = harness.run(cuts, 1, &|_| {}).failures.first() {
                println!("    cut {}: {}", failure.cut, failure.what);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nandsim::{CutPath, Op};

    use super::*;

    /// What comes of one cut.
    fn after(care: Care, cut: &str) -> Option<String> {
        let cut: CutPath = cut.parse().unwrap();
        under_test(care).unwrap().examine(&cut, &mut |_, _| {}).map(|(_, verdict)| verdict.to_string())
    }

    #[test]
    fn as_found_an_old_slot_gets_the_highest_number() {
        assert_eq!(
            after(Care::AsFound, "0:erase-bits:1").as_deref(),
            Some("mixed: after the cut, reader: slot 0 boots, number 0x10010001")
        );
    }

    #[test]
    fn as_found_the_flag_comes_before_the_number() {
        assert!(matches!(&under_test(Care::AsFound).unwrap().trace.ops[3], Op::Program { offset: 0, .. }));
        assert_eq!(
            after(Care::AsFound, "3:bytes:0:1").as_deref(),
            Some("mixed: after the cut, reader: slot 0 boots, number 0xff00ff03")
        );
    }

    #[test]
    fn checked_an_update_is_lost_on_a_slot_that_reads_blank() {
        let report = under_test(Care::Checked).unwrap().run_all();
        assert_eq!(report.readers["reader"].mixed + report.readers["reader"].unreadable, 0);
        assert!(report.counts.mixed > 0);
        assert!(report.failures.iter().all(|failure| failure.what.ends_with("done again: reader old")), "{report:#?}");
    }

    #[test]
    fn mended_survives_every_cut_and_every_second_one() {
        let report = under_test(Care::Mended).unwrap().run_all();
        assert!(report.counts.is_fine(), "{report:#?}");
        assert!(report.counts.old > 0 && report.counts.new > 0 && report.second_cuts > 200 * report.counts.cuts);
    }
}
