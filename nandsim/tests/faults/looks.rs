//! One flash state at several power-ups.

use jffs2_tx::flash::Flash;
use jffs2_tx::tx::{RecoverReport, recover};
use nandsim::{ByReader, Chip, Cut, LibraryJudge, Recorder, Torture, Trace, Verdict, Walker};

/// Power-ups that a state is looked at.
pub(crate) const POWER_UPS: u64 = 6;

/// Looks at flash states through both readers, at each power-up anew.
pub(crate) struct Looks<'t> {
    torture: &'t Torture,
    judge: LibraryJudge,
}

impl<'t> Looks<'t> {
    pub(crate) fn new(torture: &'t Torture) -> Self {
        let judge = LibraryJudge::new(
            torture.start.geometry(),
            torture.workload.endian,
            torture.oracle.standard.library.clone(),
        );
        Self { torture, judge }
    }

    /// What the readers see at each power-up: the old tree or the new one, or this fails.
    pub(crate) fn fine(&mut self, what: &str, chip: &Chip) -> Result<Vec<ByReader<Verdict>>, String> {
        let seen: Vec<_> = (0..POWER_UPS).map(|n| self.judge.verdicts(&chip.powered_up(n).as_read())).collect();
        for (n, (reader, verdict)) in (0..).zip(&seen).flat_map(|(n, seen)| seen.named().map(move |of| (n, of))) {
            if !matches!(verdict, Verdict::Old | Verdict::New) {
                return Err(format!("{what}, power-up {n}, {reader}: {verdict}"));
            }
        }
        Ok(seen)
    }

    /// What the readers see at each power-up: always the same, or this fails.
    pub(crate) fn lasting(&mut self, what: &str, chip: &Chip) -> Result<ByReader<Verdict>, String> {
        let mut seen = self.fine(what, chip)?;
        let first = seen.swap_remove(0);
        match seen.iter().find(|other| **other != first) {
            None => Ok(first),
            Some(other) => Err(format!("{what}: one power-up shows {first:?}, another one {other:?}")),
        }
    }

    /// The chip after a recovery at its `n`-th power-up, what was done to it, and the report.
    pub(crate) fn recovered(&self, chip: &Chip, n: u64) -> Result<(Chip, Trace, RecoverReport), String> {
        let mut recorder = Recorder::new(chip.powered_up(n));
        let report =
            recover(&mut recorder, self.torture.workload.endian).map_err(|error| format!("recovery: {error}"))?;
        let (mut chip, trace) = recorder.into_parts();
        match chip.take_violation() {
            Some(violation) => Err(format!("recovery breaks a rule of the flash: {violation}")),
            None => Ok((chip, trace, report)),
        }
    }
}

/// The states that `cuts` leave.
pub(crate) fn states<'t>(
    start: &Chip,
    trace: &'t Trace,
    seed: u64,
    cuts: impl Iterator<Item = Cut> + 't,
) -> impl Iterator<Item = (Cut, Chip)> + 't {
    Walker::new(start.clone(), trace, seed, cuts)
}
