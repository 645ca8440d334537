//! How a flash state differs from the one before an update and from the one after it, node by node.

use std::collections::{BTreeMap, BTreeSet};

use jffs2_tx::error::ReadError;
use jffs2_tx::flash::Flash;
use jffs2_tx::scan::{BlockScan, BlockState, Rules, scan_one};
use jffs2_tx::wire::Endian;

use super::beyond::beyond_cells;
use super::names::Names;
use super::node::{Node, What, told};
use crate::chip::{Chip, ChipError};
use crate::content::ContentId;
use crate::reader::ByReader;

mod text;

pub(in crate::report) use text::many;
pub use text::{Group, Shown};

/// The eraseblocks that the update changes, or that are as neither before it nor after it.
#[derive(Clone, Debug)]
pub struct NodeDiff {
    /// Ascending.
    pub blocks: Vec<BlockDiff>,
}

/// One eraseblock.
#[derive(Clone, Debug)]
pub struct BlockDiff {
    /// Its index.
    pub block: u32,
    /// Which of the two states it is as.
    pub same: Same,
    /// What it is to readers, and what it holds beyond its cells.
    pub about: Vec<String>,
    /// What it holds, in words.
    pub words: String,
    /// What stands in it, or should, ascending; only if it is as in neither state.
    pub nodes: Vec<NodeLine>,
}

/// Which of the two states an eraseblock is as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Same {
    /// As before the update, which changes it.
    Old,
    /// As after the update, which changes it.
    New,
    /// As neither.
    Neither,
}

/// A node of an eraseblock that is as in neither state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeLine {
    /// Flash offset, bytes.
    pub at: u32,
    /// Flash bytes.
    pub size: u32,
    /// Type, numbers, names.
    pub text: String,
    /// Why it is no good node.
    pub problem: Option<String>,
    /// Who sees it, if it is a node of the tree.
    pub seen: Option<ByReader<bool>>,
    /// Where else it stands.
    pub mark: Mark,
}

/// Where a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mark {
    /// Before, now, and after.
    Both,
    /// Before and now: the update removes it.
    Old,
    /// Now and after: the update writes it.
    New,
    /// Now only.
    Found,
    /// Now, damaged, and not so before.
    Torn,
    /// Before and after, but not now.
    MissingBoth,
    /// Before, but not now.
    MissingOld,
    /// After, but not now.
    MissingNew,
}

impl NodeDiff {
    /// Compares `found` with the state before an update and with the one after it.
    ///
    /// # Errors
    /// [`ReadError::Device`] if an eraseblock cannot be read.
    pub fn of(old: &Chip, new: &Chip, found: &Chip, endian: Endian) -> Result<Self, ReadError<ChipError>> {
        let differ = Differ { old, new, found, endian, names: Names::of(&[old, new, found], endian) };
        let blocks = 0..found.geometry().blocks();
        Ok(Self { blocks: blocks.filter_map(|block| differ.block(block).transpose()).collect::<Result<_, _>>()? })
    }
}

struct Differ<'c> {
    old: &'c Chip,
    new: &'c Chip,
    found: &'c Chip,
    endian: Endian,
    names: Names,
}

