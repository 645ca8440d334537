//! The page for a browser: structure, escaping, the same bytes every time.

use std::fs;
use std::path::Path;

use jffs2_tx::source::SourceTree;
use jffs2_tx::wire::{CommitPoint, Endian};
use nandsim::report::{Content, Page, Scene, Story};
use nandsim::validate::Row;
use nandsim::{FlashClass, Op, Oracle, Sample, Torture, cuts_all, parse_tree, sample, sample_small_change};

use crate::common::{nand, nor, prepared, recorded, run};

const E: Endian = Endian::Little;

fn fine(tried: u64) -> Row {
    Row { fault: "torn erase", promise: "survive", tried, old: tried - 1, new: 1, wrong: 0, first: None }
}

fn scenes(torture: &Torture, story: &Story<'_>) -> Vec<Scene> {
    let mut eye = torture.oracle.eye();
    let mut scene = |(title, cut): (&str, nandsim::Cut)| {
        let found = torture.state(&cut.into()).unwrap();
        story.scene(title, &format!("cut={cut}"), &cut.into(), &found, None, &mut eye).unwrap()
    };
    story.telling_cuts().into_iter().map(&mut scene).collect()
}

fn story(torture: &Torture) -> Story<'_> {
    Story::new(&torture.start, &torture.trace, torture.workload.endian, None, &mut torture.oracle.eye())
}

fn page(torture: &Torture) -> String {
    let story = story(torture);
    let scenes = scenes(torture, &story);
    let about = [("flash", "a <flash> & more".to_owned())];
    Page {
        title: "A <test>",
        about: &about,
        warning: None,
        faults: &[fine(1234)],
        margins: &[],
        story: &story,
        scenes: &scenes,
    }
    .html()
}

/// Kept where the tests' other files are, to be looked at in a browser.
fn keep(name: &str, html: &str) {
    fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join(name), html).unwrap();
}

/// Tags that are opened are closed, in order.
fn check_nesting(html: &str) {
    const VOID: [&str; 4] = ["meta", "br", "!DOCTYPE", "link"];
    let mut open = Vec::new();
    for tag in html.split('<').skip(1).map(|rest| rest.split(['>', ' ']).next().unwrap()) {
        match tag.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed), "{html}"),
            None if VOID.contains(&tag) => {}
            None => open.push(tag),
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_page_says_that_the_update_survives() {
    for (torture, name) in [
        (recorded(nor(64, 1, E), sample(), Some(CommitPoint::Head)), "head.html"),
        (recorded(nand(128, 2048, E), sample(), Some(CommitPoint::Summary)), "summary.html"),
        (recorded(nor(16, 1, Endian::Big), sample_small_change(), Some(CommitPoint::Dirent)), "dirent.html"),
    ] {
        let html = page(&torture);
        keep(name, &html);
        check_nesting(&html);
        assert!(html.contains("The update survives.") && html.contains("1\u{202f}234 power cuts"));
        assert_eq!(html.matches("class=\"line commit\"").count(), 1);
        assert_eq!(html.matches("class=\"line cut\"").count(), 3);
        assert!(html.contains("is-payload") && html.contains("is-old") && html.contains("is-new"));
        let needs = ["http", "src=", "<script", "<link", "url(", "@import"];
        assert!(needs.iter().all(|needed| !html.contains(needed)), "nothing is fetched");
        assert_eq!(html, page(&torture), "the same bytes");
    }
}

