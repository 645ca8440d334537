//! The rules that a chip enforces, its copies, and what it does wrong on demand.

use super::*;

fn nor() -> Chip {
    Chip::new(Geometry::new(FlashKind::Nor, 1 << 20, 65536, 1).unwrap(), 1)
}

fn nand() -> Chip {
    Chip::new(Geometry::new(FlashKind::Nand, 1 << 20, 131_072, 2048).unwrap(), 1)
}

fn read(chip: &Chip, offset: u32, len: usize) -> (Vec<u8>, Ecc) {
    let mut buf = vec![0; len];
    let ecc = chip.read(offset, &mut buf).unwrap();
    (buf, ecc)
}

#[test]
fn nor_clears_bits_again_but_never_sets_them() {
    let mut chip = nor();
    chip.program(65533, &[0xf0]).unwrap();
    chip.program(65533, &[0x50]).unwrap();
    assert_eq!(chip.program(65532, &[0xff, 0xd0]), Err(ChipError::Overwrite { offset: 65533 }));
    assert_eq!(read(&chip, 65532, 2).0, [0xff, 0x50]);
    assert!(matches!(chip.program(65535, &[0, 0]), Err(ChipError::Range { .. })));
    assert!(matches!(chip.program(1 << 20, &[]), Err(ChipError::Range { .. })));
    assert!(matches!(chip.read(u32::MAX, &mut [0]), Err(ChipError::Range { .. })));
    chip.erase(0).unwrap();
    assert_eq!((read(&chip, 65532, 2).0, chip.erase_count(0)), (vec![0xff; 2], 1));
    assert_eq!(chip.counters(), Counters { programs: 2, programmed_bytes: 2, erases: 1, reads: 3 });
}

#[test]
fn nor_with_ecc_takes_each_unit_once_in_any_order() {
    let mut chip = Chip::new(Geometry::new(FlashKind::Nor, 1 << 20, 65536, 16).unwrap(), 1);
    chip.program(32, &[0; 16]).unwrap();
    chip.program(0, &[0xff; 16]).unwrap();
    assert_eq!(chip.program(0, &[0; 32]), Err(ChipError::Reprogram { offset: 0 }));
    assert!(matches!(chip.program(8, &[0; 16]), Err(ChipError::Range { .. })));
}

#[test]
fn nand_pages_ascend_and_are_programmed_once() {
    let mut chip = nand();
    let page = [0xff; 2048];
    chip.program(4096, &page).unwrap();
    assert_eq!(chip.program(4096, &page), Err(ChipError::Reprogram { offset: 4096 }));
    assert_eq!(chip.program(2048, &page), Err(ChipError::PageOrder { offset: 2048 }));
    assert!(matches!(chip.program(6144, &[0; 100]), Err(ChipError::Range { .. })));
    chip.allow_any_page_order();
    chip.program(2048, &page).unwrap();
    chip.erase(0).unwrap();
    chip.program(4096, &page).unwrap();
}

fn nand_with(change: impl FnOnce(&mut Rules)) -> Chip {
    let geometry = *nand().geometry();
    let mut rules = Rules::of(&geometry);
    change(&mut rules);
    Chip::with_rules(geometry, rules, 1)
}

#[test]
fn nand_pages_take_as_many_programs_as_the_part_says() {
    let mut chip = nand_with(|rules| (rules.program_unit, rules.page_programs) = (512, 2));
    chip.program(2048 + 512, &[0; 512]).unwrap();
    assert_eq!(chip.program(2048 + 512, &[0; 512]), Err(ChipError::Reprogram { offset: 2048 + 512 }));
    assert!(matches!(chip.program(2048, &[0; 256]), Err(ChipError::Range { .. })));
    chip.program(2048, &[0; 512]).unwrap();
    let third = chip.program(2048 + 1024, &[0; 512]);
    assert_eq!(third, Err(ChipError::PagePrograms { offset: 2048, limit: 2 }));
    assert_eq!(chip.take_violation(), third.err());
    assert_eq!(chip.program(1536, &[0; 512]), Err(ChipError::PageOrder { offset: 1536 }));
    // A program over several pages counts for each.
    chip.program(4096 + 1536, &[0; 1024]).unwrap();
    chip.program(6144 + 512, &[0; 512]).unwrap();
    assert_eq!(chip.program(6144 + 1024, &[0; 2048]), Err(ChipError::PagePrograms { offset: 6144, limit: 2 }));
    chip.erase(0).unwrap();
    chip.program(2048 + 1024, &[0; 512]).unwrap();
}

