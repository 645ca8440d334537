//! Flashes built node by node, and updates that are cut.

use alloc::{format, string::String, vec, vec::Vec};

use super::*;
use crate::flash::{FlashKind, Geometry, MemFlash};
use crate::scan::Rules;
use crate::tree::Tree;
use crate::wire::{ACCURATE, Cleanmarker, Compression, Dirent, Endian, Inode, Marker, MarkerKind};

const EB: u32 = 16384;
const FILE: u32 = 0o100_644;
const DIR: u32 = 0o040_755;

/// A NOR flash while it is written.
struct Log {
    endian: Endian,
    bytes: Vec<u8>,
    /// Offset of the node written last.
    last: usize,
}

impl Log {
    fn new(endian: Endian) -> Self {
        let mut log = Self { endian, bytes: Vec::new(), last: 0 };
        log.block();
        log
    }

    /// Starts the next eraseblock.
    fn block(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(EB as usize), 0xff);
        Cleanmarker::emit(self.endian, &mut self.bytes, 12);
    }

    /// Starts the next eraseblock with a transaction's begin marker.
    fn begin(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(EB as usize), 0xff);
        let begin = Marker {
            kind: MarkerKind::Begin,
            commit_point: None,
            sequence: 1,
            txid: [7; 16],
            commit_block: u32::MAX,
            nodes: 0,
            bytes: 0,
            time: 0,
            digest: [0; 32],
            label: String::new(),
        };
        begin.emit(self.endian, &mut self.bytes);
    }

    fn name(&mut self, pino: u32, name: &str, version: u32, ino: u32) -> &mut Self {
        self.last = self.bytes.len();
        let kind = if ino == 0 { 0 } else { 8 };
        let dirent = Dirent { pino, version, ino, mctime: 1000 + version, kind, name: name.as_bytes() };
        dirent.emit(self.endian, &mut self.bytes);
        self
    }

    fn node(&mut self, ino: u32, version: u32, mode: u32, offset: u32, data: &[u8]) -> &mut Self {
        let isize = offset + data.len() as u32;
        self.inode(ino, version, mode, data, |inode| (inode.offset, inode.isize) = (offset, isize))
    }

    fn inode(&mut self, ino: u32, version: u32, mode: u32, data: &[u8], change: impl FnOnce(&mut Inode)) -> &mut Self {
        self.last = self.bytes.len();
        let (dsize, mtime) = (data.len() as u32, 100 + version);
        let mut inode = Inode {
            ino,
            version,
            mode,
            uid: 0,
            gid: 0,
            isize: dsize,
            atime: mtime,
            mtime,
            ctime: mtime,
            offset: 0,
            csize: 0,
            dsize,
            compression: Compression::None,
            data_crc: 0,
        };
        change(&mut inode);
        inode.emit(self.endian, &mut self.bytes, data);
        self
    }

    /// Clears the ACCURATE bit of the node written last.
    fn obsolete(&mut self) -> &mut Self {
        let at = self.last + 2;
        let kind = self.endian.u16(&self.bytes, at);
        let mut cleared = Vec::new();
        self.endian.put_u16(&mut cleared, kind & !ACCURATE);
        self.bytes[at..at + 2].copy_from_slice(&cleared);
        self
    }

    fn flash(&self) -> MemFlash {
        MemFlash::with_data(Geometry::new(FlashKind::Nor, 16 * u64::from(EB), EB, 1).unwrap(), self.bytes.clone())
    }

    fn told(&self) -> Vec<String> {
        told(&self.flash(), self.endian)
    }
}

fn open(flash: &MemFlash, endian: Endian) -> (Index, History) {
    let index = Index::open(flash, Rules { endian, summaries: true }).unwrap();
    let history = History::read(flash, &index).unwrap();
    (index, history)
}

/// What is lost, one line each: fate, inode and life, path, time, recovery.
fn told(flash: &MemFlash, endian: Endian) -> Vec<String> {
    let (_, history) = open(flash, endian);
    let line = |lost: &LostName| {
        let path = history.path(lost);
        let from = path.from.map(|ino| format!("<{ino}>")).unwrap_or_default();
        let names: Vec<_> = path.names.iter().map(|name| String::from_utf8_lossy(name)).collect();
        let recovery = history.inode(lost.ino, lost.life).map_or(Recovery::Gone, |inode| inode.recovery);
        let when = lost.when.map_or("-".into(), |when| format!("{when}"));
        let life = if lost.life == Life::Former { " former" } else { "" };
        format!("{:?} {}{life} {from}/{} {when} {recovery:?}", lost.fate, lost.ino, names.join("/"))
    };
    history.lost().iter().map(line).collect()
}

