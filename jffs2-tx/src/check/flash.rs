//! Findings about the flash, by eraseblock.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    format,
    string::String,
    vec,
    vec::Vec,
};

use super::{Code, Fate, Finding, MIN_BLOCKS, Severity};
use crate::error::ReadError;
use crate::flash::{Flash, FlashKind};
use crate::index::Index;
use crate::scan::{BlockScan, BlockState, Damage, Held, MAX_DAMAGE, Places, blank_prefix, scan_one};
use crate::wire::{HEADER_SIZE, Header, MarkerKind, Summary, SummaryEntry, WireError};

/// `of_tree` are the findings about the tree: damage that they name is not listed again.
pub(super) fn check<F: Flash>(
    flash: &F,
    index: &Index,
    of_tree: &[Finding],
) -> Result<Vec<Finding>, ReadError<F::Error>> {
    let named = of_tree.iter().filter_map(|finding| finding.offset).collect();
    let gone = of_tree.iter().filter(|finding| finding.code == Code::DanglingName).filter_map(|finding| finding.ino);
    let mut checker = Checker { index, found: Vec::new(), named, gone: gone.collect(), ties: Ties::default() };
    checker.check_space();
    let mut bytes = vec![0; index.geometry().eraseblock() as usize];
    for block in 0..index.geometry().blocks() {
        let found = scan_one(flash, index.rules(), block, &mut bytes)?;
        checker.check_block(block, &found, &bytes);
    }
    checker.check_ties();
    checker.check_orphans();
    Ok(checker.found)
}

struct Checker<'a> {
    index: &'a Index,
    found: Vec<Finding>,
    /// Flash offsets that findings about the tree name.
    named: BTreeSet<u32>,
    /// Inodes that are not there, and that names lead to.
    gone: BTreeSet<u32>,
    ties: Ties,
}

/// Ties of extended attributes to inodes, and the attributes that are there.
#[derive(Default)]
struct Ties {
    /// Inode and attribute, to sequence number, deletion and flash offset of the newest tie.
    newest: BTreeMap<(u32, u32), (u32, bool, u32)>,
    attributes: BTreeSet<u32>,
}

