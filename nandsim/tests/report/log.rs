//! The operation log: what each operation is for, which one commits, and how long it takes.

use jffs2_tx::wire::{CommitPoint, Endian};
use nandsim::report::{Log, Role, Sights};
use nandsim::{Chip, Eye, Op, Oracle, PARTS, Part, Sight, Torture, Verdict, sample, sample_small_change};

use crate::common::{nand, nor, recorded};

fn seen(torture: &Torture) -> Sights {
    Sights::of(&torture.start, &torture.trace, &mut torture.oracle.eye())
}

fn log(torture: &Torture, part: Option<&str>) -> Log {
    let times = part.map(|name| &Part::by_name(name).unwrap().times);
    Log::of(&torture.start, &torture.trace, torture.workload.endian, times, seen(torture).commit())
}

fn roles(log: &Log) -> Vec<Role> {
    let mut roles: Vec<Role> = log.steps.iter().map(|step| step.role).filter(|role| *role != Role::Sync).collect();
    roles.dedup();
    roles
}

#[test]
fn each_commit_point_has_its_steps() {
    use Role::{CommitBlock, EraseFree, Head, Payload, Seal, Summary};
    let to_commit_block = [EraseFree, Payload, EraseFree, CommitBlock];
    for endian in [Endian::Little, Endian::Big] {
        let head = log(&recorded(nor(64, 1, endian), sample(), Some(CommitPoint::Head)), None);
        assert_eq!(roles(&head), [&to_commit_block[..], &[Head, Seal]].concat());
        let summary = log(&recorded(nand(128, 2048, endian), sample(), Some(CommitPoint::Summary)), None);
        assert_eq!(roles(&summary), [&to_commit_block[..], &[Summary]].concat());
        let dirent = log(&recorded(nor(64, 1, endian), sample_small_change(), Some(CommitPoint::Dirent)), None);
        assert_eq!(roles(&dirent), [&to_commit_block[..], &[Seal]].concat());
        for (log, commits) in [(&head, Head), (&summary, Summary), (&dirent, CommitBlock)] {
            assert_eq!(log.steps[log.commit.unwrap()].role, commits);
        }
    }
}

#[test]
fn words_name_files_and_names() {
    let torture = recorded(nor(64, 1, Endian::Little), sample_small_change(), Some(CommitPoint::Dirent));
    let log = log(&torture, None);
    let payload: Vec<_> = log.steps.iter().filter(|step| step.role == Role::Payload).cloned().collect();
    let words = log.words(&payload);
    assert!(words.starts_with("payload: begin marker, ") && words.contains("/etc/fstab 0-"), "{words}");
    assert_eq!(log.words(&log.steps[log.commit.unwrap()..][..1]), "commit block: names in /: etc");
}

/// What a leftover is erased for, and zeros before it.
#[test]
fn leftovers_are_told_from_free_eraseblocks() {
    let mut torture = recorded(nor(64, 1, Endian::Little), sample(), Some(CommitPoint::Head));
    let (before_head, block) = {
        let Op::Program { offset, .. } = torture.trace.ops[17] else { panic!() };
        (17, torture.trace.geometry.block_of(offset))
    };
    torture.trace.ops.truncate(before_head);
    let at = torture.trace.geometry.offset_of(block) + torture.trace.geometry.blank_head();
    torture.trace.ops.push(Op::Program { offset: at, data: vec![0; 4096] });
    torture.trace.ops.push(Op::Erase { block: 1 });
    let log = log(&torture, None);
    assert_eq!(log.commit, None);
    let last = &log.steps[log.steps.len() - 2..];
    assert_eq!((last[0].role, last[1].role), (Role::Zeros, Role::EraseUsed));
    assert!(log.words(&last[1..]).starts_with("held: begin marker, "), "{}", log.words(&last[1..]));
    // The body is told of although zeros stand there now.
    assert_eq!(log.steps[before_head - 2].role, Role::CommitBlock);
}

/// By hand: W25Q128FV takes 700 us for a write buffer of 256 bytes and 150 ms for an erase.
#[test]
fn times_are_the_parts() {
    let part = Part::by_name("W25Q128FV").unwrap();
    let torture = recorded(nor(64, 1, Endian::Little), sample_small_change(), Some(CommitPoint::Dirent));
    let log = log(&torture, Some(part.name));
    let buffers = |op: &Op| match op {
        Op::Program { offset, data } => (offset % 256 + data.len() as u32).div_ceil(256),
        _ => 0,
    };
    let programs: u32 = torture.trace.ops.iter().map(buffers).sum();
    assert_eq!(log.totals.us, Some(u64::from(programs) * 700 + log.totals.erases as u64 * 150_000));
    assert_eq!(log.totals.longest_us, Some(u64::from(programs) * 3_000 + log.totals.erases as u64 * 2_000_000));
    let after = &torture.trace.ops[log.commit.unwrap() + 1..];
    let seals = after.iter().map(buffers).sum::<u32>();
    assert!(seals > 0, "{after:?}");
    let wanted = (Some(after.len()), Some(u64::from(seals) * 700));
    assert_eq!((log.totals.ops_after_commit, log.totals.us_after_commit), wanted);
    let mut at = 0;
    for (begins, takes) in log.steps.iter().map(|step| step.time.unwrap()) {
        assert_eq!(begins, at);
        at += takes;
    }
    assert_eq!(log.totals.read_back_us, None, "NOR is read as memory");
}

