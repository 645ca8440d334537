//! Reports in files: a page for a browser, JUnit XML, and failing states.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jffs2_tx::flash::Flash;
use nandsim::report::{Case, FaultRow, Outcome, Page, Scene, Story, junit};
use nandsim::{CutPath, Oracle, Report, Times, Torture};

use super::{failure, show};

/// Failing states that a page shows.
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
    pub(super) title: String,
    pub(super) torture: &'r Torture,
    /// The part's, if it is known.
    pub(super) times: Option<&'r Times>,
    pub(super) report: &'r Report,
    /// By fault.
    pub(super) faults: Vec<FaultRow>,
    /// What replays a failure.
    pub(super) token: &'r dyn Fn(&CutPath) -> String,
}

impl Publish {
    /// Writes the files that were asked for.
    pub(super) fn write(&self, results: &Results<'_>) -> Result<()> {
        if let Some(path) = &self.junit {
            put(path, &junit(&results.title, &results.cases())?)?;
        }
        if self.html.is_none() && self.save.is_none() {
            return Ok(());
        }
        let Results { torture, times, report, token, .. } = *results;
        let mut eye = torture.oracle.eye();
        let story = Story::new(&torture.start, &torture.trace, torture.workload.endian, times, &mut eye);
        if let Some(dir) = &self.save {
            for folder in failure::save(dir, torture, &story, report, token)? {
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
    fn page(&self, story: &Story<'_>) -> Result<String> {
        let scenes = self.scenes(story)?;
        let page = Page {
            title: &self.title,
            about: &[
                ("flash", show::flash(self.torture)),
                ("seed", self.torture.seed.to_string()),
                ("second cuts", self.report.second_cuts.to_string()),
                ("different states", (self.report.states + self.report.second_states).to_string()),
            ],
            faults: &self.faults,
            margins: &self.margins(story),
            story,
            scenes: &scenes,
        };
        Ok(page.html())
    }

    /// The first failures; if there is none, what shows how the update works.
    fn scenes(&self, story: &Story<'_>) -> Result<Vec<Scene>> {
        let mut eye = self.torture.oracle.eye();
        let mut scene = |title: &str, path: &CutPath, wrong: Option<&str>| {
            let found = self.torture.state(path)?;
            Some(story.scene(title, &(self.token)(path), path, &found, wrong, &mut eye))
        };
        let failures = self.report.failures.iter().take(SHOWN_FAILURES);
        let mut scenes: Vec<_> = failures
            .filter_map(|failure| {
                let title = format!("in {}", show::operation(self.torture, failure.cut.first));
                scene(&title, &failure.cut, Some(&failure.what))
            })
            .collect();
        if scenes.is_empty() {
            let cuts = story.telling_cuts();
            let titled = |(title, cut)| (format!("{title}: {}", show::operation(self.torture, cut)), cut);
            scenes = cuts.into_iter().map(titled).filter_map(|(title, cut)| scene(&title, &cut.into(), None)).collect();
        }
        Ok(scenes.into_iter().collect::<Result<_, _>>()?)
    }

    fn margins(&self, story: &Story<'_>) -> Vec<(&'static str, String)> {
        let geometry = self.torture.start.geometry();
        let totals = &story.log.totals;
        let free = (0..geometry.blocks()).filter(|&block| story.end().block_data(block).iter().all(|b| *b == 0xff));
        let mut margins = vec![
            ("blank eraseblocks after it", format!("{} of {}", free.count(), geometry.blocks())),
            ("erases", totals.erases.to_string()),
            ("bytes programmed", totals.programmed_bytes.to_string()),
        ];
        if let Some(amplification) = totals.write_amplification {
            margins.push(("write amplification", format!("{amplification:.2}")));
        }
        if let Some(us) = totals.us {
            margins.push(("typical time on the part", format!("{:.0} ms", us as f64 / 1e3)));
        }
        margins
    }

    fn cases(&self) -> Vec<Case> {
        let classname = show::flash(self.torture);
        let case = |row: &FaultRow| Case {
            name: row.fault.clone(),
            classname: classname.clone(),
            cuts: row.counts.cuts,
            seconds: None,
            outcome: self.outcome(row),
        };
        self.faults.iter().map(case).collect()
    }

    fn outcome(&self, row: &FaultRow) -> Outcome {
        match self.report.failures.first() {
            _ if row.kept => Outcome::Passed,
            Some(failure) => Outcome::Failed { message: failure.what.clone(), token: (self.token)(&failure.cut) },
            None => Outcome::Failed { message: "a promise was not kept".into(), token: String::new() },
        }
    }
}

fn put(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| path.display().to_string())
}
