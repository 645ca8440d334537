//! The command line: reports, exit codes, replay.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn nandsim(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_nandsim")).args(args).output().unwrap()
}

fn json(args: &[&str]) -> Value {
    let output = nandsim(&[args, &["--json"]].concat());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert_eq!((output.stdout.iter().filter(|byte| **byte == b'\n').count(), output.stderr.len()), (1, 0));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Two small trees below the build directory.
fn trees(name: &str) -> (PathBuf, PathBuf) {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&dir);
    let (old, new) = (dir.join("old"), dir.join("new"));
    for (root, version) in [(&old, "1"), (&new, "2")] {
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("etc/version"), version).unwrap();
    }
    (old, new)
}

#[test]
fn one_object_with_the_counts() {
    let report = json(&["torture", "--sample", "small", "--commit-point", "head", "-b", "--seed", "3"]);
    let number = |field: &str| report[field].as_u64().unwrap();
    assert_eq!(number("cuts"), number("old") + number("new"));
    assert_eq!((number("mixed"), number("unreadable"), number("seed")), (0, 0, 3));
    assert!(number("old") > 1000 && number("new") > 100);
    assert_eq!(
        (&report["flash"], &report["commit_point"], &report["endian"]),
        (&"nor".into(), &"head".into(), &"big".into())
    );
    assert!(report["seconds"].as_f64() > Some(0.0) && report["cuts_per_second"].as_f64() > Some(0.0));
    let sampled = json(&["torture", "--sample", "--flash", "nand", "--cuts", "100"]);
    assert!((100..110).contains(&sampled["cuts"].as_u64().unwrap()), "{sampled}");
    assert_eq!((&sampled["flash"], &sampled["eraseblock"]), (&"nand".into(), &131_072.into()));
}

#[test]
fn directories_and_images() {
    let (old, new) = trees("directories_and_images");
    let (old, new) = (old.to_str().unwrap(), new.to_str().unwrap());
    let report = json(&["torture", "--old", old, "--new", new, "-e", "16", "--size", "512K"]);
    assert_eq!((&report["size"], &report["eraseblock"]), (&(512 << 10).into(), &16384.into()));

    let image = format!("{old}.img");
    let shape = nandsim::Shape {
        kind: jffs2_tx::flash::FlashKind::Nor,
        eraseblock: 16 << 10,
        write_size: 1,
        endian: jffs2_tx::wire::Endian::Big,
    };
    let tree = jffs2_tx::source::SourceTree::from_dir(old.as_ref()).unwrap();
    fs::write(&image, shape.image(&tree).unwrap()).unwrap();
    let report = json(&["torture", "--image", &image, "--new", new, "--size", "512K"]);
    assert_eq!((&report["endian"], &report["flash"]), (&"big".into(), &"nor".into()));
}

