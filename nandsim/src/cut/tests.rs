//! The torn states: what they may be, that they come out the same again, and that none is left out.

use std::collections::HashSet;

use jffs2_tx::flash::{Ecc, Flash, FlashKind, FlashMut, Geometry};

use super::*;
use crate::chip::{Chip, ChipError, OobState, Pairing, Rules};
use crate::trace::{Op, Recorder, Trace};

const SEED: u64 = 7;

fn nor() -> Geometry {
    Geometry::new(FlashKind::Nor, 64 << 10, 4096, 1).unwrap()
}

fn nand() -> Geometry {
    Geometry::new(FlashKind::Nand, 256 << 10, 16384, 512).unwrap()
}

/// Erases, cleanmarkers, and programs of odd and even lengths over cells that are blank or partly programmed.
fn recorded(geometry: Geometry) -> (Chip, Recorder) {
    recorded_on(Chip::new(geometry, SEED))
}

fn recorded_on(erased: Chip) -> (Chip, Recorder) {
    let geometry = *erased.geometry();
    let start = erased.programmed(&vec![0x5a; 3 * geometry.eraseblock() as usize]).unwrap();
    let mut flash = Recorder::new(start.clone());
    flash.erase(1).unwrap();
    flash.write_oob_cleanmarker(1).unwrap();
    flash.erase(2).unwrap();
    flash.sync().unwrap();
    let (first, second) = (geometry.offset_of(1), geometry.offset_of(2));
    let text: Vec<u8> = (0..2048_u32).map(|i| ((i * 31) >> 3) as u8).collect();
    match geometry.kind() {
        FlashKind::Nor => {
            flash.program(first + 100, &text[..600]).unwrap();
            flash.program(second, &[0xf0; 10]).unwrap();
            flash.program(second, &[0x50; 20]).unwrap();
        }
        FlashKind::Nand => {
            flash.program(first, &text).unwrap();
            flash.program(second, &text[..512]).unwrap();
            flash.program(first + 4096, &text[..512]).unwrap();
        }
    }
    flash.sync().unwrap();
    flash.mark_bad(3).unwrap();
    (start, flash)
}

fn walk(start: &Chip, trace: &Trace) -> Vec<(Cut, Chip)> {
    Walker::new(start.clone(), trace, SEED, cuts_all(trace)).collect()
}

/// The chip before each operation and after the last.
fn boundaries(start: &Chip, trace: &Trace) -> Vec<Chip> {
    let ends = (0..=trace.ops.len()).map(|op| Cut { op, tear: Tear::Before });
    Walker::new(start.clone(), trace, SEED, ends).map(|(_, chip)| chip).collect()
}

/// Whether `low` has no bit that `high` lacks.
fn is_subset(low: &[u8], high: &[u8]) -> bool {
    low.iter().zip(high).all(|(low, high)| low & !high == 0)
}

#[test]
fn torn_programs_lie_between_before_and_after() {
    for geometry in [nor(), nand()] {
        let (start, flash) = recorded(geometry);
        let states = boundaries(&start, flash.trace());
        for (cut, chip) in walk(&start, flash.trace()) {
            let Tear::Program { damage, .. } = cut.tear else { continue };
            let (before, after, torn) = (states[cut.op].image(), states[cut.op + 1].image(), chip.image());
            // The page paired with the torn one is garbage.
            if damage != ProgramDamage::Paired {
                assert!(is_subset(&after, &torn) && is_subset(&torn, &before), "{cut}");
            }
            let block = flash.trace().ops[cut.op].block(&geometry).unwrap();
            for other in (0..geometry.blocks()).filter(|&other| other != block) {
                assert_eq!(chip.block_id(other), states[cut.op].block_id(other), "{cut}");
            }
        }
    }
}

#[test]
fn torn_erases_stay_in_their_eraseblock_and_leave_it_weak() {
    for geometry in [nor(), nand()] {
        let (start, flash) = recorded(geometry);
        let states = boundaries(&start, flash.trace());
        let mut contents = HashSet::new();
        for (cut, mut chip) in walk(&start, flash.trace()) {
            let (Op::Erase { block }, Tear::Erase { oob_kept, .. }) = (&flash.trace().ops[cut.op.min(8)], cut.tear)
            else {
                continue;
            };
            for other in (0..geometry.blocks()).filter(|other| other != block) {
                assert_eq!(chip.block_id(other), states[cut.op].block_id(other), "{cut}");
            }
            if geometry.kind() == FlashKind::Nand {
                assert!(is_subset(states[cut.op].block_data(*block), chip.block_data(*block)), "{cut}");
            }
            assert_eq!(chip.oob(*block), if oob_kept { states[cut.op].oob(*block) } else { OobState::Blank });
            contents.insert(chip.block_id(*block));
            chip.erase(*block).unwrap();
            assert_eq!(chip.block_id(*block), Chip::new(geometry, 0).block_id(0), "{cut}");
        }
        let at_least = if geometry.kind() == FlashKind::Nor { 23 } else { 14 };
        assert!(contents.len() >= at_least, "{} different", contents.len());
    }
}

