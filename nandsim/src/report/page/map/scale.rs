//! Where operations stand from left to right.

use crate::report::log::{Log, Role};

/// Of the width, what all but the payload has at least, where the payload has most of the operations: what decides is
/// few operations.
const LEAST_REST: f64 = 0.25;
/// Least distance of two ticks, percent: on a narrow page a time must fit.
const TICKS_APART: f64 = 14.0;

/// Maps moments to percents of the width. Moment 0 is before the first operation, moment n after n of them.
pub(super) struct Scale {
    /// Where each moment begins; the last is the end.
    edges: Vec<f64>,
}

impl Scale {
    pub(super) fn of(log: &Log) -> Self {
        let phases = phases(log);
        let is_payload = |op: usize| phases.iter().rev().find(|(from, _)| *from <= op + 1).map(|(_, role)| *role);
        let payload: Vec<bool> = (0..log.steps.len()).map(|op| is_payload(op) == Some(Role::Payload)).collect();
        let many = payload.iter().filter(|is_payload| **is_payload).count() as f64;
        let rest = payload.len() as f64 + 1.0 - many;
        let wide = (many * LEAST_REST / (1.0 - LEAST_REST) / rest).max(1.0);
        let width = |is_payload: &bool| if *is_payload { 1.0 } else { wide };
        let mut edges = vec![0.0];
        let mut at = 0.0;
        for step in [wide].into_iter().chain(payload.iter().map(width)) {
            at += step;
            edges.push(at);
        }
        edges.iter_mut().for_each(|edge| *edge *= 100.0 / at);
        Self { edges }
    }

    /// Where a moment begins, percent; the end for one that is behind the last.
    pub(super) fn at(&self, moment: usize) -> f64 {
        self.edges.get(moment).copied().unwrap_or(100.0)
    }

    /// Operations far enough apart, as many as there are.
    pub(super) fn ticks(&self) -> Vec<usize> {
        let mut ops: Vec<usize> = Vec::new();
        for op in 0..self.edges.len().saturating_sub(2) {
            if ops.last().is_none_or(|last| self.at(op + 1) >= self.at(last + 1) + TICKS_APART) {
                ops.push(op);
            }
        }
        ops
    }
}

/// From which moment on the operations are for what; erases and syncs go with what is programmed next.
pub(super) fn phases(log: &Log) -> Vec<(usize, Role)> {
    let mut phases: Vec<(usize, Role)> = Vec::new();
    let mut pending = None;
    for step in &log.steps {
        match step.role {
            Role::EraseFree | Role::EraseUsed => pending = pending.or(Some(step.op)),
            Role::Sync => {}
            role if phases.last().is_some_and(|(_, last)| *last == role) => pending = None,
            role => phases.push((pending.take().unwrap_or(step.op) + 1, role)),
        }
    }
    if let Some(first) = phases.first_mut() {
        first.0 = 1;
    }
    phases
}
