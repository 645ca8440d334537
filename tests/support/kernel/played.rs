//! What came of scenarios.

use std::collections::{BTreeMap, HashMap};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use super::Error;
use super::qemu::Console;
use super::report::tail;
use super::scenario::{At, Scenario, Stage};

/// What came of the scenarios of a boot.
#[derive(Debug, Clone, Default)]
pub struct Playback {
    scenarios: HashMap<String, Played>,
    /// Lines of the kernel's log that tell of a fault in the kernel, each behind the name of the scenario.
    pub log: Vec<String>,
    /// Whether the machine was killed as it should be.
    pub killed: bool,
    /// All that the guest printed.
    pub console: String,
    /// From the start of QEMU to its end.
    pub seconds: f64,
}

/// What came of a scenario.
#[derive(Debug, Clone, Default)]
pub struct Played {
    steps: BTreeMap<At, Result<String, String>>,
    said: BTreeMap<At, Said>,
    dumps: HashMap<At, Vec<u8>>,
    /// When steps were done, from the start of QEMU.
    times: BTreeMap<At, Duration>,
    script: Vec<String>,
}

/// What a step or its program has printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Said {
    out: Vec<String>,
    err: Vec<String>,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code; none if a signal has ended it.
    pub code: Option<i32>,
    /// The lines of its standard output.
    pub out: Vec<String>,
    /// The lines of its standard error.
    pub err: Vec<String>,
}

/// A scenario did not go as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlayError {
    /// A step was not reached.
    #[error("step {0} was not reached")]
    NotReached(u32),
    /// A step failed.
    #[error("step {0} failed: {1}")]
    Failed(u32, String),
    /// A step was done that should have failed.
    #[error("step {0} was done: {1}")]
    Done(u32, String),
    /// A step's result is of another kind.
    #[error("step {0} tells something else: {1}")]
    Other(u32, String),
}

impl Playback {
    /// What came of a scenario; none if it was not played.
    pub fn of(&self, scenario: &str) -> Option<&Played> {
        self.scenarios.get(scenario)
    }
}

impl Played {
    /// What a step that was done has to tell.
    pub fn done(&self, at: At) -> Result<&str, PlayError> {
        match self.steps.get(&at) {
            None => Err(PlayError::NotReached(at.0)),
            Some(Err(error)) => Err(PlayError::Failed(at.0, error.clone())),
            Some(Ok(text)) => Ok(text),
        }
    }

    /// Why a step failed.
    pub fn error(&self, at: At) -> Result<&str, PlayError> {
        match self.steps.get(&at) {
            None => Err(PlayError::NotReached(at.0)),
            Some(Err(error)) => Ok(error),
            Some(Ok(text)) => Err(PlayError::Done(at.0, text.clone())),
        }
    }

    /// The digest that a walk or a look at the flash has to tell.
    pub fn digest(&self, at: At) -> Result<&str, PlayError> {
        Ok(self.done(at)?.split(' ').next().unwrap_or_default())
    }

    /// The number that a step tells.
    pub fn number(&self, at: At) -> Result<u64, PlayError> {
        let text = self.done(at)?;
        text.parse().map_err(|_| PlayError::Other(at.0, text.to_owned()))
    }

    /// What a step or its program has printed on its standard output.
    pub fn lines(&self, at: At) -> &[String] {
        self.said.get(&at).map_or(&[], |said| &said.out)
    }

    /// How a program ended that was waited for.
    pub fn exit(&self, program: At) -> Result<Exit, PlayError> {
        let wait = format!("wait {}", program.0);
        let at = (0..).map(At).zip(&self.script).find(|(_, step)| step.ends_with(&wait)).map(|(at, _)| at);
        let text = self.done(at.ok_or(PlayError::NotReached(program.0))?)?;
        let said = self.said.get(&program).cloned().unwrap_or_default();
        Ok(Exit { code: text.strip_prefix("exit ").and_then(|code| code.parse().ok()), out: said.out, err: said.err })
    }

    /// What the flash held at a step that copied it.
    pub fn dump(&self, at: At) -> Result<&[u8], PlayError> {
        self.done(at)?;
        self.dumps.get(&at).map(Vec::as_slice).ok_or(PlayError::NotReached(at.0))
    }