#[test]
fn a_cleanmarker_is_a_program_of_the_page_where_the_part_counts_it() {
    let mut chip = nand_with(|rules| rules.oob_counts = true);
    chip.write_oob_cleanmarker(0).unwrap();
    assert_eq!(chip.program(0, &[0; 2048]), Err(ChipError::PagePrograms { offset: 0, limit: 1 }));
    chip.program(2048, &[0; 2048]).unwrap();
    let mut chip = nand_with(|rules| (rules.oob_counts, rules.page_programs) = (true, 2));
    chip.write_oob_cleanmarker(0).unwrap();
    chip.program(0, &[0; 2048]).unwrap();
}

#[test]
fn parts_of_a_page_have_ecc_of_their_own() {
    let mut chip = nand_with(|rules| (rules.program_unit, rules.page_programs) = (512, 4));
    chip.set_ecc(1024, Ecc::Uncorrectable);
    assert_eq!(read(&chip, 512, 512).1, Ecc::Clean);
    assert_eq!(read(&chip, 1024, 1).1, Ecc::Uncorrectable);
    assert_eq!(read(&chip, 0, 2048).1, Ecc::Uncorrectable);
}

#[test]
fn nand_oob_takes_one_cleanmarker_before_the_first_page() {
    let mut chip = nand();
    chip.write_oob_cleanmarker(0).unwrap();
    assert_eq!(chip.has_oob_cleanmarker(0), Ok(true));
    assert_eq!(chip.write_oob_cleanmarker(0), Err(ChipError::NotErased(0)));
    chip.erase(0).unwrap();
    assert_eq!(chip.oob(0), OobState::Blank);
    chip.program(0, &[0; 2048]).unwrap();
    assert_eq!(chip.write_oob_cleanmarker(0), Err(ChipError::NotErased(0)));
}

#[test]
fn bad_eraseblocks_are_left_alone() {
    let mut chip = nand();
    chip.mark_bad(3).unwrap();
    assert_eq!((chip.is_bad(3), chip.is_bad(2)), (Ok(true), Ok(false)));
    assert_eq!(chip.erase(3), Err(ChipError::Bad(3)));
    assert_eq!(chip.program(3 * 131_072, &[0; 2048]), Err(ChipError::Bad(3)));
    assert!(matches!(chip.is_bad(8), Err(ChipError::Range { .. })));
    let mut nor = nor();
    nor.mark_bad(3).unwrap();
    assert_eq!(nor.is_bad(3), Ok(false));
}

#[test]
fn copies_are_independent() {
    let mut chip = nor();
    chip.program(0, b"one").unwrap();
    let copy = chip.clone();
    chip.program(3, b"two").unwrap();
    chip.erase(1).unwrap();
    assert_eq!(read(&copy, 0, 6).0, b"one\xff\xff\xff");
    assert_eq!((copy.erase_count(1), chip.erase_count(1)), (0, 1));
    assert_ne!(copy.content_id(), chip.content_id());
    assert_eq!(copy.block_id(1), chip.block_id(1), "wear is not content");
    assert_ne!(copy.block_id(0), chip.block_id(0));
}