impl Differ<'_> {
    fn block(&self, block: u32) -> Result<Option<BlockDiff>, ReadError<ChipError>> {
        let [old, new, found] = [self.old, self.new, self.found].map(|chip| chip.block_id(block));
        let same = match (found == old, found == new) {
            (true, true) => return Ok(None),
            (true, false) => Same::Old,
            (false, true) => Same::New,
            (false, false) => Same::Neither,
        };
        let seen = self.scans(block)?;
        let nodes = self.nodes(self.found, block);
        let mut about = states(&seen);
        about.extend(beyond_cells(self.found, block));
        let words = told(nodes.iter(), &self.names);
        let nodes = if same == Same::Neither { self.lines(block, nodes, &seen) } else { Vec::new() };
        Ok(Some(BlockDiff { block, same, about, words, nodes }))
    }

    fn nodes(&self, chip: &Chip, block: u32) -> Vec<Node> {
        Node::all(self.endian, chip.geometry().offset_of(block), chip.block_data(block))
    }

    fn scans(&self, block: u32) -> Result<ByReader<BlockScan>, ReadError<ChipError>> {
        let mut buf = vec![0; self.found.geometry().eraseblock() as usize];
        let mut scan = |rules: Rules| scan_one(self.found, rules, block, &mut buf);
        let rules = ByReader::rules(self.endian);
        Ok(ByReader { with_summaries: scan(rules.with_summaries)?, without_summaries: scan(rules.without_summaries)? })
    }

    fn lines(&self, block: u32, found: Vec<Node>, seen: &ByReader<BlockScan>) -> Vec<NodeLine> {
        let mut wanted: BTreeMap<(u32, ContentId), Wanted> = BTreeMap::new();
        for (nodes, is_new) in [(self.nodes(self.old, block), false), (self.nodes(self.new, block), true)] {
            for node in nodes {
                wanted.entry((node.at, node.id)).or_insert_with(|| Wanted::new(node)).stood[usize::from(is_new)] = true;
            }
        }
        let torn: BTreeSet<u32> = found.iter().filter(|node| node.problem.is_some()).map(|node| node.at).collect();
        let mut lines = Vec::new();
        for node in found {
            let mark = match wanted.remove(&(node.at, node.id)) {
                Some(wanted) => wanted.mark(),
                None if node.problem.is_some() => Mark::Torn,
                None => Mark::Found,
            };
            lines.push(self.line(&node, mark, seen));
        }
        let missing = wanted.into_values().filter(|wanted| wanted.node.what != What::Garbage);
        for wanted in missing {
            match lines.iter_mut().find(|line| line.at == wanted.node.at && torn.contains(&line.at)) {
                // Its fields are good, so they say more.
                Some(line) if line.mark == Mark::Torn => line.text = wanted.node.line(&self.names),
                _ => lines.push(self.line(&wanted.node, wanted.missing(), seen)),
            }
        }
        lines.sort_by_key(|line| (line.at, line.mark));
        lines
    }

    fn line(&self, node: &Node, mark: Mark, seen: &ByReader<BlockScan>) -> NodeLine {
        let is_missing = matches!(mark, Mark::MissingBoth | Mark::MissingOld | Mark::MissingNew);
        let of_tree = matches!(node.what, What::Inode { .. } | What::Dirent { .. }) && !is_missing;
        NodeLine {
            at: node.at,
            size: node.size(),
            text: node.line(&self.names),
            problem: node.problem.map(|problem| problem.to_string()),
            seen: of_tree.then(|| ByReader {
                with_summaries: sees(&seen.with_summaries, node.at),
                without_summaries: sees(&seen.without_summaries, node.at),
            }),
            mark,
        }
    }
}

/// A node of the state before, the one after, or both.
struct Wanted {
    node: Node,
    /// Before, after.
    stood: [bool; 2],
}

impl Wanted {
    fn new(node: Node) -> Self {
        Self { node, stood: [false; 2] }
    }

    fn mark(&self) -> Mark {
        match self.stood {
            [true, true] => Mark::Both,
            [true, false] => Mark::Old,
            _ => Mark::New,
        }
    }

    fn missing(&self) -> Mark {
        match self.stood {
            [true, true] => Mark::MissingBoth,
            [true, false] => Mark::MissingOld,
            _ => Mark::MissingNew,
        }
    }
}

fn sees(found: &BlockScan, at: u32) -> bool {
    found.inodes.binary_search_by_key(&at, |node| node.at).is_ok()
        || found.dirents.binary_search_by_key(&at, |node| node.at).is_ok()
}

fn states(seen: &ByReader<BlockScan>) -> Vec<String> {
    let (with, without) = (state(seen.with_summaries.state), state(seen.without_summaries.state));
    if with == without {
        return vec![with.into()];
    }
    seen.named().map(|(reader, found)| format!("{}: {}", reader, state(found.state))).collect()
}

fn state(state: BlockState) -> &'static str {
    match state {
        BlockState::Bad => "bad",
        BlockState::Blank => "blank",
        BlockState::Clean => "clean and free",
        BlockState::Hidden => "hidden",
        BlockState::Used => "its nodes are seen",
    }
}
