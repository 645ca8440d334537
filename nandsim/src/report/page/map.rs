//! The picture of the flash: eraseblocks from top to bottom, operations from left to right.

use std::collections::BTreeMap;

use maud::{Markup, html};

use super::{class, letter, seen};
use crate::report::log::Log;
use crate::report::picture::Content;
use crate::report::sights::Track;
use crate::report::story::{Scene, Story};

mod rows;
mod scale;

use rows::Rows;
use scale::{Scale, phases};

/// Height of a band above the rows, and of the gap below them, pixels: as in the style.
const BAND: usize = 22;
const GAP: usize = 8;
/// Percent from which on a label stands left of its line.
const RIGHT: f64 = 92.0;

/// The picture with its legend.
pub(super) fn flash(story: &Story<'_>, scenes: &[Scene]) -> Markup {
    let map = Map { log: &story.log, scale: Scale::of(&story.log), rows: Rows::of(&story.picture), scenes };
    let tracks = &story.sights.tracks;
    html! {
        section.flash {
            h2 { "The flash during the update" }
            p.how {
                "Time runs from left to right, a step for each operation; each row is an eraseblock. "
                "If the power fails, the flash is left as in the column where it fails."
            }
            div.chart {
                div.names {
                    div.name.band { "what is written" }
                    @for track in tracks { div.name.band { (track.reader) " sees" } }
                    div.gap { }
                    (map.rows.names())
                }
                div.plot style={ "--rows:" (BAND * (tracks.len() + 1) + GAP) "px" } {
                    (map.phases())
                    @for track in tracks { (map.track(track)) }
                    div.gap { }
                    (map.rows.svg(&map.scale))
                    (map.lines())
                }
            }
            (map.axis())
            (map.legend())
        }
    }
}

struct Map<'p> {
    log: &'p Log,
    scale: Scale,
    rows: Rows<'p>,
    scenes: &'p [Scene],
}

impl Map<'_> {
    fn left(&self, moment: usize) -> String {
        format!("left:{:.2}%", self.scale.at(moment))
    }

    /// From a moment to another, or to the end.
    fn width(&self, from: usize, to: Option<usize>) -> String {
        format!("width:{:.2}%", to.map_or(100.0, |to| self.scale.at(to)) - self.scale.at(from))
    }

    /// What the operations are for.
    fn phases(&self) -> Markup {
        let phases = phases(self.log);
        let ends = phases.iter().skip(1).map(|(from, _)| Some(*from)).chain([None]);
        html! {
            div.track {
                div style=(self.width(0, Some(1))) { }
                @for ((from, role), end) in phases.iter().zip(ends) {
                    div.phase style=(self.width(*from, end)) title=(role.words()) { (role.words()) }
                }
            }
        }
    }

    fn track(&self, track: &Track) -> Markup {
        let ends = track.spans.iter().skip(1).map(|(from, _)| Some(*from)).chain([None]);
        html! {
            div.track {
                @for ((from, verdict), end) in track.spans.iter().zip(ends) {
                    div.sees.(class(verdict)) style=(self.width(*from, end)) title=(verdict) { (seen(verdict)) }
                }
            }
        }
    }

    /// What stands over the rows: the commit, the cuts, what they tore, and what was not done any more.
    fn lines(&self) -> Markup {
        let failing = self.scenes.iter().find(|scene| scene.wrong.is_some());
        html! {
            @for scene in self.scenes { @for block in &scene.torn { (self.torn(*block, scene.op)) } }
            @if let Some(commit) = self.log.commit {
                div.line.commit.right[self.scale.at(commit + 1) > RIGHT] style=(self.left(commit + 1)) { span { "COMMIT" } }
            }
            @for (op, scenes) in self.cuts() { (self.cut(op, &scenes)) }
            @if let Some(scene) = failing {
                div.never style=(self.left(scene.op + 1)) title="not done: the power has failed" { }
            }
        }
    }

    /// Scenes by the operation that their cut is in.
    fn cuts(&self) -> BTreeMap<usize, Vec<(char, &Scene)>> {
        let mut cuts: BTreeMap<usize, Vec<(char, &Scene)>> = BTreeMap::new();
        for (i, scene) in self.scenes.iter().enumerate() {
            cuts.entry(scene.op).or_default().push((letter(i), scene));
        }
        cuts
    }

    fn cut(&self, op: usize, scenes: &[(char, &Scene)]) -> Markup {
        let wrong = scenes.iter().any(|(_, scene)| scene.wrong.is_some());
        html! {
            div.line.cut.wrong[wrong] style=(self.left(op + 1)) {
                span {
                    "⚡"
                    @for (letter, scene) in scenes {
                        a href={ "#cut-" (letter) } title={ "The power fails " (scene.title) } { (letter) }
                    }
                }
            }
        }
    }

    fn torn(&self, block: u32, op: usize) -> Markup {
        let (top, height) = self.rows.place(block);
        html! {
            div.torn style={ (self.left(op + 1)) ";--top:" (top) "px;height:" (height.saturating_sub(2).max(3)) "px" }
                title={ "eraseblock " (block) ": " (Content::Torn.words()) } { }
        }
    }

    fn axis(&self) -> Markup {
        let time = |op: usize| self.log.steps.get(op).and_then(|step| step.time).map(|(at, _)| at);
        html! {
            div.axis {
                div.names { "operation" @if time(0).is_some() { br; "time" } }
                div.plot {
                    @for op in self.scale.ticks() {
                        span style=(self.left(op + 1)) { (op) @if let Some(us) = time(op) { br; (show_time(us)) } }
                    }
                }
            }
        }
    }

    /// Only what is to be seen.
    fn legend(&self) -> Markup {
        let torn = self.scenes.iter().any(|scene| !scene.torn.is_empty());
        let shown =
            Content::ALL.into_iter().filter(|&content| self.rows.show(content) || content == Content::Torn && torn);
        html! {
            ul.legend {
                @for content in shown {
                    li {
                        svg.(rows::class(content)) width="18" height="14" viewBox="0 0 18 14" {
                            rect.back width="18" height="14" { }
                            @if content != Content::Free { rect.fill y="5" width="18" height="9" { } }
                        }
                        " " (content.words())
                    }
                }
                @if self.log.commit.is_some() {
                    li { span.key.commit { } " the commit: the new tree shows from here on" }
                }
                @if !self.scenes.is_empty() { li { span.pin { "⚡A" } " a power cut, looked at below" } }
            }
            p.how { "The strong part of a row shows how full the eraseblock is." }
        }
    }
}

fn show_time(us: u64) -> String {
    match us {
        0..1_000_000 => format!("{:.1} ms", us as f64 / 1e3),
        _ => format!("{:.1} s", us as f64 / 1e6),
    }
}
