//! Code of others under test through an adapter: the map of sequential-storage 8.0.2, which keeps settings on raw flash.
//! One value is stored, with the power cut everywhere, and everywhere again. What the harness finds:
//!
//! - A value that goes behind the others, on flash that takes single bytes: survives every cut, and every second one.
//! - A value for which the oldest page is erased: survives all but one kind of tear. A page is marked at both ends. If a cut
//!   erase has cleared the mark at its end and not the one at its start, the page passes for the one in use: reads give
//!   values that were replaced long ago; the next store fails, as does every later one, and then no value is found at all.
//! - Words with ECC, of a controller that fails to read a torn one: after most cuts nothing can be read, for the map takes
//!   that for a broken device and mends nothing. If torn words are given as read, it survives where a page has room; where
//!   one is full, it programs the torn mark at its end a second time, which such flash forbids.
//!
//! `cargo run --release -p nandsim --example sequential_storage`

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::marker::PhantomData;

use embassy_futures::block_on;
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use nandsim::flash::{Ecc, Flash, FlashKind, FlashMut, Geometry};
use nandsim::{Chip, Done, Harness, Oracle, Recorder, SecondCuts, Verdict, Workload};
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::map::{MapConfig, MapStorage};

const PAGE: u32 = 4096;
const PAGES: u32 = 3;
const KEYS: u8 = 4;
/// Longest key and value together.
const BUFFER: usize = 256;

/// A kind of NOR flash.
trait Part: Sync {
    /// Bytes that are programmed at once; above 4 with ECC, and once between erases.
    const WORD: usize;
    /// Words that cannot be corrected are given as they are read.
    const RAW: bool;
}

struct Plain;

impl Part for Plain {
    const WORD: usize = 1;
    const RAW: bool = true;
}

struct WithEcc<const RAW: bool>;

impl<const RAW: bool> Part for WithEcc<RAW> {
    const WORD: usize = 8;
    const RAW: bool = RAW;
}

/// The adapter: a simulated flash as sequential-storage knows it.
struct Nor<'f, F, P> {
    flash: &'f mut F,
    part: PhantomData<P>,
}

#[derive(Debug)]
enum NorError<E> {
    Device(E),
    Uncorrectable,
}

impl<E: Debug> NorFlashError for NorError<E> {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl<F: Flash, P> ErrorType for Nor<'_, F, P> {
    type Error = NorError<F::Error>;
}

impl<F: Flash, P: Part> ReadNorFlash for Nor<'_, F, P> {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        match self.flash.read(offset, bytes).map_err(NorError::Device)? {
            Ecc::Uncorrectable if !P::RAW => Err(NorError::Uncorrectable),
            _ => Ok(()),
        }
    }

    fn capacity(&self) -> usize {
        self.flash.geometry().size() as usize
    }
}

impl<F: FlashMut, P: Part> NorFlash for Nor<'_, F, P> {
    const WRITE_SIZE: usize = P::WORD;
    const ERASE_SIZE: usize = PAGE as usize;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        (from / PAGE..to / PAGE).try_for_each(|page| self.flash.erase(page)).map_err(NorError::Device)?;
        self.flash.sync().map_err(NorError::Device)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.flash.program(offset, bytes).map_err(NorError::Device)?;
        self.flash.sync().map_err(NorError::Device)
    }
}

type Values = BTreeMap<u8, Vec<u8>>;
type Map<'f, F, P> = MapStorage<u8, Nor<'f, F, P>, Cache<Uncached, Uncached, Uncached, u8>>;

fn map<F: FlashMut, P: Part>(flash: &mut F) -> Map<'_, F, P> {
    MapStorage::new(Nor { flash, part: PhantomData }, MapConfig::new(0..PAGES * PAGE), Cache::new_uncached())
}

fn store<F: FlashMut, P: Part>(flash: &mut F, key: u8, value: &[u8]) -> Result<(), String> {
    let stored = block_on(map::<F, P>(flash).store_item(&mut [0; BUFFER], &key, &value));
    stored.map_err(|error| format!("{error:?}"))
}

/// All values, as a device gets them at its start; the map mends the flash as it reads.
fn load<F: FlashMut, P: Part>(flash: &mut F) -> Result<Values, String> {
    let mut map = map::<F, P>(flash);
    let mut values = Values::new();
    for key in 0..KEYS {
        let mut buf = [0; BUFFER];
        let value: Option<&[u8]> = block_on(map.fetch_item(&mut buf, &key)).map_err(|error| format!("{error:?}"))?;
        values.extend(value.map(|value| (key, value.to_vec())));
    }
    Ok(values)
}

/// Key 0 gets a value.
struct Store<P> {
    value: Vec<u8>,
    part: PhantomData<P>,
}

impl<P: Part> Workload for Store<P> {
    fn run(&self, flash: &mut Recorder, _attempt: u8) -> Done {
        Ok(store::<_, P>(flash, 0, &self.value)?)
    }

