//! Plays scenarios: one step after another, with programs and a reader that go on in the background.

mod mtd;
mod program;
mod reader;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use kernel_guest::listing;
use kernel_guest::scenario::{Act, Line};
use kernel_guest::script::Listing;
use nix::mount::{MntFlags, MsFlags, mount, umount, umount2};

use crate::disk::Disk;
use crate::kernel_log::KernelLog;
use crate::memo::Memo;
use crate::work::Amount;
use crate::{boot, one_line, sys, work};
use mtd::Mtd;
use program::Program;
use reader::Reader;

/// What programs write; emptied after each scenario.
const SCRATCH: [&str; 2] = ["/tmp", "/run"];
/// More file systems of the kernel, for steps that read and write their files; a kernel may lack them.
const KERNEL_FILE_SYSTEMS: [(&str, &str); 2] = [("tracefs", "/sys/kernel/tracing"), ("debugfs", "/sys/kernel/debug")];

/// The scenarios, as far as they have come.
pub(crate) struct Player<'a> {
    disk: &'a Disk,
    log: KernelLog,
    memo: Memo,
    stage: Stage,
}

/// What the scenario has set up, and what goes on.
#[derive(Default)]
struct Stage {
    name: String,
    /// The number of the step, from 0.
    step: u32,
    /// Whether a step has failed that must not.
    over: bool,
    modules: Vec<String>,
    mounts: Vec<String>,
    files: Vec<String>,
    programs: BTreeMap<u32, Program>,
    reader: Option<Reader>,
}

impl<'a> Player<'a> {
    pub(crate) fn new(disk: &'a Disk) -> Result<Self> {
        for (kind, place) in KERNEL_FILE_SYSTEMS {
            // Without it, the steps that need it fail.
            let _ = mount(Some(kind), place, Some(kind), MsFlags::empty(), None::<&str>);
        }
        SCRATCH.iter().try_for_each(fs::create_dir_all)?;
        let log = KernelLog::open(disk.wants_log())?;
        Ok(Self { disk, log, memo: Memo::default(), stage: Stage::default() })
    }

    pub(crate) fn run(&mut self) -> Result<()> {
        self.log.report("boot");
        for line in self.disk.lines()? {
            match line {
                Line::Begin(name) => self.begin(name)?,
                Line::Must(act) => self.step(&act, true),
                Line::May(act) => self.step(&act, false),
            }
        }
        self.begin(String::new())
    }

    fn begin(&mut self, name: String) -> Result<()> {
        let old = std::mem::replace(&mut self.stage, Stage { name, ..Stage::default() });
        let (what, cleared) = (old.name.clone(), old.clear());
        self.log.report(&what);
        cleared.with_context(|| format!("clear away {what}"))
    }

    fn step(&mut self, act: &Act, must: bool) {
        if !self.stage.over {
            let outcome = self.act(act);
            self.log.report(&self.stage.name);
            self.stage.over = must && outcome.is_err();
            let (name, step) = (&self.stage.name, self.stage.step);
            match outcome {
                Ok(text) => println!("STEP {name} {step} OK {text}"),
                Err(error) => println!("STEP {name} {step} ERROR {}", one_line(&error)),
            }
        }
        self.stage.step += 1;
    }

    /// Does it; what there is to tell of it.
    fn act(&mut self, act: &Act) -> Result<String> {
        let stage = &mut self.stage;
        match act {
            Act::Load { module, parameters } => stage.load(module, parameters)?,
            Act::Unload { module } => stage.unload(module)?,
            Act::Flash { device, image } => Mtd::open(device)?.flash(&self.disk.content(image.offset, image.len)?)?,
            Act::Digest { device } => return Mtd::open(device)?.digest(),
            Act::Settle { device } => Mtd::open(device)?.settle()?,
            Act::Dump { device, offset } => Mtd::open(device)?.dump(*offset)?,
            Act::Spoil { device, at, bits } => Mtd::open(device)?.spoil(*at, *bits)?,
            Act::MakeVolume { device, len } => make_volume(device, *len)?,
            Act::Mount { source, dir, read_only } => stage.mount(source, dir, *read_only)?,
            Act::Remount { dir, read_only } => remount(dir, *read_only)?,
            Act::Unmount { dir } => stage.unmount(dir)?,
            Act::Walk { dir, listing } => return self.walk(dir, listing),
            Act::Work { dir, file, times } => self.work(dir, &Amount { file: *file as usize, times: *times })?,
            Act::Put { path, mode, content } => {
                stage.put(path, *mode, &self.disk.content(content.offset, content.len)?)?;
            }
            Act::Write { path, text } => write_line(path, text)?,
            Act::Read { path } => stage.read(path)?,
            Act::Remove { path } => remove(path)?,
            Act::Spawn { uid, argv } => stage.spawn(*uid, argv)?,
            Act::Feed { program, path, from, to } => stage.program(*program)?.feed(path, *from, *to)?,
            Act::EndInput { program } => stage.program(*program)?.end_input(),
            Act::Await { program, text } => stage.program(*program)?.wait_for(text)?,
            Act::AwaitIdle { program } => stage.program(*program)?.wait_until_idle()?,
            Act::Wait { program } => return stage.wait(*program),
            Act::Kill { program } => stage.program(*program)?.kill()?,
            Act::Sleep { millis } => sleep(Duration::from_millis(*millis)),
            Act::StartReader { dir, digest } => stage.reader = Some(Reader::start(dir, digest)),
            Act::AwaitReader { rounds } => return stage.reader()?.wait_for(*rounds).map(|rounds| rounds.to_string()),
            Act::StopReader => {
                let reader = stage.reader.take().context("no reader")?;
                return reader.stop().map(|rounds| rounds.to_string());
            }
        }
        Ok(String::new())
    }