    /// The time from the end of one step to the end of another.
    pub fn between(&self, from: At, to: At) -> Result<Duration, PlayError> {
        let time = |at: At| self.times.get(&at).copied().ok_or(PlayError::NotReached(at.0));
        Ok(time(to)?.saturating_sub(time(from)?))
    }

    /// All steps with what came of them, for a message.
    pub fn transcript(&self) -> String {
        let mut text = String::new();
        for (at, step) in (0..).map(At).zip(&self.script) {
            text += &format!("{:3} {step}\n", at.0);
            let said = self.said.get(&at).cloned().unwrap_or_default();
            said.out.iter().for_each(|line| text += &format!("      out: {line}\n"));
            said.err.iter().for_each(|line| text += &format!("      err: {line}\n"));
            match self.steps.get(&at) {
                Some(Ok(told)) if told.is_empty() => {}
                Some(Ok(told)) => text += &format!("      {told}\n"),
                Some(Err(error)) => text += &format!("      failed: {error}\n"),
                None => text += "      not reached\n",
            }
        }
        text
    }
}

/// Makes sense of a console.
pub(super) fn parse(console: &Console, scenarios: &[&Scenario], stage: Stage) -> Result<Playback, Error> {
    let mut playback =
        Playback { killed: console.killed, seconds: console.run_time.as_secs_f64(), ..Default::default() };
    for scenario in scenarios {
        let played = Played { script: scenario.steps().collect(), ..Played::default() };
        playback.scenarios.insert(scenario.name.clone(), played);
    }
    let mut done = false;
    for (time, line) in &console.lines {
        done |= line == "DONE";
        playback.line(*time, line);
    }
    playback.console = console.lines.iter().fold(String::new(), |text, (_, line)| text + line + "\n");
    if !done && !console.killed {
        return Err(unfinished(console));
    }
    playback.read_dumps(stage)?;
    Ok(playback)
}

impl Playback {
    /// Takes a line; those of the firmware and of the kernel, and what a kill has torn, are left alone.
    fn line(&mut self, time: Duration, line: &str) {
        let mut words = line.splitn(4, ' ');
        let word = words.next().unwrap_or_default();
        if word == "SUSPECT" {
            self.log.push(line.trim_start_matches("SUSPECT ").to_owned());
        }
        let played = words.next().and_then(|name| self.scenarios.get_mut(name));
        let step = words.next().and_then(|step| step.parse().ok()).map(At);
        let (Some(played), Some(step)) = (played, step) else { return };
        let rest = words.next().unwrap_or_default();
        match word {
            "OUT" => played.said.entry(step).or_default().out.push(rest.to_owned()),
            "ERR" => played.said.entry(step).or_default().err.push(rest.to_owned()),
            "STEP" => {
                let outcome = match rest.split_once(' ') {
                    Some(("OK", told)) => Ok(told.to_owned()),
                    Some(("ERROR", error)) => Err(error.to_owned()),
                    _ => return,
                };
                played.steps.insert(step, outcome);
                played.times.insert(step, time);
            }
            _ => {}
        }
    }

    fn read_dumps(&mut self, stage: Stage) -> Result<(), Error> {
        let places = stage.places.clone();
        let file = stage.dumps();
        for ((name, at), (offset, len)) in places {
            let mut bytes = vec![0; len as usize];
            file.as_file().read_exact_at(&mut bytes, offset).map_err(Error::file(file.path()))?;
            if let Some(played) = self.scenarios.get_mut(&name) {
                played.dumps.insert(at, bytes);
            }
        }
        Ok(())
    }
}

fn unfinished(console: &Console) -> Error {
    let step = console.lines.iter().rev().find(|(_, line)| line.starts_with("STEP "));
    let last = step.map_or_else(|| "boot".to_owned(), |(_, line)| line.clone());
    let tail = tail(&console.lines);
    match console.silence {
        Some(silence) => Error::Silent { silence, last, tail },
        None => Error::Unfinished { last, tail },
    }
}