#[test]
fn replays_one_cut() {
    let output = nandsim(&["torture", "--sample", "small", "--replay", "3:before"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(
        text.contains("after the cut, reader without summaries: old\n") && text.ends_with("nothing is wrong\n"),
        "{text}"
    );
}

#[test]
fn trace_lists_every_operation() {
    let text = |args: &[&str]| {
        let output = nandsim(&[&["trace", "--sample", "small"], args].concat());
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let plain = text(&[]);
    assert!(plain.contains("no times: give --part NAME") && !plain.contains(" ms"), "{plain}");
    let timed = text(&["--part", "KH25L8005", "--all"]);
    assert!(timed.contains("from the datasheet of KH25L8005") && timed.contains("time 2.0 s"), "{timed}");
    assert_eq!(timed.matches(" COMMIT: ").count(), 1);
    let json = text(&["--json", "--part", "OLPC-XO-1", "-b"]);
    let lines: Vec<Value> = json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (totals, steps) = lines.split_last().unwrap();
    assert_eq!(totals["totals"]["ops"], steps.len());
    assert!((0..).zip(steps).all(|(op, step)| step["op"] == op && step["at_us"].is_u64()), "{json}");
}

/// What is written to files of a test that fails.
#[test]
fn reports_in_files() {
    let dir = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("reports_in_files");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir).unwrap();
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    let (html, junit, kept) = (path("page.html"), path("results.xml"), path("kept"));
    let output = nandsim(&[
        "torture",
        "--sample",
        "small",
        "--commit-point",
        "head",
        "--plant",
        "blank-head-128",
        "--cuts",
        "200",
        "--html",
        &html,
        "--junit",
        &junit,
        "--save",
        &kept,
    ]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let (html, junit) = (fs::read_to_string(html).unwrap(), fs::read_to_string(junit).unwrap());
    assert!(html.contains("does NOT survive") && html.contains("blank-head-128"));
    assert!(junit.contains("failures=\"3\"") && junit.contains("replay: flash=nor,"), "{junit}");
    let folder = fs::read_dir(kept).unwrap().next().unwrap().unwrap().path();
    let token = fs::read_to_string(folder.join("token.txt")).unwrap();
    let replayed = nandsim(&["replay", token.lines().next().unwrap()]);
    assert_eq!(replayed.status.code(), Some(1), "{replayed:?}");
    let state = fs::read(folder.join("state.img")).unwrap();
    assert!(state != fs::read(folder.join("old.img")).unwrap() && state != fs::read(folder.join("new.img")).unwrap());
}

#[test]
fn parts_by_name() {
    let output = nandsim(&["parts", "--json"]);
    let lines: Vec<Value> =
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), nandsim::PARTS.len());
    let mlc = lines.iter().find(|part| part["paired_pages"] == true).unwrap();
    assert_eq!((&mlc["name"], &mlc["page_programs"]), (&"K9GAG08U0M".into(), &1.into()));
    let table = String::from_utf8(nandsim(&["parts"]).stdout).unwrap();
    assert!(lines.iter().all(|part| table.contains(part["name"].as_str().unwrap())), "{table}");

    let report = json(&["torture", "--sample", "small", "--part", "w25q128fv", "-e", "4", "--cuts", "100"]);
    assert_eq!((&report["flash"], &report["eraseblock"]), (&"nor".into(), &4096.into()));
    let report = json(&["torture", "--sample", "small", "--part", "K9GAG08U0M", "--cuts", "100"]);
    assert_eq!((&report["flash"], &report["write_size"]), (&"nand".into(), &4096.into()));
}

#[test]
fn exit_codes() {
    let (old, _) = trees("exit_codes");
    let old = old.to_str().unwrap();
    for (code, args) in [
        (2, vec!["torture"]),
        (2, vec!["torture", "--old", old]),
        (2, vec!["torture", "--sample", "--new", old]),
        (2, vec!["torture", "--sample", "--page-size", "512"]),
        (2, vec!["torture", "--sample", "-e", "100000"]),
        (2, vec!["torture", "--sample", "--part", "27C256"]),
        (2, vec!["torture", "--sample", "--part", "OLPC-XO-1", "-e", "64"]),
        (2, vec!["torture", "--sample", "--part", "OLPC-XO-1", "--flash", "nand"]),
        (2, vec!["torture", "--sample", "--part", "KH25L8005", "--size", "2M"]),
        (2, vec!["torture", "--sample", "--cuts", "0"]),
        (2, vec!["validate", "--sample", "--cuts", "0"]),
        (2, vec!["torture", "--sample", "--size", "8GiB"]),
        (2, vec!["torture", "--sample", "--before", "1001"]),
        (2, vec!["torture", "--sample", "--threads", "0"]),
        (2, vec!["validate", "--sample", "--threads", "99999999"]),
        (2, vec!["torture", "--sample", "small", "--html", "-"]),
        (3, vec!["torture", "--sample", "small", "--junit", "no/such/directory/j.xml"]),
        (2, vec!["torture", "--sample", "--replay", "x"]),
        (3, vec!["torture", "--sample", "--size", "128K"]),
        (3, vec!["torture", "--old", old, "--new", old]),
        (3, vec!["torture", "--old", old, "--new", "no/such/directory"]),
        (3, vec!["torture", "--image", old, "--new", old]),
    ] {
        let output = nandsim(&args);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {text}");
        assert!(!text.is_empty() && output.stdout.is_empty() && !text.contains("panicked"), "{args:?}: {text}");
    }
}

/// A file below the build directory.
fn scratch(name: &str) -> String {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name).to_str().unwrap().to_owned()
}

/// Bytes that do not compress.
fn noise(len: usize) -> Vec<u8> {
    let mut rng = nandsim::Rng::keyed(&[1]);
    (0..len).map(|_| rng.next_u8()).collect()
}

/// A big-endian image of 1 MiB with a tree in it, and a new tree that fits or does not.
fn padded_image(name: &str, new_bytes: usize) -> (String, String) {
    let (old, new) = trees(name);
    fs::write(old.join("etc/data"), noise(10_000)).unwrap();
    fs::write(new.join("etc/data"), noise(10_000)).unwrap();
    fs::write(new.join("etc/large"), noise(new_bytes)).unwrap();
    let shape = nandsim::Shape {
        kind: jffs2_tx::flash::FlashKind::Nor,
        eraseblock: 64 << 10,
        write_size: 1,
        endian: jffs2_tx::wire::Endian::Big,
    };
    let mut image = shape.image(&jffs2_tx::source::SourceTree::from_dir(&old).unwrap()).unwrap();
    image.resize(1 << 20, 0xff);
    let path = scratch(&format!("{name}.img"));
    fs::write(&path, image).unwrap();
    (path, new.to_str().unwrap().to_owned())
}

