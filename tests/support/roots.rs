//! Updates of real root file systems, as trees: see `tests/data/fetch-roots`.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;

use anyhow::{Context, Result};
use jffs2_tx::crc::crc32;
use jffs2_tx::source::{Content, NodeId, ROOT, SourceKind, SourceNode, SourceTree};

use crate::tools::roots;

/// Of so many regular files and symlinks, one is in a part of a root.
const ONE_OF: u32 = 48;
/// Largest of these files, bytes.
const LARGEST: u32 = 96 << 10;
/// Where libraries are.
const LIBRARIES: [&[u8]; 2] = [b"usr", b"lib"];

/// Two versions of a root.
#[derive(Debug)]
pub struct Update {
    /// The older one.
    pub old: SourceTree,
    /// The newer one.
    pub new: SourceTree,
}

/// The whole root.
pub fn root() -> Result<Update> {
    let (old, new) = roots();
    Ok(Update { old: SourceTree::from_dir(&old)?, new: SourceTree::from_dir(&new)? })
}

/// The whole root, in which only what is below `/usr/lib` is updated.
pub fn root_libraries() -> Result<Update> {
    root()?.of_libraries()
}

/// A part of the root that a kernel reads fast: of the regular files up to 96 KiB and of the symlinks one of 48, by the CRC
/// of their paths, so that the same ones are there before and after; all files with several names (of larger ones, the
/// first 96 KiB), devices and fifos; and the directories of all that.
pub fn part_of_root() -> Result<Update> {
    let Update { old, new } = root()?;
    Ok(Update { old: part(&old)?, new: part(&new)? })
}

/// The same part, in which only what is below `/usr/lib` is updated.
pub fn part_of_root_libraries() -> Result<Update> {
    part_of_root()?.of_libraries()
}

impl Update {
    fn of_libraries(self) -> Result<Self> {
        let find = |id: NodeId, name: &[u8]| self.new.children(id).find(|(known, _)| *known == name).map(|(_, id)| id);
        let libraries = LIBRARIES.iter().try_fold(ROOT, |id, name| find(id, name)).context("no /usr/lib")?;
        let path = LIBRARIES.iter().fold(Vec::new(), |path, name| [&path, &b"/"[..], name].concat());
        let new = copied(&self.old, &|at, from| Some(if at == path { (&self.new, libraries) } else { from }))?;
        Ok(Self { old: self.old, new })
    }
}

fn part(tree: &SourceTree) -> Result<SourceTree> {
    let mut names: HashMap<NodeId, u32> = HashMap::new();
    (0..tree.nodes().len()).flat_map(|id| tree.children(id)).for_each(|(_, id)| *names.entry(id).or_default() += 1);
    let mut kept: HashSet<NodeId> = HashSet::new();
    // The nodes on the way to what is looked at, and its path.
    let mut pending = vec![(vec![ROOT], Vec::new())];
    while let Some((way, path)) = pending.pop() {
        let id = *way.last().context("a way leads somewhere")?;
        let chosen = crc32(&path).is_multiple_of(ONE_OF);
        let wanted = match tree.node(id).kind {
            SourceKind::Directory(_) => false,
            SourceKind::File { size, .. } => names.get(&id) > Some(&1) || (chosen && size <= LARGEST),
            SourceKind::Symlink(_) => chosen,
            _ => true,
        };
        kept.extend(wanted.then_some(&way).into_iter().flatten());
        let children = tree.children(id);
        pending.extend(children.map(|(name, id)| ([&way[..], &[id]].concat(), [&path, &b"/"[..], name].concat())));
    }
    let mut part = copied(tree, &|_, (tree, id)| kept.contains(&id).then_some((tree, id)))?;
    (0..part.nodes().len()).try_for_each(|id| shorten(&mut part, id))?;
    Ok(part)
}

fn shorten(tree: &mut SourceTree, id: NodeId) -> Result<()> {
    if let SourceKind::File { size, content } = &mut tree.node_mut(id).kind
        && *size > LARGEST
    {
        let mut bytes = Vec::new();
        content.open()?.take(LARGEST.into()).read_to_end(&mut bytes)?;
        (*size, *content) = (LARGEST, Content::Bytes(bytes));
    }
    Ok(())
}

/// A node of a tree.
type Place<'t> = (&'t SourceTree, NodeId);

/// For a path and what is there: what to copy there, if anything.
type Pick<'t, 'p> = &'p dyn Fn(&[u8], Place<'t>) -> Option<Place<'t>>;

fn copied<'t>(tree: &'t SourceTree, pick: Pick<'t, '_>) -> Result<SourceTree> {
    let mut to = SourceTree::new(tree.node(ROOT).meta);
    let mut links: HashMap<(*const SourceTree, NodeId), NodeId> = HashMap::new();
    let mut pending = vec![((tree, ROOT), ROOT, Vec::new())];
    while let Some(((from, id), parent, path)) = pending.pop() {
        for (name, child) in from.children(id) {
            let path = [&path, &b"/"[..], name].concat();
            let Some((from, child)) = pick(&path, (from, child)) else { continue };
            let key = (std::ptr::from_ref(from), child);
            if let Some(&known) = links.get(&key) {
                to.link(parent, name, known)?;
                continue;
            }
            let SourceNode { meta, kind } = from.node(child).clone();
            let is_directory = matches!(kind, SourceKind::Directory(_));
            let kind = if is_directory { SourceKind::Directory(BTreeMap::new()) } else { kind };
            let copy = to.add(parent, name, SourceNode { meta, kind })?;
            links.insert(key, copy);
            if is_directory {
                pending.push(((from, child), copy, path));
            }
        }
    }
    Ok(to)
}
