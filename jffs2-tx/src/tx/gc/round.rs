//! Which eraseblocks to empty, and how their nodes are packed.
//!
//! A round empties more eraseblocks than it fills: those with the fewest live bytes, so many that the gain is the one wanted, or
//! the largest that there is. It works with one free eraseblock, because each that is filled lets at least one go: the live
//! nodes of one victim always fit, and they go first.

use alloc::{collections::BTreeMap, collections::VecDeque, vec::Vec};

use super::inventory::{Space, Way};

/// Nodes that are looked at to fill an eraseblock's end.
const LOOKAHEAD: usize = 64;
/// Numbers of victims that are tried, from few to all. What a better number would gain is left to the next round.
const TRIED: usize = 32;

/// Victims, and their nodes packed.
#[derive(Clone, Debug)]
pub(super) struct Round {
    /// Which end of the flash the nodes go to.
    pub direction: Way,
    pub batches: Vec<Batch>,
    victims: usize,
    bytes: u64,
}

/// What goes into one eraseblock.
#[derive(Clone, Debug, Default)]
pub(super) struct Batch {
    /// Nodes, as [`Space`] numbers them.
    pub nodes: Vec<u32>,
    /// Eraseblocks of which everything has been copied then.
    pub completes: Vec<u32>,
}

impl Round {
    fn gain(&self) -> u32 {
        (self.victims as u32).saturating_sub(self.batches.len() as u32)
    }
}

#[derive(Clone, Copy)]
struct Victim<'a> {
    block: u32,
    nodes: &'a [u32],
    bytes: u32,
}

impl Space {
    /// The round that frees so many eraseblocks and moves least, or else the one that frees most; `None` if none gains anything.
    pub(super) fn best_round(&self, wanted: u32) -> Option<Round> {
        let rounds = [Way::Down, Way::Up].map(|direction| self.round(direction, wanted));
        let gaining = rounds.into_iter().flatten().filter(|round| wanted > 0 && round.gain() > 0);
        gaining.min_by_key(|round| (u32::MAX - round.gain().min(wanted), round.bytes))
    }

    fn round(&self, direction: Way, wanted: u32) -> Option<Round> {
        let (lowest, highest) = self.free_range()?;
        let reaches = |block: u32, way: Way| match (direction, way) {
            (_, Way::Anywhere) => true,
            (Way::Down, Way::Down) => block > lowest,
            (Way::Up, Way::Up) => block < highest,
            _ => false,
        };
        let mut victims: Vec<Victim<'_>> = self
            .movable()
            .into_iter()
            .filter(|(block, way, ..)| reaches(*block, *way))
            .map(|(block, _, nodes, bytes)| Victim { block, nodes, bytes })
            .collect();
        victims.sort_by_key(|victim| victim.bytes);
        let sums: Vec<u64> = victims
            .iter()
            .scan(0, |sum, victim| {
                *sum += u64::from(victim.bytes);
                Some(*sum)
            })
            .collect();
        let mut best: Option<Round> = None;
        for count in self.counts(&sums, wanted) {
            let batches = self.packed(direction, &victims[..count]);
            let round = Round { direction, batches, victims: count, bytes: sums[count - 1] };
            let enough = round.gain() >= wanted;
            if best.as_ref().is_none_or(|best| round.gain() > best.gain()) {
                best = Some(round);
            }
            if enough {
                break;
            }
        }
        best
    }

    /// Numbers of victims to try, ascending; `sums` are the live bytes of so many. None that could not gain enough if nodes could
    /// be split, unless no number could.
    fn counts(&self, sums: &[u64], wanted: u32) -> Vec<usize> {
        let most = |count: usize| (count as u64).saturating_sub(sums[count - 1].div_ceil(u64::from(self.capacity())));
        let first = (1..=sums.len()).find(|count| most(*count) >= u64::from(wanted)).unwrap_or(1);
        let step = (sums.len() + 1 - first).div_ceil(TRIED).max(1);
        let mut counts: Vec<usize> = (first..=sums.len()).step_by(step).collect();
        counts.extend(counts.last().is_some_and(|last| *last < sums.len()).then_some(sums.len()));
        counts
    }

    /// The victims' nodes, eraseblock by eraseblock. They are taken from the end of the flash that they go to: what one leaves
    /// free then lies further that way than those that are still to come.
    fn packed(&self, direction: Way, victims: &[Victim<'_>]) -> Vec<Batch> {
        let mut order: Vec<&Victim<'_>> = victims.iter().collect();
        order.sort_by_key(|victim| if direction == Way::Down { victim.block } else { u32::MAX - victim.block });
        let mut left: BTreeMap<u32, usize> = order.iter().map(|victim| (victim.block, victim.nodes.len())).collect();
        let mut pending: VecDeque<(u32, u32)> =
            order.iter().flat_map(|victim| victim.nodes.iter().map(|node| (victim.block, *node))).collect();
        let mut batches = Vec::new();
        while !pending.is_empty() {
            let mut batch = Batch::default();
            let mut room = self.capacity();
            let mut skipped = VecDeque::new();
            while skipped.len() < LOOKAHEAD
                && let Some((victim, node)) = pending.pop_front()
            {
                let size = self.node(node).room();
                if size > room {
                    skipped.push_back((victim, node));
                    continue;
                }
                room -= size;
                batch.nodes.push(node);
                if let Some(left) = left.get_mut(&victim) {
                    *left -= 1;
                    if *left == 0 {
                        batch.completes.push(victim);
                    }
                }
            }
            while let Some(node) = skipped.pop_back() {
                pending.push_front(node);
            }
            batches.push(batch);
        }
        batches
    }
}
