//! Writes jobs as the disk that the guest reads: each distinct eraseblock once.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use kernel_guest::script::{BlockStep, CaseStep, Header, SECTOR, ScriptKind, Step};
use tempfile::NamedTempFile;

use super::qemu::Drive;
use super::state::trim;
use super::{Block, Case, Device, Error, Job, State, job};

/// The disk that the guest reads, and the one that it copies flashes to. The files go with this value.
pub(super) struct Disks {
    pub(super) job: NamedTempFile,
    pub(super) dumps: NamedTempFile,
    places: Vec<Place>,
}

/// Where on the second disk the flash of a case is.
struct Place {
    case: String,
    offset: u64,
    len: usize,
}

impl Disks {
    /// As the machine gets them.
    pub(super) fn drives(&self) -> Vec<Drive<'_>> {
        vec![
            Drive { file: self.job.path(), read_only: true, writes_per_second: None },
            Drive { file: self.dumps.path(), read_only: false, writes_per_second: None },
        ]
    }

    /// What the guest has copied, by the names of the cases.
    pub(super) fn dumps(&self) -> Result<HashMap<String, Vec<u8>>, Error> {
        let read = |place: &Place| {
            let mut bytes = vec![0; place.len];
            self.dumps.as_file().read_exact_at(&mut bytes, place.offset).map_err(Error::file(self.dumps.path()))?;
            Ok((place.case.clone(), bytes))
        };
        self.places.iter().map(read).collect()
    }
}

/// The disks of these jobs.
pub(super) fn write(jobs: &[Job], log: bool) -> Result<Disks, Error> {
    job::check_names(jobs)?;
    let mut plan = Plan::default();
    for job in jobs.iter().filter(|job| !job.cases.is_empty()) {
        job.check()?;
        plan.add_job(job);
    }
    let new = || NamedTempFile::new().map_err(Error::file(&std::env::temp_dir()));
    let (job, dumps) = (new()?, new()?);
    plan.write(job.as_file(), log).map_err(Error::file(job.path()))?;
    dumps.as_file().set_len(plan.dumped.next_multiple_of(4096).max(4096)).map_err(Error::file(dumps.path()))?;
    Ok(Disks { job, dumps, places: plan.places })
}

/// The script, and the eraseblocks in the order of their numbers.
#[derive(Default)]
struct Plan {
    contents: Vec<Content>,
    ids: HashMap<(Arc<Block>, Device), u32>,
    steps: Vec<Step>,
    places: Vec<Place>,
    /// Bytes of the second disk that have a place.
    dumped: u64,
}

/// An eraseblock's bytes, up to the end of the last page that isn't erased.
struct Content {
    block: Arc<Block>,
    len: u32,
}

impl Plan {
    fn add_job(&mut self, job: &Job) {
        self.steps.push(Step::Device(job.device.step()));
        let mut before = State::erased(job.device);
        for case in &job.cases {
            self.add_case(case, &before);
            before = case.state.clone();
        }
    }

    fn add_case(&mut self, case: &Case, before: &State) {
        let mut changes = Vec::new();
        for (index, (new, old)) in (0..).zip(case.state.blocks.iter().zip(&before.blocks)) {
            if !Arc::ptr_eq(new, old) && new != old {
                changes.push((index, self.id(new, case.state.device)));
            }
        }
        let dump = case.dump.then(|| self.place(case));
        self.steps.push(Step::Case(CaseStep {
            name: case.name.clone(),
            mode: case.mode,
            listing: case.listing.clone(),
            dump,
            changes,
        }));
    }

    /// Room on the second disk, and behind it for the copies that the case asks for.
    fn place(&mut self, case: &Case) -> u64 {
        let (offset, device) = (self.dumped, case.state.device);
        let len = device.blocks() as usize * device.block_size() as usize;
        for name in case.dumped_names() {
            self.places.push(Place { case: name, offset: self.dumped, len });
            self.dumped += len as u64;
        }
        offset
    }