/// What the file holds as of a version, holes and all.
fn content(flash: &MemFlash, endian: Endian, ino: u32, life: Life, version: u32) -> Vec<u8> {
    let (index, history) = open(flash, endian);
    let inode = history.inode(ino, life).unwrap();
    let mut file = Tree::new(flash, &index).open_nodes(history.nodes_until(inode, version));
    let mut bytes = vec![0; file.size() as usize];
    file.read_at(0, &mut bytes).unwrap();
    bytes
}

fn standings(flash: &MemFlash, endian: Endian, ino: u32) -> Vec<(u32, Standing)> {
    let (_, history) = open(flash, endian);
    let all = history.inodes().iter().filter(|inode| inode.ino == ino);
    all.flat_map(|inode| {
        let nodes = history.nodes(inode).iter().zip(history.notes(inode));
        nodes.map(|(node, note)| (node.version, note.standing)).collect::<Vec<_>>()
    })
    .collect()
}

#[test]
fn names_that_are_gone() {
    for endian in [Endian::Little, Endian::Big] {
        let mut log = Log::new(endian);
        log.name(1, "deleted", 1, 10).node(10, 1, FILE, 0, b"ten").name(1, "deleted", 2, 0);
        log.name(1, "replaced", 3, 11).node(11, 1, FILE, 0, b"eleven");
        log.name(1, "replaced", 4, 12).node(12, 1, FILE, 0, b"twelve");
        // Renamed over another: the old name is gone, its inode lives on.
        log.name(1, "over", 5, 13).node(13, 1, FILE, 0, b"thirteen");
        log.name(1, "temp", 6, 14).node(14, 1, FILE, 0, b"fourteen");
        log.name(1, "over", 7, 14).name(1, "temp", 8, 0);
        // One of two hard links.
        log.name(1, "kept", 9, 15).node(15, 1, FILE, 0, b"fifteen").name(1, "link", 10, 15).name(1, "link", 11, 0);
        // Three inodes of one name, one of them without a node.
        log.name(1, "thrice", 12, 16).node(16, 1, FILE, 0, b"1").name(1, "thrice", 13, 17);
        log.name(1, "thrice", 14, 18).node(18, 1, FILE, 0, b"3").name(1, "thrice", 15, 0);
        log.node(30, 1, FILE, 0, b"never named");
        let wanted = [
            "Deleted 10 /deleted 1002 Whole",
            "Deleted 15 /link 1011 Whole",
            "Replaced 13 /over 1007 Whole",
            "Replaced 11 /replaced 1004 Whole",
            "Deleted 14 /temp 1008 Whole",
            "Deleted 16 /thrice 1013 Whole",
            "Deleted 17 /thrice 1014 Gone",
            "Deleted 18 /thrice 1015 Whole",
            "Orphan 30 <30>/ - Whole",
        ];
        assert_eq!(log.told(), wanted);
        let flash = log.flash();
        assert_eq!(standings(&flash, endian, 10), [(1, Standing::Deleted)]);
        assert_eq!(standings(&flash, endian, 12), [(1, Standing::Current)]);
        assert_eq!(standings(&flash, endian, 30), [(1, Standing::Orphan)]);
        let (_, history) = open(&flash, endian);
        let inos: Vec<u32> = history.lost_at(b"/thrice").map(|lost| lost.ino).collect();
        assert_eq!((inos, history.lost_at(b"/thrice/thrice").count()), (vec![16, 17, 18], 0));
    }
}

#[test]
fn paths_through_directories_that_are_gone() {
    let mut log = Log::new(Endian::Little);
    log.node(2, 1, DIR, 0, b"").name(1, "dir", 1, 2);
    log.node(3, 1, DIR, 0, b"").name(2, "sub", 2, 3);
    log.node(4, 1, FILE, 0, b"four").name(3, "file", 2, 4).name(1, "dir", 2, 0);
    // The directory's own name is not there any more, and two that lead to each other.
    log.node(6, 1, FILE, 0, b"six").name(5, "lost", 1, 6);
    log.name(7, "a", 1, 8).name(8, "b", 1, 7);
    let wanted = [
        "Deleted 2 /dir 1002 Whole",
        "WithDirectory 3 /dir/sub - Whole",
        "WithDirectory 4 /dir/sub/file - Whole",
        "WithDirectory 6 <5>/lost - Whole",
        "WithDirectory 8 <7>/a - Gone",
        "WithDirectory 7 <7>/a/b - Gone",
    ];
    assert_eq!(log.told(), wanted);
}

