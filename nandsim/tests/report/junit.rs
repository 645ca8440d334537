//! JUnit XML: what a CI server reads of it.

use nandsim::report::{Case, Outcome, junit};

fn case(name: &str, outcome: Outcome) -> Case {
    Case { name: name.into(), classname: "nor.64KiB".into(), tried: 40, seconds: None, outcome }
}

#[test]
fn cases_with_their_outcomes() {
    let failed = Outcome::Failed { message: "mixed: <a> & \"b\"\u{1}".into(), token: Some("cut=1:before".into()) };
    let cases = [
        case("power cut", Outcome::Passed),
        Case { seconds: Some(1.5), ..case("torn erase", failed) },
        case("paired pages", Outcome::Skipped("NOR has none".into())),
    ];
    let xml = junit("update", &cases).unwrap();
    let wanted = r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="nandsim" tests="3" skipped="1" failures="1" errors="0">
    <testsuite name="update" tests="3" skipped="1" errors="0" failures="1">
        <testcase name="power cut" classname="nor.64KiB">
            <system-out>40 tried</system-out>
        </testcase>
        <testcase name="torn erase" classname="nor.64KiB" time="1.500">
            <failure message="mixed: &lt;a&gt; &amp; &quot;b&quot;" type="fault">replay: cut=1:before</failure>
            <system-out>40 tried</system-out>
        </testcase>
        <testcase name="paired pages" classname="nor.64KiB">
            <skipped message="NOR has none"/>
            <system-out>40 tried</system-out>
        </testcase>
    </testsuite>
</testsuites>
"#;
    assert_eq!(xml, wanted);
}