impl Checker<'_> {
    fn say(&mut self, code: Code, offset: u32, text: String) {
        self.found.push(Finding::new(code, text).at(offset));
    }

    fn check_space(&mut self) {
        let geometry = self.index.geometry();
        let is_free = |state| matches!(state, BlockState::Clean | BlockState::Blank);
        let free = self.index.blocks().iter().filter(|block| is_free(block.state)).count() as u32;
        let (blocks, reserve) = (geometry.blocks(), geometry.kernel_reserve());
        if blocks < MIN_BLOCKS {
            let text = format!("{blocks} eraseblocks: Linux mounts a flash of at least {MIN_BLOCKS}");
            self.found.push(Finding::new(Code::FewEraseblocks, text));
        } else if free < reserve {
            let text = format!("{free} free eraseblocks: Linux wants {reserve} before it lets anyone write");
            self.found.push(Finding::new(Code::FewFree, text));
        }
        if let Some(node) = self.index.read_only() {
            let text = format!("node of type {:#06x}: Linux mounts this read-only", node.nodetype);
            self.say(Code::ReadOnlyNode, node.at, text);
        }
    }

    fn check_block(&mut self, block: u32, found: &BlockScan, bytes: &[u8]) {
        let start = self.index.geometry().offset_of(block);
        match found.state {
            BlockState::Bad => self.say(Code::BadEraseblock, start, format!("eraseblock {block} is marked bad")),
            BlockState::Hidden => self.check_hidden(block, start, found),
            BlockState::Used if found.summary_only() => self.say(
                Code::SummaryOnly,
                start,
                format!("eraseblock {block} is seen only by readers that believe summaries"),
            ),
            _ => {}
        }
        if found.uncorrectable {
            self.say(Code::Uncorrectable, start, format!("eraseblock {block} has pages that ECC cannot correct"));
        }
        let listed = if found.by_summary { self.check_listed(start, found, bytes) } else { BTreeSet::new() };
        if !found.by_summary && found.state == BlockState::Used {
            self.check_summary(start, bytes);
            self.check_gaps(start, found, bytes);
        }
        self.check_zeroed(found);
        for damage in &found.damage {
            self.check_damage(found, damage, &listed);
        }
        let more = found.damage_count as usize - found.damage.len();
        if more > 0 {
            let text = format!("{more} more damaged places in eraseblock {block} (over {MAX_DAMAGE})");
            let finding = Finding::new(Code::MoreDamage, text).at(start);
            // What nobody sees can do no harm.
            let hidden = found.state == BlockState::Hidden;
            self.found.push(if hidden { repaired(finding) } else { finding });
        }
        self.ties.add(found);
    }

    fn check_hidden(&mut self, block: u32, start: u32, found: &BlockScan) {
        let text = format!("eraseblock {block} is hidden but not blank");
        let finding = Finding::new(Code::HiddenEraseblock, text).at(start);
        self.found.push(if found.markers.is_empty() {
            let text = finding.text + ", and no transaction says why: its first bytes may be gone";
            Finding { fate: Fate::Unknown, text, ..finding }
        } else {
            let text = finding.text + ", left by a transaction that was cut: run recover";
            Finding { text, ..finding }
        });
    }

    /// What a good summary lists and is not there; what it lists at all.
    fn check_listed(&mut self, start: u32, found: &BlockScan, bytes: &[u8]) -> BTreeSet<u32> {
        let endian = self.index.rules().endian;
        let at = Summary::locate(endian, bytes).unwrap_or(bytes.len());
        let Ok(summary) = Summary::parse(endian, &bytes[at..]) else { return BTreeSet::new() };
        let mut listed = BTreeSet::new();
        for entry in &summary.entries {
            let at = start.saturating_add(entry.offset());
            listed.insert(at);
            let node = bytes.get(entry.offset() as usize..).unwrap_or_default();
            let obsolete = Header::parse(endian, node).is_ok_and(|header| header.obsolete);
            if !obsolete && !is_visible(found, at) && !self.named.contains(&at) {
                self.listed_in_vain(at, entry);
            }
        }
        listed
    }

    fn listed_in_vain(&mut self, at: u32, entry: &SummaryEntry<'_>) {
        let (text, ino, matters) = match *entry {
            // Which range it had is not known, so neither whether a newer one covers it.
            SummaryEntry::Inode { ino, version, .. } => {
                let text = format!("summary lists a node of inode {ino}, version {version}, that is damaged");
                (text, Some(ino), self.index.links(ino) > 0 || self.gone.contains(&ino))
            }
            SummaryEntry::Dirent { pino, version, name, ino, .. } => {
                let shown = self.index.find(pino, name).is_some_and(|shown| shown.version >= version);
                let name = name.escape_ascii();
                let text = format!("summary lists a name, \"{name}\" in inode {pino}, whose node is damaged");
                (text, Some(ino), !shown && self.index.links(pino) > 0)
            }
            SummaryEntry::Xattr { xid, .. } => (format!("summary lists attribute {xid}, which is damaged"), None, true),
            SummaryEntry::Xref { .. } => ("summary lists a tie of an attribute, which is damaged".into(), None, true),
        };
        let finding = Finding { ino, ..Finding::new(Code::ListedNode, text).at(at) };
        self.found.push(if matters { finding } else { repaired(finding) });
        self.named.insert(at);
    }

    /// A summary that is there and not believed.
    fn check_summary(&mut self, start: u32, bytes: &[u8]) {
        let (endian, summaries) = (self.index.rules().endian, self.index.rules().summaries);
        let Some(at) = Summary::locate(endian, bytes).filter(|at| summaries && at.is_multiple_of(4)) else { return };
        let error = Summary::parse(endian, &bytes[at..]).err();
        // An entry of an unknown type is no damage.
        if let Some(error) = error.filter(|error| *error != WireError::Value) {
            let at = start + at as u32;
            self.say(Code::BadSummary, at, format!("damaged summary, {error}: readers look at the nodes themselves"));
            self.named.insert(at);
        }
    }

    /// Writers leave nothing blank between nodes but, on NAND after a power cut, the rest of a page, and transactions
    /// the heads of their commit blocks; and no more zeros than are too short for a padding node.
    fn check_gaps(&mut self, start: u32, found: &BlockScan, bytes: &[u8]) {
        let geometry = self.index.geometry();
        let page = if geometry.kind() == FlashKind::Nand { geometry.write_size() as usize } else { 4 };
        let (mut end, mut listed) = (0, 0);
        let places = Places::new(self.index.rules().endian, bytes, 0).map(|place| place.range());
        let last = found.written_end.saturating_sub(start) as usize;
        for (at, next) in places.chain([(last, last)]) {
            let gap = bytes.get(end..at).unwrap_or_default();
            let blank = blank_prefix(gap);
            let zeros = gap.iter().filter(|byte| **byte == 0).count();
            let code = if zeros > HEADER_SIZE { Code::Zeros } else { Code::BlankGap };
            let strange = zeros > HEADER_SIZE || blank >= page && at < last && found.markers.is_empty();
            if strange && listed < MAX_DAMAGE {
                let what = if zeros > HEADER_SIZE { format!("{zeros} zeros") } else { format!("{blank} blank bytes") };
                self.say(code, start + end as u32, format!("{what} between nodes: what stood there may be gone"));
                listed += 1;
            }
            end = next;
        }
    }

    /// Nodes of inode 0: a header with nothing but zeros behind it agrees with its CRCs, in little endian.
    fn check_zeroed(&mut self, found: &BlockScan) {
        let inodes = found.inodes.iter().filter(|node| node.ino == 0).map(|node| node.at);
        let ties = found.xrefs.iter().filter(|node| node.xref.ino == 0).map(|node| node.at);
        for at in inodes.chain(ties).take(MAX_DAMAGE) {
            self.say(Code::DamagedNode, at, "node of inode 0: its fields may have become zeros".into());
        }
    }

    fn check_damage(&mut self, found: &BlockScan, damage: &Damage, listed: &BTreeSet<u32>) {
        let Damage { at, reason } = *damage;
        let suspect = found.suspects.iter().find(|node| node.at == at);
        if self.named.contains(&at) && suspect.is_none_or(|node| node.exact) {
            return;
        }
        let unseen = found.state == BlockState::Hidden || found.by_summary && !listed.contains(&at);
        let finding = if let Some(node) = found.inodes.iter().find(|node| node.at == at) {
            obsolete(format!("damaged node of inode {}, {reason}: nothing is lost with it", node.ino)).ino(node.ino)
        } else if let Some(node) = suspect {
            let what = if matches!(node.held, Held::Name { .. }) { "dirent in" } else { "node of" };
            if node.exact && self.gone.contains(&node.ino) {
                let text = format!("damaged node of inode {}, {reason}: the inode is lost with it", node.ino);
                Finding { fate: Fate::Lost, ..Finding::new(Code::DamagedNode, text) }.ino(node.ino)
            } else if node.exact {
                obsolete(format!("damaged {what} inode {}, {reason}: nothing is lost with it", node.ino)).ino(node.ino)
            } else {
                let text = format!("damaged: {reason}; it says that it was a {what} inode {}", node.ino);
                Finding::new(Code::DamagedNode, text).ino(node.ino)
            }
        } else if found.xattrs.iter().any(|node| node.at == at) {
            obsolete(format!("damaged extended attribute, {reason}: nothing is lost with it"))
        } else {
            let code = if is_header(reason) { Code::Garbage } else { Code::DamagedNode };
            Finding::new(code, format!("damaged: {reason}; readers skip it"))
        };
        let finding = finding.at(at);
        self.found.push(if unseen { repaired(finding) } else { finding });
    }

    /// Ties to attributes that are not there.
    fn check_ties(&mut self) {
        for ((ino, xid), (_, deleted, at)) in &self.ties.newest {
            if !deleted && !self.ties.attributes.contains(xid) && self.index.links(*ino) > 0 {
                let text = format!("tie of the inode to extended attribute {xid}, which is not there: Linux drops it");
                self.found.push(Finding::new(Code::DanglingXattr, text).ino(*ino).at(*at));
            }
        }
    }

    fn check_orphans(&mut self) {
        let orphans: Vec<u32> = self.index.inodes().filter(|ino| self.index.links(*ino) == 0).collect();
        if let [first, ..] = orphans[..] {
            let text = format!("{} inodes, no name leads to them: Linux drops them when it mounts", orphans.len());
            self.found.push(Finding::new(Code::Orphans, text).ino(first));
        }
        let geometry = self.index.geometry();
        let begun = self.index.markers().iter().filter(|record| record.marker.kind == MarkerKind::Begin);
        let payload: BTreeSet<u32> = begun.map(|record| geometry.block_of(record.at)).collect();
        for dir in self.index.directories().filter(|dir| self.index.links(*dir) == 0) {
            // Directories of a transaction that was cut are no loss.
            let lost = |at: u32| !payload.contains(&geometry.block_of(at));
            let mut names = self.index.names(dir).filter(|name| lost(name.at));
            if let Some(first) = names.next() {
                let text = format!("directory that no name leads to, with {} names in it", 1 + names.count());
                self.found.push(Finding::new(Code::LostDirectory, text).ino(dir).at(first.at));
            }
        }
    }
}

