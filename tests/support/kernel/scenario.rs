//! What the guest does, step by step, with devices, file systems and programs: the host's side of
//! [`kernel_guest::scenario`].

use std::collections::{HashMap, HashSet};
use std::io::{self, BufWriter, Write};
use std::ops::Range;
use std::sync::Arc;

use kernel_guest::scenario::{Act, Extent, Line};
use kernel_guest::script::{Header, Listing, SECTOR, ScriptKind};
use tempfile::NamedTempFile;

use super::disk::write_padded;
use super::qemu::Drive;
use super::{Device, Error};

/// Where scenarios mount the flash unless they say otherwise.
pub const MOUNT_POINT: &str = "/flash";
/// The command line in the guest.
pub const COMMAND_LINE: &str = "/bin/jffs2-tx";
/// The user that programs run as.
const ROOT: u32 = 0;

/// A step of a scenario: by it the results are found, and programs are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At(pub(super) u32);

/// A list of steps for the guest. Whatever they set up - modules, mounts, programs, files in `/tmp` and `/run` and those
/// put somewhere - is taken away behind the last one. A step that fails ends the scenario, but for those that say
/// otherwise.
///
/// The guest runs as root on an empty root file system that holds the project's command line and nothing else.
#[derive(Debug, Clone)]
pub struct Scenario {
    pub(super) name: String,
    lines: Vec<Line>,
    /// What steps need, found by the offset in their extents.
    contents: Vec<Arc<[u8]>>,
    /// Steps that copy a flash to the second disk, and how many bytes.
    dumps: Vec<(At, u64)>,
}

