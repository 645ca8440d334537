//! Node diffs, and what is kept of failures.

use std::fs;
use std::path::PathBuf;

use jffs2_tx::flash::{Ecc, Flash, FlashMut};
use jffs2_tx::wire::{CommitPoint, Endian};
use nandsim::report::{FailingState, Mark, NodeDiff, Same, SaveError, beyond_image, save_failure};
use nandsim::{ByReader, Chip, Cut, Op, Tear, Torture, sample, sample_small_change};

use crate::common::{nand, nor, recorded};

const E: Endian = Endian::Little;

fn after(torture: &Torture, cut: &str) -> Chip {
    torture.state(&cut.parse().unwrap()).unwrap()
}

fn end(torture: &Torture) -> Chip {
    let cut = Cut { op: torture.trace.ops.len(), tear: Tear::Before };
    torture.state(&cut.into()).unwrap()
}

fn diff(torture: &Torture, found: &Chip) -> NodeDiff {
    NodeDiff::of(&torture.start, &end(torture), found, torture.workload.endian).unwrap()
}

/// The operation that the commit block's body is programmed in: the program behind the last erase.
fn body(torture: &Torture) -> usize {
    let ops = &torture.trace.ops;
    let erase = ops.iter().rposition(|op| matches!(op, Op::Erase { .. })).unwrap();
    (erase..).find(|&i| matches!(ops[i], Op::Program { .. })).unwrap()
}

#[test]
fn good_states_have_no_nodes_to_show() {
    let torture = recorded(nor(64, 1, E), sample(), Some(CommitPoint::Head));
    for (found, same) in [(torture.start.clone(), Same::Old), (end(&torture), Same::New)] {
        let diff = diff(&torture, &found);
        assert_eq!(diff.blocks.len(), 2, "payload and commit block");
        assert!(diff.blocks.iter().all(|block| block.same == same && block.nodes.is_empty()));
    }
}

#[test]
fn a_torn_commit_block_is_told_node_by_node() {
    let torture = recorded(nor(64, 1, E), sample(), Some(CommitPoint::Head));
    let torn = after(&torture, &format!("{}:prefix:2:3", body(&torture)));
    let diff = diff(&torture, &torn);
    let [payload, commit] = &diff.blocks[..] else { panic!("{diff}") };
    assert_eq!((payload.same, commit.same), (Same::New, Same::Neither));
    assert_eq!(commit.about, ["hidden"]);
    let count = |mark| commit.nodes.iter().filter(|line| line.mark == mark).count();
    assert!(count(Mark::New) > 3 && count(Mark::MissingNew) > 3, "{diff}");
    assert_eq!((count(Mark::Torn), count(Mark::Found), count(Mark::Old)), (1, 0, 0), "{diff}");
    assert!(commit.nodes.iter().all(|line| line.seen.is_none_or(|seen| !seen.with_summaries)), "nobody sees them");
    let text = diff.to_string();
    assert!(text.contains("  n 0x") && text.contains("  ! 0x") && text.contains("missing: after"), "{text}");
}

/// Nodes of the old tree that are damaged, erased, or written by nobody.
#[test]
fn marks_say_where_a_node_stands() {
    let torture = recorded(nor(64, 1, E), sample_small_change(), Some(CommitPoint::Dirent));
    let mut found = end(&torture);
    // A bit of a dirent's name, then all of the payload.
    let name = found.block_data(0).windows(7).position(|bytes| bytes == b"busybox").unwrap() as u32;
    found.program(name, b"`").unwrap();
    let payload = {
        let Op::Erase { block } = torture.trace.ops[0] else { panic!() };
        block
    };
    found.erase(payload).unwrap();
    found.program(torture.trace.geometry.offset_of(payload), b"junk").unwrap();
    let diff = diff(&torture, &found);
    let [first, payload, commit] = &diff.blocks[..] else { panic!("{diff}") };
    assert_eq!((first.same, payload.same, commit.same), (Same::Neither, Same::Neither, Same::New));
    let torn: Vec<_> = first.nodes.iter().filter(|line| line.mark == Mark::Torn).collect();
    let [torn] = torn[..] else { panic!("{diff}") };
    assert_eq!((torn.problem.as_deref(), torn.seen), (Some("bad name"), Some(ByReader::default())));
    assert!(torn.text.contains("/bin/busybox -> #"), "as it was: {}", torn.text);
    assert!(first.nodes.iter().all(|line| line.mark == Mark::Torn || line.mark == Mark::Both));
    let [begin, missing @ ..] = &payload.nodes[..] else { panic!("{diff}") };
    assert_eq!((begin.mark, begin.text.as_str()), (Mark::Torn, "begin marker of payload block 0"));
    assert!(!missing.is_empty() && missing.iter().all(|line| line.mark == Mark::MissingNew), "{diff}");
}

