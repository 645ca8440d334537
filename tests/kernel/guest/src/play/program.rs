//! A program that runs in the background.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// How long a step waits for a program; the host's patience is a little longer.
const LIMIT: Duration = Duration::from_secs(100);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// A program is idle that sleeps at so many looks.
const IDLE_LOOKS: u32 = 8;
const IDLE_EVERY: Duration = Duration::from_millis(25);

/// What has been started.
pub(super) struct Program {
    child: Child,
    stdin: Option<ChildStdin>,
    said: Arc<Mutex<Vec<String>>>,
    ears: Vec<JoinHandle<()>>,
}

impl Program {
    /// Starts it. What it prints is told line by line, `step` saying who it is.
    pub(super) fn start(step: &str, uid: u32, argv: &[String]) -> Result<Self> {
        let (path, arguments) = argv.split_first().context("no program")?;
        let mut command = Command::new(path);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if uid != 0 {
            command.uid(uid).gid(uid);
        }
        let mut child = command.spawn().with_context(|| path.clone())?;
        let said = Arc::default();
        let (out, err) = (child.stdout.take().context("stdout")?, child.stderr.take().context("stderr")?);
        let ears = vec![listen(out, format!("OUT {step}"), &said), listen(err, format!("ERR {step}"), &said)];
        Ok(Self { stdin: child.stdin.take(), child, said, ears })
    }

    /// Writes a part of a file to its input, from one percentage of it to another.
    pub(super) fn feed(&mut self, path: &str, from: u32, to: u32) -> Result<()> {
        let content = fs::read(path).with_context(|| path.to_owned())?;
        let place = |percent: u32| content.len() * percent as usize / 100;
        let part = content.get(place(from)..place(to)).context("no such part")?;
        self.stdin.as_mut().context("its input has ended")?.write_all(part).context("feed")
    }

    pub(super) fn end_input(&mut self) {
        self.stdin = None;
    }

    pub(super) fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill()?)
    }

    /// Waits until it has said something.
    pub(super) fn wait_for(&mut self, text: &str) -> Result<()> {
        let start = Instant::now();
        loop {
            let ended = self.child.try_wait()?;
            let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            if said.iter().any(|line| line.contains(text)) {
                return Ok(());
            }
            drop(said);
            if let Some(status) = ended {
                bail!("it ended ({}) and never said {text:?}", tell(status));
            }
            if start.elapsed() > LIMIT {
                bail!("it never said {text:?}");
            }
            sleep(LOOK_EVERY);
        }
    }

    /// Waits until it sleeps, look after look: it has read what it was given, and waits for more.
    pub(super) fn wait_until_idle(&mut self) -> Result<()> {
        let (start, mut looks) = (Instant::now(), 0);
        while looks < IDLE_LOOKS {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended: {}", tell(status));
            }
            ensure!(start.elapsed() < LIMIT, "it is never idle");
            sleep(IDLE_EVERY);
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).context("its state")?;
            // The state stands behind the name, which may have blanks in it.
            let sleeps = stat.rsplit_once(") ").is_some_and(|(_, fields)| fields.starts_with('S'));
            looks = if sleeps { looks + 1 } else { 0 };
        }
        Ok(())
    }

    /// Waits until it ends; how it did.
    pub(super) fn wait(mut self) -> Result<String> {
        self.end_input();
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if start.elapsed() > LIMIT {
                self.child.kill()?;
                self.child.wait()?;
                bail!("it went on for {LIMIT:?} and was killed");
            }
            sleep(LOOK_EVERY);
        };
        // All that it printed is to be told before its end is.
        for ear in self.ears {
            if ear.join().is_err() {
                bail!("what it printed is lost");
            }
        }
        Ok(tell(status))
    }
}

fn tell(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    }
}

fn listen(from: impl Read + Send + 'static, prefix: String, said: &Arc<Mutex<Vec<String>>>) -> JoinHandle<()> {
    let said = Arc::clone(said);
    thread::spawn(move || {
        let mut from = BufReader::new(from);
        let mut line = Vec::new();
        while from.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).replace('\r', " ");
            println!("{prefix} {text}");
            said.lock().unwrap_or_else(PoisonError::into_inner).push(text);
            line.clear();
        }
    })
}