#[test]
fn every_byte_and_every_operation_is_cut() {
    let (_, flash) = recorded(nor());
    let cuts: Vec<Cut> = cuts_all(flash.trace()).collect();
    assert!(cuts.is_sorted_by_key(|cut| cut.op), "in the walker's order");
    assert_eq!(cuts.iter().collect::<HashSet<_>>().len(), cuts.len());
    let buffers = |op| if op == 4 { vec![156, 256, 188] } else { vec![[10, 20][op - 5]] };
    for (op, len) in [(4, 600), (5, 10), (6, 20)] {
        let mut bytes = Vec::new();
        for cut in cuts.iter().filter(|cut| cut.op == op) {
            if let Tear::Program { unit, damage: ProgramDamage::Prefix, n } = cut.tear {
                bytes.push(buffers(op)[..unit as usize].iter().sum::<u32>() + n);
            }
        }
        assert_eq!(bytes, (0..len).collect::<Vec<_>>());
    }
    for op in 0..=flash.trace().ops.len() {
        assert!(cuts.contains(&Cut { op, tear: Tear::Before }));
    }
}

#[test]
fn prefixes_end_where_they_say() {
    let (start, flash) = recorded(nor());
    let Op::Program { offset, data } = &flash.trace().ops[4] else { panic!() };
    let offset = *offset as usize;
    for (unit, n, done) in [(0, 0, 0), (0, 155, 155), (1, 0, 156), (1, 7, 163), (2, 187, 599)] {
        let cut = Cut { op: 4, tear: Tear::Program { unit, damage: ProgramDamage::Prefix, n } };
        let (_, chip) = Walker::new(start.clone(), flash.trace(), SEED, [cut].into_iter()).next().unwrap();
        let image = chip.image();
        assert_eq!(image[offset..offset + done], data[..done]);
        assert!(image[offset + done + 1..offset + 600].iter().all(|&byte| byte == 0xff));
    }
}

#[test]
fn single_bits() {
    let (start, flash) = recorded(nor());
    let states = boundaries(&start, flash.trace());
    for (cut, chip) in walk(&start, flash.trace()) {
        let Tear::Program { unit: 0, damage, .. } = cut.tear else { continue };
        let zeros = |chip: &Chip| chip.image().iter().map(|byte| byte.count_zeros()).sum::<u32>();
        match damage {
            ProgramDamage::OneBit => assert_eq!(zeros(&chip), zeros(&states[cut.op]) + 1),
            ProgramDamage::AllButOneBit if cut.op > 4 => assert_eq!(zeros(&chip) + 1, zeros(&states[cut.op + 1])),
            _ => {}
        }
    }
}

#[test]
fn torn_pages_are_uncorrectable_and_closed() {
    let (start, flash) = recorded(nand());
    let states = boundaries(&start, flash.trace());
    let mut spoilt = 0;
    for (cut, mut chip) in walk(&start, flash.trace()) {
        let (Op::Program { offset, .. }, Tear::Program { unit, damage, n }) =
            (&flash.trace().ops[cut.op.min(8)], cut.tear)
        else {
            continue;
        };
        let at = offset + unit * 512;
        let mut page = [0; 512];
        let ecc = chip.read(at, &mut page).unwrap();
        let complete = states[cut.op + 1].image()[at as usize..][..512] == page;
        let blank = page == [0xff; 512];
        assert_eq!(ecc == Ecc::Clean, blank || (complete && damage != ProgramDamage::NoEcc), "{cut}");
        assert_eq!(blank, damage == ProgramDamage::LooksBlank, "{cut}");
        assert!(chip.program(at, &[0; 512]).unwrap_err().is_violation(), "{cut}");
        if damage == ProgramDamage::Paired && at - nand().offset_of(nand().block_of(at)) >= n * 512 {
            let victim = chip.read(at - n * 512, &mut page).unwrap();
            spoilt += usize::from(victim == Ecc::Uncorrectable);
        }
    }
    assert_eq!(spoilt, 3 + 1, "one page back and three pages back, but never a page that was blank");
}

