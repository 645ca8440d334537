//! Makes a failure simpler: fewer changes in the update, fewer cuts, the simplest tear.

use std::collections::BTreeSet;

use crate::cut::{Cut, EraseDamage, ProgramDamage, Tear, cuts_all, cuts_sampled};
use crate::harness::SecondCuts;
use crate::scenario::{Given, Scenario, Token, TokenError};
use crate::torture::Torture;
use crate::trace::Trace;

/// Cuts that are tried on each simpler test, the simplest first.
const CUTS: usize = 20_000;
/// The same where each is followed by every second cut.
const CUTS_BEFORE_SECOND: usize = 100;

/// A failure that is as simple as it can be made.
#[derive(Clone, Debug)]
pub struct Shrunk {
    /// Names it.
    pub token: Token,
    /// What goes wrong.
    pub what: String,
    /// Changes in the update; `None` if they cannot be told apart.
    pub changes: Option<usize>,
}

/// The simplest failure that leaving out changes and cuts, and trying simpler tears, leads to from this one; `None` if the
/// token's cut does not fail. `found` is told of each that is simpler than the one before.
///
/// # Errors
/// [`TokenError`], if the test cannot be made.
pub fn shrink(
    token: &Token,
    given: Option<&Given>,
    found: &mut dyn FnMut(&Shrunk),
) -> Result<Option<Shrunk>, TokenError> {
    let torture = token.record(given)?;
    let Some((cut, what)) = torture.examine(&token.cut, &mut |_, _| {}) else { return Ok(None) };
    let token = Token { cut, ..token.clone() };
    let mut best = Shrunk { token, what: what.to_string(), changes: None };
    if let Some(simpler) = simplest(&best.token.scenario, &torture, !best.token.cut.then.is_empty()) {
        best = simpler;
        found(&best);
    }
    let Some(all) = best.token.scenario.all_changes(given)? else { return Ok(Some(best)) };
    let mut kept = best.token.scenario.changes.clone().unwrap_or_else(|| (0..all.len()).collect());
    let second = !best.token.cut.then.is_empty();
    let mut fails = |kept: &BTreeSet<usize>| {
        let scenario = Scenario { changes: Some(kept.clone()), ..best.token.scenario.clone() };
        // An update that is nothing, or is refused, does not fail in the way that is looked for.
        let simpler = scenario.record(given).ok().and_then(|torture| simplest(&scenario, &torture, second));
        match simpler {
            Some(simpler) => {
                best = Shrunk { changes: Some(kept.len()), ..simpler };
                found(&best);
                true
            }
            None => false,
        }
    };
    leave_out(&mut kept, &mut fails);
    best.changes = Some(kept.len());
    Ok(Some(best))
}

/// Leaves out halves, quarters and so on, down to one by one, as long as it fails without them.
fn leave_out(kept: &mut BTreeSet<usize>, fails: &mut dyn FnMut(&BTreeSet<usize>) -> bool) {
    let mut size = kept.len().div_ceil(2);
    while size > 0 {
        for part in kept.iter().copied().collect::<Vec<_>>().chunks(size) {
            let rest: BTreeSet<usize> = kept.iter().copied().filter(|number| !part.contains(number)).collect();
            if fails(&rest) {
                *kept = rest;
            }
        }
        size = if size == 1 { 0 } else { size.div_ceil(2) };
    }
}

/// The simplest cut that fails, if one does. Second cuts are tried only if there is no failure without.
fn simplest(scenario: &Scenario, torture: &Torture, second: bool) -> Option<Shrunk> {
    let mut torture = torture.clone();
    torture.plan.second = SecondCuts::None;
    let mut failure = torture.first_failure(by_simplicity(&torture.trace, CUTS).into_iter()).1;
    if failure.is_none() && second {
        torture.plan.second = SecondCuts::All;
        failure = torture.first_failure(by_simplicity(&torture.trace, CUTS_BEFORE_SECOND).into_iter()).1;
    }
    failure.map(|failure| Shrunk {
        token: Token::new(scenario, &torture, failure.cut),
        what: failure.what,
        changes: scenario.changes.as_ref().map(BTreeSet::len),
    })
}

/// All cuts, or so many, the simplest first.
fn by_simplicity(trace: &Trace, most: usize) -> Vec<Cut> {
    let mut cuts = match cuts_all(trace).nth(most) {
        None => cuts_all(trace).collect(),
        Some(_) => cuts_sampled(trace, most, 0),
    };
    cuts.sort_by_key(|cut| (complexity(cut.tear), cut.op));
    cuts
}

/// How much has to be said to tell what is left of the operation.
fn complexity(tear: Tear) -> (u8, u32) {
    match tear {
        Tear::Before => (0, 0),
        Tear::Cleanmarker => (1, 0),
        Tear::Program { damage: ProgramDamage::Prefix, n, .. } => (2, n),
        Tear::Program { damage: ProgramDamage::Suffix, n, .. } => (3, n),
        Tear::Program { n, .. } => (4, n),
        Tear::Erase { damage: EraseDamage::Blank, n, .. } => (5, n),
        Tear::Erase { damage: EraseDamage::Zeros | EraseDamage::Prefix | EraseDamage::Suffix, n, .. } => (6, n),
        Tear::Erase { n, .. } => (7, n),
        Tear::Unsynced { variant } => (8, variant),
    }
}
