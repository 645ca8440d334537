//! Unstable cells: what a cut leaves half programmed reads differently at every power-up.

use jffs2_tx::wire::CommitPoint::{self, Dirent, Head, Summary};
use jffs2_tx::wire::Endian::{Big, Little};
use nandsim::{Cut, Shape, Tier, Torture, Trace, cuts_of_tier, cuts_sampled, sample, sample_small_change};

use crate::common::{nand, nor, recorded};
use crate::looks::{Looks, states};

/// Recoveries of each state, each at a power-up of its own.
const RECOVERIES: u64 = 4;

/// The update of which every operation from the erase of the commit block on is cut, and some before.
fn cuts(torture: &Torture) -> Vec<Cut> {
    let ops = torture.trace.ops.len();
    let all = cuts_of_tier(&torture.trace, Tier::Two);
    let long = std::env::var_os("JFFS2_TX_LONG").is_some();
    all.enumerate().filter(|(i, cut)| long || cut.op + 12 >= ops || i % 37 == 0).map(|(_, cut)| cut).collect()
}

/// Those from the erase of the commit block on.
pub(crate) fn late_cuts(torture: &Torture) -> Vec<Cut> {
    let last = torture.trace.ops.len().saturating_sub(12);
    cuts(torture).into_iter().filter(|cut| cut.op >= last).collect()
}

pub(crate) fn torture(shape: Shape, point: CommitPoint) -> Torture {
    recorded(shape, if point == Dirent { sample_small_change() } else { sample() }, Some(point))
}

/// At each power-up the old tree or the new one; after one recovery always the same.
fn survives(shape: Shape, point: CommitPoint) {
    let torture = torture(shape, point);
    let mut looks = Looks::new(&torture);
    let mut wrong = Vec::new();
    let mut tried = 0;
    for (cut, chip) in states(&torture.start, &torture.trace, torture.seed, cuts(&torture).into_iter()) {
        tried += 1;
        if let Err(why) = looks.fine("after the cut", &chip) {
            wrong.push(format!("{cut}: {why}"));
        }
        for n in 0..RECOVERIES {
            let done = looks.recovered(&chip, n).and_then(|(chip, _, _)| looks.lasting("after recovery", &chip));
            if let Err(why) = done {
                wrong.push(format!("{cut}, recovered at power-up {n}: {why}"));
            }
        }
    }
    assert_none(shape, point, tried, &wrong);
}

/// The same where the power fails again in the recovery, and what that leaves is recovered in turn.
fn survives_twice(shape: Shape, point: CommitPoint) {
    let torture = torture(shape, point);
    let mut looks = Looks::new(&torture);
    let (mut wrong, mut tried) = (Vec::new(), 0);
    // Those in the commit point itself leave most to be seen one way or the other.
    let long = std::env::var_os("JFFS2_TX_LONG").is_some();
    let late = late_cuts(&torture).into_iter().rev().step_by(if long { 1 } else { 5 }).collect::<Vec<_>>();
    for (cut, chip) in states(&torture.start, &torture.trace, torture.seed, late.into_iter().rev()) {
        for n in 0..2 {
            let (_, trace, _) = looks.recovered(&chip, n).unwrap();
            let second = second_cuts(&trace, torture.seed);
            for (again, chip) in states(&chip.powered_up(n), &trace, torture.seed, second.into_iter()) {
                tried += 1;
                let what = format!("{cut}, then {again} in the recovery at power-up {n}");
                let done = looks.fine(&what, &chip).and_then(|_| {
                    let (chip, _, _) = looks.recovered(&chip, n + 1)?;
                    looks.lasting(&format!("{what}, recovered"), &chip)
                });
                wrong.extend(done.err());
            }
        }
    }
    assert_none(shape, point, tried, &wrong);
}

fn second_cuts(trace: &Trace, seed: u64) -> Vec<Cut> {
    let mut cuts = cuts_sampled(trace, 24, seed);
    let unstable: Vec<_> = cuts_of_tier(trace, Tier::Two).collect();
    cuts.extend(unstable.iter().step_by(1 + unstable.len() / 24));
    cuts.sort_unstable();
    cuts
}

fn assert_none(shape: Shape, point: CommitPoint, tried: usize, wrong: &[String]) {
    let some: Vec<String> =
        wrong.iter().step_by(1 + wrong.len() / 8).map(|why| why.chars().take(400).collect()).collect();
    assert!(wrong.is_empty(), "{shape:?} {point}: {} wrong of {tried}:\n{}", wrong.len(), some.join("\n"));
    assert!(tried > 20, "{tried} states are few");
}

#[test]
fn head() {
    survives(nor(64, 1, Little), Head);
}

#[test]
fn dirent_on_nor() {
    survives(nor(64, 1, Big), Dirent);
}

#[test]
fn dirent_on_nor_with_ecc() {
    survives(nor(64, 32, Big), Dirent);
}

#[test]
fn dirent_on_nand() {
    survives(nand(16, 512, Little), Dirent);
}

#[test]
fn summary_on_nor() {
    survives(nor(64, 1, Big), Summary);
}

#[test]
fn summary_on_nand() {
    survives(nand(16, 512, Big), Summary);
}

#[test]
fn head_twice() {
    survives_twice(nor(64, 1, Big), Head);
}

#[test]
fn dirent_on_nor_twice() {
    survives_twice(nor(64, 1, Little), Dirent);
}

#[test]
fn dirent_on_nor_with_ecc_twice() {
    survives_twice(nor(64, 32, Little), Dirent);
}

#[test]
fn dirent_on_nand_twice() {
    survives_twice(nand(16, 512, Big), Dirent);
}

#[test]
fn summary_on_nor_twice() {
    survives_twice(nor(64, 1, Little), Summary);
}

#[test]
fn summary_on_nand_twice() {
    survives_twice(nand(16, 512, Little), Summary);
}