#[test]
fn the_flash_of_an_image_is_as_large_as_it() {
    let (image, new) = padded_image("the_flash_of_an_image", 1000);
    let torture = ["torture", "--image", &image, "--new", &new, "--cuts", "20"];
    for (more, size, from) in [
        (&[][..], 1 << 20, "image"),
        (&["--part", "KH25L8005"], 1 << 20, "part"),
        (&["--part", "MX29F1610A", "-e", "128"], 2 << 20, "part"),
        (&["--size", "1536K"], 3 << 19, "given"),
    ] {
        let report = json(&[&torture[..], more].concat());
        assert_eq!((&report["size"], &report["size_from"]), (&size.into(), &from.into()), "{report}");
    }
    let output = nandsim(&[&torture[..], &["--size", "512K"]].concat());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        output.status.code() == Some(2) && text.contains("the image has 1048576 bytes, the flash 524288"),
        "{text}"
    );
    let output = nandsim(&[&torture[..], &["-l"]].concat());
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(3) && text.contains("the image is big-endian: 0 nodes"), "{text}");
}

#[test]
fn compressed_archives_are_refused_with_the_reason() {
    let archive = scratch("new.tgz");
    fs::write(&archive, b"\x1f\x8b\x08 and so on").unwrap();
    let output = nandsim(&["torture", "--old", &archive, "--new", &archive]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(3) && text.contains("unpack it first"), "{text}");
}

#[test]
fn an_update_that_does_not_fit_is_an_answer() {
    let (image, new) = padded_image("an_update_that_does_not_fit", 900_000);
    let (junit, html) = (scratch("refused.xml"), scratch("refused.html"));
    let validate = ["validate", "--image", &image, "--update", &new];
    let output = nandsim(&[&validate[..], &["--junit", &junit, "--html", &html]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("16 eraseblocks") && text.contains("size of the flash: the image's"), "{text}");
    assert!(text.contains("DOES NOT FIT: no space: needs "), "{text}");
    assert!(fs::read_to_string(junit).unwrap().contains("failures=\"1\""));
    assert!(fs::read_to_string(html).unwrap().contains("does not fit"));
    let output = nandsim(&[&validate[..], &["--json"]].concat());
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &answer["survives"]), (Some(1), &false.into()));
    assert!(answer["refused"].as_str().unwrap().contains("needs "), "{answer}");
}

#[test]
fn damage_before_the_update_is_told() {
    let (image, new) = padded_image("damage_before_the_update", 10);
    let torture = ["torture", "--image", &image, "--new", &new, "--cuts", "20"];
    assert_eq!(json(&torture)["damage"], Value::Array(Vec::new()));
    let mut bytes = fs::read(&image).unwrap();
    // In a file's last node; without its first, it could not be read.
    let end = noise(10_000).split_off(9900);
    let at = bytes.windows(100).position(|window| window == end).unwrap();
    bytes[at] ^= 1;
    fs::write(&image, bytes).unwrap();
    assert!(!json(&torture)["damage"].as_array().unwrap().is_empty());
    let text = String::from_utf8(nandsim(&torture).stdout).unwrap();
    assert!(text.starts_with("WARNING: the image is damaged before the update: "), "{text}");
}