#[test]
fn versions_of_a_file() {
    let endian = Endian::Big;
    let mut log = Log::new(endian);
    log.name(1, "file", 1, 2).node(2, 1, FILE, 0, b"").node(2, 2, FILE, 0, b"hello world");
    log.inode(2, 3, FILE, b"", |inode| inode.isize = 5);
    log.node(2, 4, FILE, 5, b", you");
    log.inode(2, 5, FILE, b"HE", |inode| inode.isize = 10);
    let flash = log.flash();
    let at = |version| String::from_utf8(content(&flash, endian, 2, Life::Last, version)).unwrap();
    assert_eq!([1, 2, 3, 4, 5, 9].map(at), ["", "hello world", "hello", "hello, you", "HEllo, you", "HEllo, you"]);
    let (current, old) = (Standing::Current, Standing::Superseded);
    assert_eq!(standings(&flash, endian, 2), [(1, old), (2, current), (3, old), (4, current), (5, current)]);
    assert_eq!(log.told(), [""; 0]);
}

#[test]
fn how_much_is_left() {
    let told = |build: &dyn Fn(&mut Log)| {
        let mut log = Log::new(Endian::Little);
        log.name(1, "file", 1, 2).name(1, "file", 2, 0);
        build(&mut log);
        String::from(log.told()[0].rsplit(' ').next().unwrap())
    };
    assert_eq!(
        told(&|log| {
            log.node(2, 1, FILE, 0, b"all");
        }),
        "Whole"
    );
    assert_eq!(
        told(&|log| {
            log.node(2, 7, FILE, 0, b"all");
        }),
        "Whole"
    );
    assert_eq!(
        told(&|log| {
            log.node(2, 1, FILE, 0, b"all").node(2, 3, FILE, 3, b"more");
        }),
        "Likely"
    );
    assert_eq!(
        told(&|log| {
            log.node(2, 2, FILE, 3, b"more");
        }),
        "Partly"
    );
    assert_eq!(
        told(&|log| {
            log.inode(2, 2, FILE, b"", |inode| inode.isize = 5);
        }),
        "Gone"
    );
    assert_eq!(
        told(&|log| {
            log.inode(2, 2, FILE, b"", |inode| inode.isize = 0);
        }),
        "Whole"
    );
    assert_eq!(
        told(&|log| {
            log.node(2, 1, 0o120_777, 0, b"target");
        }),
        "Whole"
    );
    assert_eq!(
        told(&|log| {
            log.node(2, 1, 0o120_777, 0, b"");
        }),
        "Gone"
    );
    assert_eq!(told(&|_| ()), "Gone");
}

#[test]
fn marked_obsolete_and_hidden() {
    let mut log = Log::new(Endian::Little);
    log.name(1, "file", 1, 2).obsolete().node(2, 1, FILE, 0, b"two").obsolete().name(1, "file", 2, 0);
    // A cleanmarker with blank bytes behind it: free to every reader.
    log.block();
    log.bytes.resize(log.bytes.len() + 500, 0xff);
    log.name(1, "behind", 3, 3).node(3, 1, FILE, 0, b"three");
    assert_eq!(log.told(), ["Hidden 3 /behind - Whole", "Deleted 2 /file 1002 Whole"]);
    let flash = log.flash();
    assert_eq!(standings(&flash, Endian::Little, 2), [(1, Standing::MarkedObsolete)]);
    assert_eq!(standings(&flash, Endian::Little, 3), [(1, Standing::Hidden)]);
    assert_eq!(content(&flash, Endian::Little, 2, Life::Last, 1), b"two");
}

