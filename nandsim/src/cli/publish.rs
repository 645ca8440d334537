//! Reports in files: a page for a browser, JUnit XML, and failing states.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nandsim::report::{Case, Outcome, Page, Scene, Story, junit, refused_page};
use nandsim::validate::{Margins, Row, Wrong};
use nandsim::{CutPath, Oracle, Token, Torture};

use super::prepare::{Setting, usage};
use super::setup::Setup;
use super::{damage, failure, replay, show};

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
    pub(super) setting: &'r Setting,
    pub(super) setup: &'r Setup,
    /// By fault.
    pub(super) rows: &'r [Row],
    /// What was not tried, in a line; empty if nothing.
    pub(super) not_tried: String,
    /// States of the update that are wrong: where the power failed, and how.
    pub(super) failures: Vec<(&'r CutPath, &'r str)>,
    /// Names a cut of the update as it was recorded, so that it can be tried again.
    pub(super) token: &'r dyn Fn(&CutPath) -> Token,
    /// Names what went wrong in a row, if that can be tried again.
    pub(super) token_of: &'r dyn Fn(&Wrong) -> Option<Token>,
}

impl Publish {
    /// Makes what is to be written, so that a long run does not end in a file that cannot be.
    pub(super) fn begin(&self) -> Result<()> {
        for path in [&self.html, &self.junit].into_iter().flatten() {
            if path.as_os_str() == "-" {
                return Err(usage("--html and --junit take a file: the report in words goes to standard output"));
            }
            File::create(path).with_context(|| path.display().to_string())?;
        }
        if let (Some(html), Some(junit)) = (&self.html, &self.junit)
            && html.is_file()
            && fs::canonicalize(html)? == fs::canonicalize(junit)?
        {
            return Err(usage("--html and --junit are the same file"));
        }
        if let Some(dir) = &self.save {
            fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        }
        Ok(())
    }

    /// Writes that the update was refused; there is no flash to show.
    pub(super) fn write_refused(&self, flash: &str, why: &str) -> Result<()> {
        if let Some(path) = &self.junit {
            let outcome = Outcome::Failed { message: why.into(), token: None };
            let (name, classname) = ("the update fits".into(), flash.into());
            put(path, &junit("nandsim", &[Case { name, classname, tried: 1, seconds: None, outcome }])?)?;
        }
        match &self.html {
            Some(path) => put(path, &refused_page(flash, why)),
            None => Ok(()),
        }
    }

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
        about.push(("size of the flash", self.setting.size_from.words().into()));
        if !self.not_tried.is_empty() {
            about.push(("not tried", self.not_tried.clone()));
        }
        let warning = damage::warning(&self.setting.damage);
        let page = Page {
            title: "JFFS2 update under power cuts",
            about: &about,
            warning: warning.as_deref(),
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
        let mut failures: Vec<_> = self.failures.iter().filter(in_other_op).take(SHOWN_FAILURES).collect();
        // Letters run from left to right, as time does.
        failures.sort_by_key(|(cut, _)| cut.first.op);
        let mut scenes: Vec<_> = failures.into_iter().filter_map(|(cut, what)| scene("in ", cut, Some(what))).collect();
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
        if row.is_kept() {
            return Outcome::Passed;
        }
        let what = row.first.as_ref().map_or("", |wrong| wrong.what.as_str());
        let token = row.first.as_ref().and_then(self.token_of).map(|token| token.to_string());
        Outcome::Failed { message: format!("{} of {} wrong, first: {what}", row.wrong, row.tried), token }
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