impl Finding {
    fn ino(self, ino: u32) -> Self {
        Self { ino: Some(ino), ..self }
    }
}

impl Ties {
    fn add(&mut self, found: &BlockScan) {
        self.attributes.extend(found.xattrs.iter().map(|node| node.xid));
        for node in &found.xrefs {
            let tie = (node.xref.seqno, node.xref.is_deletion(), node.at);
            let newest = self.newest.entry((node.xref.ino, node.xref.xid)).or_insert(tie);
            if newest.0 <= tie.0 {
                *newest = tie;
            }
        }
    }
}

fn obsolete(text: String) -> Finding {
    Finding::new(Code::DamagedObsolete, text)
}

fn repaired(finding: Finding) -> Finding {
    Finding { severity: Severity::Note, fate: Fate::Repaired, ..finding }
}

fn is_visible(found: &BlockScan, at: u32) -> bool {
    found.inodes.binary_search_by_key(&at, |node| node.at).is_ok()
        || found.dirents.binary_search_by_key(&at, |node| node.at).is_ok()
        || found.xattrs.binary_search_by_key(&at, |node| node.at).is_ok()
        || found.xrefs.binary_search_by_key(&at, |node| node.at).is_ok()
}

fn is_header(reason: WireError) -> bool {
    matches!(reason, WireError::Magic | WireError::HeaderCrc)
}
