//! The picture of the flash: eraseblocks from top to bottom, operations from left to right.

use maud::{Markup, html};

use super::{class, letter, seen};
use crate::report::log::{Log, Role};
use crate::report::node_diff::Same;
use crate::report::picture::{Content, Picture, Row, Span};
use crate::report::sights::Track;
use crate::report::story::{Scene, Story};
use crate::verdict::Verdict;

/// Height of a row, and of one for eraseblocks that do not change, pixels.
const ROW: u32 = 30;
const QUIET_ROW: u32 = 14;
/// Of more rows each is lower.
const ROWS: u32 = 24;
/// No lower than that.
const LEAST_ROW: u32 = 3;
/// Units in which a row's filling is drawn.
const LEVELS: u32 = 16;
/// Ticks on the axis of operations, about.
const TICKS: usize = 8;

/// The picture with its legend.
pub(super) fn flash(story: &Story<'_>, scenes: &[Scene]) -> Markup {
    let map = Map { picture: &story.picture, commit: story.log.commit, scenes };
    html! {
        section.flash {
            h2 { "The flash during the update" }
            p.how {
                "Time runs from left to right, one step for each operation; each row is an eraseblock. "
                "Wherever the power fails, the flash is left as in that column."
            }
            div.chart {
                div.names {
                    div.name.band { "being done" }
                    @for track in &story.sights.tracks { div.name.band { (track.reader) } }
                    div.gap { }
                    @for (row, height) in map.rows() { div.name style={ "height:" (height) "px" } title=(row_name(row)) { (row_label(row, height)) } }
                }
                div.plot {
                    (map.phases(&story.log))
                    @for track in &story.sights.tracks { (map.track(track)) }
                    div.gap { }
                    (map.svg())
                    (map.markers())
                }
            }
            (map.axis(story))
            (map.legend())
        }
    }
}

struct Map<'p> {
    picture: &'p Picture,
    commit: Option<usize>,
    scenes: &'p [Scene],
}

