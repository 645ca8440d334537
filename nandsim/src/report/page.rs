//! A report as one file for a browser: nothing is fetched, and it works from a disk.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::node_diff::{BlockDiff, Group, Same, Shown, many};
use super::story::{Scene, Story};
use crate::harness::Counts;
use crate::verdict::Verdict;

mod map;

const STYLE: &str = include_str!("page/style.css");

/// What a page shows.
#[derive(Clone, Copy, Debug)]
pub struct Page<'p> {
    /// What was tested.
    pub title: &'p str,
    /// Names and values: the flash, the update, the seed.
    pub about: &'p [(&'p str, String)],
    /// What came of it.
    pub faults: &'p [FaultRow],
    /// How much room is left, by name.
    pub margins: &'p [(&'p str, String)],
    /// The update.
    pub story: &'p Story<'p>,
    /// States that are looked at closely: failing ones, or else [`Story::telling_cuts`].
    pub scenes: &'p [Scene],
}

/// What came of one kind of fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRow {
    /// The fault.
    pub fault: String,
    /// What is promised: "survive", say.
    pub promise: String,
    /// What the cuts left.
    pub counts: Counts,
    /// The promise was kept.
    pub kept: bool,
}

impl FaultRow {
    /// A fault that every update must survive.
    #[must_use]
    pub fn survive(fault: impl Into<String>, counts: Counts) -> Self {
        Self { fault: fault.into(), promise: "survive".into(), kept: counts.is_fine(), counts }
    }
}

impl Page<'_> {
    /// The page. The same input gives the same bytes.
    #[must_use]
    pub fn html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    h1 { (self.title) }
                    (self.verdict())
                    div.tables { (self.faults_table()) (pairs("Test", self.about)) (pairs("Margins", self.margins)) }
                    (map::flash(self.story, self.scenes))
                    @for (i, scene) in self.scenes.iter().enumerate() { (scene_section(letter(i), scene)) }
                    (self.log())
                }
            }
        };
        page.into_string()
    }

    fn verdict(&self) -> Markup {
        let cuts: u64 = self.faults.iter().map(|row| row.counts.cuts).sum();
        let broken: Vec<&FaultRow> = self.faults.iter().filter(|row| !row.kept).collect();
        let wrong: u64 = broken.iter().map(|row| row.counts.mixed + row.counts.unreadable).sum();
        html! {
            @if cuts == 0 {
                p.verdict.fails { strong { "Nothing was tested." } }
            } @else if broken.is_empty() {
                p.verdict.survives {
                    strong { "✔ The update survives." } " "
                    span { (grouped(cuts)) " power cuts; each left the old tree or the new one." }
                }
            } @else {
                p.verdict.fails {
                    strong { "✘ The update does NOT survive." } " "
                    span { (grouped(wrong)) " of " (grouped(cuts)) " power cuts left neither the old tree nor the new one." }
                }
            }
        }
    }

    fn faults_table(&self) -> Markup {
        html! {
            section {
                h2 { "Faults" }
                table {
                    tr { th { "fault" } th { "promise" } @for head in COUNTS { th.number { (head) } } th { } }
                    @for row in self.faults {
                        tr.broken[!row.kept] {
                            td { (row.fault) }
                            td { (row.promise) }
                            @for count in counted(&row.counts) { td.number { (grouped(count)) } }
                            td { @if row.kept { "✔" } @else { "✘" } }
                        }
                    }
                }
            }
        }
    }

    fn log(&self) -> Markup {
        html! {
            details {
                summary { "What is written when: " (self.story.log.steps.len()) " operations" }
                pre { (self.story.log.text(false)) "\n" (self.story.log.totals.text()) }
            }
        }
    }
}

const COUNTS: [&str; 5] = ["cuts", "old tree", "new tree", "mixed", "unreadable"];

fn counted(counts: &Counts) -> [u64; 5] {
    [counts.cuts, counts.old, counts.new, counts.mixed, counts.unreadable]
}

fn pairs(title: &str, pairs: &[(&str, String)]) -> Markup {
    html! {
        @if !pairs.is_empty() {
            section {
                h2 { (title) }
                table { @for (name, value) in pairs { tr { th { (name) } td { (value) } } } }
            }
        }
    }
}

/// What a scene is called in the picture.
fn letter(i: usize) -> char {
    (b'A'..=b'Z').nth(i).map_or('*', char::from)
}

fn scene_section(letter: char, scene: &Scene) -> Markup {
    html! {
        section.scene id={ "cut-" (letter) } {
            h2 { span.pin { (letter) } " The power fails " (scene.title) }
            @if let Some(wrong) = &scene.wrong { p.wrong { (wrong) } }
            ul.readers {
                @for (i, (reader, verdict)) in scene.readers.iter().enumerate() {
                    li {
                        span.sees.(class(verdict)) { (seen(verdict)) } " " (reader)
                        @if let Some(why) = why(verdict).filter(|why| !is_said(scene, i, why)) { ": " (why) }
                    }
                }
            }
            p.token { "Replay: " code { (scene.token) } }
            details open[scene.wrong.is_some()] {
                summary { "Eraseblocks, node by node: " (scene.diff.blocks.len()) " differ from the old state or the new one" }
                @for group in scene.diff.groups() {
                    @match group {
                        Group::Block(block) => (block_diff(block)),
                        Group::Many(blocks) => div.block { h3 { (many(blocks)) } },
                    }
                }
            }
        }
    }
}

/// What is wrong with what a reader sees stands there already.
fn is_said(scene: &Scene, reader: usize, why: &str) -> bool {
    let before = scene.readers.iter().take(reader).filter_map(|(_, verdict)| self::why(verdict));
    scene.wrong.as_deref().into_iter().chain(before).any(|said| said.contains(why))
}

fn block_diff(block: &BlockDiff) -> Markup {
    html! {
        div.block {
            h3 { "Eraseblock " (block.block) ": " (block.same.words()) }
            p { (block.about.join("; ")) @if block.same != Same::Neither && !block.words.is_empty() { " — " (block.words) } }
            @if !block.nodes.is_empty() {
                table.nodes {
                    tr { th { "offset" } th.number { "bytes" } th { "node" } th { "is" } th { "CRC" } th { "seen by" } }
                    @for shown in block.shown() {
                        @match shown {
                            Shown::More(n) => tr { td colspan="6" { "… " (n) " more alike" } },
                            Shown::Line(line) => {
                                tr.(format!("mark-{:?}", line.mark).to_lowercase()) {
                                    td { code { (format!("{:#x}", line.at)) } }
                                    td.number { (line.size) }
                                    td { (line.text) }
                                    td { (line.mark.words()) }
                                    td { (line.health()) }
                                    td { (line.seen_by()) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The class of a verdict, for its colour.
fn class(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Old => "sees-old",
        Verdict::New => "sees-new",
        Verdict::Mixed(_) | Verdict::Unreadable(_) => "sees-wrong",
    }
}

fn seen(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Old => "old tree",
        Verdict::New => "new tree",
        Verdict::Mixed(_) => "a mix",
        Verdict::Unreadable(_) => "unreadable",
    }
}

fn why(verdict: &Verdict) -> Option<&str> {
    match verdict {
        Verdict::Old | Verdict::New => None,
        Verdict::Mixed(why) | Verdict::Unreadable(why) => Some(why),
    }
}

/// With a space between thousands.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap_or_default()).collect();
    groups.join("\u{202f}")
}
