//! sequential-storage, a key-value store of others for raw flash, under test through an adapter of its flash traits.
//!
//! `cargo run --release -p nandsim --example sequential_storage`

use std::collections::BTreeMap;

use embassy_futures::block_on;
use embedded_storage_async::nor_flash::{ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use nandsim::flash::{Ecc, Flash, FlashKind, FlashMut, Geometry};
use nandsim::{Chip, Done, Harness, Op, Oracle, Recorder, Verdict, Workload};
use sequential_storage::cache::{Cache, Uncached};
use sequential_storage::map::{MapConfig, MapStorage};

const ERASEBLOCK: u32 = 4096;
const BLOCKS: u32 = 3;
const KEYS: u8 = 4;
const VALUE: usize = 200;

/// A simulated flash as the store knows it, with write units of `WORD` bytes.
struct Nor<'f, F, const WORD: usize>(&'f mut F);

/// Why the flash did not do it.
#[derive(Debug)]
#[expect(dead_code, reason = "it is printed")]
enum NorError<E> {
    Device(E),
    /// As a controller reports it that checks its flash by ECC.
    Uncorrectable,
}

impl<E: std::fmt::Debug> NorFlashError for NorError<E> {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::Other
    }
}

impl<F: Flash, const WORD: usize> ErrorType for Nor<'_, F, WORD> {
    type Error = NorError<F::Error>;
}

impl<F: Flash, const WORD: usize> ReadNorFlash for Nor<'_, F, WORD> {
    const READ_SIZE: usize = 1;

    async fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), Self::Error> {
        match self.0.read(offset, bytes).map_err(NorError::Device)? {
            Ecc::Uncorrectable => Err(NorError::Uncorrectable),
            Ecc::Clean | Ecc::Corrected => Ok(()),
        }
    }

    fn capacity(&self) -> usize {
        self.0.geometry().size() as usize
    }
}

impl<F: FlashMut, const WORD: usize> NorFlash for Nor<'_, F, WORD> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = ERASEBLOCK as usize;

    async fn erase(&mut self, from: u32, to: u32) -> Result<(), Self::Error> {
        (from / ERASEBLOCK..to / ERASEBLOCK).try_for_each(|block| self.0.erase(block)).map_err(NorError::Device)?;
        self.0.sync().map_err(NorError::Device)
    }

    async fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), Self::Error> {
        self.0.program(offset, bytes).map_err(NorError::Device)?;
        self.0.sync().map_err(NorError::Device)
    }
}

type Values = BTreeMap<u8, Vec<u8>>;
type Map<'f, F, const WORD: usize> = MapStorage<u8, Nor<'f, F, WORD>, Cache<Uncached, Uncached, Uncached, u8>>;

fn map<F: FlashMut, const WORD: usize>(flash: &mut F) -> Map<'_, F, WORD> {
    MapStorage::new(Nor(flash), MapConfig::new(0..BLOCKS * ERASEBLOCK), Cache::new_uncached())
}

fn store<F: FlashMut, const WORD: usize>(flash: &mut F, key: u8, value: &[u8]) -> Result<(), String> {
    block_on(map::<F, WORD>(flash).store_item(&mut [0; 512], &key, &value)).map_err(|error| format!("{error:?}"))
}

/// All values, as the device gets them at its start. The store mends the flash as it reads.
fn load<F: FlashMut, const WORD: usize>(flash: &mut F) -> Result<Values, String> {
    let mut map = map::<F, WORD>(flash);
    let mut values = Values::new();
    for key in 0..KEYS {
        let mut buf = [0; 512];
        let value: Option<&[u8]> = block_on(map.fetch_item(&mut buf, &key)).map_err(|error| format!("{error:?}"))?;
        values.extend(value.map(|value| (key, value.to_vec())));
    }
    Ok(values)
}

/// One value is stored anew.
struct Update<const WORD: usize>(Vec<u8>);

impl<const WORD: usize> Workload for Update<WORD> {
    fn run(&self, flash: &mut Recorder, _attempt: u8) -> Done {
        Ok(store::<_, WORD>(flash, 0, &self.0)?)
    }

    fn recover(&self, flash: &mut Recorder) -> Done {
        load::<_, WORD>(flash)?;
        Ok(())
    }
}

/// After `stored` values; the next one is put under test.
fn under_test<const WORD: usize>(stored: u8) -> Done<Harness<Update<WORD>, impl Oracle>> {
    let geometry = Geometry::new(FlashKind::Nor, u64::from(BLOCKS * ERASEBLOCK), ERASEBLOCK, WORD as u32)?;
    let mut start = Chip::new(geometry, 0);
    for i in 0..stored {
        store::<_, WORD>(&mut start, i % KEYS, &[i; VALUE])?;
    }
    let old = load::<_, WORD>(&mut start.clone())?;
    let update = Update([0xa5; VALUE].to_vec());
    let mut new = old.clone();
    new.insert(0, update.0.clone());
    let oracle = move |chip: &Chip| match load::<_, WORD>(&mut chip.clone()) {
        Ok(values) if values == old => Verdict::Old,
        Ok(values) if values == new => Verdict::New,
        Ok(values) => Verdict::Mixed(format!("{values:?}")),
        Err(error) => Verdict::Unreadable(error),
    };
    Ok(Harness::new(start, update, oracle, 0)?)
}

fn erases<W: Workload, O: Oracle>(harness: &Harness<W, O>) -> usize {
    harness.trace.ops.iter().filter(|op| matches!(op, Op::Erase { .. })).count()
}

fn shown<const WORD: usize>() -> Done {
    let mut seen_erase = false;
    for stored in 20..100 {
        let harness = under_test::<WORD>(stored)?;
        if stored > 22 && (erases(&harness) == 0 || seen_erase) { continue }
        seen_erase |= erases(&harness) > 0;
        let t = std::time::Instant::now();
        let report = harness.run_all();
        println!("{WORD} bytes at once, value {stored}, {} erases: {} ({:?}) second {}", erases(&harness), report.counts, t.elapsed(), report.second_cuts);
        for failure in report.failures.iter() {
            println!("    cut {}: {:.300}", failure.cut, failure.what);
        }
        for op in 0..harness.trace.ops.len() {
            println!("   op {op} {:?}", match &harness.trace.ops[op] { Op::Program{offset,data} => format!("program {offset:#x} {}", data.len()), o => format!("{o:?}")});
        }
    }
    Ok(())
}

fn main() -> Done {
    shown::<1>()?;
    shown::<4>()?;
    shown::<8>()
}
