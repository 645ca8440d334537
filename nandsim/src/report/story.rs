//! Recorded work, looked at from all sides: what reports are made of.

use jffs2_tx::error::ReadError;
use jffs2_tx::wire::Endian;

use super::log::{Log, Role};
use super::node_diff::NodeDiff;
use super::picture::Picture;
use super::sights::Sights;
use crate::chip::{Chip, ChipError};
use crate::cut::{Cut, ProgramDamage, Tear, Walker, cuts_all};
use crate::harness::{CutPath, Eye};
use crate::parts::Times;
use crate::trace::Trace;
use crate::verdict::Verdict;

/// An update, and all that reports say of it.
#[derive(Debug)]
pub struct Story<'s> {
    start: &'s Chip,
    end: Chip,
    trace: &'s Trace,
    endian: Endian,
    /// What each reader sees as it goes on.
    pub sights: Sights,
    /// Its operations.
    pub log: Log,
    /// The flash as it goes on.
    pub picture: Picture,
}

/// A flash state that a page shows.
#[derive(Clone, Debug)]
pub struct Scene {
    /// What it shows.
    pub title: String,
    /// Replays it.
    pub token: String,
    /// The operation that the power failed in.
    pub op: usize,
    /// What went wrong, if something did.
    pub wrong: Option<String>,
    /// What each reader sees.
    pub readers: Vec<(&'static str, Verdict)>,
    /// Eraseblocks that are neither as before that operation nor as after it.
    pub torn: Vec<u32>,
    /// How it differs from the states before and after the update.
    pub diff: NodeDiff,
}

impl<'s> Story<'s> {
    /// Of what `trace` does from `start` on, as `eye` sees it. `times` are the part's, if it is known.
    #[must_use]
    pub fn new(start: &'s Chip, trace: &'s Trace, endian: Endian, times: Option<&Times>, eye: &mut impl Eye) -> Self {
        let sights = Sights::of(start, trace, eye);
        let commit = sights.commit();
        let last = Cut { op: trace.ops.len(), tear: Tear::Before };
        let end = Walker::new(start.clone(), trace, 0, std::iter::once(last)).next();
        Self {
            start,
            end: end.map_or_else(|| start.clone(), |(_, chip)| chip),
            trace,
            endian,
            log: Log::of(start, trace, endian, times, commit),
            picture: Picture::of(start, trace, endian, commit),
            sights,
        }
    }

    /// The flash after the update.
    #[must_use]
    pub fn end(&self) -> &Chip {
        &self.end
    }

    /// Cuts that show how an update works: in the middle of the payload, in the commit, and after it; with titles.
    #[must_use]
    pub fn telling_cuts(&self) -> Vec<(&'static str, Cut)> {
        let payload: Vec<usize> =
            self.log.steps.iter().filter(|step| step.role == Role::Payload).map(|step| step.op).collect();
        let after = self.log.commit.map(|commit| Cut { op: commit + 1, tear: Tear::Before });
        let cuts = [
            ("in the middle of the payload", payload.get(payload.len() / 2).and_then(|&op| self.tear(op))),
            ("in the operation that commits", self.log.commit.and_then(|op| self.tear(op))),
            ("right after the commit", after),
        ];
        cuts.into_iter().filter_map(|(title, cut)| Some((title, cut?))).collect()
    }

    /// A cut that leaves about half of a program, in the middle of a page or write buffer if that can be.
    fn tear(&self, op: usize) -> Option<Cut> {
        let in_op = cuts_all(self.trace).skip_while(|cut| cut.op < op).take_while(|cut| cut.op == op);
        let prefixes: Vec<(u32, Cut)> = in_op.filter_map(|cut| Some((prefix(cut.tear)?, cut))).collect();
        let inside: Vec<&(u32, Cut)> = prefixes.iter().filter(|(len, _)| *len > 0).collect();
        inside.get(inside.len() / 2).copied().or(prefixes.last()).map(|(_, cut)| *cut)
    }

    fn torn(&self, op: usize, found: &Chip) -> Vec<u32> {
        let cuts = [op, op + 1].map(|op| Cut { op, tear: Tear::Before });
        let whole: Vec<Chip> =
            Walker::new(self.start.clone(), self.trace, 0, cuts.into_iter()).map(|(_, chip)| chip).collect();
        let is_torn = |block: &u32| whole.iter().all(|chip| chip.block_id(*block) != found.block_id(*block));
        (0..self.trace.geometry.blocks()).filter(is_torn).collect()
    }

    /// Shows a state that cuts left. `wrong` is what went wrong with it.
    ///
    /// # Errors
    /// [`ReadError::Device`].
    pub fn scene(
        &self,
        title: &str,
        token: &str,
        path: &CutPath,
        found: &Chip,
        wrong: Option<&str>,
        eye: &mut impl Eye,
    ) -> Result<Scene, ReadError<ChipError>> {
        Ok(Scene {
            title: title.into(),
            token: token.into(),
            op: path.first.op,
            wrong: wrong.map(Into::into),
            readers: eye.see(found).readers.to_vec(),
            torn: self.torn(path.first.op, found),
            diff: NodeDiff::of(self.start, &self.end, found, self.endian)?,
        })
    }
}

fn prefix(tear: Tear) -> Option<u32> {
    match tear {
        Tear::Program { damage: ProgramDamage::Prefix, n, .. } => Some(n),
        _ => None,
    }
}
