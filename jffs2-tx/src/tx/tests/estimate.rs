//! Dry runs: they write nothing, and what they say is what the update then takes.

use super::*;
use crate::flash::{Ecc, MemError, ReadOnly};
use crate::scan::BlockState;
use crate::wire::{MARKER_SIZE, MarkerKind};

/// Counts what is done to a flash.
#[derive(Clone)]
pub(super) struct Watched {
    flash: MemFlash,
    writes: u32,
}

impl Flash for Watched {
    type Error = MemError;

    fn geometry(&self) -> &Geometry {
        self.flash.geometry()
    }

    fn read(&self, offset: u32, buf: &mut [u8]) -> core::result::Result<Ecc, MemError> {
        self.flash.read(offset, buf)
    }

    fn is_bad(&self, block: u32) -> core::result::Result<bool, MemError> {
        self.flash.is_bad(block)
    }

    fn has_oob_cleanmarker(&self, block: u32) -> core::result::Result<bool, MemError> {
        self.flash.has_oob_cleanmarker(block)
    }
}

impl FlashMut for Watched {
    fn program(&mut self, offset: u32, data: &[u8]) -> core::result::Result<(), MemError> {
        self.writes += 1;
        self.flash.program(offset, data)
    }

    fn erase(&mut self, block: u32) -> core::result::Result<(), MemError> {
        self.writes += 1;
        self.flash.erase(block)
    }

    fn write_oob_cleanmarker(&mut self, block: u32) -> core::result::Result<(), MemError> {
        self.writes += 1;
        self.flash.write_oob_cleanmarker(block)
    }

    fn mark_bad(&mut self, block: u32) -> core::result::Result<(), MemError> {
        self.writes += 1;
        self.flash.mark_bad(block)
    }

    fn sync(&mut self) -> core::result::Result<(), MemError> {
        self.writes += 1;
        self.flash.sync()
    }
}

type Tx<'f> = Transaction<'f, Watched>;

