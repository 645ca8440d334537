//! `info`: what an image is and holds, in numbers.

use std::collections::BTreeMap;
use std::io::Write;

use jffs2_tx::dump::{Dump, DumpedNode, Fields, Item, Space, Standing};
use jffs2_tx::flash::FlashKind;
use jffs2_tx::inode_kind::FileKind;
use jffs2_tx::scan::BlockState;
use serde::Serialize;

use crate::dump::compressor;
use crate::failure::{Exit, Failure};
use crate::image::{Image, ImageArgs, endian_name};
use crate::show;

mod map;

use map::Map;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    image: ImageArgs,
    /// One JSON object.
    #[arg(long)]
    json: bool,
    /// In JSON, the bytes of each eraseblock too.
    #[arg(long, requires = "json")]
    blocks: bool,
}

/// An image in numbers, as `--json` shows it; sizes in bytes.
#[derive(Debug, Default, Serialize)]
struct Info {
    /// `little-endian` or `big-endian`.
    endian: &'static str,
    /// Eraseblock size.
    eraseblock: u32,
    /// What speaks for the eraseblock size, in words.
    evidence: String,
    /// Hardly any other eraseblock size is possible.
    sure: bool,
    /// `nor` or `nand`.
    flash: &'static str,
    /// Page on NAND, write unit on NOR.
    page_size: u32,
    /// Size of the flash: that of the file, up to a whole eraseblock.
    size: u32,
    /// Length of the file.
    file_size: u64,
    /// Where the image starts in the file.
    offset: u64,
    /// Bytes of the file that it takes, spare bytes included.
    length: u64,
    /// Page and spare bytes, such as `2048+64`, of a dump that holds them; otherwise null.
    oob: Option<String>,
    /// What speaks for the spare bytes, in words; otherwise null.
    oob_evidence: Option<String>,
    /// Offset of the end mark that ends the file system; null if there is none.
    end_mark: Option<u64>,
    /// Number of eraseblocks.
    blocks: u32,
    /// Eraseblocks marked bad.
    blocks_bad: u32,
    /// Eraseblocks that are all 0xFF.
    blocks_blank: u32,
    /// Eraseblocks that hold a cleanmarker only.
    blocks_clean: u32,
    /// Eraseblocks that hold something, but nothing that the reader sees.
    blocks_hidden: u32,
    /// Eraseblocks whose nodes the reader sees.
    blocks_used: u32,
    /// Eraseblocks whose nodes only readers that believe summaries see.
    blocks_summary_only: u32,
    /// Clean and blank eraseblocks.
    blocks_free: u32,
    /// Free eraseblocks that Linux wants to see before it lets anyone write, and one to merge into.
    kernel_reserve: u32,
    /// Nodes in the index: visible inode nodes and the newest dirent of each name.
    nodes: usize,
    /// Inodes that the root leads to.
    inodes: u32,
    /// Names that lead to them.
    names: usize,
    /// Regular files.
    files: u32,
    /// Directories.
    directories: u32,
    /// Symlinks.
    symlinks: u32,
    /// Devices, pipes and sockets.
    others: u32,
    /// Inodes that cannot be read.
    unreadable: u32,
    /// Bytes of regular files, holes included.
    content: u64,
    /// The flash's bytes by what they are to readers; their sum is `size`.
    space: Bytes,
    /// What live nodes of files hold, by compressor.
    compressors: BTreeMap<String, Compressed>,
    /// Bytes of files that live nodes hold for each byte that they store.
    ratio: f64,
    /// Damaged places on the flash.
    damage: u32,
    /// Markers of transactions on the flash.
    markers: usize,
    /// Memory that the index takes.
    index_memory: usize,
    /// The same for each node.
    index_memory_per_node: usize,
    /// With `--blocks`: the bytes of each eraseblock.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    per_block: Vec<Bytes>,
    #[serde(skip)]
    map: Map,
}