impl Scenario {
    /// Nothing to do yet. The name is a word that no other scenario of the run has.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), lines: Vec::new(), contents: Vec::new(), dumps: Vec::new() }
    }

    /// By what it is known.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn must(&mut self, act: Act) -> At {
        self.lines.push(Line::Must(act));
        At(self.lines.len() as u32 - 1)
    }

    /// Lets the last step fail: what fails is then a result like any other.
    pub fn may_fail(&mut self) {
        if let Some(Line::Must(act)) = self.lines.pop() {
            self.lines.push(Line::May(act));
        }
    }

    fn content(&mut self, bytes: impl Into<Arc<[u8]>>) -> Extent {
        let bytes = bytes.into();
        let extent = Extent { offset: self.contents.len() as u64, len: bytes.len() as u64 };
        self.contents.push(bytes);
        extent
    }

    /// Loads a kernel module with these parameters, `key=value`.
    pub fn load(&mut self, module: &str, parameters: &[&str]) -> At {
        let parameters = parameters.iter().map(|&parameter| parameter.to_owned()).collect();
        self.must(Act::Load { module: module.to_owned(), parameters })
    }

    /// Loads the module that simulates a device, with more parameters than those that it needs. If it is the first
    /// device, it is `/dev/mtd0`.
    pub fn load_device(&mut self, device: Device, more: &[&str]) -> At {
        let step = device.step();
        let parameters: Vec<&str> = step.parameters.iter().map(String::as_str).chain(more.iter().copied()).collect();
        self.load(&step.module, &parameters)
    }

    /// Unloads a module.
    pub fn unload(&mut self, module: &str) -> At {
        self.must(Act::Unload { module: module.to_owned() })
    }

    /// Erases an MTD device and writes an image to it, around its bad eraseblocks. On NAND every good one gets a
    /// cleanmarker.
    pub fn flash(&mut self, device: &str, image: impl Into<Arc<[u8]>>) -> At {
        let image = self.content(image);
        self.must(Act::Flash { device: device.to_owned(), image })
    }

    /// Tells the digest of all that an MTD device holds: data, cleanmarkers, bad marks.
    pub fn digest(&mut self, device: &str) -> At {
        self.must(Act::Digest { device: device.to_owned() })
    }

    /// Waits until nobody writes to an MTD device any more.
    pub fn settle(&mut self, device: &str) -> At {
        self.must(Act::Settle { device: device.to_owned() })
    }

    /// Copies the data of an MTD device of `len` bytes; bad eraseblocks are zeros in the copy.
    pub fn dump(&mut self, device: &str, len: u64) -> At {
        let at = self.must(Act::Dump { device: device.to_owned(), offset: 0 });
        self.dumps.push((at, len));
        at
    }

    /// Clears bits in an error correction code of a programmed NAND page: with one bit, reads of the page have to be
    /// corrected, with two, error correction has to give up.
    pub fn spoil(&mut self, device: &str, at: u64, bits: u32) -> At {
        self.must(Act::Spoil { device: device.to_owned(), at, bits })
    }

    /// Makes a volume on a UBI device, its number 0.
    pub fn make_volume(&mut self, device: &str, len: u64) -> At {
        self.must(Act::MakeVolume { device: device.to_owned(), len })
    }

    /// Mounts a device, such as `mtd0`, for reading only.
    pub fn mount_read_only(&mut self, source: &str) -> At {
        self.must(Act::Mount { source: source.to_owned(), dir: MOUNT_POINT.to_owned(), read_only: true })
    }

    /// Mounts a device for writing.
    pub fn mount(&mut self, source: &str) -> At {
        self.must(Act::Mount { source: source.to_owned(), dir: MOUNT_POINT.to_owned(), read_only: false })
    }

    /// Mounts what is mounted another way.
    pub fn remount(&mut self, read_only: bool) -> At {
        self.must(Act::Remount { dir: MOUNT_POINT.to_owned(), read_only })
    }

    /// Unmounts it.
    pub fn unmount(&mut self) -> At {
        self.must(Act::Unmount { dir: MOUNT_POINT.to_owned() })
    }

    /// Walks the mounted tree; lists it if its digest is none of these.
    pub fn walk(&mut self, known: &[String]) -> At {
        self.must(Act::Walk { dir: MOUNT_POINT.to_owned(), listing: Listing::Unless(known.to_vec()) })
    }

    /// Writes so many files of so many bytes to the mounted tree, among other work, and takes all of it back.
    pub fn work(&mut self, file: u32, times: u32) -> At {
        self.must(Act::Work { dir: MOUNT_POINT.to_owned(), file, times })
    }

    /// Makes a file, and the directories on the way to it.
    pub fn put(&mut self, path: &str, content: impl Into<Arc<[u8]>>) -> At {
        let content = self.content(content);
        self.must(Act::Put { path: path.to_owned(), mode: 0o644, content })
    }

    /// Likewise a program or a script.
    pub fn put_program(&mut self, path: &str, content: impl Into<Arc<[u8]>>) -> At {
        let content = self.content(content);
        self.must(Act::Put { path: path.to_owned(), mode: 0o755, content })
    }

    /// Writes a line to a file that exists, such as one of sysfs.
    pub fn write(&mut self, path: &str, text: &str) -> At {
        self.must(Act::Write { path: path.to_owned(), text: text.to_owned() })
    }

    /// Reads the lines of a file: [`super::Played::lines`].
    pub fn read(&mut self, path: &str) -> At {
        self.must(Act::Read { path: path.to_owned() })
    }

    /// Removes a file or a directory.
    pub fn remove(&mut self, path: &str) -> At {
        self.must(Act::Remove { path: path.to_owned() })
    }

    /// Starts the project's command line, with an input that stays open.
    pub fn start(&mut self, arguments: &[&str]) -> At {
        self.start_as(ROOT, arguments)
    }

    /// Likewise as another user.
    pub fn start_as(&mut self, uid: u32, arguments: &[&str]) -> At {
        let argv = [COMMAND_LINE].iter().chain(arguments).map(|&word| word.to_owned()).collect();
        self.must(Act::Spawn { uid, argv })
    }

    /// Runs the project's command line until it ends: [`super::Played::exit`].
    pub fn run(&mut self, arguments: &[&str]) -> At {
        let program = self.start(arguments);
        self.wait(program)
    }

    /// Likewise as another user.
    pub fn run_as(&mut self, uid: u32, arguments: &[&str]) -> At {
        let program = self.start_as(uid, arguments);
        self.wait(program)
    }

    /// Starts a program that was put there.
    pub fn start_program(&mut self, argv: &[&str]) -> At {
        let argv = argv.iter().map(|&word| word.to_owned()).collect();
        self.must(Act::Spawn { uid: ROOT, argv })
    }

    /// Runs one until it ends.
    pub fn run_program(&mut self, argv: &[&str]) -> At {
        let program = self.start_program(argv);
        self.wait(program)
    }

    /// Gives a program a part of a file of the guest, in percent.
    pub fn feed(&mut self, program: At, path: &str, part: Range<u32>) -> At {
        self.must(Act::Feed { program: program.0, path: path.to_owned(), from: part.start, to: part.end })
    }

    /// Waits until a program has printed a line with this text.
    pub fn await_text(&mut self, program: At, text: &str) -> At {
        self.must(Act::Await { program: program.0, text: text.to_owned() })
    }

    /// Waits until a program has read all that it was given, and waits for more.
    pub fn await_idle(&mut self, program: At) -> At {
        self.must(Act::AwaitIdle { program: program.0 })
    }

    /// Ends a program's input and waits until it ends; the program, for its results.
    pub fn wait(&mut self, program: At) -> At {
        self.must(Act::Wait { program: program.0 });
        program
    }

    /// Kills a program, then waits for it.
    pub fn kill(&mut self, program: At) -> At {
        self.must(Act::Kill { program: program.0 });
        self.wait(program)
    }

    /// Does nothing: the moment when all before is done.
    pub fn mark(&mut self) -> At {
        self.sleep(0)
    }

    /// Lets time pass.
    pub fn sleep(&mut self, millis: u64) -> At {
        self.must(Act::Sleep { millis })
    }

    /// Starts to read the mounted tree again and again, from the flash, and to compare it with this digest.
    pub fn start_reader(&mut self, digest: &str) -> At {
        self.must(Act::StartReader { dir: MOUNT_POINT.to_owned(), digest: digest.to_owned() })
    }

    /// Waits until it has read the tree so many times more; the number of all times is the result.
    pub fn await_reader(&mut self, rounds: u32) -> At {
        self.must(Act::AwaitReader { rounds })
    }

    /// Stops it: an error if it ever read anything else.
    pub fn stop_reader(&mut self) -> At {
        self.must(Act::StopReader)
    }

    /// The steps as people read them.
    pub(super) fn steps(&self) -> impl Iterator<Item = String> {
        self.lines.iter().map(|line| match line {
            Line::Begin(name) => name.clone(),
            Line::Must(act) => act.to_string(),
            Line::May(act) => format!("may {act}"),
        })
    }
}

