//! Goes through the job: one state after another, mounted and read by the kernel.

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use kernel_guest::listing::{self, Entry};
use kernel_guest::manifest;
use kernel_guest::script::{Age, BlockStep, CaseStep, DeviceStep, Mode, Phase, Step};
use nix::mount::{MsFlags, mount, umount};

use crate::chip::Chip;
use crate::clock::{Clock, On};
use crate::disk::Disk;
use crate::kernel_log::KernelLog;
use crate::memo::Memo;
use crate::{age, alternate, one_line, work};

pub(crate) const MOUNT_POINT: &str = "/flash";
/// Mount option that keeps the kernel from LZO, which the host's reader of a copied flash can't decode.
const ONLY_ZLIB: &str = "compr=zlib";

/// The job, as far as it has come.
pub(crate) struct Judge<'a> {
    disk: &'a Disk,
    log: KernelLog,
    blocks: HashMap<u32, BlockStep>,
    chip: Option<Chip>,
    tools: Tools,
    /// The id of what each eraseblock shall hold; none stands for erased.
    wanted: Vec<Option<u32>>,
}

/// What is kept from case to case.
#[derive(Default)]
struct Tools {
    memo: Memo,
    clock: Clock,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(disk: &'a Disk) -> Result<Self> {
        fs::create_dir_all(MOUNT_POINT)?;
        let log = KernelLog::open(disk.wants_log())?;
        Ok(Self { disk, log, blocks: HashMap::new(), chip: None, tools: Tools::default(), wanted: Vec::new() })
    }

    pub(crate) fn run(&mut self) -> Result<()> {
        self.log.report("boot");
        for step in self.disk.steps()? {
            match step {
                Step::Device(step) => self.replace_chip(step)?,
                Step::Block(step) => drop(self.blocks.insert(step.id, step)),
                Step::Case(step) => self.judge(&step)?,
            }
        }
        println!("SPENT {}", self.tools.clock);
        Ok(())
    }

    fn replace_chip(&mut self, step: DeviceStep) -> Result<()> {
        if let Some(chip) = self.chip.take() {
            chip.destroy()?;
        }
        self.wanted = vec![None; step.blocks as usize];
        self.chip = Some(Chip::create(step)?);
        Ok(())
    }

    fn judge(&mut self, case: &CaseStep) -> Result<()> {
        for &(index, id) in &case.changes {
            *self.wanted.get_mut(index as usize).context("change beyond the device")? = Some(id);
        }
        self.renew_worn_chip()?;
        match self.prepare() {
            Err(error) => report_error(case, Phase::Prepare, &error),
            Ok((chip, tools)) => match case.mode {
                Mode::ReadOnly => look(chip, tools, case, Phase::ReadOnly),
                Mode::ReadWrite | Mode::Heavy => {
                    look_and_work(chip, tools, case);
                    chip.forget();
                    look(chip, tools, case, Phase::Remount);
                }
                Mode::Age(age) => {
                    if let Err(error) = age_and_look(chip, case, age) {
                        report_error(case, Phase::Work, &error);
                    }
                    chip.forget();
                }
                Mode::Alternate(plan) => {
                    let outcome = alternate::alternate(chip, &mut tools.memo, case, plan);
                    report(case, Phase::ReadOnly, outcome);
                    chip.forget();
                }
            },
        }
        // An aged flash has been copied by now.
        let dump = case.dump.filter(|_| !matches!(case.mode, Mode::Age(_)));
        if let (Some(offset), Some(chip)) = (dump, &self.chip) {
            chip.dump(offset)?;
        }
        self.log.report(&case.name);
        Ok(())
    }

    fn wanted_blocks(&self) -> Vec<Option<&BlockStep>> {
        self.wanted.iter().map(|id| id.and_then(|id| self.blocks.get(&id))).collect()
    }

    fn renew_worn_chip(&mut self) -> Result<()> {
        let worn = self.chip.as_ref().is_some_and(|chip| chip.is_worn_for(&self.wanted_blocks()));
        if worn && let Some(chip) = self.chip.take() {
            self.chip = Some(Chip::create(chip.destroy()?)?);
        }
        Ok(())
    }