/// Readers differ about a summary commit; the diff says so.
#[test]
fn who_sees_a_node() {
    let torture = recorded(nand(128, 2048, E), sample(), Some(CommitPoint::Summary));
    let mut found = end(&torture);
    let Some(Op::Program { offset, .. }) = torture.trace.ops.get(body(&torture)) else { panic!() };
    found.set_ecc(*offset, Ecc::Uncorrectable);
    let diff = diff(&torture, &found);
    let [commit] = &diff.blocks.iter().filter(|block| block.same == Same::Neither).collect::<Vec<_>>()[..] else {
        panic!("{diff}")
    };
    let about = commit.about.join("; ");
    assert!(
        about.starts_with("reader with summaries: its nodes are seen; reader without summaries: hidden"),
        "{about}"
    );
    assert!(about.ends_with(&format!("uncorrectable at {offset:#x}-{:#x}", offset + 2048)), "{about}");
    let only_with = ByReader { with_summaries: true, without_summaries: false };
    assert!(commit.nodes.iter().filter(|line| line.seen == Some(only_with)).count() > 10, "{diff}");
    assert!(commit.nodes.iter().all(|line| line.mark == Mark::New), "its bytes are right");
}

fn scratch(name: &str) -> PathBuf {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    dir
}

#[test]
fn a_failure_is_kept_and_nothing_else_overwritten() {
    let torture = recorded(nor(64, 1, E), sample_small_change(), None);
    let (new, found) = (end(&torture), after(&torture, "2:bits:0:1"));
    let dir = scratch("kept");
    let failure = FailingState {
        token: "flash=nor,cut=2:bits:0:1",
        what: "mixed: planted",
        old: &torture.start,
        new: &new,
        found: &found,
        endian: E,
    };
    let folder = save_failure(&dir, &failure).unwrap();
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    assert_eq!(read("state.img"), found.image());
    assert_eq!((read("old.img"), read("new.img")), (torture.start.image(), new.image()));
    assert_eq!(read("token.txt"), b"flash=nor,cut=2:bits:0:1\nmixed: planted\n");
    assert_eq!(read("diff.txt"), diff(&torture, &found).to_string().as_bytes());
    assert_eq!(read("state.txt"), b"The image holds all of the state.\n");
    assert_eq!(save_failure(&dir, &failure).unwrap(), folder, "the same again");
    let other = FailingState { token: "flash=nor,cut=3:before", ..failure };
    assert_ne!(save_failure(&dir, &other).unwrap(), folder);
    fs::write(folder.join("token.txt"), "mine").unwrap();
    assert!(matches!(save_failure(&dir, &failure), Err(SaveError::Taken(taken)) if taken == folder));
    assert_eq!(read("token.txt"), b"mine");
}

#[test]
fn what_an_image_cannot_hold_is_said() {
    let torture = recorded(nand(128, 2048, E), sample(), None);
    let mut chip = after(&torture, "0:erase-bits:1");
    let block = |chip: &Chip, n: u32| format!("eraseblock {n}: {}", beyond_of(chip, n));
    let Op::Erase { block: torn } = torture.trace.ops[0] else { panic!() };
    assert!(block(&chip, torn).contains("weak since an erase was interrupted"), "{}", beyond_image(&chip));
    let last = chip.geometry().blocks() - 1;
    assert!(block(&chip, last - 1).contains("cleanmarker in OOB"));
    chip.mark_bad(last).unwrap();
    chip.set_ecc(2048, Ecc::Uncorrectable);
    chip.set_ecc(4096, Ecc::Uncorrectable);
    assert!(block(&chip, last).contains("marked bad"));
    assert_eq!(beyond_of(&chip, 0), "uncorrectable at 0x800-0x1800");
}

fn beyond_of(chip: &Chip, block: u32) -> String {
    let prefix = format!("eraseblock {block}: ");
    beyond_image(chip).lines().find_map(|line| line.strip_prefix(&prefix).map(str::to_owned)).unwrap_or_default()
}