/// Fails unless every name is a word and stands for one scenario.
pub(super) fn check_names(scenarios: &[&Scenario]) -> Result<(), Error> {
    let mut seen = HashSet::new();
    let word = |name: &str| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic());
    let wrong = scenarios.iter().find(|scenario| !word(&scenario.name) || !seen.insert(&scenario.name));
    wrong.map_or(Ok(()), |scenario| Err(Error::Name(scenario.name.clone())))
}

/// The disk with the scenarios, and the one that flashes are copied to.
pub(super) struct Stage {
    job: NamedTempFile,
    dumps: NamedTempFile,
    /// Where on the second disk a step's copy is.
    pub(super) places: HashMap<(String, At), (u64, u64)>,
}

impl Stage {
    pub(super) fn build(scenarios: &[&Scenario], log: bool) -> Result<Self, Error> {
        let new = || NamedTempFile::new().map_err(Error::file(&std::env::temp_dir()));
        let (job, dumps) = (new()?, new()?);
        let mut plan = Plan::default();
        scenarios.iter().for_each(|scenario| plan.add(scenario));
        plan.write(&job, log).map_err(Error::file(job.path()))?;
        dumps.as_file().set_len(plan.dumped.next_multiple_of(4096).max(4096)).map_err(Error::file(dumps.path()))?;
        Ok(Self { job, dumps, places: plan.places })
    }

    pub(super) fn drives(&self) -> Vec<Drive<'_>> {
        vec![
            Drive { file: self.job.path(), read_only: true, writes_per_second: None },
            Drive { file: self.dumps.path(), read_only: false, writes_per_second: None },
        ]
    }

    /// The file of the second disk.
    pub(super) fn dumps(self) -> NamedTempFile {
        self.dumps
    }
}

/// The contents, each once, from the second sector on, and the script behind them.
#[derive(Default)]
struct Plan {
    contents: Vec<Arc<[u8]>>,
    offsets: HashMap<Arc<[u8]>, u64>,
    end: u64,
    script: String,
    dumped: u64,
    places: HashMap<(String, At), (u64, u64)>,
}

impl Plan {
    fn add(&mut self, scenario: &Scenario) {
        self.script += &format!("{}\n", Line::Begin(scenario.name.clone()));
        for (step, line) in (0..).map(At).zip(&scenario.lines) {
            let mut line = line.clone();
            if let Line::Must(act) | Line::May(act) = &mut line {
                if let Some(extent) = act.extent_mut() {
                    extent.offset = self.place(&scenario.contents[extent.offset as usize]);
                }
                if let Act::Dump { offset, .. } = act {
                    *offset = self.room(scenario, step);
                }
            }
            self.script += &format!("{line}\n");
        }
    }

    fn place(&mut self, content: &Arc<[u8]>) -> u64 {
        if let Some(&offset) = self.offsets.get(content) {
            return offset;
        }
        let offset = SECTOR + self.end;
        self.end += (content.len() as u64).next_multiple_of(SECTOR);
        self.offsets.insert(content.clone(), offset);
        self.contents.push(content.clone());
        offset
    }

    fn room(&mut self, scenario: &Scenario, step: At) -> u64 {
        let offset = self.dumped;
        let len = scenario.dumps.iter().find(|(at, _)| *at == step).map_or(0, |(_, len)| *len);
        self.places.insert((scenario.name.clone(), step), (offset, len));
        self.dumped += len;
        offset
    }

    fn write(&self, job: &NamedTempFile, log: bool) -> io::Result<()> {
        let (script_start, script_len) = (SECTOR + self.end, self.script.len() as u64);
        let header = Header { kind: ScriptKind::Scenarios, script_start, script_len, log };
        let mut out = BufWriter::new(job.as_file());
        write_padded(&mut out, header.to_string().as_bytes(), SECTOR)?;
        for content in &self.contents {
            write_padded(&mut out, content, (content.len() as u64).next_multiple_of(SECTOR))?;
        }
        write_padded(&mut out, self.script.as_bytes(), script_len.next_multiple_of(4096))?;
        out.flush()?;
        job.as_file().set_len((script_start + script_len).next_multiple_of(4096))
    }
}
