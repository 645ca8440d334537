//! The rows of the picture: what each eraseblock holds, moment by moment.

use maud::{Markup, html};

use super::scale::Scale;
use crate::report::picture::{Content, Picture, Row, Span};

/// Height of a row, and of one for eraseblocks that do not change, pixels.
const ROW: u32 = 30;
const QUIET_ROW: u32 = 15;
/// More rows than this are lower, down to the least.
const ROWS: u32 = 24;
const LEAST_ROW: u32 = 3;
/// A lower row has no label.
const LABELLED: u32 = 12;
/// Units in which a row's filling is told.
const LEVELS: u32 = 16;

/// Rows with their heights.
pub(super) struct Rows<'p> {
    rows: Vec<(&'p Row, u32)>,
}

impl<'p> Rows<'p> {
    pub(super) fn of(picture: &'p Picture) -> Self {
        let changing = picture.rows.iter().filter(|row| row.changes).count().max(1) as u32;
        let height = (ROW * ROWS / changing).clamp(LEAST_ROW, ROW);
        Self { rows: picture.rows.iter().map(|row| (row, if row.changes { height } else { QUIET_ROW })).collect() }
    }

    /// Whether some eraseblock holds that at some moment.
    pub(super) fn show(&self, content: Content) -> bool {
        self.rows.iter().flat_map(|(row, _)| &row.spans).any(|span| span.content == content)
    }

    /// Top and height of an eraseblock's row, pixels.
    pub(super) fn place(&self, block: u32) -> (u32, u32) {
        let above = self.rows.iter().take_while(|(row, _)| row.last < block).map(|(_, height)| height).sum();
        (above, self.rows.iter().find(|(row, _)| row.last >= block).map_or(0, |(_, height)| *height))
    }

    pub(super) fn names(&self) -> Markup {
        html! {
            @for (row, height) in &self.rows {
                div.name style={ "height:" (height) "px" } title=(name(row)) { @if *height >= LABELLED { (name(row)) } }
            }
        }
    }

    pub(super) fn svg(&self, scale: &Scale) -> Markup {
        let height: u32 = self.rows.iter().map(|(_, height)| height).sum();
        let tops = self.rows.iter().scan(0, |top, (_, height)| {
            let at = *top;
            *top += height;
            Some(at)
        });
        html! {
            svg.map style={ "height:" (height) "px" } viewBox={ "0 0 100 " (height) } preserveAspectRatio="none"
                role="img" aria-label="What each eraseblock holds after each operation" {
                @for ((row, height), top) in self.rows.iter().zip(tops) { (spans(scale, row, top, *height)) }
            }
        }
    }
}

fn spans(scale: &Scale, row: &Row, top: u32, height: u32) -> Markup {
    let ends = row.spans.iter().skip(1).map(|span| Some(span.from)).chain([None]);
    let inner = height.saturating_sub(if height > LEAST_ROW { 2 } else { 0 });
    html! {
        @for (span, end) in row.spans.iter().zip(ends) {
            @let left = scale.at(span.from);
            @let (x, width) = (format!("{left:.2}"), format!("{:.2}", end.map_or(100.0, |end| scale.at(end)) - left));
            g.(class(span.content)) {
                title { (name(row)) ", " (moments(span, end)) ": " (span.content.words()) }
                rect.back x=(x) y=(top) width=(width) height=(inner) { }
                @if let filled @ 1.. = filled(row, span, inner) {
                    rect.fill x=(x) y=(top + inner - filled) width=(width) height=(filled) { }
                }
            }
        }
    }
}

/// Enough to be seen if there is anything.
fn filled(row: &Row, span: &Span, height: u32) -> u32 {
    match (span.content, row.changes, u32::from(span.level)) {
        (Content::Free, ..) | (_, _, 0) => 0,
        (_, false, _) => height,
        (_, true, level) => (height * level).div_ceil(LEVELS).max(height / 4).max(1),
    }
}

/// The class of a content, for its colour.
pub(super) fn class(content: Content) -> String {
    format!("is-{content:?}").to_lowercase()
}

fn name(row: &Row) -> String {
    match row.last - row.first {
        0 => format!("eraseblock {}", row.first),
        _ => format!("eraseblocks {}\u{2013}{}: unchanged", row.first, row.last),
    }
}

fn moments(span: &Span, end: Option<usize>) -> String {
    let from = span.from.checked_sub(1).map_or("from the start".into(), |op| format!("from operation {op} on"));
    match end {
        Some(end) => format!("{from}, until operation {}", end.saturating_sub(1)),
        None => from,
    }
}
