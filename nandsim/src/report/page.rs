//! A report as one file for a browser: nothing is fetched, and it works from a disk.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::node_diff::{BlockDiff, Group, Same, Shown, many};
use super::story::{Scene, Story};
use crate::validate::Row;
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
    /// What to know before the verdict: of a damaged image, say.
    pub warning: Option<&'p str>,
    /// What came of it.
    pub faults: &'p [Row],
    /// How much room is left, by name.
    pub margins: &'p [(&'p str, String)],
    /// The update.
    pub story: &'p Story<'p>,
    /// States that are looked at closely: failing ones, or else [`Story::telling_cuts`].
    pub scenes: &'p [Scene],
}

/// A page that says that an update was refused.
#[must_use]
pub fn refused_page(flash: &str, why: &str) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head { meta charset="utf-8"; title { "JFFS2 update" } style { (PreEscaped(STYLE)) } }
            body {
                h1 { "JFFS2 update" }
                p.verdict.fails { strong { "✘ The update does not fit." } " " span { (why) } }
                p { (flash) }
            }
        }
    };
    page.into_string()
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
                    @if let Some(warning) = self.warning { p.wrong { (warning) } }
                    (self.verdict())
                    div.tables {
                        (self.faults_table())
                        div { (pairs("Test", self.about)) (pairs("Margins", self.margins)) }
                    }
                    (map::flash(self.story, self.scenes))
                    @for (i, scene) in self.scenes.iter().enumerate() { (scene_section(letter(i), scene)) }
                    (self.log())
                }
            }
        };
        page.into_string()
    }

    fn verdict(&self) -> Markup {
        let tried: u64 = self.faults.iter().map(|row| row.tried).sum();
        let wrong: u64 = self.faults.iter().map(|row| row.wrong).sum();
        html! {
            @if tried == 0 {
                p.verdict.fails { strong { "Nothing was tested." } }
            } @else if wrong > 0 && self.faults.iter().all(Row::is_kept) {
                p.verdict.survives {
                    strong { "The update survives what is promised." } " "
                    span {
                        (grouped(wrong)) " of " (grouped(tried)) " power cuts and faults went wrong where nothing, or only "
                        "detection, is promised."
                    }
                }
            } @else if self.faults.iter().all(Row::is_kept) {
                p.verdict.survives {
                    strong { "✔ The update survives." } " "
                    span { (grouped(tried)) " power cuts and faults tried: each left the old tree or the new one, whole." }
                }
            } @else {
                p.verdict.fails {
                    strong { "✘ The update does NOT survive." } " "
                    span { (grouped(wrong)) " of " (grouped(tried)) " power cuts and faults went wrong." }
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
                        tr.broken[!row.is_kept()] {
                            td { (row.fault) }
                            td { (row.promise) }
                            @for count in [row.tried, row.old, row.new, row.wrong] { td.number { (grouped(count)) } }
                            td title=[not_promised(row)] { (mark(row)) }
                        }
                        @if let Some(wrong) = row.first.as_ref().filter(|wrong| !self.is_shown(&wrong.what)) {
                            tr { td.what colspan="7" { (wrong.what) } }
                        }
                    }
                }
            }
        }
    }

    fn is_shown(&self, wrong: &str) -> bool {
        self.scenes.iter().any(|scene| scene.wrong.as_deref() == Some(wrong))
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

/// Wrong where that is allowed is no success either.
fn mark(row: &Row) -> &'static str {
    match (row.is_kept(), row.wrong) {
        (false, _) => "✘",
        (true, 0) => "✔",
        (true, _) => "!",
    }
}

fn not_promised(row: &Row) -> Option<&'static str> {
    (row.is_kept() && row.wrong > 0).then_some("wrong, where nothing, or only detection, is promised")
}

const COUNTS: [&str; 4] = ["tried", "old tree", "new tree", "wrong"];

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
                    tr { th { "offset" } th.number { "bytes" } th { "node" } th { "is" } th { "CRC" } th { "by readers" } }
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