/// Bytes by what they are to readers.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Bytes {
    /// Live nodes.
    live: u64,
    /// Obsolete nodes, padding and filler.
    obsolete: u64,
    /// Damaged nodes and garbage.
    torn: u64,
    /// Nodes that no reader sees, and those of uncommitted transactions.
    hidden: u64,
    /// 0xFF.
    free: u64,
    /// In eraseblocks that are marked bad.
    bad: u64,
}

/// What the live nodes of one compressor hold.
#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Compressed {
    /// Nodes.
    nodes: u64,
    /// Bytes of files.
    bytes: u64,
    /// Bytes stored.
    stored: u64,
}

pub(crate) fn run(args: &Args) -> Result<Exit, Failure> {
    let image = Image::open(&args.image)?;
    let mut info = Info::of(&image);
    info.count_space(&image, args.blocks)?;
    let mut out = show::stdout();
    if args.json {
        show::json(&mut out, &info)?;
    } else {
        for (name, value) in info.lines() {
            writeln!(out, "{name:<16}{value}").map_err(Failure::Stdout)?;
        }
        write!(out, "{}", info.map).map_err(Failure::Stdout)?;
    }
    out.flush().map_err(Failure::Stdout)?;
    Ok(Exit::Done)
}

impl Info {
    fn of(image: &Image) -> Self {
        let (index, found) = (&image.index, &image.detected);
        let geometry = index.geometry();
        let count = |state| index.blocks().iter().filter(|block| block.state == state).count() as u32;
        let mut info = Self {
            endian: endian_name(found.endian),
            eraseblock: found.eraseblock,
            evidence: found.evidence.clone(),
            sure: found.sure,
            flash: if found.kind == FlashKind::Nor { "nor" } else { "nand" },
            page_size: found.page_size,
            size: geometry.size(),
            file_size: image.file_size,
            offset: image.flash.container().offset,
            length: image.flash.container().length,
            oob: found.oob.as_ref().map(|oob| oob.layout.to_string()),
            oob_evidence: found.oob.as_ref().map(|oob| oob.evidence.clone()),
            end_mark: found.end,
            blocks: geometry.blocks(),
            blocks_bad: count(BlockState::Bad),
            blocks_blank: count(BlockState::Blank),
            blocks_clean: count(BlockState::Clean),
            blocks_hidden: count(BlockState::Hidden),
            blocks_used: count(BlockState::Used),
            blocks_summary_only: index.blocks().iter().filter(|block| block.summary_only).count() as u32,
            blocks_free: count(BlockState::Blank) + count(BlockState::Clean),
            kernel_reserve: geometry.kernel_reserve(),
            nodes: index.node_count(),
            damage: index.damage(),
            markers: index.markers().len(),
            index_memory: index.memory(),
            index_memory_per_node: index.memory() / index.node_count().max(1),
            ..Self::default()
        };
        for ino in index.reachable() {
            info.count_inode(image, ino);
        }
        info
    }

    fn count_inode(&mut self, image: &Image, ino: u32) {
        self.inodes += 1;
        self.names += image.index.names(ino).count();
        let Ok(stat) = image.tree().stat(ino) else {
            self.unreadable += 1;
            return;
        };
        match stat.kind {
            FileKind::File => {
                self.files += 1;
                self.content += u64::from(stat.size);
            }
            FileKind::Directory => self.directories += 1,
            FileKind::Symlink => self.symlinks += 1,
            FileKind::CharDevice | FileKind::BlockDevice | FileKind::Fifo | FileKind::Socket => self.others += 1,
        }
    }