    /// Brings the chip to the wanted state.
    fn prepare(&mut self) -> Result<(&mut Chip, &mut Tools)> {
        let chip = self.chip.as_mut().context("no device yet")?;
        self.tools.clock.time(On::Preparing, || {
            self.wanted.iter().enumerate().try_for_each(|(index, id)| {
                let block = id.map(|id| self.blocks.get(&id).context("unknown block")).transpose()?;
                let content = |block: &BlockStep| self.disk.content(block.offset, block.len.into());
                chip.bring(index, block, content).with_context(|| format!("eraseblock {index}"))
            })
        })?;
        Ok((chip, &mut self.tools))
    }
}

/// Mounts read-only and reports the tree.
fn look(chip: &Chip, tools: &mut Tools, case: &CaseStep, phase: Phase) {
    let Tools { memo, clock } = tools;
    let walked =
        timed(clock, chip, MsFlags::MS_RDONLY, None, |root, clock| clock.time(On::Walking, || memo.walk(root)));
    report(case, phase, walked);
}

/// Mounts for writing, reports the tree, and works in it.
fn look_and_work(chip: &Chip, tools: &mut Tools, case: &CaseStep) {
    let Tools { memo, clock } = tools;
    let mut worked = Ok(());
    let walked = timed(clock, chip, MsFlags::empty(), case.dump.map(|_| ONLY_ZLIB), |root, clock| {
        let entries = clock.time(On::Walking, || memo.walk(root))?;
        clock.time(On::Working, || {
            worked = work::work(root, &entries, &chip.amount(case.mode));
            nix::unistd::sync();
        });
        Ok(entries)
    });
    report(case, Phase::ReadWrite, walked);
    if let Err(error) = worked {
        report_error(case, Phase::Work, &error);
    }
}

/// Ages the file system, then lists and copies it, and likewise each copy that was taken on the way.
fn age_and_look(chip: &Chip, case: &CaseStep, age: Age) -> Result<()> {
    let cuts = age::grow_old(chip, case, age, Path::new(MOUNT_POINT))?;
    let mut offset = case.dump.context("an aged file system has to be copied")?;
    report_manifest(chip, &case.name, offset)?;
    for (number, cut) in (1..).zip(&cuts) {
        offset += chip.size();
        chip.restore(cut)?;
        report_manifest(chip, &Age::cut_name(&case.name, number), offset)?;
    }
    Ok(())
}

fn report_manifest(chip: &Chip, name: &str, offset: u64) -> Result<()> {
    chip.dump(offset)?;
    let lines = mounted(chip, MsFlags::MS_RDONLY, None, |root| Ok(manifest::lines(root)))?;
    for line in &lines {
        println!("LIST {name} {line}");
    }
    let digest = listing::hex(&listing::content_digest(lines.join("\n").as_bytes()));
    println!("RESULT {name} {} {digest} {}", Phase::ReadOnly, lines.len());
    Ok(())
}

/// Does something with the mounted flash; it is unmounted whatever comes of it.
pub(crate) fn mounted<T>(
    chip: &Chip,
    flags: MsFlags,
    options: Option<&str>,
    act: impl FnOnce(&Path) -> Result<T>,
) -> Result<T> {
    timed(&mut Clock::default(), chip, flags, options, |root, _| act(root))
}

/// The same, with the time counted that mounting and unmounting take.
fn timed<T>(
    clock: &mut Clock,
    chip: &Chip,
    flags: MsFlags,
    options: Option<&str>,
    act: impl FnOnce(&Path, &mut Clock) -> Result<T>,
) -> Result<T> {
    let source = chip.mount_source();
    clock
        .time(On::Mounting, || mount(Some(source.as_str()), MOUNT_POINT, Some("jffs2"), flags, options))
        .context("mount")?;
    let outcome = act(Path::new(MOUNT_POINT), clock);
    clock.time(On::Unmounting, || umount(MOUNT_POINT)).context("unmount")?;
    outcome
}

fn report(case: &CaseStep, phase: Phase, walked: Result<Vec<Entry>>) {
    match walked {
        Ok(entries) => report_tree(case, phase, &entries),
        Err(error) => report_error(case, phase, &error),
    }
}

fn report_tree(case: &CaseStep, phase: Phase, entries: &[Entry]) {
    let digest = listing::digest(entries);
    if case.listing.wanted(&digest) {
        for line in listing::lines(entries) {
            println!("LIST {} {line}", case.name);
        }
    }
    println!("RESULT {} {phase} {digest} {}", case.name, entries.len());
}

fn report_error(case: &CaseStep, phase: Phase, error: &anyhow::Error) {
    println!("RESULT {} {phase} ERROR {}", case.name, one_line(error));
}
