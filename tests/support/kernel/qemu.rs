//! The machine: boots, collects the console, and ends it when it hangs.

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use super::Error;
use super::debian::output;
use super::scenario::{At, Scenario};

const QEMU: &str = "qemu-system-x86_64";
const QEMU_PACKAGE: &str = "qemu-system-x86";

/// Expedited RCU because each mount and unmount waits for grace periods; the other options shorten the boot. No watchdogs: on a busy host the guest
/// stands still for seconds, and they take that for a hang; a real one ends in silence. The first
/// process reads the kernel's log itself: if the kernel printed it, its lines would tear ours apart.
const COMMAND_LINE: &str = "console=ttyS0 loglevel=1 panic=-1 panic_print=32 rcupdate.rcu_expedited=1 mitigations=off nokaslr audit=0 \
     nowatchdog rcupdate.rcu_cpu_stall_suppress=1 lsm= cryptomgr.notests ipv6.disable=1 tsc=reliable no_timer_check random.trust_cpu=on";

/// A processor that has it all, but for what makes the kernel copy byte by byte, which emulation is slow at.
const CPU: &str = "max,la57=off,erms=off,fsrm=off";

/// Where memory is that only the host can write: beyond all of the guest's own.
pub const ROM_ADDRESS: u64 = 0x1_8000_0000;

/// What the machine is made of.
pub(super) struct Machine<'a> {
    pub(super) kernel: &'a Path,
    pub(super) initramfs: &'a [u8],
    /// More for the kernel's command line.
    pub(super) words: &'a str,
    /// Its disks, `/dev/vda` and so on.
    pub(super) drives: Vec<Drive<'a>>,
    pub(super) memory_mib: u32,
    pub(super) patience: Duration,
    /// What is at [`ROM_ADDRESS`].
    pub(super) rom: Option<&'a Path>,
    pub(super) echo: bool,
    /// When to end it on the spot, if it is not to end by itself.
    pub(super) kill: Option<Kill>,
}

/// A disk, a plain file on the host. What the guest's disk has taken is in the file, whatever becomes of the machine.
#[derive(Clone, Copy)]
pub(super) struct Drive<'a> {
    pub(super) file: &'a Path,
    pub(super) read_only: bool,
    pub(super) writes_per_second: Option<u32>,
}

/// When to kill the machine: some time after a line that begins so.
#[derive(Debug, Clone)]
pub struct Kill {
    line: String,
    delay: Duration,
}

impl Kill {
    /// Some time after a step of a scenario was done.
    pub fn after(scenario: &Scenario, step: At, delay: Duration) -> Self {
        Self { line: format!("STEP {} {} OK", scenario.name(), step.0), delay }
    }
}

/// What the machine printed.
pub(super) struct Console {
    pub(super) lines: Vec<(Duration, String)>,
    /// How long it had been silent when it was ended, if it didn't end by itself.
    pub(super) silence: Option<Duration>,
    /// Whether it was killed as it should be.
    pub(super) killed: bool,
    pub(super) run_time: Duration,
}

/// Fails if there is no QEMU to run.
pub(super) fn check_installed() -> Result<(), Error> {
    output(Command::new(QEMU).arg("--version"), QEMU, QEMU_PACKAGE).map(drop)
}

impl Machine<'_> {
    pub(super) fn run(&self) -> Result<Console, Error> {
        let initramfs = NamedTempFile::new().map_err(Error::file(&std::env::temp_dir()))?;
        fs::write(initramfs.path(), self.initramfs).map_err(Error::file(initramfs.path()))?;
        let start = Instant::now();
        let mut running = self.spawn(initramfs.path())?;
        let console = self.collect(&read_lines(running.0.stdout.take()), start);
        if console.lines.is_empty() && console.silence.is_none() {
            return Err(running.failure());
        }
        Ok(console)
    }

    fn spawn(&self, initramfs: &Path) -> Result<Running, Error> {
        let mut command = Command::new(QEMU);
        command.args(["-machine", "q35,accel=tcg,nvdimm=on", "-cpu", CPU]);
        command.args(["-m", &format!("{},slots=1,maxmem=16G", self.memory_mib)]);
        command.args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-serial", "stdio"]);
        command.arg("-kernel").arg(self.kernel).arg("-initrd").arg(initramfs);
        command.args(["-append", &format!("{COMMAND_LINE} {}", self.words)]);
        for (number, Drive { file, read_only, writes_per_second }) in self.drives.iter().enumerate() {
            let file = file.display().to_string().replace(',', ",,");
            let read_only = if *read_only { "on" } else { "off" };
            let mut drive = format!("file={file},format=raw,if=none,id=drive{number},readonly={read_only}");
            if let Some(writes) = writes_per_second {
                drive += &format!(",throttling.iops-write={writes}");
            }
            command.args(["-drive", &drive, "-device", &format!("virtio-blk-pci,drive=drive{number}")]);
        }
        if let Some(rom) = self.rom {
            let file = rom.display().to_string().replace(',', ",,");
            let size = rom.metadata().map_err(Error::file(rom))?.len();
            let memory = format!("memory-backend-file,id=rom,mem-path={file},size={size},share=on,readonly=on");
            let device = format!("nvdimm,memdev=rom,unarmed=on,addr={ROM_ADDRESS:#x}");
            command.args(["-object", &memory, "-device", &device]);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        match command.spawn() {
            Ok(child) => Ok(Running(child)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                Err(Error::Missing { program: QEMU, package: QEMU_PACKAGE })
            }
            Err(error) => Err(Error::Failed { program: QEMU.to_owned(), message: error.to_string() }),
        }
    }

    fn collect(&self, incoming: &Receiver<String>, start: Instant) -> Console {
        let mut lines = Vec::new();
        let mut death = None;
        let (silence, killed) = loop {
            let patience =
                death.map_or(self.patience, |death: Instant| death.saturating_duration_since(Instant::now()));
            match incoming.recv_timeout(patience) {
                Ok(line) => {
                    if self.echo {
                        eprintln!("{line}");
                    }
                    if let Some(kill) = self.kill.as_ref().filter(|kill| line.starts_with(&kill.line)) {
                        death = Some(Instant::now() + kill.delay);
                    }
                    lines.push((start.elapsed(), line));
                }
                Err(RecvTimeoutError::Timeout) if death.is_some() => break (None, true),
                Err(RecvTimeoutError::Timeout) => break (Some(self.patience), false),
                Err(RecvTimeoutError::Disconnected) => break (None, false),
            }
        };
        Console { lines, silence, killed, run_time: start.elapsed() }
    }
}

/// A QEMU that doesn't outlive this value.
struct Running(Child);

impl Running {
    /// Why it ended without a word on its console.
    fn failure(mut self) -> Error {
        let message = self.0.stderr.take().map(|stderr| std::io::read_to_string(stderr).unwrap_or_default());
        Error::Failed { program: QEMU.to_owned(), message: message.unwrap_or_default() }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It has mostly ended by itself already: then there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Reads the console in a thread, so that the reader can lose patience.
fn read_lines(stdout: Option<ChildStdout>) -> Receiver<String> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let Some(stdout) = stdout else { return };
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            line.clear();
            if sender.send(text).is_err() {
                return;
            }
        }
    });
    receiver
}
