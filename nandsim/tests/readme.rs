//! README.md shows the example of the harness's documentation, which is compiled.

#[test]
fn readme_shows_the_compiled_example() {
    let readme = include_str!("../../README.md");
    let (_, shown) = readme.split_once("```rust,ignore\n").expect("an example that is not compiled there");
    let (shown, _) = shown.split_once("```").expect("its end");
    let doc = include_str!("../src/harness.rs").lines().filter_map(|line| line.strip_prefix("///"));
    let doc: String = doc.map(|line| line.strip_prefix(' ').unwrap_or(line).to_owned() + "\n").collect();
    assert!(doc.contains(&format!("```\n{shown}```\n")), "{doc}");
}