#[test]
fn nand_is_read_back_page_by_page() {
    let torture = recorded(nand(128, 2048, Endian::Little), sample(), None);
    let log = log(&torture, Some("OLPC-XO-1"));
    let pages = torture.trace.programmed_bytes() / 2048;
    let cleanmarkers = torture.trace.ops.iter().filter(|op| matches!(op, Op::OobCleanmarker { .. })).count() as u64;
    assert_eq!(log.totals.read_back_us, Some((pages + cleanmarkers) * 25));
    assert_eq!(log.totals.us, Some((pages + cleanmarkers) * 200 + log.totals.erases as u64 * 1_500));
    assert!(log.totals.write_amplification.unwrap() > 1.0);
}

/// No part is without times; a longest time only where all are known.
#[test]
fn a_longest_time_only_where_the_part_has_one() {
    let torture = recorded(nor(64, 1, Endian::Little), sample_small_change(), None);
    for part in PARTS {
        let totals = log(&torture, Some(part.name)).totals;
        let known = part.times.program_us.max.is_some() && part.times.erase_us.max.is_some();
        assert_eq!((totals.us.is_some(), totals.longest_us.is_some()), (true, known), "{}", part.name);
    }
    let totals = log(&torture, None).totals;
    assert_eq!((totals.us, totals.longest_us, totals.us_after_commit), (None, None, None));
}

#[test]
fn folded_lines_lose_no_operation() {
    let torture = recorded(nor(16, 1, Endian::Little), sample(), Some(CommitPoint::Head));
    let log = log(&torture, Some("W25Q128FV"));
    let (all, folded) = (log.text(true), log.text(false));
    let is_step = |line: &&str| !line.starts_with('-') && !line.contains("operation");
    assert_eq!(all.lines().filter(is_step).count(), log.steps.len());
    let mut covered = 0;
    for line in folded.lines().filter(is_step) {
        let ops = line.split_whitespace().next().unwrap();
        let (first, last) = ops.split_once('-').unwrap_or((ops, ops));
        assert_eq!(first.parse::<usize>().unwrap(), covered, "{folded}");
        covered = last.parse::<usize>().unwrap() + 1 + usize::from(line.ends_with("; sync"));
    }
    assert_eq!(covered, log.steps.len());
    assert_eq!(folded.matches("COMMIT").count(), 1);
    let json = log.json();
    assert_eq!(json.len(), log.steps.len() + 1);
    assert_eq!(json.iter().filter(|line| line["commit"] == true).count(), 1);
    assert_eq!(json[log.steps.len()]["totals"]["ops"], log.steps.len());
}

#[test]
fn readers_turn_once_and_where_the_log_says() {
    let torture = recorded(nand(128, 2048, Endian::Little), sample(), Some(CommitPoint::Summary));
    let sights = seen(&torture);
    let [with, without, ..] = &sights.tracks[..] else { panic!() };
    let turn = sights.commit().unwrap() + 1;
    assert_eq!(with.spans, [(0, Verdict::Old), (turn, Verdict::New)]);
    assert_eq!(without.spans, [(0, Verdict::Old)]);
    assert!(sights.to_string().starts_with(&format!("{}: old at first, new from operation ", with.reader)));
}

/// Of long traces not every state is looked at; the turn is found all the same.
#[test]
fn turns_are_found_in_long_traces() {
    let mut torture = recorded(nor(64, 1, Endian::Little), sample_small_change(), Some(CommitPoint::Dirent));
    let turn = seen(&torture).commit().unwrap();
    let syncs = 1000;
    torture.trace.ops.splice(0..0, std::iter::repeat_n(Op::Sync, syncs));
    let mut counted = Counted(torture.oracle.eye(), 0);
    let sights = Sights::of(&torture.start, &torture.trace, &mut counted);
    assert_eq!(sights.commit(), Some(syncs + turn));
    assert!(counted.1 < 300, "{}", counted.1);
}

struct Counted<E>(E, usize);

impl<E: Eye> Eye for Counted<E> {
    fn see(&mut self, chip: &Chip) -> Sight {
        self.1 += 1;
        self.0.see(chip)
    }
}