#[test]
fn images_are_taken_as_programmed() {
    let geometry = *nand().geometry();
    let mut image = vec![0xff; 200_000];
    image[5000] = 0;
    image[131_072] = 0;
    let mut chip = Chip::with_image(geometry, 1, &image).unwrap();
    assert_eq!(chip.image()[..200_000], image);
    assert_eq!(chip.program(4096, &[0; 2048]), Err(ChipError::Reprogram { offset: 4096 }));
    assert_eq!(chip.program(2048, &[0; 2048]), Err(ChipError::PageOrder { offset: 2048 }));
    chip.program(6144, &[0; 2048]).unwrap();
    assert!(Chip::with_image(geometry, 1, &vec![0; (1 << 20) + 1]).is_err());
}

#[test]
fn reads_report_the_worst_page() {
    let mut chip = nand();
    chip.set_ecc(2048, Ecc::Corrected);
    chip.set_ecc(131_072, Ecc::Uncorrectable);
    assert_eq!(read(&chip, 0, 2048).1, Ecc::Clean);
    assert_eq!(read(&chip, 0, 2049).1, Ecc::Corrected);
    assert_eq!(read(&chip, 131_071, 2).1, Ecc::Uncorrectable);
}

#[test]
fn weak_eraseblocks_lose_bits_until_they_are_erased() {
    let mut chip = nand();
    chip.block_mut(0).changed().weak = true;
    chip.program(0, &[0; 2048]).unwrap();
    let (cells, ecc) = read(&chip, 0, 2048);
    assert!(cells.iter().any(|&cell| cell != 0) && cells.iter().filter(|&&cell| cell == 0).count() > 1024);
    assert_eq!(ecc, Ecc::Uncorrectable);
    chip.erase(0).unwrap();
    chip.program(0, &[0; 2048]).unwrap();
    assert_eq!(read(&chip, 0, 2048), (vec![0; 2048], Ecc::Clean));
}

#[test]
fn planned_faults_strike_the_nth_operation() {
    let mut chip = nor();
    chip.plan(Fault { kind: FaultKind::ProgramIgnored, nth: 1 });
    chip.plan(Fault { kind: FaultKind::EraseIgnored, nth: 0 });
    for offset in 0..3 {
        chip.program(offset, &[0]).unwrap();
    }
    chip.erase(0).unwrap();
    assert_eq!(read(&chip, 0, 3).0, [0, 0xff, 0]);
    chip.erase(0).unwrap();
    assert_eq!(read(&chip, 0, 3).0, [0xff; 3]);
    chip.plan(Fault { kind: FaultKind::WriteProtect, nth: 1 });
    chip.program(0, &[0]).unwrap();
    chip.program(1, &[0]).unwrap();
    chip.erase(0).unwrap();
    assert_eq!(read(&chip, 0, 2).0, [0, 0xff]);
}

#[test]
fn failures_are_reported_and_last() {
    let mut chip = nand();
    chip.plan(Fault { kind: FaultKind::ProgramFails, nth: 0 });
    chip.plan(Fault { kind: FaultKind::EraseFails, nth: 1 });
    let failed = chip.program(0, &[0; 2048]).unwrap_err();
    assert_eq!((failed, failed.is_violation()), (ChipError::ProgramFailed { offset: 0 }, false));
    assert_eq!(read(&chip, 0, 2048).1, Ecc::Uncorrectable);
    assert_eq!(chip.program(2048, &[0; 2048]), Err(ChipError::ProgramFailed { offset: 2048 }));
    assert_eq!(chip.erase(0), Err(ChipError::EraseFailed(0)));
    assert_eq!(chip.erase(1), Err(ChipError::EraseFailed(1)));
    chip.mark_bad(0).unwrap();
    chip.erase(2).unwrap();
}

/// A chip whose eraseblock 1 has unstable cells in the first `len` bytes, programmed to 0x5a.
fn unstable(geometry: Geometry, len: usize) -> Chip {
    let mut chip = Chip::new(geometry, 3);
    let block = chip.block_mut(1);
    block.program(0, &vec![0x5a; len], &vec![0x5a; len]);
    block.unsettle(0, &vec![!0x5a; len]);
    chip
}