    fn recover(&self, flash: &mut Recorder) -> Done {
        load::<_, P>(flash)?;
        Ok(())
    }
}

/// The value that comes after `stored` others of `len` bytes.
fn under_test<P: Part>(stored: u8, len: usize) -> Done<Harness<Store<P>, impl Oracle>> {
    let geometry = Geometry::new(FlashKind::Nor, u64::from(PAGES * PAGE), PAGE, P::WORD as u32)?;
    let mut start = Chip::new(geometry, 0);
    for i in 0..stored {
        store::<_, P>(&mut start, i % KEYS, &vec![i; len])?;
    }
    let old = load::<_, P>(&mut start.clone())?;
    let work = Store { value: vec![0xa5; len], part: PhantomData::<P> };
    let mut new = old.clone();
    new.insert(0, work.value.clone());
    let oracle = move |chip: &Chip| match load::<_, P>(&mut chip.clone()) {
        Ok(values) if values == old => Verdict::Old,
        Ok(values) if values == new => Verdict::New,
        Ok(values) => {
            let first = |(key, value): (&u8, &Vec<u8>)| format!("{key}: value {}", value[0]);
            Verdict::Mixed(values.iter().map(first).collect::<Vec<_>>().join(", "))
        }
        Err(error) => Verdict::Unreadable(error),
    };
    Ok(Harness::new(start, work, oracle, 0)?)
}

/// It goes behind the others.
fn appended<P: Part>() -> Done<Harness<Store<P>, impl Oracle>> {
    let mut harness = under_test(5, 8)?;
    harness.plan.second = SecondCuts::All;
    Ok(harness)
}

/// Two pages are full, and the oldest is erased: of values of 200 bytes, pages of bytes take 19 and pages of words 18.
fn page_turned<P: Part>() -> Done<Harness<Store<P>, impl Oracle>> {
    under_test(if P::WORD == 1 { 38 } else { 36 }, 200)
}

fn show<P: Part>(what: &str) -> Done {
    let [appended, turned] = [appended::<P>()?.run_all(), page_turned::<P>()?.run_all()];
    for (where_to, report) in [("behind the others", appended), ("on a fresh page", turned)] {
        println!("{what}, {where_to}: {}  second cuts: {}", report.counts, report.second_cuts);
        for failure in report.failures.iter().take(3) {
            println!("    cut {}: {}", failure.cut, failure.what);
        }
    }
    Ok(())
}

fn main() -> Done {
    show::<Plain>("bytes")?;
    show::<WithEcc<false>>("words with ECC")?;
    show::<WithEcc<true>>("words with ECC, given as read")
}

#[cfg(test)]
mod tests {
    use nandsim::Op;

    use super::*;

    #[test]
    fn an_appended_value_survives_every_cut_and_every_second_one() {
        let report = appended::<Plain>().unwrap().run_all();
        assert!(report.counts.is_fine(), "{report:#?}");
        assert!(report.counts.old > 0 && report.counts.new > 0 && report.second_cuts > 20 * report.counts.cuts);
    }

    #[test]
    fn an_erase_that_clears_the_end_of_a_page_first_brings_old_values_back_and_then_none() {
        let harness = page_turned::<Plain>().unwrap();
        let erase = harness.trace.ops.iter().position(|op| matches!(op, Op::Erase { .. })).unwrap();
        let report = harness.run_all();
        assert!(report.counts.mixed > 0);
        let wrong = format!("{erase}:erase-suffix:");
        assert!(report.failures.iter().all(|failure| failure.cut.to_string().starts_with(&wrong)), "{report:#?}");

        let cut = format!("{wrong}256").parse().unwrap();
        let (_, verdict) = harness.examine(&cut, &mut |_, _| {}).unwrap();
        let old = "0: value 16, 1: value 17, 2: value 14, 3: value 15";
        assert_eq!(verdict.to_string(), format!("mixed: after the cut, reader: {old}"));

        let mut chip = harness.state(&cut).unwrap();
        for key in 0..KEYS {
            assert_eq!(store::<_, Plain>(&mut chip, key, b"new"), Err("Corrupted".into()));
            assert_eq!(load::<_, Plain>(&mut chip), Ok(Values::new()));
        }
    }

    #[test]
    fn a_torn_word_that_cannot_be_read_is_not_mended() {
        let report = appended::<WithEcc<false>>().unwrap().run_all();
        assert!(report.readers["reader"].unreadable > report.readers["reader"].old, "{report:#?}");
    }

    #[test]
    fn a_torn_mark_of_a_full_page_is_programmed_again() {
        let report = appended::<WithEcc<true>>().unwrap().run_all();
        assert!(report.counts.is_fine(), "{report:#?}");
        let report = page_turned::<WithEcc<true>>().unwrap().run_all();
        assert!(report.failures[0].what.contains("second program of the page at 0x1ff8"), "{report:#?}");
    }
}