/// A failure shows in every report of it, however many there were before.
#[test]
fn every_fault_that_failed_is_reported() {
    let junit = scratch("every_fault.xml");
    let planted = ["torture", "--sample", "small", "--plant", "shadow-lost-name", "--cuts", "1000"];
    let output = nandsim(&[&planted[..], &["--junit", &junit, "--json"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let is_wrong = |counts: &&Value| counts["mixed"].as_u64() > Some(0) || counts["unreadable"].as_u64() > Some(0);
    let wrong = report["hazards"].as_object().unwrap().values().filter(is_wrong).count();
    let junit = fs::read_to_string(junit).unwrap();
    assert!(wrong > 1 && junit.contains(&format!(" failures=\"{wrong}\"")), "{junit}");
    assert_eq!(junit.matches("replay: flash=nor,").count(), wrong, "{junit}");

    let output = nandsim(&[&planted[..], &["--html", "/dev/full"]].concat());
    let (text, error) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(1), "what was found wins over a page that cannot be written");
    assert!(error.contains("replay it with: ") && error.contains("/dev/full"), "{error}");
    assert!(text.contains("  mixed: ") && text.lines().all(|line| line.len() < 400), "{text}");
    let failed: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("FAILED at ")?.split(':').next()).collect();
    assert!(!failed.is_empty() && failed.is_sorted_by(|a, b| a != b), "one of each operation: {failed:?}");

    let page = scratch("twice.html");
    let output = nandsim(&[&planted[..], &["--html", &page, "--junit", &page]].concat());
    assert!(output.status.code() == Some(2) && output.stdout.is_empty(), "{output:?}");
}

/// Beyond any datasheet: shown, never counted, and no success either.
#[test]
fn tier_three_is_not_counted() {
    let page = scratch("tier_three.html");
    let report = json(&["torture", "--sample", "--tier", "3", "--cuts", "300", "--html", &page]);
    assert!(report["unpromised"].as_u64() > Some(0), "{report}");
    assert_eq!(report["old"].as_u64().unwrap() + report["new"].as_u64().unwrap(), report["cuts"].as_u64().unwrap());
    let hazards = report["hazards"].as_object().unwrap().iter().filter(|(name, _)| *name != "disturbed");
    let cuts: u64 = hazards.map(|(_, counts)| counts["cuts"].as_u64().unwrap()).sum();
    assert_eq!(report["cuts"], cuts);
    assert!(report["hazards"]["disturbed"]["new"].as_u64() > Some(0), "{report}");
    let page = fs::read_to_string(page).unwrap();
    assert!(page.contains("survives what is promised") && page.contains("detection, is promised\">!</td>"));
    assert!(!page.contains("each left the old tree or the new one"));
}

/// The first failure of a planted mistake: what, and its token.
fn planted_failure() -> (String, String) {
    let output = nandsim(&["torture", "--sample", "small", "-e", "16", "--plant", "commit-before-payload", "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let text = |key: &str| report["failures"][0][key].as_str().unwrap().to_owned();
    (text("what"), text("token"))
}

#[test]
fn a_token_replays_the_failure() {
    let (what, token) = planted_failure();
    let output = nandsim(&["replay", &token]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&what), "{text}");

    let (before, after) = token.split_once(",update=").unwrap();
    let other = format!("{before},update=00000000,{}", after.split_once(',').unwrap().1);
    let output = nandsim(&["replay", &other]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stderr).unwrap().contains("other trees, or another version"));
    let nowhere = format!("{},cut=99999:before", token.rsplit_once(",cut=").unwrap().0);
    let output = nandsim(&["replay", &nowhere]);
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stderr).unwrap().contains("nothing to cut"));
    assert_eq!(nandsim(&["replay", "seed=1"]).status.code(), Some(2));
    let beyond =
        format!("{}/retry:2:prefix:4294967295:0", token.rsplit_once(",cut=").unwrap().0.to_owned() + ",cut=0:before");
    assert_eq!(nandsim(&["replay", &beyond]).status.code(), Some(3));
}

#[test]
fn a_failure_shrinks_to_one_change() {
    let (_, token) = planted_failure();
    let output = nandsim(&["shrink", &token, "--json"]);
    assert_eq!(output.status.code(), Some(1));
    let shrunk: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shrunk["changes"].as_array().unwrap().len(), 1, "{shrunk}");
    let again = nandsim(&["replay", shrunk["token"].as_str().unwrap()]);
    assert_eq!(again.status.code(), Some(1), "what is left fails as well");
}

#[test]
fn validate_gives_a_verdict() {
    let sample = ["validate", "--sample", "small", "--part", "W25Q128FV", "--cuts", "300"];
    let verdict = json(&sample);
    assert_eq!(verdict["survives"], true, "{verdict}");
    let faults = verdict["faults"].as_array().unwrap();
    assert!(
        faults.len() > 8 && faults.iter().all(|row| row["tried"].as_u64() > Some(0) && row["wrong"] == 0),
        "{verdict}"
    );
    assert_eq!(verdict["not_tried"], serde_json::json!(["disturbed", "unsynced", "uncorrectable"]));
    assert!(verdict["margins"]["free_after"].as_u64() > verdict["margins"]["kernel_reserve"].as_u64(), "{verdict}");

    let output = nandsim(&[&sample[..], &["--plant", "commit-before-payload"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("DOES NOT SURVIVE") && text.contains("nandsim replay "), "{text}");
}