/// A live eraseblock is erased before the commit.
#[test]
fn a_page_shows_what_failed() {
    let mut torture = recorded(nor(64, 1, E), sample_small_change(), Some(CommitPoint::Dirent));
    let at = torture.trace.ops.iter().rposition(|op| matches!(op, Op::Erase { .. })).unwrap();
    torture.trace.ops.splice(at..at, [Op::Erase { block: 0 }, Op::Sync]);
    let report = run(&torture, cuts_all(&torture.trace).step_by(7));
    let story = story(&torture);
    let failure = &report.failures[0];
    let found = torture.state(&failure.cut).unwrap();
    let mut eye = torture.oracle.eye();
    let scene = story.scene("<here>", "cut=<1>", &failure.cut, &found, Some(&failure.what), &mut eye).unwrap();
    assert_eq!(scene.torn, [0]);
    let mut faults = Row::of_cuts(&report, FlashClass::Nor);
    faults.push(fine(10));
    let page = Page {
        title: "Planted",
        about: &[],
        warning: None,
        faults: &faults,
        margins: &[],
        story: &story,
        scenes: &[scene],
    };
    let html = page.html();
    keep("planted.html", &html);
    check_nesting(&html);
    assert!(html.contains("The update does NOT survive.") && html.contains("class=\"broken\""), "{html}");
    assert!(html.contains("class=\"line cut wrong\"") && html.contains("class=\"never\""));
    assert!(html.contains("mark-missingboth") || html.contains("mark-torn"), "the erased nodes are listed");
    assert!(html.contains("&lt;here&gt;") && html.contains("cut=&lt;1&gt;") && !html.contains("<here>"));
    assert!(html.contains("<details open>"), "the diff of a failure is open");
}

#[test]
fn names_of_a_tree_cannot_become_markup() {
    let tree = |version: u32| -> SourceTree {
        let text = format!(
            "/ dir 755 0 0 0\n/<script>alert('\"&)</script> dir 755 0 0 0\n\
             /<script>alert('\"&)</script>/<b> file 644 0 0 {version} text:{version}\n"
        );
        parse_tree(&text.replace("</script>", "<-script>")).unwrap()
    };
    let (start, update) = prepared(nor(16, 1, E), Sample { old: tree(1), new: tree(2) }, None);
    let torture = Torture::record(start, update, 0).unwrap();
    let html = page(&torture);
    check_nesting(&html);
    assert!(!html.contains("<script") && !html.contains("<b>"), "{html}");
    assert!(html.contains("&lt;script&gt;alert(") && html.contains("&lt;b&gt;"), "{html}");
    assert!(html.contains("A &lt;test&gt;") && html.contains("a &lt;flash&gt; &amp; more"));
}

#[test]
fn nothing_tested_is_no_success() {
    let torture = recorded(nor(64, 1, E), sample_small_change(), None);
    let story = story(&torture);
    let html =
        Page { title: "", about: &[], warning: None, faults: &[], margins: &[], story: &story, scenes: &[] }.html();
    assert!(html.contains("Nothing was tested.") && !html.contains("The update"));
}

/// What eraseblocks hold, moment by moment.
#[test]
fn the_picture_follows_the_update() {
    let torture = recorded(nor(64, 1, E), sample(), Some(CommitPoint::Head));
    let story = story(&torture);
    let commit = story.log.commit.unwrap();
    let changing: Vec<_> = story.picture.rows.iter().filter(|row| row.changes).collect();
    let [payload, commit_block] = changing[..] else { panic!("{changing:?}") };
    let contents = |row: &nandsim::report::Row| {
        let mut contents: Vec<Content> = row.spans.iter().map(|span| span.content).collect();
        contents.dedup();
        contents
    };
    assert_eq!(contents(payload), [Content::Free, Content::Payload, Content::New]);
    assert_eq!(contents(commit_block), [Content::Free, Content::Hidden, Content::New]);
    for row in [payload, commit_block] {
        let new = row.spans.iter().find(|span| span.content == Content::New).unwrap();
        assert_eq!(new.from, commit + 1, "at the commit");
        assert!(row.spans.is_sorted_by_key(|span| span.from));
    }
    let levels: Vec<u8> = payload.spans.iter().map(|span| span.level).collect();
    assert!(levels.len() > 5 && levels[1..].is_sorted() && *levels.last().unwrap() <= 16, "{levels:?}");
}

/// Eraseblocks that do not change are one row, however many there are.
#[test]
fn large_flash_stays_a_small_picture() {
    let (mut start, update) = prepared(nor(64, 1, E), sample_small_change(), None);
    let image = start.image();
    let geometry = nor(64, 1, E).geometry(64 << 20).unwrap();
    start = nor(64, 1, E).flashed(geometry, image[..65536].as_ref(), 0).unwrap();
    let torture = Torture::record(start, update, 0).unwrap();
    let html = page(&torture);
    assert!(story(&torture).picture.rows.len() < 8, "{:?}", story(&torture).picture.rows.len());
    assert!(html.len() < 60_000, "{}", html.len());
}