/// The kernel gives numbers away again whose nodes are all marked obsolete.
#[test]
fn inodes_of_one_number_are_not_mixed() {
    let endian = Endian::Little;
    let first = |log: &mut Log| {
        log.name(1, "old", 1, 2).obsolete().node(2, 1, FILE, 0, b"old old").obsolete();
        log.node(2, 2, FILE, 3, b" OLD").obsolete().name(1, "old", 2, 0);
    };
    // The same versions, other bytes.
    let mut log = Log::new(endian);
    first(&mut log);
    log.node(2, 1, FILE, 0, b"new").name(1, "new", 3, 2);
    assert_eq!(log.told(), ["Deleted 2 former /old 1002 Whole"]);
    let flash = log.flash();
    assert_eq!(content(&flash, endian, 2, Life::Former, 9), b"old OLD");
    assert_eq!(content(&flash, endian, 2, Life::Last, 9), b"new");
    // The newest node of what is alive is never obsolete.
    let mut log = Log::new(endian);
    first(&mut log);
    log.node(2, 0, FILE, 0, b"new").name(1, "new", 3, 2);
    assert_eq!(log.told(), ["Deleted 2 former /old 1002 Whole"]);
    // Another type.
    let mut log = Log::new(endian);
    first(&mut log);
    log.node(2, 3, 0o120_777, 0, b"new").name(1, "new", 3, 2);
    assert_eq!(log.told(), ["Deleted 2 former /old 1002 Whole"]);
    // Copies, as cleaning makes them, are no sign of that.
    let mut log = Log::new(endian);
    log.name(1, "a", 1, 2).node(2, 1, FILE, 0, b"same").obsolete().node(2, 1, FILE, 0, b"same");
    assert_eq!(log.told(), [""; 0]);
    // Two that are both gone cannot be told apart.
    let mut log = Log::new(endian);
    first(&mut log);
    log.node(2, 1, FILE, 0, b"new").obsolete();
    assert_eq!(log.told(), ["Deleted 2 /old 1002 Mixed"]);
}

/// Linux drops commit markers when it cleans: a payload block alone does not make its inodes uncommitted.
#[test]
fn a_transaction_without_its_commit_marker_may_have_been_committed() {
    let told = |names: &[(&str, u32, u32)]| {
        let mut log = Log::new(Endian::Little);
        for (name, version, ino) in names {
            log.name(1, name, *version, *ino);
        }
        log.begin();
        log.node(10, 1, FILE, 0, b"ten").node(11, 1, FILE, 0, b"eleven");
        log.told()
    };
    assert_eq!(told(&[]), ["WouldAppear 10 <10>/ - Whole", "WouldAppear 11 <11>/ - Whole"]);
    // The first inode is in the tree: all of the transaction was committed.
    assert_eq!(told(&[("ten", 1, 10)]), ["Orphan 11 <11>/ - Whole"]);
    // A name that is not of the transaction has led to the second.
    let second = told(&[("eleven", 1, 11), ("eleven", 2, 0)]);
    assert_eq!(second, ["Deleted 11 /eleven 1002 Whole", "WouldAppear 10 <10>/ - Whole"]);
}

#[cfg(feature = "write")]
mod cut {
    use super::*;
    use crate::flash::{Ecc, Flash, FlashMut, MemError};
    use crate::inode_kind::Meta;
    use crate::tx::{Transaction, TxError, TxOptions, recover};
    use crate::wire::CommitPoint;

    const META: Meta = Meta { mode: 0o644, uid: 0, gid: 0, mtime: 1000 };

    /// Power fails when so many programs and erases are done.
    struct Power {
        flash: MemFlash,
        left: usize,
    }

    impl Power {
        fn spend(&mut self, block: u32) -> Result<(), MemError> {
            self.left = self.left.checked_sub(1).ok_or(MemError::Bad(block))?;
            Ok(())
        }
    }

    impl Flash for Power {
        type Error = MemError;

        fn geometry(&self) -> &Geometry {
            self.flash.geometry()
        }

        fn read(&self, offset: u32, buf: &mut [u8]) -> Result<Ecc, MemError> {
            self.flash.read(offset, buf)
        }

        fn is_bad(&self, block: u32) -> Result<bool, MemError> {
            self.flash.is_bad(block)
        }

        fn has_oob_cleanmarker(&self, block: u32) -> Result<bool, MemError> {
            self.flash.has_oob_cleanmarker(block)
        }
    }

    impl FlashMut for Power {
        fn program(&mut self, offset: u32, data: &[u8]) -> Result<(), MemError> {
            self.spend(0)?;
            self.flash.program(offset, data)
        }

        fn erase(&mut self, block: u32) -> Result<(), MemError> {
            self.spend(block)?;
            self.flash.erase(block)
        }

        fn write_oob_cleanmarker(&mut self, block: u32) -> Result<(), MemError> {
            self.spend(block)?;
            self.flash.write_oob_cleanmarker(block)
        }

        fn mark_bad(&mut self, block: u32) -> Result<(), MemError> {
            self.spend(block)
        }

        fn sync(&mut self) -> Result<(), MemError> {
            Ok(())
        }
    }

    fn options(n: u8, point: Option<CommitPoint>) -> TxOptions {
        let label = format!("update {n}");
        TxOptions { label, txid: [n; 16], commit_point: point, reserve: Some(2), ..Default::default() }
    }