fn first_bytes(chip: &Chip) -> (Vec<u8>, Ecc) {
    let mut bytes = vec![0; 512];
    let ecc = chip.read(chip.geometry().eraseblock(), &mut bytes).unwrap();
    (bytes, ecc)
}

#[test]
fn unstable_cells_differ_from_read_to_read_and_come_out_the_same_again() {
    for kind in [FlashKind::Nor, FlashKind::Nand] {
        let geometry = Geometry::new(kind, 1 << 20, 16384, if kind == FlashKind::Nor { 1 } else { 512 }).unwrap();
        let chip = unstable(geometry, 512);
        let power_up = |n| {
            let chip = chip.powered_up(n);
            [first_bytes(&chip), first_bytes(&chip)]
        };
        let reads = |n| (0..8).map(move |_| n).map(power_up);
        let mut seen = Vec::new();
        for n in 0..32 {
            let same: Vec<_> = reads(n).collect();
            assert!(same.iter().all(|reads| *reads == same[0]), "power-up {n}");
            // Never less than what was programmed, never more than blank.
            assert!(same[0].iter().all(|(bytes, _)| bytes.iter().all(|byte| byte & 0x5a == 0x5a)));
            seen.extend(same[0].clone());
        }
        let done = seen.iter().filter(|(bytes, _)| bytes.iter().all(|byte| *byte == 0x5a)).count();
        let blank = seen.iter().filter(|(bytes, _)| bytes.iter().all(|byte| *byte == 0xff)).count();
        assert!(done > 0 && blank > 0 && done + blank < 48, "{done} done, {blank} blank of 64");
        assert!((0..32).any(|n| reads(n).any(|[first, second]| first != second)), "reads of one power-up differ");
        assert!((0..32).any(|n| reads(n).any(|[first, second]| first == second)), "and may not");
        if kind == FlashKind::Nand {
            let outcomes: Vec<Ecc> = seen.iter().map(|seen| seen.1).collect();
            for ecc in [Ecc::Clean, Ecc::Corrected, Ecc::Uncorrectable] {
                assert!(outcomes.contains(&ecc), "{ecc:?}");
            }
        }
    }
}

#[test]
fn unstable_cells_are_part_of_the_id_and_go_with_a_whole_program_or_erase() {
    let geometry = Geometry::new(FlashKind::Nor, 1 << 20, 16384, 1).unwrap();
    let mut chip = unstable(geometry, 512);
    assert!(chip.is_unstable());
    assert_ne!(chip.block_id(1), chip.powered_up(1).block_id(1));
    assert_ne!(chip.content_id(), chip.powered_up(1).content_id());
    assert_eq!(chip.block_id(0), chip.powered_up(1).block_id(0));
    for n in 0..16 {
        let seen = chip.powered_up(n).as_read();
        assert!(!seen.is_unstable());
        assert_eq!(first_bytes(&seen), first_bytes(&chip.powered_up(n)));
        assert_eq!(first_bytes(&seen), first_bytes(&seen.powered_up(n + 1)));
    }
    // The rest stays unstable: what is not programmed again.
    chip.program(16384, &[0x5a; 256]).unwrap();
    assert!(chip.is_unstable());
    chip.program(16384 + 256, &[0x5a; 256]).unwrap();
    assert!(!chip.is_unstable());
    assert_eq!(first_bytes(&chip), (vec![0x5a; 512], Ecc::Clean));
    let mut programmed = Chip::new(geometry, 3);
    programmed.program(16384, &[0x5a; 512]).unwrap();
    assert_eq!(chip.block_id(1), programmed.block_id(1));
    let mut chip = unstable(geometry, 512);
    chip.erase(1).unwrap();
    assert_eq!(chip.content_id(), Chip::new(geometry, 0).content_id());
}
