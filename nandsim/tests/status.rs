//! What a glance says of a flash, at every kind of moment at which an update can be cut, is what reading all of it says.

use jffs2_tx::flash::Flash;
use jffs2_tx::history::{TxRecord, TxState, transactions};
use jffs2_tx::status::{Status, UpdateState, status};
use jffs2_tx::tx::{RecoverAction, plan_recovery, recover};
use jffs2_tx::wire::CommitPoint::{self, Dirent, Head, Summary};
use jffs2_tx::wire::Endian::{self, Big, Little};
use jffs2_tx::{Index, Rules};
use nandsim::{Chip, Cut, Shape, Torture, Walker, cuts_all, cuts_sampled, sample, sample_small_change};

mod common;

use common::{SEED, nand, nor, recorded};

/// The state, and the sequence number of the last committed transaction, by reading everything.
fn by_reading_all(chip: &Chip, endian: Endian) -> (UpdateState, Option<u64>) {
    let index = Index::open(chip, Rules { endian, summaries: true }).unwrap();
    let all = transactions(chip, &index).unwrap();
    // Its marker may be gone, with a paired page, but not what the tree needs of it.
    let needed = |tx: &TxRecord| tx.payload_blocks.iter().any(|block| index.blocks()[*block as usize].live > 0);
    let (done, cut): (Vec<_>, Vec<_>) = all.iter().partition(|tx| tx.state != TxState::Leftover || needed(tx));
    let last = done.iter().map(|tx| tx.fields().sequence).max();
    let cut = cut.iter().any(|tx| last.is_none_or(|last| last < tx.fields().sequence));
    let actions = plan_recovery(chip, &index).unwrap();
    let hidden = actions.iter().any(|action| matches!(action, RecoverAction::EraseHidden { .. }));
    let state = match last {
        _ if cut || hidden => UpdateState::Leftover,
        Some(_) => UpdateState::Committed,
        None => UpdateState::Clean,
    };
    (state, last)
}

fn at_a_glance(chip: &Chip, endian: Endian) -> Status {
    let seen = status(chip, endian).unwrap();
    assert_eq!(seen.blocks, chip.geometry().blocks());
    seen
}

/// Cuts everywhere, and all of them in the last operations: those that commit.
fn cuts(torture: &Torture) -> Vec<Cut> {
    let last = torture.trace.ops.len().saturating_sub(5);
    let mut cuts: Vec<Cut> = cuts_all(&torture.trace).filter(|cut| cut.op >= last).step_by(7).collect();
    cuts.extend(cuts_sampled(&torture.trace, 400, SEED));
    cuts.sort();
    cuts.dedup();
    cuts
}

fn glances_agree(shape: Shape, point: CommitPoint) {
    let sample = if point == Dirent { sample_small_change() } else { sample() };
    let torture = recorded(shape, sample, Some(point));
    let mut seen = Vec::new();
    let walker = Walker::new(torture.start.clone(), &torture.trace, torture.seed, cuts(&torture).into_iter());
    for (cut, mut chip) in walker {
        let glance = at_a_glance(&chip, shape.endian);
        let (state, last) = by_reading_all(&chip, shape.endian);
        let of_last = glance.last.as_ref().map(|marker| marker.sequence);
        assert_eq!((glance.state, of_last), (state, last), "{shape:?} {point} {cut}");
        assert_eq!(
            glance.state == UpdateState::Clean,
            glance.last.is_none() && glance.cut.is_none() && glance.hidden == 0
        );
        recover(&mut chip, shape.endian).unwrap();
        assert_ne!(at_a_glance(&chip, shape.endian).state, UpdateState::Leftover, "{shape:?} {point} {cut}, recovered");
        seen.push(state);
    }
    for state in [UpdateState::Clean, UpdateState::Leftover, UpdateState::Committed] {
        assert!(seen.contains(&state), "{shape:?} {point}: no cut leaves {state:?}");
    }
}

#[test]
fn nor_states() {
    for (shape, points) in [
        (nor(64, 1, Little), &[Head, Summary, Dirent][..]),
        (nor(4, 4, Big), &[Head, Summary, Dirent]),
        (nor(16, 32, Little), &[Summary]),
    ] {
        points.iter().for_each(|point| glances_agree(shape, *point));
    }
}

#[test]
fn nand_states() {
    for shape in [nand(16, 512, Big), nand(128, 2048, Little)] {
        [Summary, Dirent].into_iter().for_each(|point| glances_agree(shape, point));
    }
}

/// What makes it cheap: a few pages of each eraseblock.
#[test]
fn a_glance_reads_little() {
    for (shape, point) in [(nor(64, 1, Little), Head), (nand(128, 2048, Big), Summary)] {
        let torture = recorded(shape, sample(), Some(point));
        let end = Cut { op: torture.trace.ops.len(), tear: nandsim::Tear::Before };
        let (_, chip) =
            Walker::new(torture.start.clone(), &torture.trace, torture.seed, [end].into_iter()).next().unwrap();
        let geometry = *chip.geometry();
        let glance = at_a_glance(&chip, shape.endian);
        assert_eq!(glance.state, UpdateState::Committed);
        // Of each eraseblock two pages and a trailer; the commit block whole, or its summary.
        let page = u64::from(geometry.write_size().max(256));
        let most = u64::from(geometry.blocks()) * (2 * page + 16) + u64::from(geometry.eraseblock());
        assert!(glance.bytes_read <= most, "{} bytes of {}", glance.bytes_read, geometry.size());
        assert!(glance.bytes_read < u64::from(geometry.size()) / 4);
    }
}
