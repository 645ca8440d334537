//! Reports in files: a page for a browser, JUnit XML, and failing states.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nandsim::report::{Case, Outcome, Page, Scene, Story, junit};
use nandsim::validate::{Margins, Row, Wrong};
use nandsim::{CutPath, Oracle, Token, Torture};

use super::setup::Setup;
use super::{failure, replay, show};

/// Failing states that a page shows, of different operations.
const SHOWN_FAILURES: usize = 3;

#[derive(clap::Args)]
pub(super) struct Publish {
    /// Write a page with a picture of the flash, for a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,

    /// Write the results as JUnit XML
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// Keep failing states: images, what is different in them, and what replays them
    #[arg(long, value_name = "DIR")]
    save: Option<PathBuf>,
}

/// What came of a test.
pub(super) struct Results<'r> {
    pub(super) torture: &'r Torture,
    pub(super) setup: &'r Setup,
    /// By fault.
    pub(super) rows: &'r [Row],
    /// States of the update that are wrong: where the power failed, and how.
    pub(super) failures: Vec<(&'r CutPath, &'r str)>,
    /// Names a cut of the update as it was recorded, so that it can be tried again.
    pub(super) token: &'r dyn Fn(&CutPath) -> Token,
    /// Names what went wrong in a row, if that can be tried again.
    pub(super) token_of: &'r dyn Fn(&Wrong) -> Option<Token>,
}

impl Publish {
    /// Writes the files that were asked for.
    pub(super) fn write(&self, results: &Results<'_>) -> Result<()> {
        if let Some(path) = &self.junit {
            put(path, &junit("nandsim", &results.cases())?)?;
        }
        if self.html.is_none() && self.save.is_none() {
            return Ok(());
        }
        let story = results.story();
        if let Some(dir) = &self.save {
            for folder in failure::save(dir, results, &story)? {
                eprintln!("nandsim: kept {}", folder.display());
            }
        }
        match &self.html {
            Some(path) => put(path, &results.page(&story)?),
            None => Ok(()),
        }
    }
}

impl Results<'_> {
    fn story(&self) -> Story<'_> {
        let times = self.setup.part.map(|part| &part.times);
        let Torture { start, trace, workload, oracle, .. } = self.torture;
        Story::new(start, trace, workload.endian, times, &mut oracle.eye())
    }

    fn page(&self, story: &Story<'_>) -> Result<String> {
        let mut about = vec![("flash", show::flash(self.torture)), ("seed", self.torture.seed.to_string())];
        if let Some(part) = self.setup.part {
            about.insert(0, ("part", format!("{} ({})", part.name, part.what)));
        }
        if let Some(plant) = self.setup.plant {
            about.push(("planted mistake", plant.name.into()));
        }
        let page = Page {
            title: "JFFS2 update under power cuts",
            about: &about,
            faults: self.rows,
            margins: &margins(self.torture, story),
            story,
            scenes: &self.scenes(story)?,
        };
        Ok(page.html())
    }

    /// The first failures; if there is none, what shows how the update works.
    fn scenes(&self, story: &Story<'_>) -> Result<Vec<Scene>> {
        let mut eye = self.torture.oracle.eye();
        let mut scene = |title: &str, cut: &CutPath, wrong: Option<&str>| {
            let found = self.torture.state(cut)?;
            let title = format!("{title}{}", show::operation(self.torture, cut.first));
            let replay = replay::command(&(self.token)(cut), &self.setup.given);
            Some(story.scene(&title, &replay, cut, &found, wrong, &mut eye))
        };
        let mut ops = BTreeSet::new();
        let in_other_op = |(cut, _): &&(&CutPath, &str)| ops.insert(cut.first.op);
        let failures = self.failures.iter().filter(in_other_op).take(SHOWN_FAILURES);
        let mut scenes: Vec<_> = failures.filter_map(|(cut, what)| scene("in ", cut, Some(what))).collect();
        if scenes.is_empty() {
            let telling = story.telling_cuts().into_iter();
            scenes = telling.filter_map(|(title, cut)| scene(&format!("{title}: "), &cut.into(), None)).collect();
        }
        Ok(scenes.into_iter().collect::<Result<_, _>>()?)
    }

    fn cases(&self) -> Vec<Case> {
        let case = |row: &Row| Case {
            name: row.fault.into(),
            classname: show::flash(self.torture),
            tried: row.tried,
            seconds: None,
            outcome: self.outcome(row),
        };
        self.rows.iter().map(case).collect()
    }

    fn outcome(&self, row: &Row) -> Outcome {
        match &row.first {
            None => Outcome::Passed,
            Some(wrong) => {
                let token = (self.token_of)(wrong).map(|token| token.to_string());
                Outcome::Failed { message: wrong.what.clone(), token }
            }
        }
    }
}

fn margins(torture: &Torture, story: &Story<'_>) -> Vec<(&'static str, String)> {
    let (margins, totals) = (Margins::of(torture, &story.log), &story.log.totals);
    let used = |bytes: u32| format!("{bytes} of {} bytes used", margins.eraseblock);
    let mut pairs = vec![
        ("free eraseblocks", format!("{} before, {} after", margins.free_before, margins.free_after)),
        ("the kernel needs", margins.kernel_reserve.to_string()),
        ("commit block", margins.commit_block_used.map_or("none: one dirent commits".into(), used)),
        ("erases", format!("{}, at most {} of one eraseblock", margins.erases, margins.most_erases)),
        ("bytes programmed", totals.programmed_bytes.to_string()),
    ];
    if let Some(amplification) = totals.write_amplification {
        pairs.push(("write amplification", format!("{amplification:.2}")));
    }
    if let Some(us) = totals.us {
        pairs.push(("typical time on the part", format!("{:.0} ms", us as f64 / 1e3)));
    }
    pairs
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}