    fn id(&mut self, block: &Arc<Block>, device: Device) -> u32 {
        let next = self.contents.len() as u32;
        *self.ids.entry((block.clone(), device)).or_insert_with(|| {
            let page_size = device.page_size().unwrap_or(device.block_size());
            let len = (trim(&block.data).len() as u32).next_multiple_of(page_size);
            self.contents.push(Content { block: block.clone(), len });
            next
        })
    }

    fn write(&self, file: &File, log: bool) -> std::io::Result<()> {
        let (script, _) = self.script(0);
        // The offsets in the script depend on its own length; leave room for their digits.
        let start = (SECTOR + script.len() as u64 + 20 * self.contents.len() as u64).next_multiple_of(SECTOR);
        let (script, end) = self.script(start);
        let mut out = BufWriter::new(file);
        let header = Header { kind: ScriptKind::Cases, script_start: SECTOR, script_len: script.len() as u64, log };
        write_padded(&mut out, header.to_string().as_bytes(), SECTOR)?;
        write_padded(&mut out, script.as_bytes(), start - SECTOR)?;
        for content in &self.contents {
            write_content(&mut out, content)?;
        }
        out.flush()?;
        file.set_len(end.next_multiple_of(4096))
    }

    /// The script if the contents begin at `start`, and where they end.
    fn script(&self, start: u64) -> (String, u64) {
        let mut script = String::new();
        let mut offset = start;
        for (id, Content { block, len }) in (0..).zip(&self.contents) {
            let (oob, unreadable) = (block.oob.clone(), block.unreadable.clone());
            let step = BlockStep { id, offset, len: *len, bad: block.bad, oob, unreadable };
            script += &format!("{}\n", Step::Block(step));
            offset += u64::from(*len);
        }
        for step in &self.steps {
            script += &format!("{step}\n");
        }
        (script, offset)
    }
}

pub(super) fn write_padded(out: &mut impl Write, bytes: &[u8], len: u64) -> std::io::Result<()> {
    out.write_all(bytes)?;
    out.write_all(&vec![0; len as usize - bytes.len()])
}

fn write_content(out: &mut impl Write, content: &Content) -> std::io::Result<()> {
    let len = content.len as usize;
    let bytes = &content.block.data[..len.min(content.block.data.len())];
    out.write_all(bytes)?;
    out.write_all(&vec![0xff; len - bytes.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: Device = Device::NandSmallPage { blocks: 8 };

    fn script(cases: Vec<Case>) -> Vec<Step> {
        let mut plan = Plan::default();
        plan.add_job(&Job { device: DEVICE, cases });
        let (text, _) = plan.script(0);
        text.lines().map(|line| line.parse().unwrap()).collect()
    }

    #[test]
    fn equal_blocks_are_written_once_and_only_changes_are_listed() {
        let one = State::erased(DEVICE).with(1, Block::new(vec![7; 600]));
        let two = one.with(3, Block::new(vec![7; 600])).with(4, Block::bad());
        let steps = script(vec![Case::read_only("one", one), Case::read_write("two", two)]);
        let [Step::Block(data), Step::Block(bad), Step::Device(_), Step::Case(one), Step::Case(two)] = &steps[..]
        else {
            panic!("{steps:?}")
        };
        assert_eq!((data.len, data.bad, bad.len, bad.bad, bad.offset), (1024, false, 0, true, 1024));
        assert_eq!(one.changes, [(1, 0)]);
        assert_eq!(two.changes, [(3, 0), (4, 1)]);
    }

    #[test]
    fn names_must_be_words_and_differ() {
        let job = |names: [&str; 2]| Job {
            device: DEVICE,
            cases: names.map(|name| Case::read_only(name, State::erased(DEVICE))).to_vec(),
        };
        assert!(write(&[job(["a", "b"])], false).is_ok());
        for names in [["a", "a"], ["a", ""], ["a", "b c"]] {
            assert!(matches!(write(&[job(names)], false), Err(Error::Name(_))), "{names:?}");
        }
    }
}
