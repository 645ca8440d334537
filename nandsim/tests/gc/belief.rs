//! What Linux makes of a summary that is good though what it lists has gone: it believes it at mount. Of equal versions the later
//! counts, and a name or attribute whose node is gone when it is read is lost. The library's reader is kinder, so this is asked apart.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use jffs2_tx::flash::Flash;
use jffs2_tx::scan::scan_one;
use jffs2_tx::wire::{Endian, Summary, SummaryEntry};
use jffs2_tx::{Index, Rules};
use nandsim::{Chip, ContentId};

/// What competes: names in directories, attributes by number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Name(u32, Vec<u8>),
    Attribute(u32),
}

/// A node, or the word of a summary for one.
#[derive(Clone, Debug)]
struct Claim {
    key: Key,
    version: u32,
    ino: u32,
    /// The node is there and reads well.
    kept: bool,
}

pub(crate) struct Belief {
    rules: Rules,
    /// The names of the tree, and the attributes, with the inode numbers that names lead to.
    wanted: BTreeMap<Key, u32>,
    known: HashMap<(u32, ContentId), Arc<Vec<Claim>>>,
}

impl Belief {
    pub(crate) fn on(start: &Chip, endian: Endian) -> Self {
        let rules = Rules { endian, summaries: true };
        let index = Index::open(start, rules).unwrap();
        let mut wanted = BTreeMap::new();
        for ino in index.reachable() {
            wanted.extend(index.names(ino).map(|name| (Key::Name(ino, index.name(name).to_vec()), name.ino)));
            wanted.extend(index.xattrs(ino).map(|node| (Key::Attribute(node.xid), 0)));
        }
        let mut belief = Self { rules, wanted, known: HashMap::new() };
        belief.check(start).unwrap();
        belief
    }

    pub(crate) fn check(&mut self, chip: &Chip) -> Result<(), String> {
        let mut winners: BTreeMap<Key, Claim> = BTreeMap::new();
        for block in 0..chip.geometry().blocks() {
            for claim in self.claims(chip, block).iter() {
                if winners.get(&claim.key).is_none_or(|winner| claim.version >= winner.version) {
                    winners.insert(claim.key.clone(), claim.clone());
                }
            }
        }
        for (key, ino) in &self.wanted {
            match winners.get(key) {
                Some(winner) if winner.kept && winner.ino == *ino => {}
                other => return Err(format!("a kernel that believes summaries loses {key:?}: {other:?}")),
            }
        }
        Ok(())
    }

    fn claims(&mut self, chip: &Chip, block: u32) -> Arc<Vec<Claim>> {
        let rules = self.rules;
        self.known.entry((block, chip.block_id(block))).or_insert_with(|| Arc::new(claims(chip, rules, block))).clone()
    }
}

fn claims(chip: &Chip, rules: Rules, block: u32) -> Vec<Claim> {
    let mut bytes = vec![0; chip.geometry().eraseblock() as usize];
    let found = scan_one(chip, rules, block, &mut bytes).unwrap();
    let start = chip.geometry().offset_of(block);
    let name = |dirent: &jffs2_tx::scan::DirentRecord| Key::Name(dirent.pino, found.name(dirent).to_vec());
    if !found.by_summary {
        let names = found.dirents.iter().map(|dirent| Claim {
            key: name(dirent),
            version: dirent.version,
            ino: dirent.ino,
            kept: true,
        });
        let attributes = found.xattrs.iter().map(|node| Claim {
            key: Key::Attribute(node.xid),
            version: node.version,
            ino: 0,
            kept: node.good,
        });
        return names.chain(attributes).collect();
    }
    let summary = Summary::parse(rules.endian, &bytes[Summary::locate(rules.endian, &bytes).unwrap()..]).unwrap();
    let claim = |entry: &SummaryEntry<'_>| match *entry {
        SummaryEntry::Dirent { offset, pino, version, ino, name: listed, .. } => {
            let key = Key::Name(pino, listed.to_vec());
            let is_it = |dirent: &jffs2_tx::scan::DirentRecord| dirent.at == start + offset && name(dirent) == key;
            let kept = found.dirents.iter().any(|dirent| is_it(dirent) && dirent.version == version);
            Some(Claim { key, version, ino, kept })
        }
        SummaryEntry::Xattr { xid, version, offset, .. } => {
            let kept = found.xattrs.iter().any(|node| node.at == start + offset && node.good);
            Some(Claim { key: Key::Attribute(xid), version, ino: 0, kept })
        }
        SummaryEntry::Inode { .. } | SummaryEntry::Xref { .. } => None,
    };
    summary.entries.iter().filter_map(claim).collect()
}