/// A NAND chip with rules, all pages of eraseblock 1 programmed at once.
fn mlc() -> (Chip, Recorder) {
    let rules = Rules { pairing: Pairing::FourAndSix, ..Rules::of(&nand()) };
    let start = Chip::with_rules(nand(), rules, SEED);
    let mut flash = Recorder::new(start.clone());
    flash.program(nand().offset_of(1), &[0x5a; 2 * 512]).unwrap();
    flash.program(nand().offset_of(1) + 2 * 512, &[0x5a; 30 * 512]).unwrap();
    (start, flash)
}

#[test]
fn paired_pages_are_destroyed_by_the_part_s_table() {
    let (start, flash) = mlc();
    let mut destroyed = Vec::new();
    for (cut, chip) in walk(&start, flash.trace()) {
        let Tear::Program { unit, damage, n } = cut.tear else { continue };
        let page = unit + if cut.op == 0 { 0 } else { 2 };
        let ecc = |page: u32| chip.read(nand().offset_of(1) + page * 512, &mut [0; 512]).unwrap();
        let lost: Vec<u32> = (0..page).filter(|&earlier| ecc(earlier) == Ecc::Uncorrectable).collect();
        match damage {
            ProgramDamage::Paired | ProgramDamage::PairedBlank | ProgramDamage::PairedDone => {
                assert_eq!(lost, [page - n], "{cut}");
                let torn = if damage == ProgramDamage::Paired { Ecc::Uncorrectable } else { Ecc::Clean };
                assert_eq!(ecc(page), torn, "{cut}");
                destroyed.push((page - n, page));
            }
            _ => assert!(lost.is_empty(), "{cut}"),
        }
    }
    assert_eq!(destroyed.len(), 3 * 16, "each of 16 pairs in three ways");
    destroyed.dedup();
    assert_eq!(destroyed[..6], [(0, 4), (1, 5), (2, 8), (3, 9), (6, 12), (7, 13)]);
    assert_eq!(destroyed[12..], [(22, 28), (23, 29), (26, 30), (27, 31)]);
}

#[test]
fn a_program_of_a_part_of_a_page_tears_there_alone() {
    let rules = Rules { program_unit: 128, page_programs: 4, ..Rules::of(&nand()) };
    let start = Chip::with_rules(nand(), rules, SEED);
    let mut flash = Recorder::new(start.clone());
    flash.program(128, &[0; 256]).unwrap();
    flash.program(0, &[0; 128]).unwrap();
    let mut torn = 0;
    for (cut, chip) in walk(&start, flash.trace()).into_iter().filter(|(cut, _)| cut.op == 0) {
        let ecc = |at| chip.read(at, &mut [0; 128]).unwrap();
        assert_eq!((ecc(0), ecc(384), is_blank(&chip, 384)), (Ecc::Clean, Ecc::Clean, true), "{cut}");
        torn += usize::from(ecc(128) == Ecc::Uncorrectable && ecc(256) == Ecc::Uncorrectable);
    }
    assert!(torn >= 5, "{torn}");
    let no_ecc = Cut { op: 0, tear: Tear::Program { unit: 0, damage: ProgramDamage::NoEcc, n: 0 } };
    let (_, chip) = Walker::new(start, flash.trace(), SEED, [no_ecc].into_iter()).next().unwrap();
    let eccs = [0, 128, 256, 384].map(|at| chip.read(at, &mut [0; 128]).unwrap());
    assert_eq!(eccs, [Ecc::Clean, Ecc::Uncorrectable, Ecc::Uncorrectable, Ecc::Clean]);
}

fn is_blank(chip: &Chip, at: usize) -> bool {
    chip.image()[at..at + 128].iter().all(|&cell| cell == 0xff)
}

/// A page that an interrupted erase let read blank still is a programmed one.
#[test]
fn an_interrupted_erase_allows_no_programs() {
    let (start, flash) = recorded(nand());
    let cut = Cut { op: 0, tear: Tear::Erase { damage: EraseDamage::Blank, n: 0, oob_kept: false } };
    let (_, mut chip) = Walker::new(start, flash.trace(), SEED, [cut].into_iter()).next().unwrap();
    let first = nand().offset_of(1);
    assert_eq!(chip.program(first, &[0; 512]), Err(ChipError::PagePrograms { offset: first, limit: 1 }));
    chip.erase(1).unwrap();
    chip.program(first, &[0; 512]).unwrap();
}