    fn old_tree(kind: FlashKind, write_size: u32, endian: Endian) -> MemFlash {
        let mut flash = MemFlash::new(Geometry::new(kind, 32 * u64::from(EB), EB, write_size).unwrap());
        let mut tx = Transaction::begin(&mut flash, endian, options(1, None)).unwrap();
        tx.mkdir(b"/dir", META).unwrap();
        tx.create_file(b"/dir/changed", META, b"old").unwrap();
        tx.create_file(b"/gone", META, b"gone").unwrap();
        tx.create_file(b"/mode", META, b"mode").unwrap();
        tx.commit().unwrap();
        // What the update would do first.
        recover(&mut flash, endian).unwrap();
        flash
    }

    fn update(flash: &mut Power, endian: Endian, point: CommitPoint) -> Result<(), TxError<MemError>> {
        let mut tx = Transaction::begin(flash, endian, options(2, Some(point)))?;
        tx.write_file(b"/dir/changed", b"new", 2000)?;
        tx.mkdir(b"/dir/more", META)?;
        tx.create_file(b"/dir/more/new", META, &[7; 9000])?;
        if point != CommitPoint::Dirent {
            tx.remove(b"/gone")?;
            tx.chmod(b"/mode", 0o600)?;
        }
        tx.commit().map(drop)
    }

    /// What uncommitted transactions would have done, and everything else that is lost.
    fn split(flash: &MemFlash, endian: Endian) -> (Vec<String>, Vec<String>) {
        told(flash, endian).into_iter().partition(|line| line.starts_with("Would"))
    }

    /// Cut at every moment: what was written of an update that readers do not see is never taken for what was deleted,
    /// and once they see it, it is uncommitted no more.
    #[test]
    fn uncommitted_until_it_is_visible() {
        let shapes = [
            (FlashKind::Nor, 1, CommitPoint::Head),
            (FlashKind::Nor, 1, CommitPoint::Summary),
            (FlashKind::Nor, 1, CommitPoint::Dirent),
            (FlashKind::Nand, 512, CommitPoint::Summary),
        ];
        for (at, (kind, write_size, point)) in shapes.into_iter().enumerate() {
            let endian = [Endian::Little, Endian::Big][at % 2];
            let old = old_tree(kind, write_size, endian);
            let before = split(&old, endian);
            assert_eq!(before.0, [""; 0]);
            let (mut states, mut left) = ([0, 0], 0);
            loop {
                let mut flash = Power { flash: old.clone(), left };
                let done = update(&mut flash, endian, point).is_ok();
                let (index, history) = open(&flash.flash, endian);
                let tree = Tree::new(&flash.flash, &index);
                let (uncommitted, lost) = split(&flash.flash, endian);
                if tree.lookup(b"/dir/more/new").is_ok() {
                    assert_eq!(uncommitted, [""; 0], "{point} {left}");
                    states[1] += 1;
                } else {
                    assert_eq!(lost, before.1, "{point} {left}");
                    states[0] += usize::from(!uncommitted.is_empty());
                    let of_new = history.lost().iter().filter(|lost| lost.tx.is_some());
                    assert!(
                        of_new
                            .clone()
                            .all(|lost| history.transactions()[lost.tx.unwrap() as usize].fields().label == "update 2")
                    );
                    assert_eq!(of_new.count(), uncommitted.len(), "{point} {left}");
                }
                if done {
                    break;
                }
                left += 1;
            }
            assert!(states.iter().all(|count| *count > 0), "{point} {states:?}");
        }
    }

    #[test]
    fn what_a_commit_replaces_and_what_a_cut_one_would_have() {
        let endian = Endian::Little;
        let old = old_tree(FlashKind::Nor, 1, endian);
        let mut done = Power { flash: old.clone(), left: usize::MAX };
        update(&mut done, endian, CommitPoint::Head).unwrap();
        let spent = usize::MAX - done.left;
        assert_eq!(told(&done.flash, endian), ["Deleted 4 /gone - Whole", "Replaced 3 /dir/changed 1000 Whole"]);
        // The last programs are the two copies in the head.
        let mut cut = Power { flash: old, left: spent - 2 };
        update(&mut cut, endian, CommitPoint::Head).unwrap_err();
        let would = [
            "WouldVanish 4 /gone - Whole",
            "WouldAppear 6 /dir/changed 1000 Whole",
            "WouldAppear 7 /dir/more 1000 Whole",
            "WouldAppear 8 /dir/more/new 1000 Whole",
            "WouldChange 5 /mode - Whole",
        ];
        assert_eq!(told(&cut.flash, endian), would);
    }
}