/// What a dry run says of a change.
pub(super) fn estimate(
    flash: &MemFlash,
    endian: Endian,
    options: &TxOptions,
    change: impl FnOnce(&mut Tx<'_>),
) -> core::result::Result<Estimate, TxError<MemError>> {
    let mut watched = Watched { flash: flash.clone(), writes: 0 };
    let dry = TxOptions { dry_run: true, ..options.clone() };
    let mut tx = Transaction::begin(&mut watched, endian, dry).unwrap();
    change(&mut tx);
    let estimate = tx.estimate();
    assert_eq!(watched.writes, 0, "a dry run writes");
    estimate
}

/// The dry run of a change, then the change; they must say the same.
fn foretold(flash: &MemFlash, endian: Endian, options: &TxOptions, change: impl Fn(&mut Tx<'_>)) -> CommitReport {
    let estimate = estimate(flash, endian, options, &change).unwrap();
    let mut watched = Watched { flash: flash.clone(), writes: 0 };
    let mut tx = Transaction::begin(&mut watched, endian, options.clone()).unwrap();
    change(&mut tx);
    let report = tx.commit().unwrap();
    assert!(estimate.fits);
    assert_eq!(estimate.report, report, "{:?}", flash.geometry());
    report
}

fn small_change(tx: &mut Tx<'_>) {
    tx.write_file(b"/etc/hosts2", b"::1 localhost\n", 4000).unwrap();
    tx.create_file(b"/etc/app/new", META, &noise(40_000, 8)).unwrap();
    tx.remove(b"/etc/app/big").unwrap();
    tx.chmod(b"/etc/app/config", 0o600).unwrap();
    tx.utimes(b"/etc/app/link", 4321).unwrap();
}

#[test]
fn every_commit_point_on_every_flash() {
    for endian in [Endian::Little, Endian::Big] {
        for mut flash in flashes() {
            populate(&mut flash, endian);
            let can_head = flash.geometry().can_overwrite();
            for point in [None, Some(CommitPoint::Dirent), Some(CommitPoint::Head), Some(CommitPoint::Summary)] {
                if point == Some(CommitPoint::Head) && !can_head {
                    continue;
                }
                // The second time there may be a tree that only readers without summaries see.
                let mut flash = flash.clone();
                let summary_readers_only = point == Some(CommitPoint::Dirent);
                let by_point = TxOptions { summary_readers_only, ..options(point, 2) };
                let report = foretold(&flash, endian, &by_point, small_change);
                assert!(report.bytes_programmed > 40_000 && report.eraseblocks_taken > 1);
                assert!(point.is_none_or(|point| report.commit_point == Some(point)));
                let mut tx = Transaction::begin(&mut flash, endian, by_point).unwrap();
                tx.create_file(b"/etc/app/new", META, b"new").unwrap();
                tx.commit().unwrap();
                let behind = TxOptions { online: can_head, ..options(None, 3) };
                foretold(&flash, endian, &behind, |tx| tx.chmod(b"/holey", 0o600).unwrap());
            }
        }
    }
}

/// Directories that are shadowed, files that are copied.
#[test]
fn changes_that_are_folded() {
    let geometry = Geometry::new(FlashKind::Nor, 512 << 10, 8 << 10, 1).unwrap();
    let mut flash = MemFlash::new(geometry);
    let mut tx = Transaction::begin(&mut flash, Endian::Little, options(None, 1)).unwrap();
    for dir in 0..6 {
        tx.mkdir(format!("/d{dir}").as_bytes(), DIR).unwrap();
        for file in 0..60 {
            tx.create_file(format!("/d{dir}/f{file:03}").as_bytes(), META, &noise(30, dir * 60 + file)).unwrap();
        }
    }
    tx.commit().unwrap();
    let report = foretold(&flash, Endian::Little, &options(None, 2), |tx| {
        for dir in 0..6 {
            for file in 0..60 {
                let path = format!("/d{dir}/f{file:03}");
                if file % 2 == 0 { tx.remove(path.as_bytes()) } else { tx.chmod(path.as_bytes(), 0o600) }.unwrap();
            }
        }
    });
    assert!(report.directories_shadowed > 4 && report.files_copied > 0, "{report:?}");
}

#[test]
fn an_equal_tree_takes_nothing() {
    let mut flash = flashes().remove(0);
    populate(&mut flash, Endian::Little);
    let report = foretold(&flash, Endian::Little, &options(None, 2), |tx| tx.chmod(b"/etc/hosts", 0o644).unwrap());
    assert_eq!((report.commit_point, report.bytes_programmed, report.eraseblocks_taken), (None, 0, 0));
}

/// A commit block without what makes it visible, as a power cut leaves it.
pub(super) fn leave_a_leftover(flash: &mut MemFlash) {
    change(flash, Endian::Little, None).unwrap();
    let index = Index::open(&*flash, rules(Endian::Little, true)).unwrap();
    let geometry = *flash.geometry();
    let is_last = |seen: &&crate::scan::MarkerRecord| seen.marker.kind == MarkerKind::Commit && !seen.in_head;
    let commit = index.markers().iter().filter(is_last).max_by_key(|seen| seen.marker.sequence).unwrap();
    let start = geometry.offset_of(commit.marker.commit_block) as usize;
    let body_end = (commit.at as usize + MARKER_SIZE + MAX_LABEL).next_multiple_of(geometry.write_size() as usize);
    let block = start..start + geometry.eraseblock() as usize;
    flash.data_mut()[start..start + geometry.blank_head() as usize].fill(0xff);
    flash.data_mut()[body_end..block.end].fill(0xff);
}

#[test]
fn leftovers_count_as_free() {
    for mut flash in flashes() {
        populate(&mut flash, Endian::Little);
        leave_a_leftover(&mut flash);
        let index = Index::open(&flash, rules(Endian::Little, true)).unwrap();
        assert!(index.blocks().iter().any(|info| info.state == BlockState::Hidden), "{:?}", flash.geometry());
        let report = foretold(&flash, Endian::Little, &options(None, 3), small_change);
        assert_eq!(report.eraseblocks_erased, report.eraseblocks_taken + 1, "the leftover's eraseblock");
    }
}

#[test]
fn what_does_not_fit_is_said_in_numbers() {
    for mut flash in flashes() {
        populate(&mut flash, Endian::Little);
        let size = flash.geometry().size() as usize;
        for (reserve, len) in [(2, size), (1000, 10)] {
            let options = TxOptions { reserve: Some(reserve), ..options(None, 2) };
            let huge = |tx: &mut Tx<'_>| tx.create_file(b"/huge", META, &noise(len, 5)).unwrap();
            let said = estimate(&flash, Endian::Little, &options, huge).unwrap();
            let mut watched = Watched { flash: flash.clone(), writes: 0 };
            let mut tx = Transaction::begin(&mut watched, Endian::Little, options).unwrap();
            huge(&mut tx);
            let Err(TxError::NoSpace { needed, free, reserve }) = tx.commit() else { panic!("committed") };
            assert_eq!(
                (said.fits, said.report.eraseblocks_taken, said.free, said.reserve),
                (false, needed, free, reserve)
            );
            assert!(said.report.bytes_programmed > len as u64, "what has no room counts, too");
        }
    }
}

#[test]
fn flash_that_can_only_be_read_will_do() {
    let mut flash = flashes().remove(0);
    populate(&mut flash, Endian::Little);
    let dry = TxOptions { dry_run: true, ..options(None, 2) };
    let mut read_only = ReadOnly(&flash);
    let mut tx = Transaction::begin(&mut read_only, Endian::Little, dry.clone()).unwrap();
    tx.create_file(b"/x", META, &noise(20_000, 1)).unwrap();
    let by_reading = tx.estimate().unwrap();
    assert!(by_reading.fits && by_reading.report.eraseblocks_failed == 0);
    assert!(Transaction::begin(&mut ReadOnly(&flash), Endian::Little, options(None, 2)).unwrap().commit().is_ok());
    let mut tx = Transaction::begin(&mut read_only, Endian::Little, dry).unwrap();
    tx.create_file(b"/x", META, b"x").unwrap();
    tx.abort().unwrap();
}

#[test]
fn neither_is_taken_for_the_other() {
    let mut flash = flashes().remove(0);
    populate(&mut flash, Endian::Little);
    let before = flash.data().to_vec();
    for dry_run in [true, false] {
        let options = TxOptions { dry_run, ..options(None, 2) };
        let mut tx = Transaction::begin(&mut flash, Endian::Little, options).unwrap();
        tx.create_file(b"/x", META, b"x").unwrap();
        let refused = if dry_run { tx.commit().map(drop) } else { tx.estimate().map(drop) };
        assert!(matches!(refused, Err(TxError::DryRun)));
        assert_eq!(recover(&mut flash, Endian::Little).unwrap(), RecoverReport::default());
        assert!(!dry_run || flash.data() == before);
    }
}