#[test]
fn tears_stay_in_the_part_s_write_buffer() {
    let rules = Rules { write_buffer: 64, ..Rules::of(&nor()) };
    let (start, flash) = recorded_on(Chip::with_rules(nor(), rules, SEED));
    let Op::Program { offset, data } = &flash.trace().ops[4] else { panic!() };
    let (at, mut prefixes, mut suffixes) = (*offset as usize, 0, 0);
    for (cut, chip) in walk(&start, flash.trace()).into_iter().filter(|(cut, _)| cut.op == 4) {
        let Tear::Program { unit, damage, .. } = cut.tear else { continue };
        prefixes += usize::from(damage == ProgramDamage::Prefix);
        suffixes += usize::from(damage == ProgramDamage::Suffix);
        let torn = (at / 64 + unit as usize) * 64;
        let image = chip.image();
        assert_eq!(image[at..torn.max(at)], data[..torn.max(at) - at], "{cut}");
        assert!(image[torn + 64..at + 600_usize.max(torn + 64 - at)].iter().all(|&cell| cell == 0xff), "{cut}");
    }
    // 600 bytes from 4196 on are in 10 buffers of 64.
    assert_eq!((prefixes, suffixes), (600, 2 * 10));
}

#[test]
fn cleanmarkers_tear() {
    let (start, flash) = recorded(nand());
    let torn = walk(&start, flash.trace()).into_iter().find(|(cut, _)| cut.tear == Tear::Cleanmarker).unwrap();
    assert_eq!((torn.0.op, torn.1.oob(1), torn.1.has_oob_cleanmarker(1)), (1, OobState::Dirty, Ok(false)));
}

#[test]
fn unsynced_operations_get_lost_in_order_within_an_eraseblock() {
    for geometry in [nor(), nand()] {
        let (start, flash) = recorded(geometry);
        let states = boundaries(&start, flash.trace());
        let lost: Vec<_> = walk(&start, flash.trace())
            .into_iter()
            .filter(|(cut, _)| matches!(cut.tear, Tear::Unsynced { .. }))
            .collect();
        assert!(!lost.is_empty());
        for (cut, chip) in lost {
            let synced = if cut.op <= 4 { 0 } else { 4 };
            for block in 0..geometry.blocks() {
                let id = chip.block_id(block);
                assert!((synced..=cut.op).any(|op| states[op].block_id(block) == id), "{cut}: block {block}");
            }
            assert!(cut.op != 4 && cut.op != 8, "{cut}: all was synced");
        }
    }
}

#[test]
fn the_walk_ends_as_the_run_did() {
    for geometry in [nor(), nand()] {
        let (start, flash) = recorded(geometry);
        let (cut, last) = walk(&start, flash.trace()).pop().unwrap();
        assert_eq!(cut, Cut { op: flash.trace().ops.len(), tear: Tear::Before });
        assert_eq!(last.content_id(), flash.chip().content_id());
        assert_eq!(last.image(), flash.chip().image());
    }
}

#[test]
fn the_same_seed_gives_the_same_states_in_any_order() {
    for geometry in [nor(), nand()] {
        let (start, flash) = recorded(geometry);
        let ids =
            |states: Vec<(Cut, Chip)>| states.iter().map(|(cut, chip)| (*cut, chip.content_id())).collect::<Vec<_>>();
        let forwards = ids(walk(&start, flash.trace()));
        let sampled = cuts_sampled(flash.trace(), 40, SEED);
        let mut backwards =
            ids(Walker::new(start.clone(), flash.trace(), SEED, sampled.iter().rev().copied()).collect());
        assert!(backwards.iter().all(|state| forwards.contains(state)));
        backwards.reverse();
        let other: Vec<_> = Walker::new(start, flash.trace(), SEED + 1, sampled.into_iter()).collect();
        assert_ne!(ids(other), backwards);
    }
}