    fn walk(&mut self, dir: &str, listing: &Listing) -> Result<String> {
        let entries = self.memo.walk(Path::new(dir))?;
        let digest = listing::digest(&entries);
        if listing.wanted(&digest) {
            for line in listing::lines(&entries) {
                println!("OUT {} {} {line}", self.stage.name, self.stage.step);
            }
        }
        Ok(format!("{digest} {}", entries.len()))
    }

    fn work(&mut self, dir: &str, amount: &Amount) -> Result<()> {
        let entries = self.memo.walk(Path::new(dir))?;
        work::work(Path::new(dir), &entries, amount)?;
        nix::unistd::sync();
        Ok(())
    }
}

impl Stage {
    fn load(&mut self, module: &str, parameters: &[String]) -> Result<()> {
        boot::load_module(module, &CString::new(parameters.join(" "))?)?;
        self.modules.push(module.to_owned());
        Ok(())
    }

    fn unload(&mut self, module: &str) -> Result<()> {
        boot::unload_module(module)?;
        self.modules.retain(|loaded| loaded != module);
        Ok(())
    }

    fn mount(&mut self, source: &str, dir: &str, read_only: bool) -> Result<()> {
        fs::create_dir_all(dir)?;
        mount(Some(source), dir, Some("jffs2"), flags(read_only), None::<&str>).context("mount")?;
        self.mounts.push(dir.to_owned());
        Ok(())
    }

    fn unmount(&mut self, dir: &str) -> Result<()> {
        umount(dir).context("unmount")?;
        self.mounts.retain(|mounted| mounted != dir);
        Ok(())
    }

    fn put(&mut self, path: &str, mode: u32, content: &[u8]) -> Result<()> {
        if let Some(parent) = Path::new(path).parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(path, content)?;
        fs::set_permissions(path, Permissions::from_mode(mode))?;
        self.files.push(path.to_owned());
        Ok(())
    }

    fn read(&self, path: &str) -> Result<()> {
        let bytes = fs::read(path)?;
        for line in String::from_utf8_lossy(&bytes).lines() {
            println!("OUT {} {} {line}", self.name, self.step);
        }
        Ok(())
    }

    fn spawn(&mut self, uid: u32, argv: &[String]) -> Result<()> {
        let program = Program::start(&format!("{} {}", self.name, self.step), uid, argv)?;
        self.programs.insert(self.step, program);
        Ok(())
    }

    fn program(&mut self, step: u32) -> Result<&mut Program> {
        self.programs.get_mut(&step).with_context(|| format!("step {step} runs no program"))
    }

    fn wait(&mut self, step: u32) -> Result<String> {
        let program = self.programs.remove(&step).with_context(|| format!("step {step} runs no program"))?;
        program.wait()
    }

    fn reader(&mut self) -> Result<&mut Reader> {
        self.reader.as_mut().context("no reader")
    }

    /// Takes away all that the scenario has set up, whatever state it is in.
    fn clear(self) -> Result<()> {
        if let Some(reader) = self.reader {
            // What it saw does not matter any more.
            let _ = reader.stop();
        }
        for (_, mut program) in self.programs {
            program.kill()?;
            program.wait()?;
        }
        for dir in self.mounts.iter().rev() {
            umount2(dir.as_str(), MntFlags::empty()).with_context(|| format!("unmount {dir}"))?;
        }
        for module in self.modules.iter().rev() {
            boot::unload_module(module)?;
        }
        for path in self.files.iter().filter(|path| Path::new(path).exists()) {
            remove(path)?;
        }
        SCRATCH.iter().try_for_each(|place| {
            fs::remove_dir_all(place)?;
            Ok(fs::create_dir(place)?)
        })
    }
}

fn flags(read_only: bool) -> MsFlags {
    if read_only { MsFlags::MS_RDONLY } else { MsFlags::empty() }
}

fn remount(dir: &str, read_only: bool) -> Result<()> {
    let flags = flags(read_only) | MsFlags::MS_REMOUNT;
    mount(None::<&str>, dir, None::<&str>, flags, None::<&str>).context("remount")
}

/// The file must exist: the kernel's do, and what is misspelt doesn't.
fn write_line(path: &str, text: &str) -> Result<()> {
    let mut file = OpenOptions::new().append(true).open(path).context("open")?;
    file.write_all(format!("{text}\n").as_bytes()).context("write")
}

fn make_volume(device: &str, len: u64) -> Result<()> {
    let device = OpenOptions::new().read(true).write(true).open(device).context("open")?;
    sys::make_ubi_volume(&device, "volume", len).context("make a volume")
}

fn remove(path: &str) -> Result<()> {
    if !path.starts_with('/') || path == "/" {
        bail!("not a path to remove: {path}");
    }
    if Path::new(path).is_dir() {
        fs::remove_dir_all(path)?
    } else {
        fs::remove_file(path)?
    }
    Ok(())
}
