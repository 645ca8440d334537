//! Scenarios with what must come of them.

use anyhow::{Context, Result, bail};

use crate::kernel::{At, Kernel, Playback, Played, Scenario, Setup};

type Check<'a> = Box<dyn FnOnce(&Played) -> Result<()> + 'a>;

/// Scenarios for one boot.
#[derive(Default)]
pub struct Plays<'a> {
    plays: Vec<(Scenario, Check<'a>)>,
}

impl<'a> Plays<'a> {
    /// Adds a scenario and the check of what comes of it.
    pub fn add(&mut self, scenario: Scenario, check: impl FnOnce(&Played) -> Result<()> + 'a) {
        self.plays.push((scenario, Box::new(check)));
    }

    /// Plays all of them and checks those that were played. Fails with a transcript of those that went wrong, or if the
    /// kernel complains about itself.
    pub fn check(self, kernel: &Kernel) -> Result<Playback> {
        self.check_with(kernel, &Setup::default())
    }

    /// Likewise, with more in the machine.
    pub fn check_with(self, kernel: &Kernel, setup: &Setup<'_>) -> Result<Playback> {
        let (scenarios, checks): (Vec<Scenario>, Vec<Check<'a>>) = self.plays.into_iter().unzip();
        let playback = kernel.play_with(&scenarios, setup)?;
        let mut wrong = Vec::new();
        for (scenario, check) in scenarios.iter().zip(checks) {
            let Some(played) = playback.of(scenario.name()) else { continue };
            if let Err(error) = check(played) {
                wrong.push(format!("{}: {error:#}\n{}", scenario.name(), played.transcript()));
            }
        }
        if !wrong.is_empty() {
            bail!("{} of {} scenarios went wrong:\n{}", wrong.len(), scenarios.len(), wrong.join("\n"));
        }
        if !playback.log.is_empty() {
            bail!("the kernel complains about itself: {:#?}", playback.log);
        }
        Ok(playback)
    }
}

/// Fails unless a program ended with this exit code and said all of these texts on its standard error.
pub fn expect_exit(played: &Played, program: At, code: i32, texts: &[&str]) -> Result<()> {
    let exit = played.exit(program)?;
    let said = exit.err.join("\n");
    if exit.code != Some(code) {
        bail!("exit code {:?}, not {code}: {said}", exit.code);
    }
    texts.iter().try_for_each(|text| {
        said.contains(text).then_some(()).with_context(|| format!("it never says {text:?}: {said}"))
    })
}