#[test]
fn samples_have_their_size_and_the_whole_end() {
    let mut flash = Recorder::new(Chip::new(nor(), SEED));
    for block in 0..16 {
        flash.program(nor().offset_of(block), &[0; 4096]).unwrap();
    }
    flash.sync().unwrap();
    flash.program(4000, &[]).unwrap();
    let (chip, mut trace) = flash.into_parts();
    trace.ops.push(Op::Erase { block: 0 });
    trace.ops.push(Op::Program { offset: 0, data: vec![0; 16] });
    assert_eq!(chip.counters().programs, 17);
    let sample = cuts_sampled(&trace, 1000, SEED);
    assert_eq!(sample, cuts_sampled(&trace, 1000, SEED));
    assert_ne!(sample, cuts_sampled(&trace, 1000, SEED + 1));
    assert!((1000..=1001).contains(&sample.len()));
    assert!(sample.is_sorted());
    let end = trace.ops.len() - 2;
    let all_of_end: Vec<Cut> = cuts_all(&trace).filter(|cut| cut.op >= end).collect();
    assert!(all_of_end.iter().all(|cut| sample.contains(cut)));
    assert_eq!(cuts_sampled(&trace, 1 << 20, SEED).len(), cuts_all(&trace).count());
    assert_eq!(cuts_sampled(&Trace { geometry: nor(), rules: Rules::of(&nor()), ops: Vec::new() }, 5, SEED).len(), 1);
}

#[test]
fn cuts_read_back_from_their_text() {
    for geometry in [nor(), nand()] {
        let (_, flash) = recorded(geometry);
        for cut in cuts_all(flash.trace()) {
            assert_eq!(cut.to_string().parse(), Ok(cut));
        }
    }
    for wrong in [
        "",
        "7",
        "7:",
        "x:before",
        "7:prefix:1",
        "7:prefix:1:x",
        "7:erase-zeros",
        "7:erase-zeros:1:oo",
        "7:erase-zeros:1:oob:1",
        "7:before:1",
    ] {
        assert!(wrong.parse::<Cut>().is_err(), "{wrong}");
    }
}

#[test]
fn every_cut_that_is_tried_is_in_its_trace() {
    for (_, flash) in [recorded(nor()), recorded(nand()), mlc()] {
        let trace = flash.trace();
        for cut in cuts_up_to(trace, crate::fault::Tier::Three) {
            assert!(cut.is_in(trace), "{cut}");
        }
    }
}

#[test]
fn cuts_that_do_not_exist_are_in_no_trace() {
    let nor = recorded(nor()).1;
    let nand = recorded(nand()).1;
    // Operation 4 of NOR's programs 600 bytes from 100 on: 156 in the first write buffer, 188 in the last.
    assert!(matches!(&nor.trace().ops[4], Op::Program { data, .. } if data.len() == 600), "{:?}", nor.trace().ops);
    for (trace, exists, cuts) in [
        (
            nor.trace(),
            true,
            "4:prefix:0:155 4:prefix:2:187 4:suffix:2:64 4:bits:0:99 0:erase-zeros:4096 0:erase-mixed:77",
        ),
        (nor.trace(), false, "0:prefix:0:5 4:erase-zeros:5 4:cleanmarker 99:before 4:prefix:0:156 4:prefix:3:0"),
        (nor.trace(), false, "4:prefix:16777216:1 4:prefix:4294967295:4294967295 4:bytes:33554432:0 4:suffix:0:256"),
        (nor.trace(), false, "4:paired:0:0 4:paired:0:1 4:no-ecc:0:0 4:looks-blank:0:0 4:unstable-prefix:0:156"),
        (nor.trace(), false, "0:erase-zeros:4097 0:erase-blank:0:oob 0:unsynced:0 99:unsynced:0"),
        (nand.trace(), true, "4:prefix:0:511 4:paired:3:1 4:no-ecc:3:0 0:erase-blank:0:oob 1:cleanmarker"),
        (nand.trace(), false, "4:prefix:0:512 4:paired:0:0 4:paired:0:32 4:weak-blank:0:0 4:prefix:4:0"),
        (nand.trace(), false, "0:erase-zeros:5 0:erase-mixed:0 0:erase-prefix:16385 4:disturbed:0:0"),
    ] {
        for text in cuts.split(' ') {
            assert_eq!(text.parse::<Cut>().unwrap().is_in(trace), exists, "{text}");
        }
    }
}

/// They come from tokens, which anyone may write.
#[test]
fn tears_beyond_an_operation_end_in_no_panic() {
    let (start, flash) = recorded(nor());
    for text in ["4:prefix:16777216:1", "4:prefix:4294967295:4294967295", "4:bytes:33554432:0"] {
        let cut = text.parse().unwrap();
        assert_eq!(Walker::new(start.clone(), flash.trace(), SEED, std::iter::once(cut)).count(), 1);
    }
}
