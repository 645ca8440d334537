//! The kernel and our reader must see the same tree: what to ask the kernel, and what our reader says.

use std::collections::HashMap;
use std::sync::Arc;

use anyhow::{Result, bail};

use crate::kernel::{Case, CaseResult, Device, Job, Kernel, Report};
use crate::ours::Seen;

/// How many of the failures are told in full.
const TOLD: usize = 5;

/// Cases for one device, each with the tree that must come of every phase of it.
#[derive(Debug)]
pub struct Agreement {
    job: Job,
    expected: HashMap<String, Arc<Seen>>,
}

impl Agreement {
    /// Nothing asked yet.
    pub fn new(device: Device) -> Self {
        Self { job: Job::new(device), expected: HashMap::new() }
    }

    /// Adds a case and what our reader sees in its state.
    pub fn add(&mut self, case: Case, ours: &Arc<Seen>) {
        self.expected.insert(case.name.clone(), ours.clone());
        self.job.cases.push(case.listed_unless(std::slice::from_ref(&ours.digest)));
    }

    /// Asks the kernel. Fails if it sees anything else, or complains about itself, or if jffs2 tells of errors.
    pub fn check(&self, kernel: &Kernel) -> Result<Report> {
        let report = kernel.run(&self.job)?;
        let failures: Vec<String> = report.results.iter().filter_map(|result| self.failure(result)).collect();
        if !report.log.is_empty() {
            bail!("the kernel complains about itself: {:#?}", report.log);
        }
        if !report.errors.is_empty() {
            bail!("jffs2 tells of errors: {:#?}", &report.errors[..report.errors.len().min(TOLD)]);
        }
        if !failures.is_empty() {
            let told = failures[..failures.len().min(TOLD)].join("\n");
            bail!("the kernel disagrees {} times of {}:\n{told}", failures.len(), report.results.len());
        }
        Ok(report)
    }

    fn failure(&self, result: &CaseResult) -> Option<String> {
        let CaseResult { name, phase, outcome, listing } = result;
        let ours = self.expected.get(name)?;
        (!outcome.is(&ours.digest)).then(|| format!("{name} {phase}: {outcome:?}\n{}", ours.difference(listing)))
    }
}