impl Map<'_> {
    /// Columns: the moment before the first operation, and one after each.
    fn columns(&self) -> usize {
        self.picture.ops + 1
    }

    /// Where a moment begins, percent.
    fn percent(&self, moment: usize) -> String {
        format!("{:.3}", moment as f64 * 100.0 / self.columns() as f64)
    }

    fn rows(&self) -> impl Iterator<Item = (&Row, u32)> {
        let changing = self.picture.rows.iter().filter(|row| row.changes).count().max(1) as u32;
        let height = (ROW * ROWS / changing).clamp(LEAST_ROW, ROW);
        self.picture.rows.iter().map(move |row| (row, if row.changes { height } else { QUIET_ROW }))
    }

    fn svg(&self) -> Markup {
        let height: u32 = self.rows().map(|(_, height)| height).sum();
        let tops = self.rows().scan(0, |top, (_, height)| {
            let at = *top;
            *top += height;
            Some(at)
        });
        html! {
            svg.map style={ "height:" (height) "px" } viewBox={ "0 0 " (self.columns()) " " (height) }
                preserveAspectRatio="none" role="img" aria-label="What each eraseblock holds after each operation" {
                @for ((row, height), top) in self.rows().zip(tops) { (self.row(row, top, height)) }
            }
        }
    }

    fn row(&self, row: &Row, top: u32, height: u32) -> Markup {
        let ends = row.spans.iter().skip(1).map(|span| span.from).chain([self.columns()]);
        let inner = height.saturating_sub(u32::from(height > LEAST_ROW) * 2);
        html! {
            @for (span, end) in row.spans.iter().zip(ends) {
                g.(content_class(span.content)) {
                    title { (row_name(row)) ", " (moments(span, end)) ": " (span.content.words()) }
                    rect.back x=(span.from) y=(top) width=(end - span.from) height=(inner) { }
                    @if let filled @ 1.. = filled(row, span, inner) {
                        rect.fill x=(span.from) y=(top + inner - filled) width=(end - span.from) height=(filled) { }
                    }
                }
            }
        }
    }

    /// What the operations are for.
    fn phases(&self, log: &Log) -> Markup {
        let roles = phases(log);
        let ends = roles.iter().skip(1).map(|(from, _)| *from).chain([self.columns()]);
        html! {
            div.track {
                div style={ "width:" (self.percent(1)) "%" } { }
                @for ((from, role), end) in roles.iter().zip(ends) {
                    div.phase style={ "width:" (self.percent(end - from)) "%" } title=(role.words()) { (role.words()) }
                }
            }
        }
    }

    fn track(&self, track: &Track) -> Markup {
        let ends = track.spans.iter().skip(1).map(|(from, _)| *from).chain([self.columns()]);
        html! {
            div.track {
                @for ((from, verdict), end) in track.spans.iter().zip(ends) {
                    div.sees.(class(verdict)) style={ "width:" (self.percent(end - from)) "%" } title=(full(verdict)) {
                        "sees the " (seen(verdict))
                    }
                }
            }
        }
    }

    /// Lines over all rows.
    fn markers(&self) -> Markup {
        html! {
            @if let Some(commit) = self.commit {
                div.line.commit style={ "left:" (self.percent(commit + 1)) "%" } { span { "COMMIT" } }
            }
            @for (i, scene) in self.scenes.iter().enumerate() {
                @let at = if scene.op >= self.picture.ops { self.columns() } else { scene.op + 1 };
                div.line.cut.wrong[scene.wrong.is_some()] style={ "left:" (self.percent(at)) "%" } {
                    a href={ "#cut-" (letter(i)) } title={ "The power fails " (scene.title) } { "⚡" (letter(i)) }
                }
            }
            @if let Some(scene) = self.scenes.iter().find(|scene| scene.wrong.is_some()) {
                div.never style={ "left:" (self.percent(scene.op + 1)) "%" } title="not done: the power has failed" { }
            }
            @for (block, op) in self.torn() { (self.torn_mark(block, op)) }
        }
    }

    /// Eraseblocks that a cut that is shown has left as neither before nor after the update, and its operation.
    fn torn(&self) -> impl Iterator<Item = (u32, usize)> {
        let neither = |scene: &'_ Scene| {
            let blocks = scene.diff.blocks.iter().filter(|block| block.same == Same::Neither);
            blocks.map(|block| block.block).collect::<Vec<_>>()
        };
        self.scenes.iter().flat_map(move |scene| neither(scene).into_iter().map(|block| (block, scene.op)))
    }

    fn torn_mark(&self, block: u32, op: usize) -> Markup {
        let above = self.rows().take_while(|(row, _)| row.last < block).map(|(_, height)| height).sum::<u32>();
        let height = self.rows().find(|(row, _)| row.last >= block).map_or(0, |(_, height)| height);
        let bottom = self.rows().map(|(_, height)| height).sum::<u32>() - above - height;
        html! {
            div.torn style={ "left:" (self.percent(op + 1)) "%;bottom:" (bottom + 2) "px;height:" (height.saturating_sub(4).max(LEAST_ROW)) "px" }
                title={ "eraseblock " (block) ": " (Content::Torn.words()) } { }
        }
    }

    fn axis(&self, story: &Story<'_>) -> Markup {
        let stride = self.picture.ops.div_ceil(TICKS).max(1);
        let time = |op: usize| story.log.steps.get(op).and_then(|step| step.time).map(|(at, _)| at);
        html! {
            div.axis {
                div.names { "operation" @if time(0).is_some() { br; "time" } }
                div.plot {
                    @for op in (0..self.picture.ops).step_by(stride) {
                        span style={ "left:" (self.percent(op + 1)) "%" } {
                            (op) @if let Some(us) = time(op) { br; (show_ms(us)) }
                        }
                    }
                }
            }
        }
    }

    /// Only what is to be seen.
    fn legend(&self) -> Markup {
        let shown = Content::ALL.into_iter().filter(|&content| self.shows(content));
        html! {
            ul.legend {
                @for content in shown {
                    li {
                        svg.(content_class(content)) width="18" height="14" viewBox="0 0 18 14" {
                            rect.back width="18" height="14" { }
                            @if content != Content::Free { rect.fill y="5" width="18" height="9" { } }
                        }
                        " " (content.words())
                    }
                }
                @if self.commit.is_some() {
                    li { span.key.commit { } " the operation that commits: the new tree shows from here on" }
                }
                @if !self.scenes.is_empty() { li { span.pin { "⚡A" } " a power cut, looked at below" } }
            }
            p.how { "The strong part of a row shows how full the eraseblock is." }
        }
    }

    fn shows(&self, content: Content) -> bool {
        let in_rows = self.picture.rows.iter().flat_map(|row| &row.spans).any(|span| span.content == content);
        in_rows || content == Content::Torn && self.torn().next().is_some()
    }
}

/// From which moment on the operations are for what; erases and syncs go with what is programmed next to them.
fn phases(log: &Log) -> Vec<(usize, Role)> {
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

/// Enough to be seen if there is anything.
fn filled(row: &Row, span: &Span, height: u32) -> u32 {
    match (span.level, row.changes) {
        (0, _) => 0,
        _ if matches!(span.content, Content::Free) => 0,
        (_, false) => height,
        (level, true) => (height * u32::from(level)).div_ceil(LEVELS).max(height / 4).max(1),
    }
}

fn content_class(content: Content) -> String {
    format!("is-{content:?}").to_lowercase()
}

fn moments(span: &Span, end: usize) -> String {
    match (span.from, end - 1) {
        (0, 0) => "before the first operation".into(),
        (0, last) => format!("from before until after operation {}", last - 1),
        (from, last) if from == last => format!("after operation {}", from - 1),
        (from, last) => format!("after operations {} to {}", from - 1, last - 1),
    }
}

fn row_name(row: &Row) -> String {
    match row.last - row.first {
        0 => format!("eraseblock {}", row.first),
        _ => format!("eraseblocks {}-{}: unchanged", row.first, row.last),
    }
}

/// Nothing where it would not fit.
fn row_label(row: &Row, height: u32) -> String {
    if height < QUIET_ROW { String::new() } else { row_name(row) }
}

fn full(verdict: &Verdict) -> String {
    verdict.to_string()
}

fn show_ms(us: u64) -> String {
    match us {
        0..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}