    fn count_space(&mut self, image: &Image, each: bool) -> Result<(), Failure> {
        let mut all = Space::default();
        self.map = Map::new(self.blocks);
        for block in Dump::new(&image.flash, &image.index)?.blocks() {
            let mut space = Space::default();
            for item in block?.items() {
                space.count(&item);
                if let Item::Node(node) = &item {
                    self.count_node(node);
                }
            }
            all.add(&space);
            self.map.add(&space);
            if each {
                self.per_block.push(Bytes::of(&space));
            }
        }
        self.space = Bytes::of(&all);
        let (bytes, stored) = self.compressors.values().fold((0, 0), |sum, c| (sum.0 + c.bytes, sum.1 + c.stored));
        self.ratio = if stored == 0 { 1.0 } else { bytes as f64 / stored as f64 };
        Ok(())
    }

    fn count_node(&mut self, node: &DumpedNode<'_>) {
        if let (Standing::Live, Fields::Inode(inode)) = (node.standing, &node.fields)
            && inode.dsize > 0
        {
            let of_kind = self.compressors.entry(compressor(inode.compression)).or_default();
            of_kind.nodes += 1;
            of_kind.bytes += u64::from(inode.dsize);
            of_kind.stored += u64::from(inode.csize);
        }
    }

    fn compression(&self) -> String {
        let all = self.compressors.iter();
        let each: Vec<String> =
            all.map(|(name, c)| format!("{name} {} nodes, {} bytes in {}", c.nodes, c.bytes, c.stored)).collect();
        if each.is_empty() { "no data".into() } else { format!("{}; {:.2}:1", each.join("; "), self.ratio) }
    }

    /// Where it stands in the file, if that is not all of it.
    fn container(&self) -> String {
        let oob = self.oob.as_ref().map(|oob| format!(", spare bytes {oob}")).unwrap_or_default();
        let end = self.end_mark.map(|end| format!(", end mark at {end:#x}")).unwrap_or_default();
        format!("{} bytes at {:#x}{oob}{end}", self.length, self.offset)
    }

    fn lines(&self) -> [(&'static str, String); 15] {
        let unsure = if self.sure { "" } else { "; not sure" };
        let truncated = if self.file_size < u64::from(self.size) {
            format!(" (file: {} bytes, the rest read as 0xff)", self.file_size)
        } else {
            String::new()
        };
        [
            ("byte order", self.endian.into()),
            ("eraseblock", format!("{} bytes ({}{unsure})", self.eraseblock, self.evidence)),
            ("flash", format!("{}, write unit {} bytes", self.flash, self.page_size)),
            ("in the file", self.container()),
            ("size", format!("{} bytes{truncated}", self.size)),
            (
                "eraseblocks",
                format!(
                    "{}: {} used, {} clean, {} blank, {} hidden, {} bad; {} seen by summary only",
                    self.blocks,
                    self.blocks_used,
                    self.blocks_clean,
                    self.blocks_blank,
                    self.blocks_hidden,
                    self.blocks_bad,
                    self.blocks_summary_only
                ),
            ),
            ("free", format!("{} eraseblocks; Linux keeps {} in reserve", self.blocks_free, self.kernel_reserve)),
            ("nodes", self.nodes.to_string()),
            (
                "inodes",
                format!(
                    "{}: {} files, {} directories, {} symlinks, {} others, {} unreadable; {} names",
                    self.inodes, self.files, self.directories, self.symlinks, self.others, self.unreadable, self.names
                ),
            ),
            ("content", format!("{} bytes", self.content)),
            ("compression", self.compression()),
            (
                "space",
                format!(
                    "{} live, {} obsolete, {} torn, {} hidden, {} free, {} bad",
                    self.space.live,
                    self.space.obsolete,
                    self.space.torn,
                    self.space.hidden,
                    self.space.free,
                    self.space.bad
                ),
            ),
            ("damage", format!("{} places", self.damage)),
            ("markers", self.markers.to_string()),
            ("index", format!("{} bytes, {} a node", self.index_memory, self.index_memory_per_node)),
        ]
    }
}

impl Bytes {
    fn of(space: &Space) -> Self {
        let Space { live, obsolete, torn, hidden, free, bad } = *space;
        Self { live, obsolete, torn, hidden, free, bad }
    }
}
