//! JUnit XML, as CI servers read it.

use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, SerializeError, TestCase, TestCaseStatus, TestSuite};

/// One kind of fault on one flash.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// The fault.
    pub name: String,
    /// The flash, say; names with dots are shown as a tree.
    pub classname: String,
    /// States that were judged, or updates that were done.
    pub tried: u64,
    /// Time that it took, seconds. Without it the same results give the same bytes.
    pub seconds: Option<f64>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was promised was kept.
    Passed,
    /// It was not.
    Failed {
        /// What went wrong.
        message: String,
        /// Replays it, if the power failed in it.
        token: Option<String>,
    },
    /// It was not tried; why.
    Skipped(String),
}

/// The cases as one suite.
///
/// # Errors
/// None that is known: the text is made in memory.
pub fn junit(suite: &str, cases: &[Case]) -> Result<String, SerializeError> {
    let mut tests = TestSuite::new(suite);
    tests.add_test_cases(cases.iter().map(test_case));
    let mut report = Report::new("nandsim");
    report.add_test_suite(tests);
    report.to_string()
}

fn test_case(case: &Case) -> TestCase {
    let mut test = TestCase::new(case.name.as_str(), status(&case.outcome));
    test.set_classname(case.classname.as_str());
    test.set_system_out(format!("{} tried", case.tried));
    if let Some(time) = case.seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
        test.set_time(time);
    }
    test
}

fn status(outcome: &Outcome) -> TestCaseStatus {
    match outcome {
        Outcome::Passed => TestCaseStatus::success(),
        Outcome::Failed { message, token } => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type("fault").set_message(message.as_str());
            if let Some(token) = token {
                status.set_description(format!("replay: {token}"));
            }
            status
        }
        Outcome::Skipped(why) => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(why.as_str());
            status
        }
    }
}
